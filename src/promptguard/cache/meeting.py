"""What processes that share a store tell each other: who asks for what at this moment, and which models have changed.

Both are hints. Where nobody can be told, each process asks for itself, and goes by the alarms of its own ledger.
"""

from __future__ import annotations

import functools
import secrets
import threading
from collections.abc import Callable, Mapping
from hashlib import blake2b

from promptguard.cache.contract import Meeting
from promptguard.core.epochs import EVERY_GROUP

CLAIM_S = 5.0
"""How long a claim outlives its holder: what others wait for an answer that a dead process had asked for."""
LONGEST_CLAIM_S = 120.0
"""How long a claim is renewed: whoever holds one longer may have forgotten it, and others ask for themselves."""
UNSHARED_S = 1.0
"""How long it is remembered that an answer came that may not be shared."""
UNSHARED = "-"

Told = tuple[bytes, Mapping[tuple[str, str], int]]
"""The identity of a ledger, empty before it is known, and how often it has found each (group, model) changed."""


class Claims:
    """The questions that this process has claimed, by token."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._held: dict[tuple[str, str], float] = {}
        """(key, token) → when it was claimed"""
        self._lock = threading.Lock()

    def claim(self, store: Meeting, key: str) -> tuple[bool, str]:
        """Return whether `key` is claimed for this caller, and the token that lies there."""
        token = secrets.token_hex(16)
        found = store.claim(key, token, CLAIM_S)
        if found == token:
            with self._lock:
                self._held[key, token] = self._clock()
        return found == token, found

    def release(self, store: Meeting, key: str, token: str, *, unshared: bool) -> None:
        """Let others ask for `key`; `unshared`: each for itself, as the answer may not be shared."""
        self.forget(key, token)
        store.release(key, token, UNSHARED if unshared else "", UNSHARED_S)

    def forget(self, key: str, token: str) -> None:
        """Renew a claim no more."""
        with self._lock:
            self._held.pop((key, token), None)

    def renew(self, store: Meeting) -> None:
        """Hold what is held for another while."""
        now = self._clock()
        with self._lock:
            held = list(self._held.items())
        for (key, token), since in held:
            if now - since > LONGEST_CLAIM_S:
                self.forget(key, token)
            else:
                store.renew(key, token, CLAIM_S)


class SharedEpochs:
    """How often each (group, model) was found changed, by this process's ledgers and by those of others.

    Numbers only grow: an entry is old when its own number is below the one that stands when it is asked for.
    """

    def __init__(self, secret: bytes) -> None:
        self._digest = functools.lru_cache(maxsize=1024)(functools.partial(_digest, secret))
        self._known: Mapping[str, int] = {}
        self._sources: dict[str, Callable[[], Told]] = {}
        self._told: dict[str, Told] = {}

    def of(self, group: str, model: str) -> int:
        """Return the number that holds now."""
        if not self._known:
            return 0
        own, all_groups = self._digest(group, model), self._digest(EVERY_GROUP, model)
        return self._known.get(own, 0) + self._known.get(all_groups, 0)

    def follow(self, name: str, read: Callable[[], Told]) -> None:
        """Tell others what a ledger finds; `read` returns it, a new mapping whenever it has changed."""
        self._sources[name] = read

    def exchange(self, store: Meeting) -> None:
        """Tell what is new here, and learn what others told."""
        for name, read in list(self._sources.items()):
            told = identity, found = read()
            before = self._told.get(name)
            if not identity or not found or (before and before[0] == identity and before[1] is found):
                continue
            store.tell_epochs(identity.hex(), {self._digest(*place): count for place, count in found.items()})
            self._told[name] = told
        known = store.epochs()
        if known is None:
            return
        if any(known.get(place, 0) < count for place, count in self._known.items()):
            self._told.clear()  # the store was emptied: it is told once more
        places = {*known, *self._known}
        self._known = {place: max(known.get(place, 0), self._known.get(place, 0)) for place in places}


def _digest(secret: bytes, group: str, model: str) -> str:
    text = f"{len(group)}:{group}{model}".encode("utf-8", "surrogatepass")
    return blake2b(text, key=secret[:64], digest_size=16).hexdigest()
