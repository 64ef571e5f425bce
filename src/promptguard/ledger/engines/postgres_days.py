"""Beginning a part of `pair` and `content` each day, and dropping what is past; `postgres_parts` says what parts are.

Each step is a transaction that gives up soon where others use a table, and is made again at a later look.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from itertools import pairwise

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from promptguard.ledger.engines.postgres_connections import quoted
from promptguard.ledger.engines.postgres_errors import kind_of
from promptguard.ledger.engines.postgres_parts import KEYS, WIDTH, Part, add, parts
from promptguard.ledger.engines.postgres_words import writing_to

LOCK_MILLISECONDS = 200
"""How long others may have to wait for a step that waits itself."""
WRITERS_SECONDS = 2.0
"""How long who writes is waited for before a new part is used; who writes for longer is waited for at a later look."""
LOOK_SECONDS = 0.05
READ_SECONDS = 40
"""Within which a large table that was not divided before must be read, to give it its bound."""

_OWNER = """
SELECT pg_get_userbyid(relowner), pg_get_userbyid(relowner) = current_user
FROM pg_catalog.pg_class WHERE oid = '"pair"'::regclass AND pg_has_role(relowner, 'USAGE')
"""
_ALONE = "SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || ' days', 0))"
_LAST = "SELECT last_value FROM pair_id_seq"
_CONSTRAINT = (
    "SELECT convalidated FROM pg_catalog.pg_constraint WHERE conrelid = %s::regclass AND conname = %s"
)


class PostgresDays:
    """As `contract.Days` says. Only for a role that owns the tables, or is a member of the one that does."""

    def __init__(self, begin: Callable[[], AbstractContextManager[Connection]]) -> None:
        """`begin` begins a transaction in the ledger."""
        self._begin_transaction = begin

    @contextmanager
    def _step(self) -> Iterator[Connection | None]:
        """Begin a transaction, as the tables' owner; yields None where this role may not be that.

        Raises _InUse where others use what it needs.
        """
        try:
            with self._begin_transaction() as connection:
                owner = connection.exec_driver_sql(_OWNER).first()
                if owner is not None:
                    if not owner[1]:
                        connection.exec_driver_sql(f"SET LOCAL ROLE {quoted(owner[0])}")
                    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_MILLISECONDS}ms'")
                yield None if owner is None else connection
        except SQLAlchemyError as error:
            if kind_of(error) != "locked":
                raise
            raise _InUse from error

    def begin(self, day: str) -> bool:
        """Begin a day (YYYYMMDD), if it is not and there were pairs; False where it is to be tried again soon."""
        try:
            part = self._next(day)
            return part is None or self._go_on(part)
        except _InUse:
            return False

    def _next(self, day: str) -> Part | None:
        """Return the part that pairs are to go to from now on, made if there is none; None where all is as it should be."""
        with self._step() as connection:
            known = [] if connection is None else parts(connection, "pair")
            if connection is None or not known:
                return None
            last = int(connection.exec_driver_sql(_LAST).scalar_one())
            if last < known[-1].first:
                return known[-1]  # it was not seen through
            if known[-1].number not in {each.number for each in parts(connection, "content")}:
                add(connection, replace(known[-1], table="content"))
            if not _has_rows(connection, known[-1].first):
                if known[-1].day != day:
                    _call(connection, known[-1], day)
                return None
            if any(each.day == day for each in known):
                return None  # also where a clock that was ahead began it: that day's pairs are in the next one's part
        end = (last // WIDTH + 1) * WIDTH
        if not all(self._bound(table, end) for table in KEYS):
            return None  # too large to be read now: so at the next look, in an hour
        with self._step() as connection:
            assert connection is not None  # noqa: S101 - it was not a moment ago
            connection.exec_driver_sql(_ALONE)
            if parts(connection, "pair")[-1].first < end:
                for table in KEYS:
                    add(connection, Part(table, end // WIDTH, day))
        return Part("pair", end // WIDTH, day)

    def _bound(self, table: str, end: int) -> bool:
        """Give the last part a bound, if it has none: its rows are read for that, beside who writes."""
        with self._step() as connection:
            assert connection is not None  # noqa: S101
            part = parts(connection, table)[-1]
            if part.has_bound:
                return True
            name = f"{part.table}_bound"
            checked = connection.exec_driver_sql(_CONSTRAINT, (f'"{part.name}"', name)).scalar_one_or_none()
            if checked is None:
                key = KEYS[table]
                connection.exec_driver_sql(
                    f'ALTER TABLE "{part.name}" ADD CONSTRAINT "{name}" CHECK ("{key}" < {end}) NOT VALID'
                )
        if not checked:
            try:
                with self._step() as connection:
                    assert connection is not None  # noqa: S101
                    connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{READ_SECONDS}s'")
                    connection.exec_driver_sql(f'ALTER TABLE "{part.name}" VALIDATE CONSTRAINT "{name}"')
            except _InUse:
                return False
        with self._step() as connection:
            assert connection is not None  # noqa: S101
            connection.exec_driver_sql(f'ALTER TABLE "{table}" DETACH PARTITION "{part.name}"')
            connection.exec_driver_sql(
                f'ALTER TABLE "{table}" ATTACH PARTITION "{part.name}" FOR VALUES FROM (MINVALUE) TO ({end})'
            )
            connection.exec_driver_sql(f'ALTER TABLE "{part.name}" DROP CONSTRAINT "{name}"')
        return True

    def _go_on(self, part: Part) -> bool:
        """Have the next pair be the first of a part, once nobody writes any more who may not know of it.

        A statement that inserts knows the parts that there were as it began. False where one takes too long.
        """
        with self._step() as connection:
            assert connection is not None  # noqa: S101
            writing = writing_to(connection, KEYS)
        deadline = time.monotonic() + WRITERS_SECONDS
        while writing:
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_SECONDS)
            with self._step() as connection:
                assert connection is not None  # noqa: S101
                writing &= writing_to(connection, KEYS)
        with self._step() as connection:
            assert connection is not None  # noqa: S101
            connection.exec_driver_sql(_ALONE)
            connection.exec_driver_sql(
                f"SELECT setval('pair_id_seq', {part.first}, false) FROM pair_id_seq WHERE last_value < {part.first}"  # noqa: S608
            )
        return True

    def drop(self, table: str, before: float, folded: int) -> int:
        """Drop the parts of a table whose pairs are all from before a moment (Unix seconds); returns how many.

        Only what lies below `folded`, a pair that was judged: nobody can add to it, and nobody needs it.
        """
        dropped = 0
        try:
            with self._step() as connection:
                if connection is None:
                    return 0
                known = parts(connection, table)
                past = [
                    (part, later.first)
                    for part, later in pairwise(known)
                    if later.first <= folded and _begun(later) <= before
                ]
                texts = (
                    {each.number for each in parts(connection, "content")} if table == "pair" else set[int]()
                )
            for part, end in past:
                if part.number in texts:
                    continue
                with self._step() as connection:
                    assert connection is not None  # noqa: S101
                    if not _has_rows(connection, part.first, end, since=before):
                        connection.exec_driver_sql(f'DROP TABLE "{part.name}"')
                        dropped += 1
        except _InUse:
            pass  # what is in use goes at the next look, which the evaluator makes within the hour
        return dropped


class _InUse(Exception):  # noqa: N818 - no error: it is tried again
    """Others use what a step needs."""


def _call(connection: Connection, empty: Part, day: str) -> None:
    """Let a part be that of another day: nothing came on its own."""
    for table in KEYS:
        name, new = (replace(empty, table=table, day=each).name for each in (empty.day, day))
        connection.exec_driver_sql(f'ALTER TABLE "{name}" RENAME TO "{new}"')


def _begun(part: Part) -> float:
    return float(calendar.timegm(time.strptime(part.day, "%Y%m%d")))


def _has_rows(connection: Connection, first: int, end: int | None = None, since: float | None = None) -> bool:
    """Whether there are pairs from an id on, below another, made since a moment."""
    query = f"SELECT EXISTS (SELECT FROM pair WHERE id >= {first}"  # noqa: S608
    below = "" if end is None else f" AND id < {end}"
    newer = "" if since is None else f" AND at >= {since!r}"
    return bool(connection.exec_driver_sql(f"{query}{below}{newer})").scalar_one())
