"""The mistralai package, majors 1 (httpx) and 3 (httpx2): one client object for sync and async calls."""

from __future__ import annotations

from promptguard.sdks.slots import Slot, is_kind, over_http, within

NAME = "mistralai"
_CLIENTS = frozenset(("Mistral",))


def knows(client: object) -> bool:
    """Whether `client` is one of this package's, sync or async, or a subclass."""
    return is_kind(client, _CLIENTS, "mistralai")


def can_route(client: object) -> bool:  # noqa: ARG001 - the interface of families
    """Return True: the model is named in an unsigned body."""
    return True


can_shadow = can_route
background_client = over_http


def slots(client: object) -> tuple[Slot, ...]:
    """Return where its HTTP clients live: both, for one object makes both kinds of calls."""
    both = tuple(Slot(within(client, "sdk_configuration"), name) for name in ("client", "async_client"))
    return tuple(slot for slot in both if slot.http is not None)
