"""Which changes may be said: those whose own evidence reaches a stated level, all of them taken together.

An alarm says that something changed. What changed is another question, asked of every feature at once. Each has an e-value
of its own against "this goes neither up nor down", and e-BH picks those that may be said: of all that is said, an expected
share of at most `LEVEL` did not move. When it began is not known; the e-value is the mean over all starts, half of it for
the first pair, which is an e-value as well. Below the level there is "a difference, cause not yet clear" and the pairs that
show it most.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from promptguard.drift.explain.contrasts import Contrast
from promptguard.drift.features.catalogue import COUNT
from promptguard.drift.history.history import NO_EDGE
from promptguard.drift.history.onset import from_here, log_kt
from promptguard.drift.history.rows import Rows

LEVEL = 0.05
"""The expected share, of what is said to have changed, that did not."""

Floats = NDArray[np.float64]


def log_evidence(found: Sequence[Contrast], rows: Rows) -> list[float]:
    """Return the log e-value of each contrast over the remembered pairs, in the order of `found`."""
    if not len(rows) or not found:
        return [0.0] * len(found)
    signs = rows.signs()
    columns = [
        signs[:, contrast.column] if contrast.column < COUNT else _signs(contrast, rows) for contrast in found
    ]
    moved = np.stack(columns, axis=1)
    plus, minus = from_here(moved > 0), from_here(moved < 0)
    told: list[float] = _over_starts(log_kt(plus, minus) + math.log(2.0) * (plus + minus)).tolist()
    return told


def log_evidence_of_wording(rows: Rows) -> float:
    """Return the log e-value of what the text hash bet on each pair before it was told."""
    if not len(rows):
        return 0.0
    paid = np.log1p(np.where(rows.edges == NO_EDGE, 0, rows.edges) / 127.0)
    return float(_over_starts(np.cumsum(paid[::-1])[::-1, None])[0])


def may_be_said(log_evidence: Sequence[float], level: float = LEVEL) -> list[bool]:
    """Return which of these may be said: of what is, an expected share of at most `level` did not move.

    e-BH (Wang & Ramdas, "False discovery rate control with e-values", arXiv 2009.02824): valid however the e-values depend
    on each other. The k largest are said where each is at least their number, over `level` and k.
    """
    count = len(log_evidence)
    ranked = sorted(log_evidence, reverse=True)
    bar = math.inf
    for rank, gained in enumerate(ranked, 1):
        if gained >= math.log(count / (level * rank)):
            bar = gained
    return [gained >= bar for gained in log_evidence]


def most_telling(found: Sequence[Contrast], rows: Rows) -> list[int]:
    """Return the numbers of the two pairs that differ in most features and words, earliest first."""
    if not len(rows):
        return []
    differ = np.count_nonzero(rows.signs(), axis=1) + (rows.edges != NO_EDGE)
    for contrast in found:
        if contrast.event is not None:
            differ = differ + (_signs(contrast, rows) != 0)
    order = np.argsort(-differ, kind="stable")[:2]
    return sorted(int(rows.numbers[place]) for place in order if differ[place])


def _signs(contrast: Contrast, rows: Rows) -> NDArray[np.int8]:
    first, second = contrast.sides(rows)
    return np.sign(second - first).astype(np.int8)


def _over_starts(by_start: Floats) -> Floats:
    """Return the log of the mean over starts (rows), half of it for the first one."""
    peak = by_start.max(axis=0)
    spread = peak + np.log(np.exp(by_start - peak).mean(axis=0))
    told: Floats = np.logaddexp(by_start[0], spread) - math.log(2.0)
    return told
