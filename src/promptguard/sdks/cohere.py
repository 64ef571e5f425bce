"""The cohere package, over httpx: its clients keep their HTTP client three objects deep."""

from __future__ import annotations

from promptguard.sdks.slots import Slot, is_kind, over_http, within

NAME = "cohere"
_CLIENTS = frozenset(("BaseCohere", "AsyncBaseCohere"))


def knows(client: object) -> bool:
    """Whether `client` is one of this package's, sync or async, or a subclass."""
    return is_kind(client, _CLIENTS, "cohere")


def can_route(client: object) -> bool:  # noqa: ARG001 - the interface of families
    """Return True: the model is named in an unsigned body."""
    return True


can_shadow = can_route
background_client = over_http


def slots(client: object) -> tuple[Slot, ...]:
    """Return where its HTTP client lives."""
    return (Slot(within(client, "_client_wrapper.httpx_client"), "httpx_client"),)
