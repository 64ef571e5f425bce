"""The databases that a ledger may live in, one module each; `contract` says what such a module must offer."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import Connection, Table

from promptguard.directories import Place
from promptguard.ledger.engines.contract import Engine, Words

_BY_DIALECT = {"sqlite": "sqlite", "postgresql": "postgres"}
"""dialect of SQLAlchemy's → module"""


def engine_of(place: Place) -> Engine:
    """Return what opens the ledger at a place."""
    name = "sqlite" if isinstance(place, Path) else place.partition("://")[0].partition("+")[0]
    engine: Engine = importlib.import_module(f"{__name__}.{_BY_DIALECT[name.lower()]}").engine(place)
    return engine


def words(connection: Connection) -> Words:
    """Return what is said differently in a connection's dialect."""
    found: Words = importlib.import_module(f"{__name__}.{_BY_DIALECT[connection.dialect.name]}").WORDS
    return found


def add_new(connection: Connection, table: Table, row: Mapping[str, object]) -> bool:
    """Add a row unless there is one with its key; returns whether it was added."""
    statement = words(connection).upsert(table).values(**row).on_conflict_do_nothing()
    # psycopg has forgotten the count by the time it is asked for, unless it is told to keep it
    return connection.execute(statement, execution_options={"preserve_rowcount": True}).rowcount == 1
