"""What who reads a ledger again and again keeps between two looks, so that only what changed is read."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, func, select

from promptguard.core.identity import IdentityFact, IdentityObservation, identity_facts
from promptguard.ledger import schema
from promptguard.ledger.engines import words
from promptguard.ledger.reading import reading
from promptguard.report.documents import Summaries
from promptguard.report.who import Lane, added_up, lanes_of, sightings

SIGHTING_DAYS = 90
"""Days of sightings that pages show."""
_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Seen:
    """Who answered, and what that comes to."""

    rows: tuple[IdentityObservation, ...]
    """hour by hour"""
    added: tuple[IdentityObservation, ...]
    """the hours added up"""
    lanes: tuple[Lane, ...]
    facts: tuple[IdentityFact, ...]


@dataclass(slots=True)
class Memory:
    """Kept by who reads often. `lock` is held by one reader at a time."""

    summaries: Summaries = field(default_factory=Summaries)
    lock: threading.RLock = field(default_factory=threading.RLock)
    _seen: Seen | None = None
    _as_of: tuple[object, ...] = ()

    def seen(self, connection: Connection) -> Seen:
        """Return who answered in the last `SIGHTING_DAYS` days before the newest answer."""
        table = schema.sighting
        sums = select(func.count(), func.max(table.c.id), func.max(table.c.last_at), func.sum(table.c.calls))
        as_of = tuple(connection.execute(sums).one())
        if self._seen is None or as_of != self._as_of:
            rows = sightings(connection, since=(as_of[2] or 0.0) - SIGHTING_DAYS * _DAY)
            self._seen, self._as_of = (
                Seen(tuple(rows), added_up(rows), lanes_of(rows), identity_facts(rows)),
                as_of,
            )
        return self._seen


def newest(ledger: str | Path) -> str:
    """Return a text that is another one once there is something new to show.

    Raises InputFileError when there is no ledger, or it cannot be read.
    """
    columns = (schema.verdict.c.at, schema.occurrence.c.id)
    with reading(ledger, any_version=True) as connection:
        told = [connection.execute(select(func.max(each))).scalar_one() for each in columns]
        return "-".join(map(str, [*told, words(connection).newest(connection, schema.pair)]))
