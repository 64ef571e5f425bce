"""How a ledger is, for `promptguard doctor`: times, models, alarms that wait, faults."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, select

from promptguard.directories import ledger_place
from promptguard.ledger import schema
from promptguard.ledger.engines import engine_of
from promptguard.ledger.reading import reading

LAST_PAIRS = 10_000
"""Pairs, the newest ones, whose order is looked at."""
MOST_MODELS = 100


@dataclass(frozen=True, slots=True)
class Health:
    """What a ledger says of itself. Times are seconds since the Unix epoch."""

    schema: int
    newest: float
    """time of the newest row; 0 where there is none"""
    skew: float
    """how far a pair lies before an earlier one of its stream, at most, in seconds"""
    models: tuple[str, ...]
    """models asked, by the application and in the background"""
    pending: int
    """alarms that no function of the user's has had"""
    faults: tuple[tuple[str, int], ...]
    aside: tuple[str, ...]
    """files that were set aside as damaged"""


def read_health(ledger: str | Path) -> Health:
    """Return it. Raises InputFileError when the ledger cannot be read, NoLedger when there is none."""
    with reading(ledger) as connection:
        return Health(
            schema=_schema(connection),
            newest=_newest(connection),
            skew=_skew(connection),
            models=_models(connection),
            pending=_pending(connection),
            faults=_faults(connection),
            aside=tuple(path.name for path in engine_of(ledger_place(ledger)).leftovers()),
        )


def _schema(connection: Connection) -> int:
    query = select(schema.meta.c.value).where(schema.meta.c.name == "schema_version")
    return int(connection.execute(query).scalar_one())


def _newest(connection: Connection) -> float:
    columns = (schema.pair.c.at, schema.occurrence.c.at, schema.verdict.c.at)
    return max(float(connection.execute(select(func.max(column))).scalar_one() or 0.0) for column in columns)


def _skew(connection: Connection) -> float:
    table = schema.pair
    query = select(table.c.stream, table.c.at).order_by(table.c.id.desc()).limit(LAST_PAIRS)
    # Each stream for itself: a candidate's answer may be waited for while replays go on.
    highest: dict[str, float] = {}
    skew = 0.0
    for stream, at in reversed(connection.execute(query).all()):
        skew = max(skew, highest.get(stream, at) - at)
        highest[stream] = max(highest.get(stream, at), at)
    return skew


def _models(connection: Connection) -> tuple[str, ...]:
    table = schema.sighting
    query = select(table.c.asked).distinct().order_by(table.c.asked).limit(MOST_MODELS)
    return tuple(row.asked for row in connection.execute(query) if row.asked)


def _pending(connection: Connection) -> int:
    table = schema.occurrence
    query = select(table.c.id, table.c.kind, table.c.detail).where(table.c.kind.in_(("alarm", "delivered")))
    wanted: set[int] = set()
    for row in connection.execute(query.order_by(table.c.id)):
        detail = json.loads(row.detail)
        if row.kind == "alarm" and detail.get("deliver"):
            wanted.add(row.id)
        elif row.kind == "delivered":
            wanted.discard(detail["alarm"])
    return len(wanted)


def _faults(connection: Connection) -> tuple[tuple[str, int], ...]:
    table = schema.counter
    query = (
        select(table.c.label, table.c.value).where(table.c.name == "faults").order_by(table.c.value.desc())
    )
    return tuple((row.label, int(row.value)) for row in connection.execute(query))
