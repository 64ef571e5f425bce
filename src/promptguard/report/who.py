"""Who answered, as it was seen hour by hour."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, inspect, select

from promptguard.core.identity import ATTRIBUTES, IdentityObservation
from promptguard.ledger import schema


def sightings(
    connection: Connection, *, asked: Collection[str] | None = None, since: float = 0.0
) -> list[IdentityObservation]:
    """Return who answered, hour by hour; what older ledgers kept is one entry for all the time it covers.

    `asked` names the models that are meant, None all; `since` (Unix seconds) leaves out hours before it.
    """
    found: list[IdentityObservation] = []
    known = set(inspect(connection).get_table_names())
    new, old = schema.sighting, schema.identity
    if new.name in known:
        columns = [new.c[name] for name in IdentityObservation.__slots__]
        query = select(*columns).where(new.c.hour >= since // 3600)
        if asked is not None:
            query = query.where(new.c.asked.in_(asked))
        found += [IdentityObservation(*row) for row in connection.execute(query)]
    if old.name in known:
        for row in connection.execute(select(old).where(old.c.last_at >= since)):
            if asked is not None and row.asked not in asked:
                continue
            who = ("", row.asked, row.served, row.fingerprint, row.service_tier, row.region, "")
            found.append(IdentityObservation(*who, row.first_at, row.last_at, row.calls))
    return found


def added_up(rows: Sequence[IdentityObservation]) -> tuple[IdentityObservation, ...]:
    """Add up the hours."""
    sums: dict[tuple[str, ...], IdentityObservation] = {}
    for seen in rows:
        who = (seen.origin, seen.asked, *(getattr(seen, name) for name in ATTRIBUTES))
        known = sums.get(who)
        sums[who] = seen if known is None else _added(known, seen)
    return tuple(sorted(sums.values(), key=lambda seen: (seen.origin, seen.asked, seen.first_at, seen.model)))


def _added(one: IdentityObservation, other: IdentityObservation) -> IdentityObservation:
    first, last = min(one.first_at, other.first_at), max(one.last_at, other.last_at)
    return replace(one, first_at=first, last_at=last, calls=one.calls + other.calls)


@dataclass(frozen=True, slots=True)
class Lane:
    """When one identity answered: stretches of (first, last, answers), Unix seconds."""

    origin: str
    asked: str
    name: str
    stretches: tuple[tuple[float, float, int], ...]
    answers: int


_GAP = 2 * 3600.0
"""Seconds without an answer up to which a stretch goes on: sightings are an hour each."""


def lanes_of(seen: Sequence[IdentityObservation]) -> tuple[Lane, ...]:
    """Return a lane for every identity, by server and model asked, the first that answered first."""
    by_name: dict[tuple[str, str, str], list[IdentityObservation]] = {}
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
