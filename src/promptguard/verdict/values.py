"""A verdict, as values: frozen, and ready for JSON in the shape of docs/reference/verdict.schema.json."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from promptguard.verdict.ability import Ability
from promptguard.verdict.course import Course
from promptguard.verdict.days import DaysTold
from promptguard.verdict.window import Window

_OLDER_CONTROL = frozenset(("replay", "canary"))
Status = Literal["drift", "no_drift", "unmeasured"]
Mode = Literal["gate", "monitor"]
_SAID = r"(?:`[^`]*`|a value that is not kept|\w+)"
_BOTH_WAYS = re.compile(rf"({_SAID}(?: -> {_SAID})?) in \{{1\}} of answers, (.+) in \{{0\}}$")
"""patterns that tell both ways: told the other way round, what was said second comes first"""
WORDING = "wording"
"""feature and kind of a change that no named feature describes"""


@dataclass(frozen=True, slots=True)
class Onset:
    """The first changed pair, counted from 1 within the epoch, and the hull of its 90 % set."""

    pair: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that changed. Rates are means of a feature in [0, 1] over the pairs from the onset on.

    `low` and `high` bound the mean difference at 95 %, at any time, from pairs after the alarm only; None
    while those are fewer than 30 (`pending`). `before` is the candidate side's rate before the onset, None
    when there is no before. `unit` names what `control_units` and `candidate_units` count, where people have
    a natural unit. `related` are by-products: features that move with this.

    The kind `wording` is a change that only the text hash sees: `candidate` is the share of pairs whose sides
    the wording gave away, guessed before they were told, `control` the share in which it misled.

    The kinds `json` and `tool` also hold changes by place (a JSON path, an argument, the tool called): `pattern` then says
    the change in words, with {0} in place of the control's share and {1} of the candidate's. Where one side is larger,
    longer or another than its counterpart, the shares are of the pairs in which that side is it.
    """

    feature: str
    kind: str
    control: float
    candidate: float
    difference: float
    low: float | None
    high: float | None
    phrase: str
    binary: bool
    strength: float
    effect_pairs: int
    control_interval: tuple[float, float]
    candidate_interval: tuple[float, float]
    before: float | None = None
    before_interval: tuple[float, float] | None = None
    unit: str | None = None
    control_units: float | None = None
    candidate_units: float | None = None
    related: tuple[str, ...] = ()
    pattern: str = ""

    @property
    def is_of_wording(self) -> bool:
        """Whether no named feature describes it: only the wording tells the sides apart."""
        return self.kind == WORDING

    @property
    def compares(self) -> bool:
        """Whether its shares are of the sides compared (the larger of two): they do not tell which side moved."""
        return " in {1} of answers" in self.pattern

    @property
    def pending(self) -> bool:
        """Whether the interval waits for more pairs after the alarm."""
        return self.low is None

    def turned(self) -> Change:
        """Return the same change with its sides exchanged; how far wording tells them apart stays as it is."""
        if self.is_of_wording:
            return self
        bounded = self.low is not None and self.high is not None
        return replace(
            self,
            control=self.candidate,
            candidate=self.control,
            difference=-self.difference,
            low=-self.high if bounded and self.high is not None else None,
            high=-self.low if bounded and self.low is not None else None,
            control_interval=self.candidate_interval,
            candidate_interval=self.control_interval,
            control_units=self.candidate_units,
            candidate_units=self.control_units,
            pattern=_BOTH_WAYS.sub(r"\2 in {0} of answers, \1 in {1}", self.pattern),
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state of one stream, or of one group in it.

    `status` latches at `drift` until acknowledged. `pairs` counts what was measured in this epoch, `skipped`
    what was not, by reason. `alarm_at` is the number of pairs seen when the alarm rang. `log10_evidence` is
    that of the e-value (gate) or of the e-detector (monitor) now; the alarm is at `log10_threshold`.
    `changes`, `onset`, `ability`, `examples` (pair numbers), `characters` (mean length of control's and candidate's
    answers since the onset), `largest_shift` (the largest mean difference of any feature since then, told or not; a
    tolerance below it is passed), `largest_hidden_drift` and `hidden_by_kind` are filled by `explain()` and `verdict()`,
    not by `update()` and `observe()`. The last two are shares of answers that could have changed unseen: of the
    noisiest flag, and of the noisiest feature of each kind. `named` are the changed groups, most evidence first, by
    e-BH over the evidence of the moment: an expected share of at most `alpha` of them is wrong. A group's own status
    latches and needs more.
    """

    status: Status
    reason: str | None
    stream: str
    mode: Mode
    alpha: float
    pairs: int
    skipped: Mapping[str, int]
    alarm_at: int | None
    log10_evidence: float
    log10_threshold: float
    epoch: int = 1
    horizon: int | None = None
    tolerance: float | None = None
    group: str | None = None
    onset: Onset | None = None
    changes: tuple[Change, ...] = ()
    ability: Ability | None = None
    examples: tuple[int, ...] = ()
    characters: tuple[float, float] | None = None
    largest_shift: float | None = None
    largest_hidden_drift: float | None = None
    hidden_by_kind: Mapping[str, float] = field(default_factory=dict)
    named: tuple[str, ...] = ()
    speaks_of: str | None = None
    """where few of many groups changed, the group whose pairs `changes`, `ability`, `examples` and `characters` are of"""
    own_onset: Onset | None = None
    """the onset in that group, by the numbers of its own pairs"""
    group_count: int = 0
    """of a whole stream, how many groups have pairs"""
    groups: tuple[Verdict, ...] = field(default=())
    course: Course | None = None
    """how the change went on: gradually, or until it was taken back; None where it came at once and stands"""
    days: DaysTold | None = None
    """of a stream that compares days: how many there are to tell a change from, and which wobbled"""
    window: Window | None = None
    """when its pairs were made and what they could have shown by now; of a ledger's verdicts, filled by who reads them"""
    acknowledged: bool = False
    """whether somebody has said that this drift is known; of a stream, that all its groups that drifted are. Not part
    of `to_dict`: the ledger keeps it beside the verdict."""

    def to_dict(self) -> dict[str, object]:
        """Return verdict.json (docs/reference/verdict.schema.json)."""
        head = {} if self.group is None else {"group": self.group}
        return {
            **head,
            "status": self.status,
            "reason": self.reason,
            "stream": self.stream,
            "mode": self.mode,
            "alpha": self.alpha,
            "pairs": self.pairs,
            "skipped": dict(self.skipped),
            "alarm_at": self.alarm_at,
            "log10_evidence": round(self.log10_evidence, 4) + 0.0,  # no minus zero
            "log10_threshold": round(self.log10_threshold, 4),
            "epoch": self.epoch,
            "horizon": self.horizon,
            "tolerance": self.tolerance,
            "onset": None if self.onset is None else asdict(self.onset),
            "direction": dict(zip(("from", "to"), self.direction, strict=True)),
            "changes": [_plain(asdict(change) | self._forward(change)) for change in self.changes],
            "ability": None if self.ability is None else _plain(self.ability.to_dict()),
            "examples": list(self.examples),
            "characters": _plain(self.characters),
            "largest_shift": _rounded(self.largest_shift),
            "largest_hidden_drift": _rounded(self.largest_hidden_drift),
            "hidden_by_kind": _plain(dict(self.hidden_by_kind)),
            "sentence": self.sentence(),
            "named": list(self.named),
            "speaks_of": self.speaks_of,
            "own_onset": None if self.own_onset is None else asdict(self.own_onset),
            "group_count": self.group_count,
            "course": None if self.course is None else _plain(asdict(self.course)),
            "days": None if self.days is None else self.days.to_dict(),
            "window": None if self.window is None else _plain(asdict(self.window)),
            "groups": [group.to_dict() for group in self.groups],
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Verdict:
        """Rebuild a verdict from what `to_dict` told; figures are as rounded there."""
        values = _known(cls, told)
        for name in ("onset", "own_onset"):
            values[name] = Onset(**told[name]) if told.get(name) else None
        values["changes"] = tuple(Change(**_known(Change, _tupled(change))) for change in told["changes"])
        if told.get("ability"):
            values["ability"] = Ability.from_dict(told["ability"])
        values["examples"] = tuple(told["examples"])
        values["characters"] = tuple(told["characters"]) if told.get("characters") else None
        values["named"] = tuple(told.get("named", ()))
        values["course"] = Course.from_dict(told["course"]) if told.get("course") else None
        values["days"] = DaysTold.from_dict(told["days"]) if told.get("days") else None
        values["window"] = Window.from_dict(told["window"]) if told.get("window") else None
        values["groups"] = tuple(cls.from_dict(group) for group in told["groups"])
        return cls(**values)

    def sentence(self) -> str:
        """Return the verdict in plain words."""
        from promptguard.verdict.sentence import sentence

        return sentence(self)

    @property
    def reads_forward(self) -> bool:
        """Whether the sides of `told_forward()` are earlier and later; else they are control and candidate."""
        return self.control_moved or self.stream in _OLDER_CONTROL

    @property
    def control_moved(self) -> bool:
        """Whether the control left what both sides were before the onset, and the candidate stayed.

        So it is when an alias moved away from the pinned snapshot it is compared with. Judged by the most
        telling change that is of one side, whose rate on the control's side must differ from the one before by more
        than chance explains. False where there was no before, and where the control is the older answer by construction.
        """
        if self.stream in _OLDER_CONTROL:
            return False
        first = next((change for change in self.changes if not change.compares), None)
        if first is None or first.before is None:
            return False
        moved = abs(first.control - first.before)
        chance = math.hypot(_half(first.control_interval), _half(first.before_interval))
        return moved > max(chance, abs(first.candidate - first.before))

    @property
    def direction(self) -> tuple[str, str]:
        """From which side to which everything reads: from the reference (snapshot, stored answer) to the model asked today.

        The reference is the side that stayed as both were before; where there was no before, the control.
        """
        return ("candidate", "control") if self.control_moved else ("control", "candidate")

    def told_forward(self) -> Verdict:
        """Return the verdict with the side that moved as the candidate, so that figures read before -> after."""
        if not self.control_moved:
            return self
        turned = tuple(change.turned() for change in self.changes)
        ability = None if self.ability is None else self.ability.turned()
        characters = None if self.characters is None else self.characters[::-1]
        return replace(self, changes=turned, ability=ability, characters=characters)

    def _forward(self, change: Change) -> dict[str, float]:
        """Return a change's two rates in the direction in which the sentence reads."""
        told = change.turned() if self.control_moved else change
        return {"from": told.control, "to": told.candidate}

    def unmeasured(self, reason: str) -> Verdict:
        """Return the verdict taken away for `reason`, a failed self-test say; its figures stay to be seen."""
        return replace(self, status="unmeasured", reason=reason)


def _half(interval: tuple[float, float] | None) -> float:
    """Return half the width of a 95 % interval; 0 where there is none."""
    return 0.0 if interval is None else (interval[1] - interval[0]) / 2.0


def _known(kind: type, told: Mapping[str, object]) -> dict[str, Any]:
    """Return the fields that a class has: a document of a newer version may hold more."""
    names = {known.name for known in fields(kind)}
    return {name: value for name, value in told.items() if name in names}


def _tupled(change: Mapping[str, object]) -> dict[str, object]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in change.items()}


def _rounded(value: object) -> object:
    return round(value, 6) if isinstance(value, float) else value


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return _rounded(value)
