"""The batched background writer: whoever puts a row never waits, and never learns of a full disk.

Rows are committed in batches by one daemon thread. While the store cannot be written the writer holds what fits its
bound, drops the oldest beyond it, counts every drop and tries again.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from promptguard.directories import Database
from promptguard.ledger.room import NOT_DRAINED
from promptguard.ledger.rows import PairRow
from promptguard.ledger.spool import Numbered, Spool, left_behind, spool_directory
from promptguard.ledger.store import HOUR, Ledger
from promptguard.ledger.trouble import LedgerUnavailable
from promptguard.lifetime.threads import OnFault, supervised

BATCH, BATCH_ELSEWHERE = 200, 1000
"""Pairs of one commit: where there is a network between, and other writers wait for a commit, it is more of them."""
BOUND = 20_000
RETRY_SECONDS = 1.0
GAP_SECONDS = 0.1
"""Commits come at most this often, but for flushes: a single pair is written at once, many in a row together."""
SUMS_SECONDS = 0.5
"""How often sums are written, at most; pairs are written at once."""
SUMS_WAIT = 2.0
"""Seconds that a flush waits for them, at most, once its pairs are kept."""
PATIENCE = 5.0
"""Seconds that a ledger which cannot be written is tried for at the end."""
MOST_IDENTITIES = 64
OTHERS = "(others)"

Sightings = dict[tuple[int, tuple[str, ...]], tuple[float, float, int]]
"""(hour, who) → (first at, last at, calls)"""
Counts = dict[tuple[str, str], float]
"""(name, label) → how often"""
Spent = dict[tuple[str, str], tuple[int, float]]
"""(day, purpose) → (calls, USD)"""


class Writer:
    """Commits pairs, counters and sightings of one process; `on_commit` is told after each batch with pairs."""

    def __init__(
        self,
        ledger: Ledger,
        on_commit: Callable[[], None],
        on_fault: OnFault,
        is_full: Callable[[], bool] = lambda: False,
    ) -> None:
        """`is_full` says whether pairs are counted alone, as the ledger has no room for more."""
        self._ledger = ledger
        self._is_full = is_full
        self._on_commit = on_commit
        self._on_fault = on_fault
        self._pairs: deque[Numbered] = deque()
        self._numbers = itertools.count(1)
        self._source = uuid.uuid4().hex
        place = ledger.place
        self._waiting_room = spool_directory(place) if isinstance(place, Database) else None
        """where pairs wait while a ledger that is elsewhere cannot be written"""
        self._spool = Spool(self._waiting_room, self._source) if self._waiting_room else None
        self._most = BATCH_ELSEWHERE if self._spool else BATCH
        self._adopts = self._spool is not None
        """what processes before this one have left is still to be looked for"""
        self._counts: Counts = {}
        self._sightings: Sightings = {}
        self._spent: Spent = {}
        self._known: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
        """(server, name asked) → who answered to it within `_known_hour`"""
        self._known_hour = 0
        self._wake = threading.Condition()
        self._busy = False
        self._unwritten: list[Numbered] = []
        """what the thread has taken and is neither in the ledger nor in the spool yet"""
        self._spooling = threading.Lock()
        self._left = False
        """whatever was not acknowledged is in the spool, and this process goes"""
        self._hurry = False
        self._closed = False
        self._summed = self._committed = -math.inf
        self._give_up = math.inf
        self.dropped = 0
        self._flushed = 0
        """of those, how many a flush has told of"""
        self._thread = supervised("promptguard-ledger", self._run, on_fault)
        self._thread.start()

    def put_pair(self, row: PairRow) -> None:
        """Queue one pair; beyond the bound the oldest is dropped and counted."""
        with self._wake:
            if len(self._pairs) >= BOUND:
                self._pairs.popleft()
                self.dropped += 1
            self._pairs.append(Numbered(next(self._numbers), row))
            self._wake.notify()

    def count(self, name: str, label: str, amount: float = 1.0) -> None:
        """Add to a counter; written with the next batch."""
        with self._wake:
            self._counts[name, label] = self._counts.get((name, label), 0.0) + amount

    def spend(self, day: str, purpose: str, calls: int, usd: float) -> None:
        """Add to what was spent on a day (UTC) for a purpose, in USD; written with the next batch."""
        with self._wake:
            known = self._spent.get((day, purpose), (0, 0.0))
            self._spent[day, purpose] = known[0] + calls, known[1] + usd

    def note_sighting(self, who: tuple[str, ...], at: float) -> None:
        """Record that `who` (as `Ledger.note_sightings` names it) answered at a moment; written with the next batch.

        A server that calls itself something new with every answer is told as OTHERS from MOST_IDENTITIES an hour on.
        """
        with self._wake:
            _add_sighting(self._sightings, self._bounded(who, int(at // HOUR)), (at, at, 1))

    def _bounded(self, who: tuple[str, ...], hour: int) -> tuple[str, ...]:
        if hour != self._known_hour:
            self._known_hour, self._known = hour, {}
        place, said = who[:2], who[2:]
        known = self._known.setdefault(place, set())
        if said in known or len(known) < MOST_IDENTITIES:
            known.add(said)
            return who
        return (*place, *(OTHERS if name else "" for name in said))

    def flush(self, timeout: float) -> bool:
        """Wait until everything put so far is committed.

        False when that took longer than `timeout` seconds, and where a pair was dropped since the last flush.
        """
        with self._wake:
            self._hurry = True
            self._wake.notify_all()
            written = self._wake.wait_for(lambda: not self._pending() and not self._busy, timeout)
            dropped, self._flushed = self.dropped - self._flushed, self.dropped
            return written and not dropped

    def flush_pairs(self, timeout: float) -> bool:
        """Wait until every pair put so far outlives this process: in the ledger, or in the spool where that is away.

        False when that took longer than `timeout` seconds, and where a pair was dropped since the last flush.
        """
        with self._wake:
            self._hurry = True
            self._wake.notify_all()
            began = time.monotonic()
            kept = self._wake.wait_for(lambda: not self._pairs and not self._unwritten, timeout)
            # Sums are written behind the pairs: what was spent, who answered. They wait for a ledger that is away.
            left = min(SUMS_WAIT, timeout - (time.monotonic() - began))
            self._wake.wait_for(lambda: self._is_spooled or not self._has_sums(), max(0.0, left))
            dropped, self._flushed = self.dropped - self._flushed, self.dropped
            return kept and not dropped

    def leave(self) -> None:
        """Put into the spool what the ledger has not acknowledged, as the process goes: it may hang for longer than that.

        What it has all the same is known by its number. Nothing is written any more after it; nothing is done where there
        is no spool.
        """
        if self._spool is None:
            return
        with self._spooling:
            self._left = True  # from here on the thread leaves to this one what it has
        with self._wake:
            waits = [*self._unwritten, *self._pairs]
            self._pairs.clear()
            self._wake.notify_all()
        if not waits:
            return
        with self._spooling:
            try:
                self.dropped += len(waits) - self._spool.put(waits)
            except OSError as error:
                self._on_fault("spool", error)

    def stop(self) -> None:
        """Commit what is there, then end the thread, at the latest after PATIENCE seconds; returns at once."""
        with self._wake:
            self._closed = self._hurry = True
            self._give_up = min(self._give_up, time.monotonic() + PATIENCE)
            self._wake.notify_all()

    def join(self, deadline: float) -> None:
        """Wait for the thread's end, until `deadline` (monotonic seconds) at most."""
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def close(self, timeout: float) -> None:
        """Commit what is there, for at most `timeout` seconds, and end the thread."""
        self.stop()
        self.join(time.monotonic() + timeout)

    def _pending(self) -> bool:
        return bool(self._pairs or self._counts or self._sightings or self._spent or self._is_spooled)

    def _has_sums(self) -> bool:
        return bool(self._busy or self._counts or self._sightings or self._spent)

    @property
    def _is_spooled(self) -> bool:
        return self._spool is not None and self._spool.is_waiting

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._pairs or self._closed or self._hurry, timeout=0.5)
                gap = GAP_SECONDS - (time.monotonic() - self._committed)
                if gap > 0.0:
                    self._wake.wait_for(self._must_hurry, gap)
                hurry, self._hurry = self._hurry or self._closed, False
                if self._left or (self._closed and (not self._pending() or self._leaves())):
                    break
                if not self._pending() and not self._adopts:
                    continue
                most = len(self._pairs) if self._is_spooled else self._most
                batch = [self._pairs.popleft() for _ in range(min(most, len(self._pairs)))]
                self._unwritten = [*batch]
                counts, sightings, spent = self._take_sums(hurry=hurry)
                self._busy = True
            self._commit(batch, counts, sightings, spent)
            with self._wake:
                self._committed = time.monotonic()
                self._busy = False
                if not self._left:
                    self._unwritten = []
                self._wake.notify_all()
        if self._spool is not None:
            with self._spooling:
                self._spool.close()

    def _leaves(self) -> bool:
        """Whether nothing is left to do but what the next process can do as well."""
        return time.monotonic() >= self._give_up and not self._pairs

    def _must_hurry(self) -> bool:
        return self._hurry or self._closed or len(self._pairs) >= BATCH

    def _take_sums(self, *, hurry: bool) -> tuple[Counts, Sightings, Spent]:
        """Take counters, sightings and spending, now and then: meanwhile no pair is written, and pairs are paid for."""
        now = time.monotonic()
        if not hurry and now - self._summed < SUMS_SECONDS:
            return {}, {}, {}
        self._summed = now
        taken = self._counts, self._sightings, self._spent
        self._counts, self._sightings, self._spent = {}, {}, {}
        return taken

    def _commit(self, batch: list[Numbered], counts: Counts, sightings: Sightings, spent: Spent) -> None:
        try:
            if batch or self._is_spooled or self._adopts:
                self._deliver(batch)
                batch = []
                self._on_commit()
            if spent:
                self._ledger.add_spending(spent)
                spent = {}
            if counts:
                self._ledger.count(counts)
                counts = {}
            for hour in sorted({hour for hour, _ in sightings}):
                self._ledger.note_sightings(
                    {who: seen for (at, who), seen in sightings.items() if at == hour}
                )
                sightings = {place: seen for place, seen in sightings.items() if place[0] != hour}
        except BaseException as error:  # noqa: BLE001 - a full disk is an event, not the end of the thread
            self._on_fault("ledger", error)
            self._keep_for_later(batch, counts, sightings, spent)

    def _deliver(self, batch: list[Numbered]) -> None:
        """Write a batch, behind all that waits on disk; `batch` is emptied of what is written, or waits there now."""
        if self._is_spooled:
            self._put_aside(batch)
        else:
            try:
                self._write(batch, self._source)
            except LedgerUnavailable:
                self._put_aside(batch)
                raise
            with self._wake:
                self._unwritten = []
                self._wake.notify_all()
        if self._spool is not None and self._waiting_room is not None:
            self._drain(self._spool)
            if self._adopts:
                self._adopt(self._waiting_room)

    def _put_aside(self, batch: list[Numbered]) -> None:
        """Keep pairs on disk; where that fails they stay in memory."""
        if self._spool is None or not batch:
            return
        with self._spooling:
            if self._left:
                batch.clear()
                return
            try:
                self.dropped += len(batch) - self._spool.put(batch)
            except OSError as error:
                self._on_fault("spool", error)
                return
            self._unwritten = []
        batch.clear()
        with self._wake:
            self._wake.notify_all()

    def _drain(self, spool: Spool) -> None:
        while spool.is_waiting:
            with self._spooling:
                if self._left:
                    return
                rows, at = spool.next(self._most)
            if rows:
                self._write(rows, spool.source)
            with self._spooling:
                spool.delivered(at)

    def _adopt(self, directory: Path) -> None:
        """Deliver what processes have left that are gone, in their names."""
        for spool in left_behind(directory, self._source):
            try:
                self._drain(spool)
            finally:
                spool.close()
        self._adopts = False

    def _write(self, batch: list[Numbered], source: str) -> None:
        """Write a batch; one that the store refuses, though it is well, is written row by row without the bad ones."""
        if not batch:
            return
        try:
            self._write_all(batch, source)
        except Exception as error:
            if not self._ledger.refuses_row(error):
                raise  # locked, full, damaged, away: the rows are fine and wait
            self._on_fault("ledger", error)
            while batch:  # emptied as it goes: what is written must not be kept for later as well
                try:
                    self._write_all(batch[:1], source)
                except Exception as refused:
                    if not self._ledger.refuses_row(refused):
                        raise
                    self.dropped += 1
                    self._on_fault("ledger row", refused)
                del batch[0]

    def _write_all(self, batch: Sequence[Numbered], source: str) -> None:
        rows, numbers = [each.row for each in batch], [each.number for each in batch]
        if self._is_full():
            self._ledger.lose_pairs(rows, NOT_DRAINED, source, numbers)
        else:
            self._ledger.write_pairs(rows, source, numbers)

    def _keep_for_later(
        self, batch: list[Numbered], counts: Counts, sightings: Sightings, spent: Spent
    ) -> None:
        with self._wake:
            if self._left:
                return
            for (day, purpose), (calls, usd) in spent.items():
                known = self._spent.get((day, purpose), (0, 0.0))
                self._spent[day, purpose] = known[0] + calls, known[1] + usd
            self._pairs.extendleft(reversed(batch))
            self._unwritten = []
            for name, amount in counts.items():
                self._counts[name] = self._counts.get(name, 0.0) + amount
            for (_, who), seen in sightings.items():
                _add_sighting(self._sightings, who, seen)
            if time.monotonic() >= self._give_up:
                left = [*self._pairs]
                self._put_aside(left)
                self.dropped += len(left)
                self._pairs.clear()
                self._counts.clear()
                self._sightings.clear()
                self._spent.clear()
            else:
                self._wake.wait(RETRY_SECONDS / 10 if self._closed else RETRY_SECONDS)


def _add_sighting(sightings: Sightings, who: tuple[str, ...], seen: tuple[float, float, int]) -> None:
    hour = int(seen[0] // HOUR)
    first, last, calls = sightings.get((hour, who), (*seen[:2], 0))
    sightings[hour, who] = (min(first, seen[0]), max(last, seen[1]), calls + seen[2])
