"""Which version a unit gets while a change is rolled out: a fold over the ledger's rows, and a hash of the unit. Pure.

Every process comes to the same, because it folds the same rows and hashes with the salt that the rollout began with.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final, Literal, get_args

from promptguard.core.mistakes import refused

Guard = Literal["usable", "refusal", "cost", "latency", "behaviour"]
GUARDS: Final[tuple[Guard, ...]] = get_args(Guard)
State = Literal["running", "held", "paused", "done", "rolled_back", "aborted"]
LIVE: Final = frozenset({"running", "held", "paused"})
"""States in which both versions are in use, and a rollback may come."""
MODEL: Final = "model:"
"""Before a model's name where a rollout is of a model, not of a prompt."""
CONTROLS_PER_TREATMENT: Final = 4.0
"""So many units of the old version are evidence for each one of the new, by their hash: more would cost rows alone."""
MOST_OFFERED: Final = 500
"""Outcomes with their answers that may wait to be looked at; beyond that the oldest are lost."""
MOST_HELD: Final = 16 * 1024 * 1024
"""Bytes that they may hold, all together; beyond that the oldest are lost."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """One rollout as its rows have it.

    `subject` is a prompt's name, or `model:` and a model's name; `before` and `to` are versions of the prompt, or names of
    models. `steps` are shares of the units in percent, `step` the one that holds. `tolerance` is by how much each guard may
    get worse without being evidence, `most` the worsening that must be ruled out before all units may have the new version.
    `alpha` bounds the probability of a false rollback.
    """

    number: int
    subject: str
    before: str
    to: str
    label: str
    folder: str
    steps: tuple[float, ...]
    guards: tuple[Guard, ...]
    alpha: float
    tolerance: Mapping[str, float]
    most: Mapping[str, float]
    least_pairs: int
    patience: int
    """pairs of one step after which it is held, if nothing allows the next one"""
    salt: bytes
    began: float
    """seconds since the Unix epoch"""
    state: State = "running"
    step: int = 0
    changed: float = 0.0
    why: str = ""

    @property
    def is_live(self) -> bool:
        """Whether both versions are in use."""
        return self.state in LIVE

    @property
    def is_model(self) -> bool:
        """Whether a model is changed, not a prompt."""
        return self.subject.startswith(MODEL)

    @property
    def share(self) -> float:
        """The share of units that get the new version now."""
        if self.state == "done":
            return 1.0
        return self.steps[self.step] / 100.0 if self.is_live else 0.0

    @property
    def next_share(self) -> float | None:
        """The share of the step after this one; None where this one is the last."""
        return self.steps[self.step + 1] / 100.0 if self.step + 1 < len(self.steps) else None


@dataclass(frozen=True, slots=True)
class Staged:
    """A call of a rollout: which version its unit got, and where its outcome goes."""

    rollout: int
    step: int
    is_treated: bool
    unit: bytes
    """a digest of the unit, keyed with the rollout's salt"""
    before: str
    """what is in use, and comes where this cannot be used"""
    table: Table = field(repr=False, compare=False)


def unit_of(given: object) -> str | None:
    """Return whose call it is as text: a whole number as its digits, None for "" and None.

    Raises ConfigurationError for anything else, whether something is rolled out or not.
    """
    if given is None or isinstance(given, str):
        return given or None
    if isinstance(given, int) and not isinstance(given, bool) and given.bit_length() <= _MOST_BITS:
        return str(int(given))
    raise refused("unit", given, "a text or a whole number, such as a user's id")


_MOST_BITS = 1_024
"""of a number that is a unit: a longer one is no id, and the interpreter would refuse to write it"""


def placed(rollout: Rollout, unit: str) -> tuple[bool, bytes | None]:
    """Return whether a unit gets the new version, and its digest where its outcome is evidence, else None.

    The hash decides alone, so a unit that has the new version keeps it at every later step.
    """
    digest = hashlib.blake2b(unit.encode("utf-8", "surrogatepass"), key=rollout.salt, digest_size=24).digest()
    share = rollout.share
    is_treated = _fraction(digest[:8]) < share
    if not rollout.is_live:
        return is_treated, None
    wanted = CONTROLS_PER_TREATMENT * share / max(1.0 - share, 1e-9)
    return is_treated, digest[16:] if is_treated or _fraction(digest[8:16]) < wanted else None


def _fraction(data: bytes) -> float:
    return int.from_bytes(data, "big") / 2.0**64


class Table:
    """The rollouts of one ledger as the caller's path sees them, and the outcomes it hands over; both without a lock.

    Mappings are replaced, never mutated. Written by one thread.
    """

    def __init__(self) -> None:
        self.rollouts: Mapping[int, Rollout] = {}
        self.prompts: Mapping[str, Rollout] = {}
        """name of a prompt → its newest rollout"""
        self.models: Mapping[str, Rollout] = {}
        """model asked → the rollout that sends its calls elsewhere, where one does"""
        self.offered: deque[tuple[int, object]] = deque(maxlen=MOST_OFFERED)
        """outcomes that nobody has looked at yet, each with its bytes, oldest first"""
        self.lost = 0
        """outcomes that there was no room for"""
        self.on_offer: Callable[[], None] = lambda: None
        self.on_fault: Callable[[BaseException], None] = lambda _error: None
        """is told of a fault of ours, and of a row that cannot be read"""

    def offer(self, outcome: object, size: int = 0) -> None:
        """Hand over what became of a call, which holds `size` bytes; never waits."""
        self.lost += len(self.offered) == MOST_OFFERED
        self.offered.append((size, outcome))
        self._make_room()
        self.on_offer()

    def take(self, most: int) -> list[tuple[int, object]]:
        """Take the `most` oldest outcomes, or as many as there are."""
        return [self.offered.popleft() for _ in range(min(most, len(self.offered)))]

    def give_back(self, taken: Sequence[tuple[int, object]]) -> None:
        """Keep what was taken and could not be used, as far as there is room by now."""
        without = max(0, len(taken) - (MOST_OFFERED - len(self.offered)))
        self.lost += without
        self.offered.extendleft(reversed(taken[without:]))
        self._make_room()

    def _make_room(self) -> None:
        """Let the oldest go where all together are too large. Summed anew each time: a sum that is kept needs a lock."""
        try:
            while sum(size for size, _ in tuple(self.offered)) > MOST_HELD:
                self.offered.popleft()
                self.lost += 1
        except (IndexError, RuntimeError):
            pass  # others took or offered at this moment: the next offer looks again

    def forget(self) -> None:
        """Roll nothing out: the ledger is gone, or another one."""
        self.rollouts, self.prompts, self.models = {}, {}, {}

    def apply(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take rows that are new, oldest first."""
        self.rollouts = folded(rows, self.rollouts, self.on_fault)
        told = self.rollouts.values()
        self.prompts = {each.subject: each for each in told if not each.is_model}
        newest = {each.subject.removeprefix(MODEL): each for each in told if each.is_model}
        self.models = {asked: each for asked, each in newest.items() if each.share}

    def version(
        self, name: str, label: str | None, version: str, unit: str | None
    ) -> tuple[str, Staged | None]:
        """Return the version that a unit gets, where a reference without one of its own stands for `version`.

        `label` is None for a reference by name alone, which stands for the highest version. Without a unit nothing is
        staged: the version from before the rollout.
        """
        rollout = self.prompts.get(name)
        if rollout is None or (label is not None and label != rollout.label):
            return version, None
        if version != rollout.before and (label is not None or version != rollout.to):
            return version, None  # the label was moved by hand, or there is a version that no rollout knows
        if rollout.state == "done":
            return version, None  # its label was moved, and may have been moved since
        if unit is None:
            return rollout.before, None
        is_treated, staged = self._placed(rollout, unit)
        return (rollout.to if is_treated else rollout.before), staged

    def model(self, asked: str, unit: str) -> tuple[str | None, Staged | None]:
        """Return the model that a unit's call goes to instead, or None."""
        rollout = self.models.get(asked)
        if rollout is None:
            return None, None
        is_treated, staged = self._placed(rollout, unit)
        return (rollout.to if is_treated else None), staged

    def _placed(self, rollout: Rollout, unit: str) -> tuple[bool, Staged | None]:
        """Return whether a unit gets the new version, and what it is evidence for; after a fault of ours neither."""
        try:
            is_treated, digest = placed(rollout, unit)
        except Exception as error:  # noqa: BLE001 - the application's call goes on, with what is in use
            self.on_fault(error)
            return False, None
        if digest is None:
            return is_treated, None
        SEEN.staged = True
        return is_treated, Staged(rollout.number, rollout.step, is_treated, digest, rollout.before, self)


class Seen:
    """Whether this process has staged anything: until then no call is read for the sake of rollouts."""

    staged = False


SEEN = Seen()


def folded(
    rows: Sequence[Mapping[str, Any]],
    known: Mapping[int, Rollout],
    on_bad: Callable[[BaseException], None] = lambda _error: None,
) -> dict[int, Rollout]:
    """Return what rollouts are after more rows, by number.

    A row that no version knows is passed over, and so is one that is damaged, of which `on_bad` is told: neither may hide
    what comes after it.
    """
    found = dict(known)
    for row in rows:
        try:
            number = _whole(row["rollout"])
            if row["kind"] == "start":
                found[number] = _begun(row)
            elif number in found:
                found[number] = _changed(found[number], row)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            on_bad(error)
    return found


def _begun(row: Mapping[str, Any]) -> Rollout:
    """Return the rollout that a row begins; raises ValueError, or what reading it raises, for one that none can be."""
    told = row["detail"]
    begun = Rollout(
        number=_whole(row["rollout"]), subject=_text(told["subject"]), before=_text(told["before"]), to=_text(told["to"]),
        label=_text(told["label"]), folder=_text(told["folder"]), steps=tuple(map(_number, told["steps"])),
        guards=tuple(each for each in GUARDS if each in told["guards"]), alpha=_number(told["alpha"]),
        tolerance={name: _number(value) for name, value in told["tolerance"].items()},
        most={name: _number(value) for name, value in told["most"].items()},
        least_pairs=_whole(told["least_pairs"]), patience=_whole(told["patience"]), salt=bytes.fromhex(told["salt"]),
        began=_number(row["at"]), changed=_number(row["at"]), why=_text(row["why"]),
    )  # fmt: skip
    _check(begun)
    return begun


def _check(begun: Rollout) -> None:
    steps = begun.steps
    if not steps or not 0.0 < steps[0] <= steps[-1] <= 100.0 or any(a >= b for a, b in pairwise(steps)):
        raise ValueError("steps are rising percentages")
    if not 0 < len(begun.salt) <= hashlib.blake2b.MAX_KEY_SIZE:
        raise ValueError("the salt is no key")
    if not begun.guards or any(
        each not in begun.tolerance or each not in begun.most for each in begun.guards
    ):
        raise ValueError("a guard lacks its figures")
    if not 0.0 < begun.alpha < 1.0:
        raise ValueError("alpha is a probability")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError("no whole number")
    return value


def _number(value: object) -> float:
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        raise TypeError("no number")
    return float(value)


def _changed(rollout: Rollout, row: Mapping[str, Any]) -> Rollout:
    kind, step = row["kind"], row["detail"].get("step")
    ends_model = kind == "abort" and rollout.state == "done" and rollout.is_model
    if not rollout.is_live and not ends_model:
        return rollout  # it has ended: what others wrote at the same moment changes nothing
    noted = replace(rollout, changed=_number(row["at"]), why=_text(row["why"]))
    if kind == "advance" and isinstance(step, int) and 0 < step < len(rollout.steps):
        return replace(noted, step=step, state="running")
    states: dict[str, State] = {
        "hold": "held", "pause": "paused", "resume": "running", "complete": "done", "rollback": "rolled_back",
        "abort": "aborted",
    }  # fmt: skip
    return replace(noted, state=states[kind]) if kind in states else rollout
