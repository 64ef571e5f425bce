"""The google-genai package, majors 1 (httpx) to 3 (httpx2): one client object for sync and async calls.

Two peculiarities. An asynchronous HTTP client of the SDK's own sends through one inner client per event loop, so the
guard must go around those. And asynchronous calls bypass it through aiohttp where that is installed: a guarded client
uses the SDK's own httpx path instead, which is what it uses without aiohttp.
"""

from __future__ import annotations

from dataclasses import dataclass

from promptguard.sdks.slots import Slot, over_http, within

NAME = "google-genai"
_PER_LOOP = "_client_for_running_loop"
_CHOICE = "_use_aiohttp"


def knows(client: object) -> bool:
    """Whether `client` is a google.genai.Client or a subclass; other clients of Google's have the same name."""
    return any(
        base.__name__ == "Client" and base.__module__.startswith("google.genai.")
        for base in type(client).__mro__
    )


def can_route(client: object) -> bool:  # noqa: ARG001 - the interface of families
    """Return True: the model is named in the URL, which is not signed."""
    return True


can_shadow = can_route
background_client = over_http


def slots(client: object) -> tuple[Slot, ...]:
    """Return where its HTTP clients live; there is no asynchronous one where google-auth's own session is used."""
    api = within(client, "_api_client")
    both = (Slot(api, "_httpx_client"), AsyncSlot(api, "_async_httpx_client", _PER_LOOP))
    return tuple(slot for slot in both if getattr(slot.owner, slot.name, None) is not None)


@dataclass(frozen=True, slots=True)
class AsyncSlot(Slot):
    """The asynchronous HTTP client, and the SDK's choice between it and aiohttp."""

    def put(self, http: object) -> None:
        """Put a guarded client there, and have the SDK use it."""
        Slot.put(self, http)
        setattr(self.owner, _CHOICE, _never)

    def restore(self, http: object) -> None:
        """Put the SDK's own client back, and leave it the choice again."""
        Slot.put(self, http)
        vars(self.owner).pop(_CHOICE, None)


def _never() -> bool:
    return False
