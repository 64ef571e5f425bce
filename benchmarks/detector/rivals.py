"""(f) What else one might do: other detectors on the same streams, looked at every 10 pairs as people do."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from benchmarks.detector.corpora import Pairs, changed, recorded, same_model
from benchmarks.detector.table import Row, Task, delay, rate

from promptguard.drift.betting.evidence import Process
from promptguard.drift.betting.experts import SwapBet, difference
from promptguard.drift.betting.partitions import paired
from promptguard.drift.features.catalogue import INDEX, SCALE

NAME = "comparisons"
LENGTH, EVERY, LEVEL, DRAWS, WINDOW = 1000, 10, 0.01, 199, 100
FIRST = 20
"""pairs before the first look"""
STREAMS = {"nothing": None, "sensitive gpt-4": ("sensitive", "gpt-4"), "quant_q8_0": ("quant_q8_0",)}


def swap_bet(pairs: Pairs, _rng: np.random.Generator) -> Iterator[bool]:
    learner, process = SwapBet(), Process("gate")
    for count, pair in enumerate(pairs, 1):
        process.pay(learner.score_then_learn(difference(paired(*pair))))
        if count >= FIRST and count % EVERY == 0:
            yield process.log >= -math.log(LEVEL)


def mmd(pairs: Pairs, rng: np.random.Generator) -> Iterator[bool]:
    """The paired permutation test on n-grams, all pairs so far."""
    gaps = np.array([second.hashed - first.hashed for first, second in pairs])
    total = np.zeros((DRAWS + 1, gaps.shape[1]))
    for end in range(EVERY, len(pairs) + 1, EVERY):
        signs = np.where(rng.random((DRAWS + 1, EVERY)) < 0.5, -1.0, 1.0)
        signs[0] = 1.0
        total += signs @ gaps[end - EVERY : end]
        if end >= FIRST:
            size = (total * total).sum(axis=1)
            yield bool(((size[1:] >= size[0] - 1e-12).sum() + 1) / (DRAWS + 1) <= LEVEL)


def ks_length(pairs: Pairs, _rng: np.random.Generator) -> Iterator[bool]:
    """Kolmogorov-Smirnov on lengths, the last 100 pairs."""
    lengths = np.array([[side.counts[0] for side in pair] for pair in pairs])
    for end in _looks(pairs):
        first, second = np.sort(lengths[max(0, end - WINDOW) : end].T)
        points = np.concatenate([first, second])
        gap = np.abs(np.searchsorted(first, points, "right") - np.searchsorted(second, points, "right")).max()
        z = gap / len(first) * math.sqrt(len(first) / 2)
        yield _kolmogorov(z) < LEVEL


def _kolmogorov(z: float) -> float:
    if z < 0.2:
        return 1.0
    return 2 * sum((-1) ** (k - 1) * math.exp(-2 * (k * z) ** 2) for k in range(1, 101))


def similarity(pairs: Pairs, _rng: np.random.Generator) -> Iterator[bool]:
    """Mean cosine of the last 50 pairs below .8."""
    cosines = np.array([float(first.hashed @ second.hashed) for first, second in pairs])
    for end in _looks(pairs):
        yield bool(cosines[max(0, end - 50) : end].mean() < 0.8)


def t_test(pairs: Pairs, _rng: np.random.Generator) -> Iterator[bool]:
    """A paired t-test on each feature, all pairs so far; any at .01 (normal quantile, generous at small n)."""
    gaps = np.array([second.values.astype(float) - first.values for first, second in pairs]) / SCALE
    yield from _t_looks(gaps, pairs)


def t_length(pairs: Pairs, _rng: np.random.Generator) -> Iterator[bool]:
    """The same on length alone."""
    place = INDEX["length"]
    gaps = np.array([[float(second.values[place]) - first.values[place]] for first, second in pairs])
    yield from _t_looks(gaps / SCALE, pairs)


def _t_looks(gaps: np.ndarray, pairs: Pairs) -> Iterator[bool]:
    sums, squares = np.cumsum(gaps, axis=0), np.cumsum(gaps**2, axis=0)
    for end in _looks(pairs):
        mean = sums[end - 1] / end
        spread = np.sqrt(np.maximum(squares[end - 1] / end - mean**2, 0) / (end - 1))
        yield bool((np.abs(mean) > 2.5758 * spread)[spread > 0].any())


def _looks(pairs: Pairs) -> range:
    return range(FIRST, len(pairs) + 1, EVERY)


DETECTORS = {
    "SwapBet": swap_bet,
    "paired MMD, looked at repeatedly": mmd,
    "KS of lengths, window of 100": ks_length,
    "mean similarity < .8": similarity,
    "t-test on any feature": t_test,
    "t-test on length": t_length,
}


def _stream(what: str, rng: np.random.Generator) -> Pairs:
    corpus = STREAMS[what]
    if corpus is None:
        found: Pairs = []
        for answers in same_model().values():
            order = rng.permutation(len(answers))
            found += [(answers[a], answers[b]) for a, b in zip(order[::2], order[1::2], strict=True)]
    else:
        found = list(recorded(*corpus) if len(corpus) == 2 else changed(*corpus))
    chosen = [found[place] for place in rng.permutation(len(found))[:LENGTH]]
    return chosen[: len(chosen) // EVERY * EVERY]


def run(what: str, count: int, seed: int) -> tuple[str, list[dict[str, float]]]:
    """Pairs until each detector first says "changed", in `count` streams."""
    found = []
    for number in range(count):
        pairs = _stream(what, np.random.default_rng([seed, number]))
        found.append({name: _first(detector(pairs, np.random.default_rng([seed, number, 1])))
                      for name, detector in DETECTORS.items()})  # fmt: skip
    return what, found


def _first(looks: Iterator[bool]) -> float:
    return next((float(FIRST + EVERY * place) for place, rang in enumerate(looks) if rang), math.inf)


def tasks(scale: float, seed: int) -> list[Task]:
    count = max(20, round(600 * scale / 4))
    return [Task(run, (what, count, seed * 10 + part)) for what in STREAMS for part in range(4)]


def rows(results: list[tuple[str, Any]]) -> list[Row]:
    told: dict[str, list[dict[str, float]]] = {}
    for what, found in results:
        told.setdefault(what, []).extend(found)
    rows_ = []
    for name in DETECTORS:
        false = [one[name] for one in told["nothing"]]
        hits = sum(not math.isinf(at) for at in false)
        late = "; ".join(
            f"{what} {delay([one[name] for one in found])}"
            for what, found in told.items()
            if what != "nothing"
        )
        met = hits / len(false) <= LEVEL + 2 * math.sqrt(LEVEL / len(false)) if name == "SwapBet" else None
        figure = f"false alarms {rate(hits, len(false))}; delay {late}"
        rows_.append(
            Row(f"every 10 pairs: {name}", figure, "<= .01 + 2 s.e." if met is not None else "compared", met)
        )
    return rows_
