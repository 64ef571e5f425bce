"""The evaluator: verdicts are a fold over the ledger's pairs, in the order in which they were committed.

One process a ledger folds, under a lease; the others learn of alarms from what it notes. A restart, or another process
that takes over, goes on from the last snapshot (`snapshots`), or folds anew from the first pair, to the same state bit for
bit.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from promptguard.background import snapshots
from promptguard.background.aging import Aging, Refusals
from promptguard.background.folding import WHOLE, Fold, Row
from promptguard.background.ringing import LeaseLost, Ringer
from promptguard.background.telling import Teller
from promptguard.core.events import Event, VerdictGiven
from promptguard.core.options import Drift
from promptguard.ledger.folds import LONG_SLICE, SLICE, Folds, Told
from promptguard.ledger.retention import DAY, Retention, begin_day, forget, shrink
from promptguard.ledger.store import Ledger
from promptguard.ledger.trouble import LedgerUnavailable
from promptguard.lifetime import activity, forks
from promptguard.lifetime.threads import OnFault, supervised
from promptguard.report.freshness import Clock

if TYPE_CHECKING:
    from promptguard.background.acting import Acting

LEASE_SECONDS = 15.0
RENEW_SECONDS = 5.0
POLL_SECONDS = 2.0
LEASE = "evaluator"
WATCH_LEASE = "watch"
"""Held by the `promptguard watch` that is active for a ledger."""
TURN_SECONDS = 0.25
"""Turns come at most this often, but for flushes."""
FORK_SECONDS = (0.2, 1.0)
"""Judging begins so long after a fork, at random; what was noted of earlier alarms is read at once."""
FLUSH_LOOK = 0.1
WRITE_SECONDS = 1.0
"""Verdicts are written at most this often, but for alarms and flushes."""
SNAPSHOT_SECONDS = 30.0
SNAPSHOT_PAIRS = 500
"""A snapshot is taken after so many pairs, but not more often than SNAPSHOT_SECONDS."""
MOST_UNSAVED = 120
"""Pairs for each group that changed, after which a snapshot is taken whenever that is: saving a group costs about as much
as folding five."""
FORGET_FIRST_SECONDS, FORGET_SECONDS, FORGET_MORE_SECONDS = 60.0, 3600.0, 2.0
"""When what is too old is looked for: after the start, then every hour and as a day begins, sooner while there is more."""
MOST_SAVED_AT_END = 1000
"""Groups that are saved when the process ends; with more, the next one folds what the last snapshot has not."""


class Evaluator:
    """Folds pairs into one monitor a stream and epoch; rings alarms through `acting`.

    `before_end` runs in its thread before the last turn, `each_turn` before every turn.
    """

    def __init__(
        self,
        ledger: Ledger,
        drift: Drift,
        acting: Acting,
        *,
        holder: str,
        emit: Callable[[Event], None],
        on_fault: OnFault,
        before_end: Callable[[], None] = lambda: None,
        each_turn: Callable[[], None] = lambda: None,
        wall: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._folds = Folds(ledger)
        self._wanted = drift
        self._acting = acting
        self._lease = (LEASE, holder)
        self._ringer = Ringer(acting, self._lease, emit=emit, on_fault=on_fault)
        self._emit = emit
        self._on_fault = on_fault
        self._wall = wall
        self._before_end = before_end
        self._each_turn = each_turn
        self._identity = b""
        self._purged = 0
        self._fold = Fold(drift)
        self._teller = Teller(self._folds)
        self._aging = Aging(emit)
        self.refusals = Refusals(self._folds, wall)
        self._loaded = False
        self._written = self._saved = self._renewed = 0.0
        self._statuses: dict[tuple[str, int, str], str] = {}
        """(stream, epoch, group) → what telemetry was last told"""
        self.looked_at = time.monotonic()
        """when a turn last came to its end, with whatever result (monotonic seconds)"""
        self._since_saved = self._saved_id = 0
        self._forget_at = time.monotonic() + FORGET_FIRST_SECONDS
        self._pace = activity.Pace()
        self._held = False
        self._closed = False
        self._may_judge_at = time.monotonic() + random.uniform(*FORK_SECONDS) if forks.is_child() else 0.0
        self._ended_well = False
        """it has ended, with everything judged and written"""
        self._flushes = self._answered = 0
        self._progress = (0, 0)
        """the newest pair's id and the last one judged, when another process judges"""
        self._judged = False
        """the last turn folded and wrote everything, in this process"""
        self._wake = threading.Condition()
        self.ready = threading.Event()
        """the ledger was opened, and what it noted was read"""
        self._thread = supervised("promptguard-evaluator", self._run, on_fault)

    def start(self) -> None:
        """Begin folding."""
        self._thread.start()

    def wake(self) -> None:
        """There are new pairs."""
        with self._wake:
            self._wake.notify()

    def flush(self, timeout: float) -> bool:
        """Wait until everything committed is judged and written, here or by the process that holds the lease.

        False where it is not within `timeout` seconds, whatever the reason.
        """
        deadline = time.monotonic() + timeout
        target = 0
        while True:
            with self._wake:
                wanted = self._flushes = self._flushes + 1
                self._wake.notify_all()
                left = deadline - time.monotonic()
                if not self._wake.wait_for(partial(self._has_turned, wanted), max(0.0, left)):
                    return False
                if self._closed:
                    break
                if self._judged:
                    return True
                # What others go on to commit meanwhile is not waited for, or a busy ledger would never be flushed.
                newest, judged = self._progress
                target = target or newest
                if 0 < target <= judged:
                    return True
                self._wake.wait(min(FLUSH_LOOK, max(0.0, deadline - time.monotonic())))
            if time.monotonic() >= deadline:
                return False
        # It is on its way out, after its last client, and judges everything before it goes.
        self.join(deadline)
        return self._ended_well

    def _has_turned(self, wanted: int) -> bool:
        return self._answered >= wanted or self._closed

    def use(self, drift: Drift) -> None:
        """Judge by other settings from now on: everything is folded again."""
        self._wanted = drift
        self.wake()

    def stop(self) -> None:
        """Write what is known, give the lease back, end the thread; returns at once."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()

    def join(self, deadline: float) -> None:
        """Wait for the thread's end, until `deadline` (monotonic seconds) at most."""
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while not self._closed:
            with self._wake:
                asked = self._flushes
            judged, self._progress = False, (0, 0)
            try:
                self._each_turn()
                judged = self._turn(write=asked > self._answered)
            except LedgerUnavailable:
                pass  # told once by the ledger itself, and tried again
            except BaseException as error:  # noqa: BLE001 - nothing that is raised here may end the judging
                self._on_fault("evaluator", error)
            self.looked_at = time.monotonic()
            with self._wake:
                self._answered, self._judged = asked, judged
                self._wake.notify_all()
                if not self._closed and self._flushes == asked:
                    self._wake.wait(WRITE_SECONDS if self._fold.changed else self._poll_seconds)
                    self._wake.wait_for(lambda: self._closed or self._flushes != asked, self._rest())  # noqa: B023
        self._end()

    def _let_first_calls_pass(self) -> None:
        """Begin to judge somewhat later: a server forks its workers all at once, and each begins with its first call."""
        self._may_judge_at, wait = 0.0, self._may_judge_at - time.monotonic()
        if wait > 0.0:
            with self._wake:
                self._wake.wait_for(lambda: self._closed or self._flushes > self._answered, wait)

    def _rest(self) -> float:
        """Return how long to wait for more pairs: a turn costs as much as folding a hundred, of the application's time."""
        return max(0.0, TURN_SECONDS - (time.monotonic() - self.looked_at))

    @property
    def _poll_seconds(self) -> float:
        # Who judges looks often. The others may be a thousand.
        return POLL_SECONDS * (1.0 if self._held else self._ledger.engine.patience)

    def _end(self) -> None:
        try:
            self._before_end()
            if self._wanted.evaluate == "never":
                self._ended_well = True  # who judges is not waited for
            elif not self._held:
                newest, judged = self._folds.progress()
                self._ended_well = judged >= newest
            else:
                if not self._loaded:
                    self._load()
                self._folds.take_sums()
                done = self._take_all(hurry=True)
                if not self._held or not self._write(fully=True):
                    return
                self._ended_well = done
                if self._fold.unsaved <= MOST_SAVED_AT_END:
                    self._save()
                self._ledger.drop_lease(*self._lease)
        except Exception as error:  # noqa: BLE001 - leaving must not fail
            self._on_fault("evaluator", error)

    def _turn(self, *, write: bool) -> bool:
        """Fold what is new, if this process does; returns whether everything committed is judged and written."""
        self._acting.catch_up()  # also by the holder: an acknowledgement may come from another process
        self.ready.set()
        self._let_first_calls_pass()
        self.refusals.write(now=write)
        if self._held and self._acting.purged != self._purged:
            self._folds.begin_anew()  # this process may have saved what is to be forgotten just before it learned of it
        other = self._ledger.identity != self._identity or self._acting.purged != self._purged
        if other or self._wanted is not self._fold.drift:
            self._begin()
        if not (self._held and time.monotonic() - self._renewed < RENEW_SECONDS) and not self._renew_lease():
            self._loaded = False
            self._progress = newest, judged = self._folds.progress()
            return judged >= newest
        if not self._loaded:
            self._load()
        self._folds.take_sums()
        if not self._take_all(hurry=write):
            return False
        due = self._fold.changed and (write or time.monotonic() - self._written > WRITE_SECONDS)
        if due and not self._write(fully=write):
            return False
        self._save_if_due()
        self._look_for_old()
        self._forget()
        return not self._fold.changed and not self._folds.is_held_back

    def _save_if_due(self) -> None:
        waited = time.monotonic() - self._saved
        if self._since_saved >= MOST_UNSAVED * max(1, self._fold.unsaved) or (
            self._since_saved >= SNAPSHOT_PAIRS and waited > SNAPSHOT_SECONDS
        ):
            self._save()

    def _look_for_old(self) -> None:
        """Tell which verdicts have grown too old to stand, and that they did when they stand again."""
        clock = Clock(self._wall(), self._wanted.stale_seconds, self.refusals.known)
        for place in self._aging.look(self._fold, self._acting.epoch, clock):
            self._statuses[place] = "unmeasured"

    def _forget(self) -> None:
        """Delete some of what is too old, now and then; more often while there is more."""
        if time.monotonic() < self._forget_at:
            return
        now = self._wall()
        is_begun = begin_day(self._ledger, now)
        gone = forget(self._ledger, Retention(), now, folded=self._saved_id)
        if shrink(self._ledger) or gone:
            pause = FORGET_MORE_SECONDS
        elif is_begun:
            pause = min(FORGET_SECONDS, DAY - now % DAY + 1.0)
        else:
            pause = FORGET_FIRST_SECONDS
        self._forget_at = time.monotonic() + pause

    def _begin(self) -> None:
        """Fold from the first pair: another file than before, other settings, or what was folded is to be forgotten."""
        self._identity, self._purged = self._ledger.identity, self._acting.purged
        self._fold = Fold(self._wanted)
        self._loaded, self._saved_id = False, 0

    def _load(self) -> None:
        """Go on from the snapshot, if there is one that is further than what this process has folded."""
        self._loaded = True
        self._folds.note_stale_after(self._fold.drift.stale_seconds)
        saved = self._folds.load(snapshots.key_of(self._fold.drift, self._identity))
        found = None if saved is None else snapshots.restored(saved, self._fold.drift)
        if found is None:
            self._folds.begin_anew()  # parts of one that is passed over must not be taken for the next one's
            snapshots.mark_unsaved(self._fold)
        elif found.last_id > self._fold.last_id:
            self._fold, self._saved_id = found, found.last_id
            snapshots.mark_untold(found, self._folds.told())
        self._saved = time.monotonic()

    def gives_way(self) -> bool:
        """Whether another process is to judge and to ask again. Raises LedgerUnavailable."""
        evaluate = self._wanted.evaluate
        return evaluate == "never" or (
            evaluate == "auto" and self._ledger.lease_is_held(WATCH_LEASE, time.time())
        )

    def _step_back(self) -> None:
        """Leave the judging to another process, which goes on from where this one is."""
        if self._held:
            if self._loaded and self._write(fully=True):
                self._save()
            self._ledger.drop_lease(*self._lease)
        self._held = False

    def _renew_lease(self) -> bool:
        if self.gives_way():
            self._step_back()
            return False
        # The lease lives by the real clock: a test's clock may jump hours.
        self._held = self._ledger.take_lease(*self._lease, time.time(), LEASE_SECONDS)
        self._renewed = time.monotonic()
        return self._held

    def _take_all(self, *, hurry: bool) -> bool:
        """Take in every new row; returns whether this process still holds the lease.

        A fold is many small pieces of work with a pause after each where the application is at work: it has the
        interpreter whenever it wants it.
        """
        while rows := self._folds.rows_after(self._fold.last_id, LONG_SLICE if hurry else SLICE):
            for row in rows:
                # Its id is taken first: a row that cannot be read is told once and left out, or it would end all folding.
                try:
                    rang = self._fold.take(row)
                except ValueError as error:
                    self._on_fault("pair", error)
                    continue
                self._since_saved += 1
                if rang is not None and not self._ring(row, rang):
                    return False
                if not hurry:
                    activity.give_way(self._pace.pause)
            self._pace.note(self._folds.newest - self._fold.last_id)
            self._save_if_due()
            # A long history outlives one lease.
            if time.monotonic() - self._renewed > RENEW_SECONDS and not self._renew_lease():
                return False
        return True

    def _ring(self, row: Row, group: str) -> bool:
        """Act on an alarm of a group, or of WHOLE; returns whether this process still holds the lease."""
        try:
            self._ringer.ring(self._fold, row, group)
        except LedgerUnavailable:
            self._fold_again()
            raise
        except LeaseLost:
            self._give_up_lease()
            return False
        return True

    def _fold_again(self) -> None:
        """Fold from the last snapshot, whatever this process has folded since."""
        self._fold = Fold(self._fold.drift)
        self._loaded, self._saved_id = False, 0

    def _give_up_lease(self) -> None:
        """Another process has taken over, this one stood still meanwhile: what it knows is not the newest."""
        self._held = False
        self._fold_again()

    def _write(self, *, fully: bool) -> bool:
        """Write the verdicts of what changed; `fully` explains each of them anew, else as many as there is time for.

        False where another process judges by now: its verdicts stay.
        """
        told: list[Told] = []
        for stream, epoch, known in self._fold.each_changed():
            told += self._teller.tell(
                known,
                (stream, epoch),
                until=self._fold.last_id,
                fully=fully,
                effect_from=self._effect_from(stream, epoch),
            )
        if not self._folds.write(told, self._fold.last_id, self._wall(), lease=self._lease):
            self._give_up_lease()
            return False
        self._written = time.monotonic()
        for each in told:
            self._tell_status(each)
        return True

    def _tell_status(self, told: Told) -> None:
        """Tell telemetry that a group's status is another one than when it was last written by this process."""
        place = (told.stream, told.epoch, told.group)
        status, evidence = str(told.document["status"]), told.document["log10_evidence"]
        if told.group == WHOLE or self._statuses.get(place) == status or not isinstance(evidence, float):
            return
        self._statuses[place] = status
        self._emit(VerdictGiven(told.stream, told.group, status, evidence, str(told.document["sentence"])))

    def _effect_from(self, stream: str, epoch: int) -> int | None:
        # A routed epoch began with an alarm, not with a choice of pairs: its effect counts from its start.
        routed = stream == "candidate" and any(epoch == known for _, known in self._acting.epochs.routed)
        return 1 if routed else None

    def _save(self) -> None:
        """Keep a snapshot of what changed since the last one."""
        parts = snapshots.parts_of(self._fold, between=activity.give_way)
        key = snapshots.key_of(self._fold.drift, self._identity)
        self._folds.save(key, self._fold.last_id, parts)
        snapshots.mark_saved(self._fold)
        self._saved, self._since_saved, self._saved_id = time.monotonic(), 0, self._fold.last_id
