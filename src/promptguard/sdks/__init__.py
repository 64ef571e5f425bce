"""One module an SDK family: which clients it knows, where their HTTP clients live, how to ask again without the guard.

A module has NAME and the functions `knows`, `slots`, `can_route` (the application's own call may go to another model:
it is named in an unsigned body), `can_shadow` (another model can be asked in the background), and `twin` where asking
again takes more than the same HTTP request with another body: a signature, or credentials that run out.
"""

from __future__ import annotations

from types import ModuleType

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

FAMILIES: tuple[ModuleType, ...] = (
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


def family_of(client: object) -> ModuleType | None:
    """Return the module that knows `client`, judged by its class, without importing any SDK."""
    return next((family for family in FAMILIES if family.knows(client)), None)
