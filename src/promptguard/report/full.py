"""A report in full: the ledger's read models, with the price of cached tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from promptguard.core.streams import REPEAT
from promptguard.report.model import CacheUse, Pace, Report

FEWEST_FOR_NOISE = 20
"""Repeat pairs below which noise is not measured but guessed."""


def full_report(ledger: str | Path = ".promptguard") -> Report:
    """Read a ledger for showing. Raises InputFileError when there is none."""
    from promptguard.report.read import read_report

    report = read_report(ledger)
    return replace(report, cache=replace(report.cache, saved_usd=saved_usd(report.cache)))


def measured_pace(ledger: str | Path, stream: str) -> Pace:
    """Measure what planning needs. Raises InputFileError when there is no ledger."""
    from promptguard.report.read import read_pace

    noise, noise_pairs = _noise(ledger)
    return Pace(noise, noise_pairs, *read_pace(ledger, stream))


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


def saved_usd(cache: CacheUse) -> float | None:
    """Return what the answers from the cache would have cost, or None when a model's price is not known."""
    if not cache.saved_tokens:
        return 0.0  # without the options and the prices, which take a tenth of a command to import
    from promptguard.shadow.budget import list_price

    total = 0.0
    for model, (asked, answered) in cache.saved_tokens.items():
        price = list_price(model)
        if price is None:
            return None
        total += (price.input * asked + price.output * answered) / 1e6
    return total
