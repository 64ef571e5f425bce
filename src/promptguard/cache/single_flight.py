"""Single flight: equal calls at the same moment make one call upstream, and share its answer.

One call leads; the others wait, threads on an event, tasks on a future of their own loop. Nobody waits for ever and
nobody depends on the leader's good behaviour: a leader that fails, is cancelled or vanishes lets one of the waiting
take over, each waits no longer than its own timeout, and a released follower makes its own upstream call, as if unwrapped
(docs/decisions/0012-single-flight.md).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

from promptguard.core.effects import ALONE, Joined, Outcome
from promptguard.core.model import StoredReply
from promptguard.lifetime.forks import survive_fork

MOST_FAILURES = 2
"""Leaders in a row that may fail before those who wait are let go: during an outage they must not queue up."""
WOKEN_AT_ONCE = 64
FIRST_LOOK, LONGEST_LOOK = 0.25, 2.0
"""Seconds between looks for leaders whose answers were dropped unread."""


class SharedCall:
    """One call upstream, and who waits for it."""

    __slots__ = ("event", "failures", "futures", "key", "loop", "outcome", "owner", "reply", "stood_at")

    def __init__(
        self, key: str, owner: object, failures: int, loop: asyncio.AbstractEventLoop | None
    ) -> None:
        self.key = key
        self.owner = owner
        self.loop = loop
        """the leader's, where it is a task"""
        self.stood_at: float | None = None
        """when the leader's loop was first seen not to run (monotonic seconds); None where it has gone on since"""
        self.failures = failures
        self.reply: StoredReply | None = None
        self.outcome: Outcome | None = None
        self.event = threading.Event()
        self.futures: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}

    def stands_still(self) -> bool:
        """Whether the leader is a task of a loop that nobody has run for a while: it may never go on.

        A loop that is run now and then, such as beside a window's own, does what it was given meanwhile. Asked by
        everyone who waits, so it is time that counts, and not how often it was asked.
        """
        if self.loop is None or self.loop.is_running():
            self.stood_at = None
            return False
        now = time.monotonic()
        if self.stood_at is not None:
            return now - self.stood_at >= FIRST_LOOK
        self.stood_at = now
        try:
            self.loop.call_soon_threadsafe(setattr, self, "stood_at", None)
        except RuntimeError:  # it is closed
            return True
        return False


class SingleFlight:
    """The calls on their way, by key. `tidy` finishes answers that were dropped unread; it is run while waiting."""

    def __init__(
        self, tidy: Callable[[], None] = lambda: None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tidy = tidy
        self._clock = clock
        self._lock = threading.Lock()
        self._calls: dict[str, SharedCall] = {}
        survive_fork(self)

    def __len__(self) -> int:
        return len(self._calls)

    def join(self, keys: tuple[str, ...], seconds: float) -> Joined:
        """Lead the first of `keys` that is free, or wait on this thread for the last of them, at most `seconds`."""
        if _loop() is not None:  # a synchronous call on a loop's thread: to wait could be to wait for oneself
            return ALONE
        me, deadline, failures = threading.current_thread(), self._clock() + seconds, 0
        while True:
            found = self._enter(keys, me, failures)
            if isinstance(found, Joined):
                return found
            for moment in self._moments(deadline):
                if found.event.wait(moment):
                    break
                self._look_for(found)
            decided = _decided(found)
            if decided is not None:
                return decided
            failures = found.failures

    async def join_async(self, keys: tuple[str, ...], seconds: float) -> Joined:
        """Do as `join` does, without blocking the loop; alone where the loop is not asyncio's."""
        loop = _loop()
        if loop is None:
            return ALONE
        me, deadline, failures = asyncio.current_task(), self._clock() + seconds, 0
        while True:
            found = self._enter(keys, me, failures, loop)
            if isinstance(found, Joined):
                return found
            future = self._future(found, loop)
            if future is not None:
                await asyncio.wait((future,), timeout=max(0.0, deadline - self._clock()))
            decided = _decided(found)
            if decided is not None:
                return decided
            failures = found.failures

    def complete(self, leader: object, reply: StoredReply | None, outcome: Outcome) -> None:
        """End the call of a `SharedCall` and wake who waits; only the first call counts."""
        assert isinstance(leader, SharedCall)  # noqa: S101 - of `join`, and opaque to who brings it back
        with self._lock:
            if leader.outcome is not None:
                return
            leader.reply, leader.outcome = reply, outcome
            leader.failures += outcome == "failed"
            if self._calls.get(leader.key) is leader:
                del self._calls[leader.key]
            futures, leader.futures = leader.futures, {}
        leader.event.set()
        for loop, waiting in futures.items():
            with suppress(RuntimeError):  # the loop is closed, and so is whoever waited on it
                loop.call_soon_threadsafe(_wake, loop, waiting)

    def after_fork(self) -> None:
        """Begin empty in a child process: who led and who waited is the parent's."""
        self._lock = threading.Lock()
        self._calls = {}

    def _enter(
        self,
        keys: tuple[str, ...],
        me: object,
        failures: int,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> SharedCall | Joined:
        with self._lock:
            for key in keys:
                if key not in self._calls:
                    call = self._calls[key] = SharedCall(key, me, failures, loop)
                    return Joined(key=key, leader=call)
            call = self._calls[keys[-1]]
            # Who leads and asks the same again before its answer is read would wait for itself.
            return ALONE if call.owner == me else call

    def _future(self, call: SharedCall, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None] | None:
        with self._lock:
            if call.outcome is not None:
                return None
            if loop not in call.futures:
                call.futures[loop] = []
                loop.call_later(FIRST_LOOK, self._look, call, loop, FIRST_LOOK)
            future = loop.create_future()
            call.futures[loop].append(future)
            return future

    def _look(self, call: SharedCall, loop: asyncio.AbstractEventLoop, moment: float) -> None:
        """Look for leaders that are gone while a call goes on: one timer for all who wait on a loop."""
        if call.outcome is None:
            self._look_for(call)
            moment = min(2 * moment, LONGEST_LOOK)
            loop.call_later(moment, self._look, call, loop, moment)

    def _look_for(self, call: SharedCall) -> None:
        """Finish answers that nobody reads any more, and a leader whose loop was left."""
        self._tidy()
        if call.stands_still():
            self.complete(call, None, "gone")

    def _moments(self, deadline: float) -> Iterator[float]:
        """Yield how long to wait next, longer each time, until the deadline."""
        moment = FIRST_LOOK
        while (left := deadline - self._clock()) > 0:
            yield min(moment, left)
            moment = min(2 * moment, LONGEST_LOOK)


def _decided(call: SharedCall) -> Joined | None:
    """Return how a call goes on after a wait; None when it should try to take over."""
    if call.reply is not None:
        return Joined(reply=call.reply)
    over = call.outcome not in {"failed", "gone"} or call.failures >= MOST_FAILURES
    return ALONE if over else None


def _wake(loop: asyncio.AbstractEventLoop, futures: list[asyncio.Future[None]]) -> None:
    """Wake who waits on a loop, some in each of its rounds: thousands at once would keep it from everything else."""
    for future in futures[:WOKEN_AT_ONCE]:
        future.set_result(None)  # asyncio.wait leaves it pending, also where its task was cancelled
    if len(futures) > WOKEN_AT_ONCE:
        del futures[:WOKEN_AT_ONCE]
        loop.call_soon(_wake, loop, futures)


def _loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
