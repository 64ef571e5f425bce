"""The evaluator: verdicts are a fold over the ledger's pairs, in the order in which they were committed.

One process a ledger folds, under a lease; the others learn of alarms from what it notes. A restart folds again from
the first pair and arrives at the same state bit for bit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from promptguard.core.events import AlarmRang, Event, EvidenceMoved
from promptguard.core.options import Drift
from promptguard.core.streams import SELF_TESTS, doubt
from promptguard.drift import PairMonitor, PairVector, epoch_alpha
from promptguard.ledger.store import Ledger
from promptguard.ledger.trouble import LedgerUnavailable
from promptguard.lifetime.threads import OnFault, supervised

if TYPE_CHECKING:
    from promptguard.background.acting import Acting

LEASE_SECONDS = 15.0
POLL_SECONDS = 2.0
FLUSH_LOOK = 0.1
WRITE_SECONDS = 1.0
"""Verdicts are written at most this often, but for alarms and flushes: explaining costs more than folding."""


class Evaluator:
    """Folds pairs into one monitor a stream and epoch; rings alarms through `acting`."""

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
        self._drift = self._wanted = drift
        self._acting = acting
        self._holder = holder
        self._emit = emit
        self._on_fault = on_fault
        self._wall = wall
        self._before_end = before_end
        self._each_turn = each_turn
        self._identity = b""
        self._monitors: dict[tuple[str, int], PairMonitor] = {}
        self._last_id = 0
        self._dirty: set[tuple[str, int]] = set()
        self._written = 0.0
        self._held = False
        self._closed = False
        self._flushes = self._answered = 0
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
        while True:
            with self._wake:
                wanted = self._flushes = self._flushes + 1
                self._wake.notify_all()
                left = deadline - time.monotonic()
                turned = self._wake.wait_for(partial(self._has_turned, wanted), max(0.0, left))
                if not turned or self._closed:
                    return False
                if self._judged:
                    return True
                self._wake.wait(min(FLUSH_LOOK, max(0.0, deadline - time.monotonic())))
            if time.monotonic() >= deadline:
                return False

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
            judged = False
            try:
                self._each_turn()
                judged = self._turn(write=asked > self._answered)
            except LedgerUnavailable:
                pass  # told once by the ledger itself, and tried again
            except BaseException as error:  # noqa: BLE001 - nothing that is raised here may end the judging
                self._on_fault("evaluator", error)
            with self._wake:
                self._answered, self._judged = asked, judged
                self._wake.notify_all()
                if not self._closed and self._flushes == asked:
                    self._wake.wait(WRITE_SECONDS if self._dirty else POLL_SECONDS)
        self._end()

    def _end(self) -> None:
        try:
            self._before_end()
            if self._held:
                self._fold(write=True)
                self._ledger.drop_lease("evaluator", self._holder)
        except Exception as error:  # noqa: BLE001 - leaving must not fail
            self._on_fault("evaluator", error)

    def _turn(self, *, write: bool) -> bool:
        """Fold what is new, if this process does; returns whether everything committed is judged and written."""
        self._acting.catch_up()  # also by the holder: an acknowledgement may come from another process
        self.ready.set()
        if self._ledger.identity != self._identity or self._wanted is not self._drift:
            self._begin()
        if self._renew_lease():
            self._fold(write=write)
            return not self._dirty
        return self._ledger.judged_all()

    def _begin(self) -> None:
        """Fold from the first pair: this is another file than before, or it is judged by other settings."""
        self._identity, self._drift = self._ledger.identity, self._wanted
        self._monitors, self._last_id, self._dirty = {}, 0, set()

    def _renew_lease(self) -> bool:
        # The lease lives by the real clock: a test's clock may jump hours.
        self._held = self._ledger.take_lease("evaluator", self._holder, time.time(), LEASE_SECONDS)
        return self._held

    def _fold(self, *, write: bool) -> None:
        while rows := self._ledger.pairs_after(self._last_id):
            for row in rows:
                # Before it is taken: a row that cannot be read is told once and left out, or it would end all folding.
                self._last_id = row.id
                try:
                    self._take(row)
                except ValueError as error:
                    self._on_fault("pair", error)
            if not self._renew_lease():  # a long history outlives one lease
                return
        if self._dirty and (write or time.monotonic() - self._written > WRITE_SECONDS):
            self._write()

    def _monitor(self, stream: str, epoch: int) -> PairMonitor:
        place = (stream, epoch)
        if place not in self._monitors:
            # A self-test only gates, and is judged once over everything it has seen.
            mode = "gate" if stream in SELF_TESTS else self._drift.mode
            alpha = self._drift.alpha_of(stream)
            self._monitors[place] = PairMonitor(
                alpha=epoch_alpha(alpha, epoch) if self._drift.lifetime else alpha,
                mode=mode,
                horizon=self._drift.horizon if mode == "monitor" else None,
                stream=stream,
                tolerance=self._drift.tolerance if stream == "candidate" else None,
            )
        return self._monitors[place]

    def _take(self, row: Any) -> None:
        monitor = self._monitor(row.stream, row.epoch)
        self._dirty.add((row.stream, row.epoch))
        if row.outcome == "compared":
            verdict = monitor.observe(PairVector.from_bytes(row.vector), group=row.group)
            if verdict.status == "drift":
                self._ring(row, monitor)
        elif row.outcome in {"control_error", "candidate_error"}:
            monitor.skip(row.outcome, group=row.group)

    def _ring(self, row: Any, monitor: PairMonitor) -> None:
        """Act on an alarm, once a group and epoch; a self-test's own alarm stops others instead."""
        if row.stream in SELF_TESTS or doubt(row.stream, self._failed_tests()):
            return
        told = monitor.brief(row.group)
        if told.status != "drift" or (row.stream, row.epoch, row.group) in self._acting.alarmed:
            return
        summary = {
            "epoch": row.epoch,
            "pairs": told.pairs,
            "log10_evidence": told.log10_evidence,
            "pair_id": row.id,
        }
        self._emit(AlarmRang(row.stream, row.group, told.pairs, told.log10_evidence))
        try:
            self._acting.alarm(
                stream=row.stream,
                group=row.group,
                asked=row.asked,
                call=row.call,
                summary=summary,
                verdict=monitor.explain(),
            )
        except Exception as error:  # noqa: BLE001 - a user's own action that raises is theirs, and counted
            self._on_fault("action", error)

    def _failed_tests(self) -> set[str]:
        monitors = {test: self._monitors.get((test, self._acting.epoch(test, ""))) for test in SELF_TESTS}
        return {
            test for test, known in monitors.items() if known is not None and known.brief().status == "drift"
        }

    def _write(self) -> None:
        failed = self._failed_tests()
        for stream, epoch in sorted(self._dirty):
            # A routed epoch began with an alarm, not with a choice of pairs: its effect counts from its start.
            routed = stream == "candidate" and any(epoch == known for _, known in self._acting.epochs.routed)
            document = self._monitors[stream, epoch].explain(effect_from=1 if routed else None).to_dict()
            document["epoch"] = epoch
            reason = doubt(stream, failed)
            if reason is not None:
                for told in (document, *document["groups"]):
                    told.update(status="unmeasured", reason=reason)
            self._ledger.put_verdict(stream, epoch, self._wall(), self._last_id, document)
            for group in document["groups"]:
                self._emit(EvidenceMoved(stream, group["group"], group["log10_evidence"]))
        self._dirty.clear()
        self._written = time.monotonic()
