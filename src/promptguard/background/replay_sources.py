"""Who asks a stored request again: a client for the same server, authorized as the call was."""

from __future__ import annotations

import math
import threading
import weakref
from collections import OrderedDict
from typing import TYPE_CHECKING

from promptguard.core.key import principal
from promptguard.core.model import Headers, Request

if TYPE_CHECKING:
    from promptguard.background.asker import Asker

MOST_GONE = 16
"""Sources of clients that are gone which are served on; each may hold a connection."""
MOST_SOURCES = 1024


def source_of(request: Request, asker: Asker) -> str:
    """Name who may ask a stored request again: the same server with the same credential."""
    return f"{request.origin}|{principal(request, asker.secret)[:16]}"


class Sources:
    """Who may ask stored requests again, by the name that `source_of` gives: an Asker, and what it was authorized by.

    Credentials stay in memory. A client that lives serves all its sources; of clients that are gone the last MOST_GONE
    sources are served on, by Askers that nothing else keeps alive. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._living: dict[str, tuple[weakref.ref[Asker], Headers]] = {}
        self._kept: OrderedDict[str, Asker] = OrderedDict()

    def learn(self, source: str, asker: Asker, who: Headers, at: float = math.inf) -> None:
        """Remember that `asker` may ask for `source`, as of a call made `at` (Unix seconds); the newest one does."""
        asker.client  # noqa: B018 - made now: until then it holds the application's client
        with self._lock:
            if at < asker.retired_at:
                return
            self._living[source] = weakref.ref(asker), who
            self._kept[source] = asker
            self._kept.move_to_end(source)
            while len(self._kept) > MOST_GONE:
                self._kept.popitem(last=False)
            if len(self._living) > MOST_SOURCES:
                self._living = {name: found for name, found in self._living.items() if found[0]() is not None}

    def forget(self, asker: Asker, now: float) -> None:
        """Ask for this client no more: it was unwrapped, or wrapped anew."""
        with self._lock:
            asker.retired_at = now
            self._living = {name: found for name, found in self._living.items() if found[0]() is not asker}
            self._kept = OrderedDict((name, kept) for name, kept in self._kept.items() if kept is not asker)

    def by_asker(self) -> list[tuple[Asker, dict[str, Headers]]]:
        """Return the sources of each Asker that still is."""
        found: dict[int, tuple[Asker, dict[str, Headers]]] = {}
        with self._lock:
            for source, (reference, who) in self._living.items():
                asker = reference()
                if asker is not None:
                    found.setdefault(id(asker), (asker, {}))[1][source] = who
        return list(found.values())
