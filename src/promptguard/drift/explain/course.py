"""How a change went on: gradually, or until it was taken back. Judged by its most telling feature, once there are pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from promptguard.drift.features.catalogue import INDEX
from promptguard.drift.history.history import History
from promptguard.verdict import Change, Onset
from promptguard.verdict.course import Course

FEWEST = 20
"""pairs of a stretch"""
SURE = 5.0
"""standard errors between two stretches: the best of all divisions is looked at"""
_BACK, _LESS, _LEAST_SPREAD = 0.25, 0.6, 0.02
_OLDER_CONTROL = frozenset(("replay", "canary"))
Floats = NDArray[np.float64]


def course_of(history: History, onset: Onset, changes: Sequence[Change], stream: str) -> Course | None:
    """Return how a change went on; None where it came at once and stands, or too little is known."""
    rows = history.rows_from(onset.pair)
    if len(rows) < 3 * FEWEST:
        return None
    values = (rows.roots.astype(np.float64) / 255.0) ** 2
    differences = values[:, 1] - values[:, 0]
    place = next((INDEX[change.feature] for change in changes if change.feature in INDEX), None)
    moved = differences[:, _strongest(differences) if place is None else place]
    at, early, late, score = _divided(moved)
    if score < SURE:
        return None
    # Stored answers that are used up end every difference; only one that turns round shows what was taken back.
    is_back = early * late < 0 and abs(late) >= _BACK * abs(early)
    if stream not in _OLDER_CONTROL:
        is_back = is_back or abs(late) <= _BACK * abs(early)
    if is_back:
        return Course("taken_back", int(rows.numbers[at]), abs(early), abs(late))
    thirds = [float(part.mean()) for part in np.array_split(moved, 3)]
    sizes = [abs(third) for third in thirds]
    rising = sizes[0] <= _LESS * sizes[2] and sizes[0] < sizes[1] < sizes[2]
    if rising and thirds[0] * thirds[2] >= 0.0:
        return Course("gradual", onset.pair, sizes[0], sizes[2])
    return None


def _strongest(differences: Floats) -> int:
    """Return the feature that tells the sides apart best: what changed may be a path or an answer, no feature."""
    mean, spread = differences.mean(axis=0), differences.var(axis=0)
    return int(np.argmax(np.abs(mean) / np.sqrt(spread + _LEAST_SPREAD**2)))


def _divided(moved: Floats) -> tuple[int, float, float, float]:
    """Return where two stretches differ most, their means, and by how many standard errors."""
    count = len(moved)
    places = np.arange(FEWEST, count - FEWEST + 1)
    sums, squares = np.cumsum(moved), np.cumsum(moved * moved)
    first, second = sums[places - 1] / places, (sums[-1] - sums[places - 1]) / (count - places)
    spread = squares[-1] - places * first**2 - (count - places) * second**2
    error = np.sqrt(np.maximum(spread / count, 1e-4) * (1.0 / places + 1.0 / (count - places)))
    best = int(np.argmax(np.abs(first - second) / error))
    score = float(abs(first[best] - second[best]) / error[best])
    return int(places[best]), float(first[best]), float(second[best]), score if math.isfinite(score) else 0.0
