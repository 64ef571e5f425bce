"""What PostgreSQL's SQL says in its own way, and how its transactions are kept in order."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from sqlalchemy import ColumnElement, Connection, Float, Table, func, literal_column
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.exc import DBAPIError

from promptguard.ledger import schema
from promptguard.ledger.engines.postgres_parts import KEYS, divide, floor, make_room

# Here and not in the schema: to say it there imports the dialect, 20 ms of every command on a directory.
schema.pair_by_subject.dialect_kwargs["postgresql_where"] = schema.pair.c.subject != ""

STILL_MS = 15_000
"""A host that is frozen amid a transaction must not keep the lease from others for longer than a lease lives."""
_COLUMNS = """
SELECT c.relname, a.attname, coalesce(a.attnum = ANY(i.indkey), false)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisprimary
WHERE c.relnamespace = to_regnamespace(quote_ident(current_schema())) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
"""
_WRITING = """
SELECT l.virtualtransaction FROM pg_catalog.pg_locks l
WHERE l.locktype = 'relation' AND l.mode = 'RowExclusiveLock' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
AND l.relation IN (SELECT unnest(ARRAY[{tables}]) UNION ALL
  SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent = ANY(ARRAY[{tables}]))
"""
_NEWEST = 'SELECT coalesce(max(id), 0) FROM "{table}" WHERE id >= {first}'


def writing_to(connection: Connection, tables: Iterable[str]) -> frozenset[str]:
    """Return the transactions that write to some tables now, besides this one."""
    return frozenset(connection.exec_driver_sql(_writing(tables)).scalars())


def _writing(tables: Iterable[str]) -> str:
    return _WRITING.format(tables=", ".join(f"'\"{each}\"'::regclass::oid" for each in tables))


class PostgresWords:
    """As `contract.Words` says."""

    many_write = True

    def upsert(self, table: Table) -> Insert:
        """Return an insert with `on_conflict_do_update` and `on_conflict_do_nothing`."""
        return insert(table)

    def append(self, connection: Connection, table: Table, rows: Sequence[dict[str, object]]) -> None:
        """Add rows by COPY, which takes a tenth of the time of as many inserts."""
        names = list(rows[0])
        columns = ", ".join(f'"{name}"' for name in names)
        statement = f'COPY "{table.name}" ({columns}) FROM STDIN'
        cursor = connection.connection.cursor()
        try:
            with cursor.copy(statement) as copy:
                for row in rows:
                    copy.write_row([row[name] for name in names])
        except psycopg.Error as error:  # as SQLAlchemy raises it of its own statements
            raise DBAPIError.instance(statement, None, error, psycopg.Error, hide_parameters=True) from error
        finally:
            cursor.close()

    def ids_given(self, connection: Connection, table: Table) -> None:
        """Set the table's sequence."""
        if "id" in table.c and table.c.id.primary_key and isinstance(table.c.id.type.python_type(), int):
            name = f'"{table.name}"'
            connection.exec_driver_sql(
                f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), (SELECT max(id) FROM {name}))"  # noqa: S608
            )

    def columns(self, connection: Connection) -> dict[str, set[tuple[str, bool]]]:
        """Return the tables there are, each with its columns: (name, whether it is part of the primary key)."""
        found: dict[str, set[tuple[str, bool]]] = {}
        for table, column, is_key in connection.exec_driver_sql(_COLUMNS):
            found.setdefault(table, set()).add((column, bool(is_key)))
        return found

    def other_types(self, connection: Connection) -> str | None:
        """Return None: a column here holds nothing but its type."""

    def age_order(self, table: Table) -> ColumnElement[Any]:
        """Return the number of a row, or where it lies: tables without one only grow, and their oldest lie first."""
        return table.c.id if "id" in table.c else literal_column("ctid")

    def contains(self, column: ColumnElement[Any], part: bytes) -> ColumnElement[bool]:
        """Return whether a column of bytes contains others."""
        return func.pg_catalog.position(column, part) > 0

    def used(self, connection: Connection) -> None:
        """Return None: its disk is not this machine's."""

    def now(self, here: float) -> ColumnElement[float]:  # noqa: ARG002 - that of a machine which may be wrong
        """Return the database's time: the clocks of its clients differ."""
        return literal_column("extract(epoch FROM clock_timestamp())::float8", Float)

    def alone(self, connection: Connection, what: str) -> None:
        """Take a lock that ends with the transaction; each ledger has its own."""
        connection.exec_driver_sql(
            "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || ' promptguard ' || %s, 0))",
            (what,),
        )

    def end_if_still(self, connection: Connection) -> None:
        """Have the server end this transaction, and with it its locks, once it has waited so long for a statement."""
        connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = '{STILL_MS}ms'")

    def newest(self, connection: Connection, table: Table) -> int:
        """Return the newest id of a table, 0 of an empty one."""
        return self._newest(connection, table, "0")[0]

    def settled(self, connection: Connection, table: Table) -> tuple[int, frozenset[str]]:
        """Return the newest id of a table, and the transactions that may yet commit one below it.

        Ids are given before a commit, so a row may appear below one that was read. Who writes to a table holds a lock on
        it from before its first id until after its commit is seen, so whoever is in doubt is in `pg_locks`: rows up to the
        newest id are all there once none of those transactions is. The snapshot in which the newest id is looked for is
        taken before the locks are read.
        """
        newest, writing = self._newest(connection, table, f"array({_writing([table.name])})")
        return newest, frozenset(writing)

    def _newest(self, connection: Connection, table: Table, more: str) -> tuple[int, Any]:
        """Return the newest id and, read later in the same statement, something else.

        A question for the newest of all would lock every part of a table.
        """
        for first in sorted({floor(connection, table.name), 0}, reverse=True):
            query = _NEWEST.format(table=table.name, first=first)
            newest, told = connection.exec_driver_sql(f"SELECT ({query}), {more}").one()
            if newest:
                break
        return int(newest), told

    def divide(self, connection: Connection) -> None:
        """Have the tables of pairs be of parts, of about a day each."""
        divide(connection, _today())

    def make_room(self, connection: Connection, table: Table, ids: Iterable[int]) -> None:
        """Make the parts that rows go to which come with their ids."""
        if table.name in KEYS:
            make_room(connection, ids, _today())


def _today() -> str:
    return time.strftime("%Y%m%d", time.gmtime())
