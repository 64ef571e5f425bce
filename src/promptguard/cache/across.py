"""Single flight between processes: of equal calls anywhere, one goes upstream.

Within a process it is as `SingleFlight` says. The one that leads there claims the question before it asks; where another
process holds the claim, it waits until the claim is gone, and then finds the answer in the store, or asks itself. A claim
that its holder does not renew lapses within seconds, so a process that dies stops nobody.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from typing import Protocol

from promptguard.cache.single_flight import MOST_FAILURES, SharedCall, SingleFlight
from promptguard.core.effects import Joined, Outcome
from promptguard.core.model import StoredReply

FIRST_LOOK, LONGEST_LOOK = 0.005, 0.1
"""Seconds between looks whether another process has its answer."""


class Claiming(Protocol):
    """What a cache offers that other processes share. Neither raises, and neither takes longer than a lookup."""

    def claim(self, key: str) -> tuple[bool, str]:
        """Return whether the caller asks for `key`, and what lies there: "" where that cannot be told."""

    def release(self, key: str, token: str, *, unshared: bool) -> None:
        """Give a claim up, after what was put before is there for all; does not wait."""


class AcrossProcesses(SingleFlight):
    """The calls on their way here, and those of other processes as far as `claims` can tell."""

    def __init__(
        self,
        claims: Claiming,
        tidy: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(tidy, clock)
        self._claims = claims
        self._tokens: dict[int, tuple[str, str]] = {}
        """id of a leader → key and token of its claim"""

    def join(self, keys: tuple[str, ...], seconds: float) -> Joined:
        """Do as `SingleFlight.join` does, and as a leader wait for another process that asks the same."""
        deadline = self._clock() + seconds
        joined = super().join(keys, seconds)
        if not isinstance(joined.leader, SharedCall):
            return joined
        try:
            for moment in self._turns(joined.leader, deadline):
                time.sleep(moment)
        except BaseException:
            self.complete(joined.leader, None, "gone")
            raise
        return joined

    async def join_async(self, keys: tuple[str, ...], seconds: float) -> Joined:
        """Do as `join` does, without blocking the loop."""
        deadline = self._clock() + seconds
        joined = await super().join_async(keys, seconds)
        if not isinstance(joined.leader, SharedCall):
            return joined
        try:
            for moment in self._turns(joined.leader, deadline):
                await asyncio.sleep(moment)
        except BaseException:  # cancelled while it waited, for one
            self.complete(joined.leader, None, "gone")
            raise
        return joined

    def complete(self, leader: object, reply: StoredReply | None, outcome: Outcome) -> None:
        """End a call here, and let other processes go on."""
        super().complete(leader, reply, outcome)
        held = self._tokens.pop(id(leader), None)
        if held is not None:
            self._claims.release(*held, unshared=outcome == "unsaved")

    def after_fork(self) -> None:
        """Begin empty in a child process: claims are the parent's."""
        super().after_fork()
        self._tokens = {}

    def _turns(self, leader: SharedCall, deadline: float) -> Generator[float, None, None]:
        """Yield how long to wait before the next look, until the leader is free to look up and ask."""
        moment, seen = FIRST_LOOK, set[str]()
        while True:
            ours, found = self._claims.claim(leader.key)
            if ours:
                self._tokens[id(leader)] = leader.key, found
                return
            seen.add(found)
            left = deadline - self._clock()
            # Nobody can be asked, the answer may not be shared, or others fail one after the other: as if alone.
            if len(found) <= 1 or len(seen) > MOST_FAILURES or left <= 0:
                return
            yield min(moment, left)
            moment = min(2 * moment, LONGEST_LOOK)
