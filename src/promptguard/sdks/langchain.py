"""ChatOpenAI of langchain-openai: the two OpenAI clients it holds, one for each of sync and async.

langchain-openai shares one HTTP client between all its models; the guarded clone is this model's alone.
"""

from __future__ import annotations

from promptguard.sdks import openai
from promptguard.sdks.slots import Slot, is_kind

NAME = "langchain-openai"
_MODELS = frozenset(("BaseChatOpenAI",))
_CLIENTS = ("root_client", "root_async_client")

background_client = openai.background_client


def knows(client: object) -> bool:
    """Whether `client` is a chat model of langchain-openai."""
    return is_kind(client, _MODELS, "langchain_openai")


def can_route(client: object) -> bool:
    """Whether calls of both its clients may go to another model."""
    return all(openai.can_route(inner) for inner in _clients(client))


def can_shadow(client: object) -> bool:
    """Whether another model can be asked the same question with the credentials of both its clients."""
    return all(openai.can_shadow(inner) for inner in _clients(client))


def slots(client: object) -> tuple[Slot, ...]:
    """Return where the HTTP clients of its two OpenAI clients live."""
    return tuple(slot for inner in _clients(client) for slot in openai.slots(inner))


def _clients(client: object) -> list[object]:
    # Either may be missing: a model that was given only one HTTP client makes only that one.
    return [inner for name in _CLIENTS if (inner := getattr(client, name, None)) is not None]
