"""Behaviour or ability, measured: whether a model lost a skill or only a habit.

A fall in accuracy can be a shift of the answer's bias (it now says "no" to everything) or of its
discrimination. Signal detection tells them apart: d' is ability, the criterion is habit (Green & Swets 1966;
log-linear correction of Hautus 1995).
"""

from __future__ import annotations

import math

from promptguard.drift.explain.effects import rate_interval
from promptguard.drift.history.tally import NO_LABEL, Tally
from promptguard.verdict.ability import Ability, Measure, SideAbility

_POSITIVE = ("yes", "true", "positive", "1", "correct", "valid", "spam")
_Z95 = 1.959963984540054


def signal_detection(hits: int, misses: int, false_alarms: int, rejections: int) -> dict[str, Measure]:
    """Return yes_rate, sensitivity, specificity, d_prime and criterion with 95 % intervals.

    z-values use the log-linear correction (+.5 on counts, +1 on totals); the variance of d' is that of
    Gourevitch & Galanter (1967).
    """
    from statistics import NormalDist

    normal = NormalDist()
    signal, noise = hits + misses, false_alarms + rejections
    z, variance = [], 0.0
    for ones, total in ((hits, signal), (false_alarms, noise)):
        rate = (ones + 0.5) / (total + 1.0)
        z.append(normal.inv_cdf(rate))
        variance += rate * (1.0 - rate) / ((total + 1.0) * normal.pdf(z[-1]) ** 2)
    half = _Z95 * math.sqrt(variance)
    d_prime, criterion = z[0] - z[1], -(z[0] + z[1]) / 2.0
    return {
        "yes_rate": _rate(hits + false_alarms, signal + noise),
        "sensitivity": _rate(hits, signal),
        "specificity": _rate(rejections, noise),
        "d_prime": Measure(d_prime, d_prime - half, d_prime + half),
        "criterion": Measure(criterion, criterion - half / 2.0, criterion + half / 2.0),
    }


def measure_ability(tally: Tally, names: list[str], positive: str | None = None) -> Ability | None:
    """Return both sides' ability over the pairs of `tally`; None without references.

    Where some answers have labels, one with none counts as wrong; where none has, texts are compared
    (`features/correctness.py`), and only accuracy is told.
    """
    if not tally.correct[0]:
        return None
    references = {codes[2] for codes in tally.labels if codes[2] != NO_LABEL}
    labelled = any(codes[0] != NO_LABEL or codes[1] != NO_LABEL for codes in tally.labels)
    binary = labelled and len(references) == 2 and min(references) >= 0
    yes = _positive_code(references, names, positive) if binary else None
    control, candidate = (_side(tally, side, yes) for side in (0, 1))
    if yes is None:
        return Ability(None, control, candidate)
    positives = sum(number for codes, number in tally.labels.items() if codes[2] == yes)
    return Ability(names[yes], control, candidate, positives / control.pairs)


def _positive_code(references: set[int], names: list[str], positive: str | None) -> int | None:
    wanted = (positive.casefold(),) if positive else _POSITIVE
    return next((code for name in wanted for code in references if names[code].casefold() == name), None)


def _side(tally: Tally, side: int, yes: int | None) -> SideAbility:
    count, right = int(tally.correct[0]), int(tally.correct[1 + side])
    accuracy = _rate(right, count)
    if yes is None:
        return SideAbility(count, accuracy)
    cells = {(said, truth): 0 for said in (True, False) for truth in (True, False)}
    for codes, number in tally.labels.items():
        if codes[2] != NO_LABEL:
            cells[codes[side] == yes, codes[2] == yes] += number
    found = signal_detection(cells[True, True], cells[False, True], cells[True, False], cells[False, False])
    return SideAbility(count, accuracy, **found)


def _rate(ones: int, total: int) -> Measure:
    return Measure(ones / total if total else 0.0, *rate_interval(ones, total))
