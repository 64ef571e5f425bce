"""What changed: from tallies to a short ranked list.

Ranking by evidence is a trap: by-products such as length share the sign record of the true cause, which then
came first in 14-55 % of planted changes. So evidence only screens; the order is standardised effect times
tier; what moves together is told once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from promptguard.drift.catalogue import COUNT, FEATURES, FIRST_LABEL
from promptguard.drift.effects import FEWEST, betting_interval, rate_interval
from promptguard.drift.history import History
from promptguard.drift.onset import log_kt
from promptguard.drift.rows import UNIT, Rows
from promptguard.drift.tally import Tally
from promptguard.drift.verdict import Change, Onset

MOST_CHANGES = 8
_NEAR_BEST = 2.0
_LEVEL = 0.05
_CORRELATED = 0.8
_FLOOR = 0.02
_SMALLEST = 0.01
_LABEL_TIER = 3
_UNITS = {"length": "characters", "lines": "lines", "words_per_line": "words a line"}


@dataclass(frozen=True, slots=True)
class Contrast:
    """One feature or label over the pairs since the onset."""

    name: str
    kind: str
    tier: int
    binary: bool
    phrase: str
    totals: tuple[float, float]
    variance: float
    plus: int
    minus: int
    column: int
    """feature index, or COUNT + label code"""
    strength: float = 0.0


def explain(history: History, onset: Onset, effect_from: int) -> tuple[tuple[Change, ...], tuple[int, ...]]:
    """Return the changes, most telling first, and up to three example pair numbers."""
    before, since = history.split(onset.pair)
    ranked = _ranked(_contrasts(since, history.labels.names), since.pairs)
    recent = history.rows_from(onset.pair)
    leaders = _grouped(_plain_enough(ranked, since.pairs), recent)[:MOST_CHANGES]
    effect_rows = history.rows_from(effect_from)
    changes = tuple(_change(leader, related, before, since, effect_rows) for leader, related in leaders)
    return changes, _examples(leaders[0][0], recent) if leaders else ()


def _contrasts(tally: Tally, names: list[str]) -> list[Contrast]:
    count = max(1, tally.pairs)
    means = tally.sums / UNIT / count
    variances = np.maximum(tally.squares / UNIT**2 / count - (means**2).sum(axis=0), 0.0) / 2.0
    found = [
        Contrast(
            feature.name, feature.kind, feature.tier, feature.binary, feature.phrase,
            (float(tally.sums[0, place] / UNIT), float(tally.sums[1, place] / UNIT)),
            float(variances[place]), int(tally.plus[place]), int(tally.minus[place]), place,
        )
        for place, feature in enumerate(FEATURES[:FIRST_LABEL])
    ]  # fmt: skip
    return found + [_label_contrast(tally, code, name) for code, name in enumerate(names)]


def _label_contrast(tally: Tally, code: int, name: str) -> Contrast:
    control = candidate = plus = minus = 0
    for (first, second, _), number in tally.labels.items():
        control += number * (first == code)
        candidate += number * (second == code)
        plus += number * (second == code != first)
        minus += number * (first == code != second)
    rates = (control / max(1, tally.pairs), candidate / max(1, tally.pairs))
    variance = sum(rate * (1.0 - rate) for rate in rates) / 2.0
    phrase = f"the label `{name}`"
    return Contrast(
        f"label:{name}",
        "label",
        _LABEL_TIER,
        True,
        phrase,
        (control, candidate),
        variance,
        plus,
        minus,
        COUNT + code,
    )


def _ranked(contrasts: list[Contrast], pairs: int) -> list[Contrast]:
    """Screen by wealth, then order by standardised effect times tier."""
    if not pairs:
        return []
    plus = np.array([contrast.plus for contrast in contrasts])
    minus = np.array([contrast.minus for contrast in contrasts])
    wealth = (plus + minus) * math.log(2.0) + log_kt(plus, minus)
    bar = min(float(wealth.max()) - _NEAR_BEST, math.log(len(contrasts) / _LEVEL))
    kept = [
        _with_strength(contrast, pairs)
        for contrast, log_wealth in zip(contrasts, wealth, strict=True)
        if log_wealth >= bar
        and contrast.plus + contrast.minus > 0
        and contrast.totals[0] != contrast.totals[1]
    ]
    return sorted(kept, key=lambda contrast: (-contrast.strength, contrast.column))


def _plain_enough(ranked: list[Contrast], pairs: int) -> list[Contrast]:
    """Drop what is certain but too small to matter, unless nothing else is left."""
    large = [c for c in ranked if abs(c.totals[1] - c.totals[0]) >= _SMALLEST * pairs]
    return large or ranked[:1]


def _with_strength(contrast: Contrast, pairs: int) -> Contrast:
    mean = abs(contrast.totals[1] - contrast.totals[0]) / pairs
    return replace(contrast, strength=mean / math.sqrt(contrast.variance + _FLOOR**2) * contrast.tier)


def _sides(contrast: Contrast, rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both sides' values of a feature or label, each of shape (rows,)."""
    if contrast.column >= COUNT:
        said = (rows.codes[:, :2] == contrast.column - COUNT).astype(np.float64)
        return said[:, 0], said[:, 1]
    return rows.values(0, contrast.column), rows.values(1, contrast.column)


def _grouped(ranked: list[Contrast], rows: Rows) -> list[tuple[Contrast, tuple[str, ...]]]:
    """Fold each feature into the first stronger one it is correlated with above .8, over both sides' answers.

    Labels stand for themselves: they are the user's own words for what matters.
    """
    leaders: list[tuple[Contrast, list[str], NDArray[np.float64]]] = []
    for contrast in ranked:
        values = _standardised(np.concatenate(_sides(contrast, rows)))
        home = None
        if contrast.kind != "label":
            home = next(
                (names for _, names, other in leaders if abs(float(values @ other)) > _CORRELATED), None
            )
        if home is None:
            leaders.append((contrast, [], values))
        else:
            home.append(contrast.name)
    return [(contrast, tuple(names)) for contrast, names, _ in leaders]


def _standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = values - values.mean() if len(values) else values
    length = float(np.sqrt(centred @ centred))
    return centred / length if length else centred


def _change(
    contrast: Contrast, related: tuple[str, ...], before: Tally, since: Tally, effect_rows: Rows
) -> Change:
    count = max(1, since.pairs)
    control, candidate = contrast.totals[0] / count, contrast.totals[1] / count
    interval = None
    if len(effect_rows) >= FEWEST:
        first, second = _sides(contrast, effect_rows)
        interval = betting_interval(second - first)
    # A change that took the length along is easier to grasp with its characters beside it.
    measured = contrast.name if contrast.name in _UNITS else "length" if "length" in related else None
    natural = _natural(measured, since) if measured else (None, None)
    earlier = _before(contrast, before)
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
        control_interval=rate_interval(contrast.totals[0], since.pairs),
        candidate_interval=rate_interval(contrast.totals[1], since.pairs),
        before=earlier / before.pairs if before.pairs else None,
        before_interval=rate_interval(earlier, before.pairs) if before.pairs else None,
        unit=_UNITS[measured] if measured else None,
        control_units=natural[0],
        candidate_units=natural[1],
        related=related,
    )


def _before(contrast: Contrast, before: Tally) -> float:
    if contrast.column >= COUNT:
        return float(sum(n for codes, n in before.labels.items() if codes[1] == contrast.column - COUNT))
    return float(before.sums[1, contrast.column] / UNIT)


def _natural(name: str, tally: Tally) -> tuple[float, float]:
    count = max(1, tally.pairs)
    characters, lines, words = (tally.counts[:, place] for place in range(3))
    values = {
        "length": characters / count,
        "lines": lines / count,
        "words_per_line": words / np.maximum(lines, 1),
    }[name]
    return float(values[0]), float(values[1])


def _examples(contrast: Contrast, rows: Rows) -> tuple[int, ...]:
    """Return the pairs that show the first change most plainly, earliest first among equals."""
    first, second = _sides(contrast, rows)
    moved = (second - first) * (1.0 if contrast.totals[1] > contrast.totals[0] else -1.0)
    order = np.argsort(-moved, kind="stable")[:3]
    return tuple(sorted(int(rows.numbers[place]) for place in order if moved[place] > 0))
