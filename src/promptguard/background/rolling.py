"""Follows the rollouts of one ledger: what other processes noted, what became of calls, and what follows from it.

Every process follows and hands in outcomes; one of them, under a lease, judges. A ledger that is not there is never made.
"""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from promptguard.background.outcomes import Outcomes
from promptguard.core.effects import NoteOutcome
from promptguard.core.rollouts import Rollout, Table
from promptguard.directories import Place
from promptguard.errors import InputFileError
from promptguard.ledger.reading import reading
from promptguard.ledger.rollouts import LIMIT, Rollouts, identity, steps
from promptguard.ledger.store import Ledger
from promptguard.ledger.trouble import LedgerUnavailable
from promptguard.lifetime.error_counter import ErrorCounter
from promptguard.lifetime.shared import Shared
from promptguard.lifetime.threads import supervised
from promptguard.rollout.evidence import Evidence
from promptguard.rollout.judging import Decision, decide
from promptguard.rollout.told import outcome_of, told_evidence

LEASE = "rollouts"
LEASE_SECONDS, RENEW_SECONDS = 15.0, 5.0
POLL_SECONDS = 0.5
READ_WAIT = 1.0
"""Seconds that a ledger which somebody holds is waited for, to be read."""
BATCH = 50
FIRST_LOOK = 30.0
"""Seconds that a thread off the caller's path waits for the first look at the ledger, at most."""
BY = "promptguard"


class OutcomeLost(Exception):  # noqa: N818 - counted, never raised
    """Nobody could take an outcome for so long that there was no room for it any more."""


class Rolling:
    """One ledger's rollouts in this process; `table` is what the caller's path reads. `wall` gives Unix seconds."""

    def __init__(self, place: Place, wall: Callable[[], float]) -> None:
        self.table = Table()
        self.table.on_offer = self._offered
        self.table.on_fault = partial(faults.add, "rollouts")
        self._ledger = Ledger(place)
        self._store = Rollouts(self._ledger)
        self._outcomes = Outcomes(self._ledger, wall)
        self._wall = wall
        self._holder = uuid.uuid4().hex
        self._stamp: tuple[object, ...] = ()
        self._identity = b""
        self._last_step = 0
        self._folds: dict[int, tuple[Evidence, int]] = {}
        """number of a rollout → its evidence, and the last outcome in it"""
        self._renewed = 0.0
        self._lost = 0
        self._held = False
        self._wake = threading.Condition()
        self._ready = threading.Event()
        self._hurry = False
        self._closed = False
        self._wanted = self._answered = 0
        self._thread = supervised("promptguard-rollouts", self._run, faults.add)
        self._thread.start()

    def wait_ready(self) -> None:
        """Wait for the first look at the ledger, of which `table` is then."""
        self._ready.wait(FIRST_LOOK)

    def _offered(self) -> None:
        # No lock: whoever is told may be within one. The thread looks soon enough by itself.
        self._hurry = True

    def flush(self, timeout: float) -> bool:
        """Wait until what was handed in is committed and judged; False after `timeout` seconds."""
        with self._wake:
            self._wanted = wanted = self._wanted + 1
            self._wake.notify_all()
            return self._wake.wait_for(lambda: self._answered >= wanted or self._closed, timeout)

    def stop(self, deadline: float = math.inf) -> None:  # noqa: ARG002 - join() is told as well
        """Commit what was handed in and end; returns at once."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()

    def join(self, deadline: float) -> None:
        """Wait for the end, until `deadline` (monotonic seconds) at most."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        self._ledger.close()

    def _run(self) -> None:
        while True:
            with self._wake:
                wanted, closed = self._wanted, self._closed
            try:
                self._turn(look=wanted > self._answered or closed)
            except (LedgerUnavailable, InputFileError, FileNotFoundError):
                # It cannot be used, or is put aside this very moment by who writes to it: looked at again the next time.
                # What was handed in is kept until then, as far as there is room.
                pass
            except BaseException as error:  # noqa: BLE001 - nothing that is raised here may end the following
                faults.add("rollouts", error)
            self._ready.set()
            with self._wake:
                self._answered = wanted
                self._wake.notify_all()
                if closed:
                    break
                if self._wanted <= self._answered and not self._closed:
                    self._wake.wait(POLL_SECONDS)
        if self._held:
            try:
                self._ledger.drop_lease(LEASE, self._holder)
            except Exception as error:  # noqa: BLE001 - leaving must not fail
                faults.add("rollouts", error)

    def _tell_lost(self) -> None:
        lost, self._lost = self.table.lost - self._lost, self.table.lost
        for _ in range(lost):
            faults.add("keeping outcomes", OutcomeLost())

    def _turn(self, *, look: bool) -> None:
        self._tell_lost()
        stamp = self._ledger.engine.stamp()
        if not stamp:
            self._identity, self._stamp = b"", ()
            self.table.forget()
            return
        if self._hurry or look or stamp != self._stamp:
            self._hurry, self._stamp = False, ()  # where it fails, the next turn tries again
            self._follow()
            self._hand_in()
            self._stamp = stamp
        live = [each for each in self.table.rollouts.values() if each.is_live]
        if live and self._may_judge():
            for rollout in live:
                self._judge(rollout)

    def _follow(self) -> None:
        """Read what is new. Only reads: a ledger is repaired, or brought to this version, by who writes to it."""
        with reading(self._ledger.place, wait=READ_WAIT, any_version=True) as connection:
            here = identity(connection)
            if here != self._identity:  # another file than before
                self._identity, self._last_step, self._folds = here, 0, {}
                self.table.forget()
            rows = steps(connection, self._last_step)
        if rows:
            self.table.apply(rows)
            self._last_step = rows[-1]["id"]  # only now: what a fault of ours hid is read again

    def _hand_in(self) -> None:
        """Commit what became of calls; what cannot be committed now is kept, as far as there is room."""
        while taken := self.table.take(BATCH):
            try:
                self._ledger.open()
                self._store.put([row for _, noted in taken for row in self._rows(noted)])
            except LedgerUnavailable:
                self.table.give_back(taken)
                raise

    def _rows(self, noted: object) -> Sequence[Mapping[str, object]]:
        """Return the row of an outcome; none of one that says nothing, or that cannot be read."""
        try:
            row = self._outcomes.row(noted) if isinstance(noted, NoteOutcome) else None
        except LedgerUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - one answer that cannot be read must not hold up the others
            faults.add("outcome", error)
            return ()
        return () if row is None else (row,)

    def _may_judge(self) -> bool:
        if not self._held or time.monotonic() - self._renewed > RENEW_SECONDS:
            self._ledger.open()
            # The lease lives by the real clock: a test's clock may jump hours.
            self._held = self._ledger.take_lease(LEASE, self._holder, time.time(), LEASE_SECONDS)
            self._renewed = time.monotonic()
            if not self._held:
                self._folds = {}
        return self._held

    def _judge(self, rollout: Rollout) -> None:
        """Fold what is new, and note what follows, which is looked at after every pair.

        What could not be noted is decided again at the next turn, with or without new outcomes.
        """
        evidence, last = self._folds.get(rollout.number) or (Evidence(rollout), 0)
        if self._decided(rollout, evidence):
            return
        while rows := self._store.outcomes_after(rollout.number, last):
            for row in rows:
                last, is_pair = row["id"], evidence.take(outcome_of(row))
                self._folds[rollout.number] = evidence, last
                if is_pair and self._decided(self.table.rollouts[rollout.number], evidence):
                    return
            if len(rows) < LIMIT:
                return

    def _decided(self, rollout: Rollout, evidence: Evidence) -> bool:
        """Note what follows from the evidence, if anything does; returns whether the rollout has ended."""
        found = decide(rollout, evidence)
        if found is not None and self._noted(rollout, found, evidence):
            self._follow()
            rollout = self.table.rollouts[rollout.number]
        if not rollout.is_live:
            self._folds.pop(rollout.number, None)
        return not rollout.is_live

    def _noted(self, rollout: Rollout, found: Decision, evidence: Evidence) -> bool:
        kind: str = found.kind
        why = found.why
        if kind == "complete":
            self._renewed = -math.inf  # the label is a file, which no transaction holds back
            if not self._may_judge():
                return False
            from promptguard.rollout.labels import move_label

            trouble = move_label(rollout, BY)
            if trouble is not None:
                if rollout.state == "held" and not trouble.by_hand:
                    return False
                kind, why = "pause" if trouble.by_hand else "hold", trouble.why
        detail: Mapping[str, Any] = {"step": found.step, **told_evidence(rollout, evidence)}
        lease = (LEASE, self._holder)
        if self._store.note(
            rollout.number, kind, at=self._wall(), by=BY, why=why, detail=detail, lease=lease
        ):
            return True
        # This process stood still, and another one judges: what this one knows is not the newest.
        self._held, self._folds = False, {}
        return False


faults = ErrorCounter()
rollings: Shared[Place, Rolling] = Shared("rollouts", faults.add)
"""Every Rolling of this process, by the ledger's place."""
