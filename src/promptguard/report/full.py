"""A report in full: the ledger's read models, with evidence curves and the price of cached tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from promptguard.core.streams import REPEAT
from promptguard.report.model import CacheUse, Point, Report, Rhythm, StreamReport

FEWEST_FOR_NOISE = 20
"""Repeat pairs below which noise is not measured but guessed."""
MOST_FOLDED = 20_000
"""Pairs of one stream beyond which the curve is left out: folding takes about 0.1 ms a pair."""


def full_report(ledger: str | Path = ".promptguard") -> Report:
    """Read a ledger for showing. Raises InputFileError when there is none."""
    from promptguard.report.read import read_report

    report = read_report(ledger)
    streams = tuple(replace(stream, curve=_curve(ledger, stream)) for stream in report.streams)
    return replace(report, streams=streams, cache=replace(report.cache, saved_usd=_saved(report.cache)))


def rhythm(ledger: str | Path, stream: str) -> Rhythm:
    """Measure what planning needs. Raises InputFileError when there is no ledger."""
    from promptguard.report.read import read_pace

    noise, noise_pairs = _noise(ledger)
    return Rhythm(noise, noise_pairs, *read_pace(ledger, stream))


def _noise(ledger: str | Path) -> tuple[float | None, int]:
    """Return the flip rate each way of the noisiest flag over the repeat pairs, and their number."""
    import numpy as np

    from promptguard.drift import PairVector
    from promptguard.drift.features.catalogue import BINARY
    from promptguard.report.read import read_vectors

    flags = list(BINARY)
    flips, pairs = np.zeros(len(flags), dtype=np.int64), 0
    for _, _, packed in read_vectors(ledger, REPEAT, 1):
        vector = PairVector.from_bytes(packed)
        flips += vector.control[flags] != vector.candidate[flags]
        pairs += 1
    if pairs < FEWEST_FOR_NOISE:
        return None, pairs
    return float(flips.max()) / (2.0 * pairs), pairs


def _curve(ledger: str | Path, stream: StreamReport) -> tuple[Point, ...]:
    """Fold the stored vectors again, as the evaluator did: the same pairs give the same evidence."""
    from promptguard.drift import PairMonitor, PairVector
    from promptguard.report.read import read_vectors

    told = stream.verdict
    if not 0 < stream.pairs <= MOST_FOLDED:
        return ()
    monitor = PairMonitor(
        told.alpha, mode=told.mode, horizon=told.horizon, stream=told.stream, tolerance=told.tolerance
    )
    points = []
    for group, call, vector in read_vectors(ledger, stream.stream, stream.epoch):
        verdict = monitor.observe(PairVector.from_bytes(vector), group)
        points.append(Point(verdict.pairs, call, verdict.log10_evidence))
        if verdict.pairs == stream.pairs:
            break  # pairs committed since the verdict was written belong to the next one
    return tuple(points)


def _saved(cache: CacheUse) -> float | None:
    """Return what the answers from the cache would have cost, or None when a model's price is not known."""
    from promptguard.shadow.budget import list_price

    total = 0.0
    for model, (asked, answered) in cache.saved_tokens.items():
        price = list_price(model)
        if price is None:
            return None
        total += (price.input * asked + price.output * answered) / 1e6
    return total
