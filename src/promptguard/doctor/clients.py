"""One client of the application: whether it is wrapped, and what can be done with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from promptguard import sdks
from promptguard.doctor.findings import Finding
from promptguard.unknown_clients import unknown, what

if TYPE_CHECKING:
    from promptguard.sdks.slots import Slot


def client(given: object) -> Iterator[Finding]:
    """Look at a client of an SDK."""
    from promptguard.http.transport import original_of

    family = sdks.family_of(given)
    if family is None:
        yield Finding("client", "broken", unknown(given, "look at"))
        return
    slots = family.slots(given)
    if not slots:
        yield Finding(
            "client",
            "broken",
            f"this version of {family.NAME} does not talk through httpx or httpx2: use a newer one",
        )
        return
    if all(original_of(slot.http) is not None for slot in slots):
        yield Finding("client", "ok", f"{what(given)} of {family.NAME} is wrapped")
    else:
        yield Finding(
            "client",
            "warning",
            f"{what(given)} of {family.NAME} is not wrapped: promptguard.wrap(client, ...)",
        )
    for name, works in (("shadow=", family.can_shadow(given)), ("Route", family.can_route(given))):
        if not works:
            yield Finding("client", "ok", f"{name} cannot name another model here (a signed body)")
    for slot in slots:
        yield from _background(slot)


def _background(slot: Slot) -> Iterator[Finding]:
    from promptguard.background_clients import obstacles_of

    found = obstacles_of(slot.http)
    if found:
        text = f"background calls cannot be made as this client makes them: {'; '.join(found)}"
        yield Finding("client", "warning", f"{text}; give Shadow(client=...) or Replay(client=...)")
    else:
        yield Finding("client", "ok", "a client for background calls can be built from its settings")
