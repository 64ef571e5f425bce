"""What changed: from tallies to a short ranked list.

Ranking by evidence is a trap: by-products such as length share the sign record of the true cause, which then
came first in 14-55 % of planted changes. So evidence only screens; the order is standardised effect times
tier; what moves together is told once, and what follows from something plainer comes after it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from promptguard.drift.explain import causes, wording
from promptguard.drift.explain.contrasts import Contrast, contrasts
from promptguard.drift.explain.effects import FEWEST, betting_interval, rate_interval
from promptguard.drift.explain.placed import placed_contrasts
from promptguard.drift.features.catalogue import INDEX, LENGTH_CAP
from promptguard.drift.history.history import History
from promptguard.drift.history.register import Register
from promptguard.drift.history.rows import Rows
from promptguard.drift.history.tally import Tally
from promptguard.verdict import Change, Onset

MOST_CHANGES = 8
_FIRST_EVENT = 4096
"""column of the first event: beyond every feature and label"""
_CORRELATED = 0.8
_CONCORDANT = 0.35
_WIDER = 0.7
"""of the pairs in which a flag moved, net: what it follows from has moved in as many, at least"""
_FLOOR = 0.02
_SMALLEST = 0.01
_SMALLEST_SPREAD = 0.1
_SMALLEST_LENGTH = 0.001
"""a hundredth of the characters"""
_FEW_CHARACTERS, _FAR_LONGER = 24, 5.0
_LOST_WITH_TEXT = frozenset(("language", "format"))
_NO_JSON_IN_A_FENCE = frozenset(("json_valid", "json_as_asked", "json_keys", "json_schema"))
_UNITS = {"length": "characters", "lines": "lines", "words_per_line": "words a line"}
_FOLLOWING = frozenset(("style", "reasoning", "content"))
"""kinds whose graded features of tier 1 follow from others: a longer text has more of everything"""


@dataclass(frozen=True, slots=True)
class Earlier:
    """The pairs before the onset: sums of all, and those that are remembered."""

    tally: Tally
    rows: Rows

    def rate(self, contrast: Contrast) -> tuple[float, int] | None:
        """Return the candidate side's mean and of how many pairs; None where there was no before."""
        pairs = self.tally.pairs if contrast.event is None else len(self.rows)
        return (contrast.before(self.tally, self.rows), pairs) if pairs else None


def explain(
    history: History,
    onset: Onset,
    effect_from: int,
    register: Register | None = None,
    cause_error: float = causes.LEVEL,
) -> tuple[tuple[Change, ...], tuple[int, ...]]:
    """Return the changes, most telling first, and up to three example pair numbers; `register` names places.

    Of the changes that are returned, an expected share of at most `cause_error` did not happen.
    """
    before, since = history.split(onset.pair)
    rows = history.rows_since(onset.pair)
    effect_rows = history.rows_from(effect_from)
    earlier = Earlier(before, history.window().until(onset.pair - 1))
    found = contrasts(since, history.labels.names)
    if register is not None and len(rows):
        found += placed_contrasts(register, rows, _FIRST_EVENT)
    all_rows = history.rows_since(1)
    words = wording.record(rows, causes.log_evidence_of_wording(all_rows))
    log_evidence = causes.log_evidence(found, all_rows)
    *said, wording_said = causes.may_be_said([*log_evidence, words.log_evidence], cause_error)
    only_words = wording_said and wording.is_apart(words, max(log_evidence, default=0.0), any(said))
    kept = _screened(found, said, since.pairs)
    order, under = _ordered(_plain_enough(kept, since.pairs), rows)
    leaders = _grouped(order, rows)[:MOST_CHANGES]
    changes = [
        _change(leader, (*related, *under.get(leader.column, ())), earlier, since, effect_rows)
        for leader, related in leaders
    ]
    if only_words:
        changes.append(wording.change(words, effect_rows))
    if leaders:
        examples = _examples(leaders[0][0], rows)
    else:
        examples = wording.clearest(rows) if changes else causes.most_telling(found, rows)
    return tuple(changes), tuple(examples)


def _screened(found: list[Contrast], said: list[bool], pairs: int) -> list[Contrast]:
    """Return what may be said, strongest first."""
    kept = [
        _with_strength(contrast, contrast.pairs or pairs)
        for contrast, may_be in zip(found, said, strict=True)
        if may_be and contrast.plus + contrast.minus > 0 and contrast.shift
    ]
    return sorted(kept, key=lambda contrast: (-contrast.strength, contrast.column))


def _with_strength(contrast: Contrast, pairs: int) -> Contrast:
    mean = abs(contrast.shift) / pairs
    return replace(contrast, strength=mean / math.sqrt(contrast.variance + _FLOOR**2) * contrast.tier)


def _ordered(ranked: list[Contrast], rows: Rows) -> tuple[list[Contrast], dict[int, list[str]]]:
    """Put what follows from a plainer change, pair by pair, behind the strongest such change.

    Returns the order without what hardly ever moves but with its cause, and the names of that by the cause's column.
    """
    plain = [contrast for contrast in ranked if contrast.tier > 1]
    moves = {contrast.column: _moves(contrast, rows) for contrast in ranked}
    dwarfed = _are_few_words(rows)
    behind: dict[int, list[Contrast]] = {contrast.column: [] for contrast in plain}
    under: dict[int, list[str]] = {contrast.column: [] for contrast in plain}
    order = []
    for contrast in ranked:
        agreed = [
            (each, _concordance(moves[contrast.column], moves[each.column]))
            for each in _possible_causes(contrast, plain, dwarfed=dwarfed)
            if not _is_wider(contrast, moves[contrast.column], moves[each.column])
        ]
        cause, agreement = next(((each, by) for each, by in agreed if by > _CONCORDANT), (None, 0.0))
        if cause is None:
            order.append(contrast)
        elif agreement > _CORRELATED:
            under[cause.column].append(contrast.name)
        else:
            behind[cause.column].append(contrast)
    # every cause before what follows from any: a sentence has room for three
    followers = [each for contrast in order for each in behind.get(contrast.column, ())]
    return [*order, *followers], under


def _possible_causes(contrast: Contrast, plain: list[Contrast], *, dwarfed: bool) -> list[Contrast]:
    """Return what a change may follow from, strongest first.

    A text that shrinks loses capitals, lists and digits, a text of a word or two has no language to speak of, and JSON in
    a code fence is no valid JSON.
    """
    if contrast.tier == 1 and (contrast.binary or contrast.kind in _FOLLOWING):
        return plain
    if contrast.name in _NO_JSON_IN_A_FENCE:
        return [
            each for each in plain if each.name in ("starts_with_fence", "code_fence") and each.shift > 0.0
        ]
    if dwarfed and contrast.kind in _LOST_WITH_TEXT:
        return [each for each in plain if each.name == "length" and each.shift * contrast.shift > 0.0]
    return []


def _is_wider(contrast: Contrast, follower: NDArray[np.float64], cause: NDArray[np.float64]) -> bool:
    """Whether a flag moved in so many more pairs than what it may follow from that it does not.

    Of graded features nearly every pair has some.
    """
    return contrast.binary and float(cause.sum()) < _WIDER * float(follower.sum())


def _are_few_words(rows: Rows) -> bool:
    """Whether half of the answers of one side are shorter than a short sentence, and those of the other far longer."""
    if not len(rows):
        return False
    shares = [float(np.median(rows.values(side, INDEX["length"]))) for side in (0, 1)]
    few, many = sorted(math.expm1(share * math.log1p(LENGTH_CAP)) for share in shares)
    return few < _FEW_CHARACTERS and many >= _FAR_LONGER * few


def _moves(contrast: Contrast, rows: Rows) -> NDArray[np.float64]:
    """Return +1 where a pair shows the change, -1 where the opposite, 0 where neither."""
    first, second = contrast.sides(rows)
    return np.sign(second - first) * math.copysign(1.0, contrast.shift)


def _concordance(follower: NDArray[np.float64], cause: NDArray[np.float64]) -> float:
    """Return how much more often than not the cause is there when the follower moves, from -1 to 1."""
    moved = np.count_nonzero(follower)
    return float((follower * cause).sum() / moved) if moved else 0.0


def _plain_enough(ranked: list[Contrast], pairs: int) -> list[Contrast]:
    """Drop what is certain but too small to matter, unless nothing else is left."""
    return [contrast for contrast in ranked if _matters(contrast, pairs)] or ranked[:1]


def _matters(contrast: Contrast, pairs: int) -> bool:
    shift = abs(contrast.shift) / (contrast.pairs or pairs)
    if contrast.name == "length":
        return shift >= _SMALLEST_LENGTH
    # a share of characters may never reach a hundredth, and yet be far from what it was
    return shift >= _SMALLEST or shift >= _SMALLEST_SPREAD * math.sqrt(contrast.variance + _FLOOR**2)


def _grouped(ranked: list[Contrast], rows: Rows) -> list[tuple[Contrast, tuple[str, ...]]]:
    """Fold each feature into the first stronger one it is correlated with above .8, over both sides' answers.

    Labels stand for themselves: they are the user's own words for what matters. So does a place that came where another
    went: it is the other's new name.
    """
    leaders: list[tuple[Contrast, list[str], NDArray[np.float64]]] = []
    for contrast in ranked:
        values = _standardised(np.concatenate(contrast.sides(rows)))
        home = None
        if contrast.kind != "label":
            home = next(
                (
                    names
                    for leader, names, other in leaders
                    if abs(float(values @ other)) > _CORRELATED and not _are_two_names(contrast, leader)
                ),
                None,
            )
        if home is None:
            leaders.append((contrast, [], values))
        else:
            home.append(contrast.name)
    return [(contrast, tuple(names)) for contrast, names, _ in leaders]


def _are_two_names(contrast: Contrast, leader: Contrast) -> bool:
    if contrast.event is None or leader.event is None:
        return False
    return {contrast.event.aspect, leader.event.aspect} == {"there", "missing"}


def _standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = values - values.mean() if len(values) else values
    length = float(np.sqrt(centred @ centred))
    return centred / length if length else centred


def _change(
    contrast: Contrast, related: tuple[str, ...], before: Earlier, since: Tally, effect_rows: Rows
) -> Change:
    # what is said by place is remembered of the last pairs only
    count = max(1, since.pairs if contrast.event is None else contrast.pairs)
    control, candidate = contrast.totals[0] / count, contrast.totals[1] / count
    interval = None
    if len(effect_rows) >= FEWEST:
        first, second = contrast.sides(effect_rows)
        interval = betting_interval(second - first)
    # A change that took the length along is easier to grasp with its characters beside it.
    measured = contrast.name if contrast.name in _UNITS else "length" if "length" in related else None
    natural = _natural(measured, since) if measured else (None, None)
    earlier = before.rate(contrast)
    return Change(
        feature=contrast.name,
        kind=contrast.kind,
        control=control,
        candidate=candidate,
        difference=candidate - control,
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        phrase=contrast.phrase,
        binary=contrast.binary,
        strength=contrast.strength,
        effect_pairs=len(effect_rows),
        control_interval=rate_interval(contrast.totals[0], count),
        candidate_interval=rate_interval(contrast.totals[1], count),
        before=None if earlier is None else earlier[0],
        before_interval=None if earlier is None else rate_interval(earlier[0] * earlier[1], earlier[1]),
        unit=_UNITS[measured] if measured else None,
        control_units=natural[0],
        candidate_units=natural[1],
        related=related,
        pattern=contrast.pattern,
    )


def _natural(name: str, tally: Tally) -> tuple[float, float]:
    count = max(1, tally.pairs)
    characters, lines, words = (tally.counts[:, place] for place in range(3))
    values = {
        "length": characters / count,
        "lines": lines / count,
        "words_per_line": words / np.maximum(lines, 1),
    }[name]
    return float(values[0]), float(values[1])


def _examples(contrast: Contrast, rows: Rows) -> list[int]:
    """Return the pairs that show the first change most plainly, earliest first among equals."""
    first, second = contrast.sides(rows)
    moved = (second - first) * math.copysign(1.0, contrast.shift)
    order = np.argsort(-moved, kind="stable")[:3]
    return sorted(int(rows.numbers[place]) for place in order if moved[place] > 0)
