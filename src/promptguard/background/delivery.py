"""Alarms are delivered to the user's functions: at least once each, in a thread of their own, tried again with pauses.

Until it is delivered an alarm is pending in the ledger, so that one which a crash, an exit or a failing function left over
is delivered by the next process. Nothing here holds up the evaluator.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import shlex
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from promptguard.core.epochs import EVERY_GROUP, shown_group
from promptguard.directories import ledger_option
from promptguard.errors import PromptGuardError
from promptguard.ledger.store import Ledger
from promptguard.ledger.trouble import LedgerUnavailable
from promptguard.lifetime.threads import OnFault, supervised
from promptguard.runtime import event_loop_thread
from promptguard.runtime.lost import CallLost
from promptguard.shadow.retry import pause_after
from promptguard.verdict import Alarm, Verdict

log = logging.getLogger("promptguard")

AlarmFunction = Callable[[Alarm], object]

LEASE = "delivery"
LEASE_SECONDS = 60.0
AWAIT_SECONDS = 60.0
"""What a coroutine function may take."""
VERDICT_SECONDS = 10.0
"""How long the words of an alarm are waited for: the verdict is written a moment after the alarm."""
LOOK_SECONDS = 0.2
OTHERS_SECONDS = 2.0
"""Between looks at what another process, which holds the lease, has delivered."""
MOST = 1000
"""Alarms that wait in memory; further ones stay in the ledger until the next start."""


@dataclass(slots=True)
class _Pending:
    noted: dict[str, Any]
    since: float
    due: float
    attempts: int = 0
    done: set[int] = field(default_factory=set)
    """which functions have had it, by `id`"""


class Delivery:
    """Delivers the pending alarms of one ledger to this process's functions. Thread-safe.

    Parameters: `holder` names this process in the lease; `on_fault` is told what the user's functions raise.
    """

    def __init__(self, ledger: Ledger, holder: str, on_fault: OnFault) -> None:
        self._ledger = ledger
        self._holder = holder
        self._on_fault = on_fault
        self._functions: tuple[AlarmFunction, ...] = ()
        self._pending: dict[int, _Pending] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._held = False

    @property
    def functions(self) -> tuple[AlarmFunction, ...]:
        """What alarms are delivered to."""
        return self._functions

    def use(self, functions: tuple[AlarmFunction, ...]) -> None:
        """Deliver to these from now on."""
        with self._changed:
            if functions != self._functions:
                for pending in self._pending.values():
                    pending.done.clear()
            self._functions = functions
            self._start()

    def add(self, noted: dict[str, Any]) -> None:
        """Deliver an alarm that was noted in the ledger. Returns at once."""
        with self._changed:
            if len(self._pending) >= MOST:
                self._on_fault("delivery", OverflowError("too many alarms wait"))
                return
            now = time.monotonic()
            self._pending.setdefault(noted["id"], _Pending(noted, since=now, due=now))
            self._start()

    def forget(self, number: int) -> None:
        """Take an alarm as delivered, by this process or another."""
        with self._changed:
            self._pending.pop(number, None)
            self._changed.notify_all()

    def begin(self) -> None:
        """Forget everything: the ledger is another file."""
        with self._changed:
            self._pending.clear()
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until every pending alarm was tried once; False where `timeout` seconds are not enough."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._untried(), max(0.0, timeout))

    def stop(self) -> None:
        """Try what was not tried yet, then end; returns at once."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def join(self, deadline: float) -> None:
        """Wait for the end, until `deadline` (monotonic seconds) at most; what is left over stays in the ledger."""
        thread = self._thread
        if thread is not None:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _untried(self) -> bool:
        return bool(self._functions) and any(not each.attempts for each in self._pending.values())

    def _start(self) -> None:
        """Have a thread while there is something to do; called with the lock held."""
        if self._thread is None and self._functions and self._pending:
            self._thread = supervised("promptguard-delivery", self._run, self._on_fault)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._is_over():
                    self._thread = None
                    break
                pause = min(each.due for each in self._pending.values()) - time.monotonic()
                if pause > 0:
                    self._changed.wait(pause)
                    continue
                pending = min(self._pending.values(), key=lambda each: each.due)
            self._try(pending)
        self._give_back()

    def _is_over(self) -> bool:
        if not self._pending or not self._functions:
            return True
        return self._closed and not self._untried()

    def _try(self, pending: _Pending) -> None:
        try:
            self._held = self._ledger.take_lease(LEASE, self._holder, time.time(), LEASE_SECONDS)
            if not self._held:
                self._again(pending, OTHERS_SECONDS, tried=True)
                return
            if self._has_been(pending.noted["id"]):
                self.forget(pending.noted["id"])
                return
            alarm = self._alarm(pending)
            if alarm is None:
                self._again(pending, LOOK_SECONDS, tried=False)
            elif self._delivered(pending, alarm):
                self._note(pending.noted)
                self.forget(pending.noted["id"])
            else:
                self._again(pending, pause_after(pending.attempts + 1), tried=True)
        except Exception as error:  # noqa: BLE001 - the ledger cannot be used now: told by itself, or counted here
            if not isinstance(error, LedgerUnavailable):
                self._on_fault("delivery", error)
            self._again(pending, OTHERS_SECONDS, tried=True)

    def _has_been(self, number: int) -> bool:
        """Whether an alarm was delivered by another process, or by this one before it has read on."""
        later = self._ledger.occurrences_after(number)
        return any(noted["kind"] == "delivered" and noted["detail"]["alarm"] == number for noted in later)

    def _again(self, pending: _Pending, pause: float, *, tried: bool) -> None:
        with self._changed:
            pending.attempts += tried
            pending.due = time.monotonic() + pause
            self._changed.notify_all()

    def _delivered(self, pending: _Pending, alarm: Alarm) -> bool:
        """Give an alarm to each function that has not had it; whether all have."""
        for function in self._functions:
            if id(function) in pending.done:
                continue
            try:
                _call(function, alarm)
            except BaseException as error:  # noqa: BLE001 - SystemExit of a user's function included
                raised = error.cause if isinstance(error, CallLost) else error
                self._on_fault("action", raised)
                # a filter of the application's may raise anything
                with contextlib.suppress(Exception, SystemExit):
                    log.warning(
                        "an alarm could not be delivered to on_drift (%s); it stays in the ledger and is tried again",
                        type(raised).__name__,
                    )
            else:
                pending.done.add(id(function))
        return all(id(function) in pending.done for function in self._functions)

    def _note(self, noted: dict[str, Any]) -> None:
        self._ledger.note(
            at=time.time(),
            call=noted["call"],
            kind="delivered",
            stream=noted["stream"],
            group=noted["group"],
            detail={"alarm": noted["id"]},
        )

    def _alarm(self, pending: _Pending) -> Alarm | None:
        """Return the alarm with its words, None while they are being written."""
        noted, detail = pending.noted, pending.noted["detail"]
        verdict = self._verdict(noted)
        if verdict is None and time.monotonic() - pending.since < VERDICT_SECONDS and not self._closed:
            return None
        asked, pairs = str(detail["asked"]), int(detail["pairs"])
        plain = f"The answers of {asked} changed ({noted['stream']} stream, alarm after {pairs} pairs)."
        return Alarm(
            group=noted["group"],
            model=asked,
            stream=noted["stream"],
            time=datetime.fromtimestamp(noted["at"], UTC),
            call=noted["call"],
            pairs=pairs,
            log10_evidence=float(detail["log10_evidence"]),
            sentence=str(detail.get("sentence", plain)) if verdict is None else verdict.sentence(),
            undo=undo(noted["group"], self._ledger),
            verdict=verdict,
        )

    def _verdict(self, noted: dict[str, Any]) -> Verdict | None:
        from promptguard.report.read import read_verdicts

        try:
            documents = read_verdicts(self._ledger.place)
        except PromptGuardError:
            return None
        place = (noted["stream"], noted["detail"]["epoch"])
        for told in documents:
            if (told["stream"], told["epoch"]) == place:
                for each in (told, *told["groups"]):
                    if (each.get("group") or EVERY_GROUP) == noted["group"] and each["alarm_at"] is not None:
                        return Verdict.from_dict(each)
        return None

    def _give_back(self) -> None:
        if self._held:
            self._held = False
            try:
                self._ledger.drop_lease(LEASE, self._holder)
            except Exception as error:
                log.debug("the lease of deliveries could not be given back", exc_info=error)


def undo(group: str, ledger: Ledger) -> str:
    """Return the command that says that a group's alarms are known."""
    return f"promptguard acknowledge {shlex.quote(shown_group(group))} {ledger_option(ledger.place)}"


def _call(function: AlarmFunction, alarm: Alarm) -> None:
    """Call a user's function; what it returns is awaited on the background loop, where it has to be."""
    outcome = function(alarm)
    if inspect.isgenerator(outcome) or inspect.isasyncgen(outcome):
        raise TypeError("on_drift returned a generator: nothing of it has run")
    if not inspect.isawaitable(outcome):
        return
    event_loop_thread.retain()
    try:
        event_loop_thread.await_within(AWAIT_SECONDS, lambda: outcome)
    finally:
        event_loop_thread.release_after(_nothing)


async def _nothing() -> None:
    pass
