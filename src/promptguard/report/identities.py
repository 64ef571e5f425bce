"""Who answered, over time: a lane for every model, fingerprint and server that was seen."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from promptguard.core.identity import ATTRIBUTES, IdentityFact, Sighting
from promptguard.ledger.reading import reading
from promptguard.report.memory import Memory
from promptguard.report.who import added_up

MOST_LANES = 60


@dataclass(frozen=True, slots=True)
class Lane:
    """When one identity answered: stretches of (first, last, answers), Unix seconds."""

    origin: str
    asked: str
    name: str
    stretches: tuple[tuple[float, float, int], ...]
    answers: int


@dataclass(frozen=True, slots=True)
class Identities:
    """Who answered in the days that `Memory.seen` knows."""

    now: float
    lanes: tuple[Lane, ...]
    more_lanes: int
    ends: tuple[float, float]
    """when the first and the last of them answered"""
    rows: tuple[Sighting, ...]
    facts: tuple[IdentityFact, ...]


def read_identities(
    ledger: str | Path, *, memory: Memory | None = None, now: float | None = None
) -> Identities:
    """Return it. Raises InputFileError when there is no ledger, or it cannot be read."""
    at = time.time() if now is None else now
    with reading(ledger) as connection:
        seen = (memory or Memory()).seen(connection)
    lanes = _lanes(seen.rows)
    return Identities(
        now=at,
        lanes=lanes[:MOST_LANES],
        more_lanes=max(0, len(lanes) - MOST_LANES),
        ends=(
            min((row.first_at for row in seen.rows), default=at),
            max((row.last_at for row in seen.rows), default=at),
        ),
        rows=added_up(seen.rows),
        facts=seen.facts,
    )


_GAP = 2 * 3600.0
"""Seconds without an answer up to which a stretch goes on: sightings are an hour each."""


def _lanes(seen: Sequence[Sighting]) -> tuple[Lane, ...]:
    by_name: dict[tuple[str, str, str], list[Sighting]] = {}
    for each in seen:
        parts = [getattr(each, attribute) for attribute in ATTRIBUTES]
        name = " · ".join(part for part in parts if part) or "not reported"
        by_name.setdefault((each.origin, each.asked, name), []).append(each)
    found = []
    for (origin, asked, name), rows in by_name.items():
        rows.sort(key=lambda row: row.first_at)
        stretches: list[tuple[float, float, int]] = []
        for row in rows:
            if stretches and row.first_at - stretches[-1][1] <= _GAP:
                first, last, calls = stretches[-1]
                stretches[-1] = (first, max(last, row.last_at), calls + row.calls)
            else:
                stretches.append((row.first_at, row.last_at, row.calls))
        found.append(Lane(origin, asked, name, tuple(stretches), sum(row.calls for row in rows)))
    return tuple(sorted(found, key=lambda lane: (lane.origin, lane.asked, lane.stretches[0][0])))
