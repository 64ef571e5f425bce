"""What a verdict changes: routes, cache epochs, whether the cache is asked, warnings.

Kept in the ledger, so that every process acts alike.

A warning is logged whatever `on_drift` is; functions of the user's are `delivery`'s.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from promptguard.background.delivery import Delivery, undo
from promptguard.background.rolling_back import roll_back
from promptguard.background.withdrawing import folders_of, withdraw
from promptguard.core.actions import DRY_RUN, Actions
from promptguard.core.epochs import EVERY_GROUP, Epochs, shown_group
from promptguard.core.options import Action, BypassCache, Option, Raise, RollBack, Route
from promptguard.core.policy import State
from promptguard.ledger.store import Ledger
from promptguard.verdict.alarm import what_happened

log = logging.getLogger("promptguard")

LEASE_SECONDS = 15.0
"""How long the lease of who judges is renewed for before an action moves a file."""
WITHDRAWN = "withdrawn"
"""The kind of a note that says which certificate an alarm has withdrawn."""
Note = tuple[str, dict[str, Any]]
"""Its kind and what it says."""


class Acting:
    """Applies alarms to `state` and notes them; the state of a new process is rebuilt from what was noted."""

    def __init__(
        self,
        ledger: Ledger,
        state: State,
        actions: tuple[Action, ...],
        wall: Callable[[], float],
        delivery: Delivery,
        on_noted: Callable[[], None] = lambda: None,
    ) -> None:
        self._ledger = ledger
        self._state = state
        self._delivery = delivery
        self._on_noted = on_noted
        self.use(actions)
        self._wall = wall
        self._lock = threading.Lock()
        self._last_noted = 0
        self._identity = b""
        self.epochs = Epochs()
        self.actions = Actions()
        """what was done, and what of it holds"""
        self._accepted: dict[tuple[str, str], tuple[float, str]] = {}
        """(stream, group) → when today's answers were made the reference, and the model compared with then"""
        self._unnoted: dict[tuple[str, str], list[Note]] = {}
        """(stream, group) → what was done to files when the ledger could not be written: done once, noted when it can"""
        self.alarmed: set[tuple[str, int, str]] = set()
        """(stream, epoch, group) of every alarm noted so far"""
        self.purged = 0
        """the last purge after which everything is to be judged anew"""

    def use(self, actions: tuple[Action, ...]) -> None:
        """Do this on an alarm from now on."""
        self._actions = actions
        self._delivery.use(tuple(action for action in actions if not isinstance(action, Option)))

    def epoch(self, stream: str, group: str) -> int:
        """Return the epoch that the next pair of a group belongs to."""
        return self.epochs.of(stream, group)

    def accepted(self, stream: str, group: str) -> tuple[float, str] | None:
        """Return when today's answers of a group were last made the reference, and the model compared with then."""
        known = self._accepted
        found = (known.get((stream, group)), known.get((stream, EVERY_GROUP)))
        return max((each for each in found if each is not None), default=None)

    def routed(self, group: str, asked: str) -> str | None:
        """Where calls of (group, model asked) go instead, or None."""
        return self._state.route(group, asked)

    def catch_up(self) -> None:
        """Apply what other processes, or this one before a restart, have noted since the last look."""
        with self._lock:
            self._ledger.open()
            if self._ledger.identity != self._identity:
                self._begin()
            before = self._last_noted
            for noted in self._ledger.occurrences_after(before):
                self._last_noted = noted["id"]
                self._apply(noted)
            if self._last_noted > before:
                self._on_noted()

    def _begin(self) -> None:
        """Begin with an empty history: this is another file than the one that was read before."""
        self._identity, self._last_noted = self._ledger.identity, 0
        self.epochs, self.alarmed, self.actions = Epochs(), set(), Actions()
        self._accepted = {}
        self._delivery.begin()
        self._state.routes, self._state.epochs, self._state.raising = {}, {}, {}
        self._state.bypassing = frozenset()
        self._state.drifted = frozenset()

    def alarm(
        self,
        *,
        stream: str,
        group: str,
        asked: str,
        call: int,
        summary: dict[str, Any],
        speaks_of: tuple[str, ...] = (),
        lease: tuple[str, str] | None = None,
    ) -> bool:
        """Note an alarm and act on it; a warning is logged whatever else is done. Returns without calling the user.

        `speaks_of` are the models whose certificates it withdraws. `lease`: (name, holder) without which nothing is noted;
        returns whether it was.

        The alarm and what it changes are noted together: whoever ends in between must not leave an alarm that nothing
        follows from, as no process acts on one that is noted. Files come before, and are changed once however often asked.
        """
        moves_files = any(isinstance(action, RollBack) and not action.dry_run for action in self._actions)
        # No transaction holds back a file: whoever stood still must not move one after another process has acted.
        if moves_files and lease and not self._ledger.take_lease(*lease, time.time(), LEASE_SECONDS):
            return False
        at = self._wall()
        other = str(summary.get("other", ""))
        what = what_happened(repr(asked), repr(other) if other else "")
        detail = {"asked": asked, **summary, "deliver": bool(self._delivery.functions)}
        notes = [("alarm", detail)]
        for action in self._actions:
            notes += self._act(
                action, stream=stream, group=group, asked=asked, what=what, pairs=summary["pairs"]
            )
        notes += self._withdraw(group, speaks_of, stream, summary)
        notes += self._unnoted.get((stream, group), [])
        place = {"at": at, "call": call, "stream": stream, "group": group}
        rows = [{**place, "kind": kind, "detail": each} for kind, each in notes]
        try:
            noted = self._ledger.note_all(rows, lease=lease)
        except Exception:
            self._unnoted[stream, group] = [note for note in notes if note[0] in ("rollback", WITHDRAWN)]
            raise
        if not noted:
            return False
        self._unnoted.pop((stream, group), None)
        with contextlib.suppress(Exception):  # a filter of the application's may raise
            log.warning(
                "drift: %s for %s (%s stream, after %d pairs, log10 evidence %.1f); once it is "
                "known: %s",
                what, group or "all prompts together", stream, summary["pairs"], summary["log10_evidence"],
                undo(group, self._ledger),
            )  # fmt: skip
        self.catch_up()
        return True

    def _withdraw(
        self, group: str, models: tuple[str, ...], stream: str, summary: dict[str, Any]
    ) -> list[Note]:
        why = f"drift in the {stream} stream after {summary['pairs']} pairs: {summary.get('sentence', '')}"
        return [(WITHDRAWN, each) for each in withdraw(folders_of(self._actions), group, models, why)]

    def _act(
        self, action: Action, *, stream: str, group: str, asked: str, what: str, pairs: int
    ) -> list[Note]:
        """Return what is to be noted of one action: nothing if it is done, or somebody has taken it back."""
        detail: dict[str, Any] = {"asked": asked}
        dry_run = False
        if isinstance(action, Route) and action.to != asked:
            kind, dry_run = "route", action.dry_run
            detail["to"] = action.to
        elif isinstance(action, BypassCache):
            kind, dry_run = "bypass", action.dry_run
        elif isinstance(action, RollBack):
            kind, dry_run = "rollback", action.dry_run
            if self.actions.stands(kind, group, asked, dry_run=dry_run):
                return []
            moved = roll_back(action, group)
            if moved is None:
                return []
            detail |= moved
        elif isinstance(action, Raise):
            kind = "raise"
            detail["message"] = f"{shown_group(group)}: {what} ({stream} stream, {pairs} pairs)"
        else:
            return []
        if self.actions.stands(kind, group, asked, dry_run=dry_run):
            return []
        if dry_run:
            kind, detail = DRY_RUN, {"action": kind, **detail}
        return [(kind, detail)]

    def _apply(self, noted: dict[str, Any]) -> None:
        self.epochs.apply(noted)
        group, detail, state = noted["group"], noted["detail"], self._state
        if noted["kind"] == "alarm":
            self.alarmed.add((noted["stream"], detail["epoch"], group))
            if detail.get("deliver"):
                self._delivery.add(noted)
            state.drifted = state.drifted | {group}
            place = (group, detail["asked"])
            state.epochs = {**state.epochs, place: state.epochs.get(place, 0) + 1}
        elif noted["kind"] == "purge":
            self.purged = noted["id"] if detail.get("anew") else self.purged
        elif noted["kind"] == "delivered":
            self._delivery.forget(detail["alarm"])
        elif self.actions.apply(noted) is not None or noted["kind"] == "acknowledge":
            held = self.actions.in_force
            state.routes = {(done.group, done.asked): done.to for done in held if done.kind == "route"}
            state.raising = {done.group: done.message for done in held if done.kind == "raise"}
            state.bypassing = frozenset((done.group, done.asked) for done in held if done.kind == "bypass")
        if noted["kind"] == "acknowledge":
            if "accepted" in detail:
                self._accepted[noted["stream"], group] = float(noted["at"]), str(detail["accepted"])
            state.drifted = state.drifted - {group}
