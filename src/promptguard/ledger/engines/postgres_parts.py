"""How `pair` and `content` are divided: a table for about each day, by ranges of ids that are known beforehand.

A part is `pair_NUMBER_DAY` and takes the ids from NUMBER * WIDTH on. Of each day's first pair the number is the first of a
new part: the sequence goes on there. So no table's bounds are ever moved, and nobody is kept from writing
(docs/decisions/0074-parts-of-days.md). Functions within a caller's transaction.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sqlalchemy import Connection

WIDTH = 10**10
"""Ids of one part. A part is full after that many pairs: two weeks of 8,000 a second that nobody evaluates."""
KEYS: Mapping[str, str] = MappingProxyType({"pair": "id", "content": "pair_id"})
"""The tables that are divided, in the order in which writers lock them, each with its key."""
SMALL_BYTES = 256 * 1024 * 1024
"""A table that is at most so large is read through where it gets its bound; a larger one is read later, beside writers."""

_PARTS = """
SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) LIKE '%%MAXVALUE%%'
FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = %s::regclass
"""
_INDEXES = """
SELECT i.relname, pg_get_indexdef(i.oid), x.indisprimary
FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid WHERE x.indrelid = %s::regclass
"""
_GRANTS = """
SELECT format('GRANT %%s ON TABLE %%I TO %%s%%s', a.privilege_type, c.relname,
  CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
  CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
FROM pg_catalog.pg_class c, aclexplode(c.relacl) a WHERE c.oid = %s::regclass AND a.grantee <> c.relowner
"""
_FOREIGN_KEYS = "SELECT conname FROM pg_catalog.pg_constraint WHERE conrelid = %s::regclass AND contype = 'f'"
_KIND = "SELECT relkind::text, pg_relation_size(oid) FROM pg_catalog.pg_class WHERE oid = %s::regclass"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a table. `day` (YYYYMMDD, UTC) is when it was begun; one without a bound takes every later id too."""

    table: str
    number: int
    day: str
    has_bound: bool = True

    @property
    def name(self) -> str:
        """What the part is called in the database."""
        return f"{self.table}_{self.number}_{self.day}"

    @property
    def first(self) -> int:
        """Its first id."""
        return self.number * WIDTH


def parts(connection: Connection, table: str) -> list[Part]:
    """Return the parts of a table in the order of their ids; none of one that is not divided."""
    found = []
    for name, is_open in connection.exec_driver_sql(_PARTS, (f'"{table}"',)):
        told = re.fullmatch(rf"{table}_(\d+)_(\d{{8}})", name)
        if told is not None:
            found.append(Part(table, int(told[1]), told[2], not is_open))
    return sorted(found, key=lambda each: each.number)


def add(connection: Connection, part: Part) -> None:
    """Add an empty part. Nobody waits for it: the lock that it takes lets others read and write."""
    connection.exec_driver_sql(
        f'CREATE TABLE "{part.name}" (LIKE "{part.table}" INCLUDING DEFAULTS INCLUDING STORAGE)'
    )
    if part.table == "pair":  # few bytes, by which what is old is found
        connection.exec_driver_sql(f'CREATE INDEX ON "{part.name}" USING brin (at) WITH (autosummarize = on)')
    connection.exec_driver_sql(
        f'ALTER TABLE "{part.table}" ATTACH PARTITION "{part.name}" '
        f"FOR VALUES FROM ({part.first}) TO ({part.first + WIDTH})"
    )


def make_room(connection: Connection, ids: Iterable[int], day: str) -> None:
    """Add the parts for rows that come with their ids, from another ledger; within the transaction that adds them.

    Of both tables, whichever has rows: the next pair may have texts where none of those had.
    """
    wanted = {each // WIDTH for each in ids}
    for table in KEYS:
        for number in sorted(wanted - {each.number for each in parts(connection, table)}):
            add(connection, Part(table, number, day))


def divide(connection: Connection, day: str) -> None:
    """Make divided tables of whole ones, which become their first parts. No row is written, and of large ones none read.

    Called again it does nothing.
    """
    whole = [table for table in KEYS if _kind(connection, table)[0] == "r"]
    if not whole:
        return
    connection.exec_driver_sql(
        "LOCK TABLE {} IN ACCESS EXCLUSIVE MODE".format(", ".join(f'"{each}"' for each in whole))
    )
    for (name,) in connection.exec_driver_sql(_FOREIGN_KEYS, ('"content"',)).all():
        connection.exec_driver_sql(f'ALTER TABLE "content" DROP CONSTRAINT "{name}"')
    for table in whole:
        _divide(connection, Part(table, 0, day))


def _kind(connection: Connection, table: str) -> tuple[str, int]:
    kind, size = connection.exec_driver_sql(_KIND, (f'"{table}"',)).one()
    return kind, int(size)


def _divide(connection: Connection, first: Part) -> None:
    table, key = first.table, KEYS[first.table]
    indexes = connection.exec_driver_sql(_INDEXES, (f'"{table}"',)).all()
    grants = connection.exec_driver_sql(_GRANTS, (f'"{table}"',)).scalars().all()
    sequence = connection.exec_driver_sql(
        f"SELECT pg_get_serial_sequence('\"{table}\"', '{key}')"
    ).scalar_one()
    is_small = _kind(connection, table)[1] <= SMALL_BYTES and _newest(connection, table, key) < WIDTH
    connection.exec_driver_sql(f'ALTER TABLE "{table}" RENAME TO "{first.name}"')
    for name, _, _ in indexes:
        connection.exec_driver_sql(f'ALTER INDEX "{name}" RENAME TO "{name}_0"')
    connection.exec_driver_sql(
        f'CREATE TABLE "{table}" (LIKE "{first.name}" INCLUDING DEFAULTS INCLUDING STORAGE) PARTITION BY RANGE ("{key}")'
    )
    for name, made, is_key in indexes:
        connection.exec_driver_sql(
            f'ALTER TABLE "{table}" ADD CONSTRAINT "{name}" PRIMARY KEY ("{key}")' if is_key else made
        )
    for grant in grants:
        connection.exec_driver_sql(grant.replace("%", "%%"))
    if sequence is not None:
        connection.exec_driver_sql(f'ALTER SEQUENCE {sequence} OWNED BY "{table}"."{key}"')
    # Without a bound there is nothing to be looked for in its rows.
    bound = str(WIDTH) if is_small else "MAXVALUE"
    connection.exec_driver_sql(
        f'ALTER TABLE "{table}" ATTACH PARTITION "{first.name}" FOR VALUES FROM (MINVALUE) TO ({bound})'
    )


def _newest(connection: Connection, table: str, key: str) -> int:
    return int(connection.exec_driver_sql(f'SELECT coalesce(max("{key}"), 0) FROM "{table}"').scalar_one())  # noqa: S608


def floor(connection: Connection, table: str) -> int:
    """Return an id that the newest row is hardly ever below: who asks from there on looks at two parts, not at all."""
    found = parts(connection, table)
    return found[-2].first if len(found) > 1 else 0
