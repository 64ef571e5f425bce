"""One module an SDK family: which clients it knows, where their HTTP clients live, how to ask again without the guard.

What a module has is in `SdkFamily`; a module is an object like any other to the type checker.
"""

from __future__ import annotations

from typing import Any, Protocol

from promptguard.core.background_call import BackgroundClient
from promptguard.sdks import (
    anthropic,
    boto3,
    cohere,
    google,
    groq,
    langchain,
    mistralai,
    ollama,
    openai,
    together,
)
from promptguard.sdks.slots import Slot


class SdkFamily(Protocol):
    """What PromptGuard knows of one SDK; its modules implement it."""

    @property
    def NAME(self) -> str:  # noqa: N802 - a constant of each module
        """What people call it."""

    def knows(self, client: object) -> bool:
        """Whether `client` is one of this SDK's, judged by its class."""

    def slots(self, client: object) -> tuple[Slot, ...]:
        """Return where its HTTP clients live, none for versions that talk through something else."""

    def can_route(self, client: object) -> bool:
        """Whether the application's own call may go to another model: it is named where no signature covers it."""

    def can_shadow(self, client: object) -> bool:
        """Whether another model can be asked in the background."""

    def background_client(self, client: Any, http: Any, response_class: type) -> BackgroundClient | None:
        """Return what asks again through `http`, which is background work's alone, and is closed with it.

        None where the same HTTP request with another body is enough: nothing is signed over the body, no credential is
        renewed. `response_class` is the Response of `http`'s library. Each family has clients of its own: so `Any`.
        """


FAMILIES: tuple[SdkFamily, ...] = (
    openai,
    anthropic,
    google,
    mistralai,
    cohere,
    groq,
    together,
    ollama,
    langchain,
    boto3,
)


def family_of(client: object) -> SdkFamily | None:
    """Return the module that knows `client`, judged by its class, without importing any SDK."""
    return next((family for family in FAMILIES if family.knows(client)), None)
