"""One module an SDK family: which clients it knows, where their HTTP clients live, how to ask again without the guard."""

from __future__ import annotations

from types import ModuleType

from promptguard.sdks import langchain, openai

FAMILIES: tuple[ModuleType, ...] = (openai, langchain)


def family_of(client: object) -> ModuleType | None:
    """Return the module that knows `client`, judged by its class, without importing any SDK."""
    return next((family for family in FAMILIES if family.knows(client)), None)
