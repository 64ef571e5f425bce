"""What was done about alarms, and what of it holds now: a fold over what a ledger notes. Pure.

Every process and every reader comes to the same, because they fold the same rows in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from promptguard.core.epochs import EVERY_GROUP
from promptguard.core.streams import SELF_TESTS

KINDS: Final = ("route", "raise", "bypass", "rollback")
"""Occurrences that are actions; each is taken back by its number."""
DRY_RUN: Final = "dry_run"
"""An occurrence that says what an action would have been: older versions, which do not know it, do nothing."""
UNDO: Final = "undo_"
"""Before an action's kind: an occurrence that takes it back, `detail["action"]` being its number."""


@dataclass(frozen=True, slots=True)
class Done:
    """One action. `id` is its number in the ledger, which `promptguard undo` takes; `at` is seconds since the Unix epoch.

    `kind` is "route" (calls for `asked` go to `to`), "raise" (calls raise), "bypass" (the cache is passed by) or "rollback"
    (the `label` of a prompt of `folder` was put from the version `before` back to `to`).
    With `dry_run` nothing was done: it says what would have been. `ended` is empty while it holds, else "undone" or
    "acknowledged".
    """

    id: int
    kind: str
    at: float
    stream: str
    group: str
    asked: str
    to: str = ""
    message: str = ""
    dry_run: bool = False
    ended: str = ""
    ended_at: float | None = None
    label: str = ""
    before: str = ""
    folder: str = ""

    @property
    def in_force(self) -> bool:
        """Whether it holds now."""
        return not self.ended and not self.dry_run

    @property
    def place(self) -> tuple[str, str, str]:
        """What it is done to: (kind, group, model asked)."""
        return self.kind, self.group, self.asked

    def sentence(self) -> str:
        """Return what was done, or would have been."""
        what = {
            "route": (f"calls for {self.asked}", "go", f"to {self.to}"),
            "raise": ("calls", "raise", "DriftDetected"),
            "bypass": (f"calls for {self.asked}", "pass", "the cache by"),
            "rollback": (
                f"the label {self.label}",
                "stand",
                f"on version {self.to} in place of {self.before}",
            ),
        }.get(self.kind, (self.kind, "", ""))
        if self.dry_run:
            return "dry run, nothing was done: " + " ".join((what[0], "would", *what[1:]))
        if self.kind == "rollback":
            return f"{what[0]} stands {what[2]}"
        return " ".join(what)


@dataclass(slots=True)
class Actions:
    """All actions by number; `apply` takes what was noted, oldest first."""

    found: dict[int, Done] = field(default_factory=dict)
    undone: set[tuple[str, str, str]] = field(default_factory=set)
    """what somebody has taken back, until the alarm is acknowledged: it is not done again meanwhile"""

    def apply(self, noted: Mapping[str, Any]) -> Done | None:
        """Take one row; returns the action that began or ended with it, where it is one alone."""
        kind, detail = noted["kind"], noted["detail"]
        if kind in KINDS or kind == DRY_RUN:
            done = Done(
                noted["id"], str(detail.get("action", "")) if kind == DRY_RUN else kind, noted["at"], noted["stream"],
                noted["group"], str(detail.get("asked", "")), str(detail.get("to", "")), str(detail.get("message", "")),
                kind == DRY_RUN, label=str(detail.get("label", "")), before=str(detail.get("before", "")),
                folder=str(detail.get("folder", "")),
            )  # fmt: skip
            self.found[done.id] = done
            return done
        if kind.startswith(UNDO):
            return self._undo(detail.get("action"), noted["at"])
        # Self-tests share the name of all prompts, and are no alarm of theirs.
        if kind == "acknowledge" and noted["stream"] not in SELF_TESTS:
            self._acknowledge(noted["group"], noted["at"])
        return None

    def _undo(self, number: object, at: float) -> Done | None:
        done = self.found.get(number) if isinstance(number, int) else None
        if done is None or done.ended:
            return None
        self.undone.add(done.place)
        self.found[done.id] = replace(done, ended="undone", ended_at=at)
        return self.found[done.id]

    def _acknowledge(self, group: str, at: float) -> None:
        for done in self.found.values():
            if done.group == group and not done.ended:
                self.found[done.id] = replace(done, ended="acknowledged", ended_at=at)
        self.undone = {place for place in self.undone if place[1] != group}

    def stands(self, kind: str, group: str, asked: str, *, dry_run: bool) -> bool:
        """Whether something is done already, or its dry run was told; what was taken back counts as done."""
        place = (kind, group, asked)
        told = (done for done in self.found.values() if done.place == place and not done.ended)
        return place in self.undone or any(done.dry_run is dry_run for done in told)

    def ended_of(self, alarms: Iterable[tuple[str, float]]) -> tuple[Done, ...]:
        """Return what has ended of what was done about alarms that stand, oldest first; labels stay where they were put.

        `alarms`: the prompt of each that stands, and when it rang, in Unix seconds. What was done about a prompt ends as
        any alarm of it is acknowledged, and one of another stream may stand.
        """
        standing = tuple(alarms)
        return tuple(done for done in self.found.values() if self._has_ended(done, standing))

    def _has_ended(self, done: Done, standing: Sequence[tuple[str, float]]) -> bool:
        if done.ended == "undone" and done.place in self.undone:
            return True
        concern = (at for group, at in standing if group == done.group or EVERY_GROUP in {group, done.group})
        is_over = (
            bool(done.ended) and not done.dry_run and (done.ended_at or 0.0) >= min(concern, default=math.inf)
        )
        return is_over and not (done.kind == "rollback" and done.ended == "acknowledged")

    @property
    def in_force(self) -> tuple[Done, ...]:
        """What holds now, oldest first."""
        return tuple(done for done in self.found.values() if done.in_force)


_ENDS: Final = {"undone": "was taken back", "acknowledged": "ended with another alarm that was acknowledged"}


def nothing_holds(ended: Sequence[Done]) -> str:
    """Return what is told of an alarm that stands while nothing is in force; `ended` is what was (`Actions.ended_of`)."""
    if not ended:
        return "nothing was done but to warn: calls still go to the same model"
    said = []
    for how, words in _ENDS.items():
        numbers = [str(done.id) for done in ended if done.ended == how]
        said += [f"{words} (action{'s' * (len(numbers) > 1)} {', '.join(numbers)})"] * bool(numbers)
    back = ", calls go to the same model again" if any(done.kind == "route" for done in ended) else ""
    return f"what was done {', or '.join(said)}: nothing holds now{back}"
