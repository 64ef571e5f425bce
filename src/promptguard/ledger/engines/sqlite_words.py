"""What SQLite's SQL says in its own way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, Table, func, literal_column, select
from sqlalchemy.dialects.sqlite import Insert, insert

from promptguard.ledger import schema

_READ_WHOLE = (
    "meta", "occurrence", "verdict", "verdict_group", "tally", "counter", "spend", "budget", "sighting", "identity",
)  # fmt: skip
"""Tables that readers read from end to end: looking at their types costs less than that."""
_NUMBERS = ("integer", "real")


class SqliteWords:
    """As `contract.Words` says. Writing transactions run one after the other, so nothing is done for order among them."""

    many_write = False

    def upsert(self, table: Table) -> Insert:
        """Return an insert with `on_conflict_do_update` and `on_conflict_do_nothing`."""
        return insert(table)

    def append(self, connection: Connection, table: Table, rows: Sequence[dict[str, object]]) -> None:
        """Add rows in order."""
        connection.execute(insert(table), list(rows))

    def ids_given(self, connection: Connection, table: Table) -> None:
        """Do nothing: the next id is the one behind the newest."""

    def columns(self, connection: Connection) -> dict[str, set[tuple[str, bool]]]:
        """Return the tables there are, each with its columns: (name, whether it is part of the primary key)."""
        found: dict[str, set[tuple[str, bool]]] = {}
        query = (
            "SELECT m.name, c.name, c.pk > 0 FROM sqlite_master m JOIN pragma_table_info(m.name) c "
            "WHERE m.type = 'table'"
        )
        for table, column, is_key in connection.exec_driver_sql(query):
            found.setdefault(table, set()).add((column, bool(is_key)))
        return found

    def other_types(self, connection: Connection) -> str | None:
        """Say which column holds what no version of ours writes there; None where all is as it should be.

        SQLite takes any value in any column, so another program, or a damaged page, may leave a text where a number
        belongs.
        """
        for name in _READ_WHOLE:
            table = schema.metadata.tables[name]
            found = connection.execute(_wrong_types(name)).one()
            column = next(
                (column for column, is_wrong in zip(table.columns, found, strict=True) if is_wrong), None
            )
            if column is not None:
                return f"the column {column.name!r} of the table {name!r} holds what does not belong there"
        return None

    def age_order(self, table: Table) -> ColumnElement[Any]:  # noqa: ARG002 - the same for every table
        """Return what orders the rows of a table by age."""
        return literal_column("rowid")

    def contains(self, column: ColumnElement[Any], part: bytes) -> ColumnElement[bool]:
        """Return whether a column of bytes contains others."""
        return func.instr(column, part) > 0

    def used(self, connection: Connection) -> int:
        """Return the bytes of pages that are in use: those of deleted rows are free, and stay in the file."""
        pages, free, size = (
            int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size

    def now(self, here: float) -> float:
        """Return this machine's time: who writes to one file has one clock."""
        return here

    def alone(self, connection: Connection, what: str) -> None:
        """Do nothing: a transaction that writes is alone."""

    def end_if_still(self, connection: Connection) -> None:
        """Do nothing: a lock of a process that is frozen is the operating system's, and others wait and say so."""

    def settled(self, connection: Connection, table: Table) -> tuple[int, frozenset[str]]:
        """Return the newest id of a table: ids are given in the order of commits."""
        return self.newest(connection, table), frozenset()

    def newest(self, connection: Connection, table: Table) -> int:
        """Return the newest id of a table, 0 of an empty one."""
        return int(connection.execute(select(func.max(table.c.id))).scalar_one() or 0)

    def divide(self, connection: Connection) -> None:
        """Do nothing: a file has no parts, and shrinks by itself."""

    def make_room(self, connection: Connection, table: Table, ids: Iterable[int]) -> None:
        """Do nothing: a table takes every id."""


@cache
def _wrong_types(name: str) -> Select[*tuple[Any, ...]]:
    """Return the question whether any row of a table has a wrong type, a column each."""
    return select(*(func.max(_wrong_type(column)) for column in schema.metadata.tables[name].columns))


def _wrong_type(column: Column[Any]) -> ColumnElement[bool]:
    """Return whether a row's value is of another type than the column's."""
    kinds = {str: ("text",), bytes: ("blob",), float: _NUMBERS, int: ("integer",)}[column.type.python_type]
    allowed = (*kinds, "null") if column.nullable else kinds
    return func.typeof(column).not_in(allowed)
