"""The ollama package, over httpx."""

from __future__ import annotations

from promptguard.sdks.slots import Slot, is_kind, over_http

NAME = "ollama"
_CLIENTS = frozenset(("Client", "AsyncClient"))


def knows(client: object) -> bool:
    """Whether `client` is one of this package's, sync or async, or a subclass."""
    return is_kind(client, _CLIENTS, "ollama")


def can_route(client: object) -> bool:  # noqa: ARG001 - the interface of families
    """Return True: the model is named in an unsigned body."""
    return True


can_shadow = can_route
background_client = over_http


def slots(client: object) -> tuple[Slot, ...]:
    """Return where its HTTP client lives."""
    return (Slot(client, "_client"),)
