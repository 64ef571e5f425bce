"""Who answered, over time: a lane for every model, fingerprint and server that was seen."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from promptguard.core.identity import IdentityFact, IdentityObservation
from promptguard.ledger.reading import reading
from promptguard.report.memory import Memory
from promptguard.report.who import Lane

MOST_LANES = 60


@dataclass(frozen=True, slots=True)
class Identities:
    """Who answered in the days that `Memory.seen` knows."""

    now: float
    lanes: tuple[Lane, ...]
    more_lanes: int
    ends: tuple[float, float]
    """when the first and the last of them answered"""
    rows: tuple[IdentityObservation, ...]
    facts: tuple[IdentityFact, ...]


def read_identities(
    ledger: str | Path, *, memory: Memory | None = None, now: float | None = None
) -> Identities:
    """Return it. Raises InputFileError when there is no ledger, or it cannot be read."""
    at = time.time() if now is None else now
    with reading(ledger) as connection:
        seen = (memory or Memory()).seen(connection)
    lanes = seen.lanes
    return Identities(
        now=at,
        lanes=lanes[:MOST_LANES],
        more_lanes=max(0, len(lanes) - MOST_LANES),
        ends=(
            min((row.first_at for row in seen.rows), default=at),
            max((row.last_at for row in seen.rows), default=at),
        ),
        rows=seen.added,
        facts=seen.facts,
    )
