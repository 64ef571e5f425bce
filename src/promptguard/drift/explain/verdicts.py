"""A verdict with what changed: onset, changes, ability and course, from the past of one group."""

from __future__ import annotations

from dataclasses import dataclass, replace

from promptguard.drift.explain.ability import measure_ability
from promptguard.drift.explain.causes import LEVEL
from promptguard.drift.explain.changes import explain
from promptguard.drift.explain.contrasts import contrasts
from promptguard.drift.explain.course import course_of
from promptguard.drift.features.labels import Labeller
from promptguard.drift.history.history import History
from promptguard.drift.history.register import Register
from promptguard.drift.history.tally import Tally
from promptguard.verdict import Onset, Verdict

_NO_BEFORE = 10
"""an onset up to here, whose 90 % set reaches back to pair 1, is the beginning"""


@dataclass(frozen=True, slots=True)
class Telling:
    """What explanations go by beside a group's past: settings of its monitor."""

    labels: Labeller | None = None
    tolerance: float | None = None
    cause_error: float = LEVEL
    """the expected share, of the causes that are stated, that did not change"""


def explained(
    brief: Verdict,
    history: History,
    onset: Onset,
    register: Register | None,
    telling: Telling,
    effect_from: int | None = None,
) -> Verdict:
    """Return `brief` with what changed in the pairs of `history` from `onset` on.

    `effect_from` is the first pair that effects are measured with; by default the first after the alarm. `register` names
    places of structured answers.
    """
    if brief.mode == "gate" and onset.low == 1 and onset.pair <= _NO_BEFORE:
        # A comparison of two models differs from its first pair on; so few pairs "before" would tell nothing.
        onset = replace(onset, pair=1)
    measured_from = effect_from or (history.alarm_at or history.pairs) + 1
    changes, examples = explain(history, onset, measured_from, register, telling.cause_error)
    if telling.tolerance is not None:
        changes = tuple(change for change in changes if abs(change.difference) > telling.tolerance) or changes
    _, since = history.split(onset.pair)
    positive = telling.labels.first if telling.labels else None
    return replace(
        brief,
        onset=onset,
        changes=changes,
        ability=measure_ability(since, history.labels.names, positive),
        examples=examples,
        characters=since.characters,
        largest_shift=_largest_shift(since),
        course=course_of(history, onset, changes, brief.stream),
    )


def _largest_shift(since: Tally) -> float | None:
    """Return the largest mean difference of any feature, by-products included: what a tolerance is held against."""
    if not since.pairs:
        return None
    return max(abs(each.shift) for each in contrasts(since, [])) / since.pairs
