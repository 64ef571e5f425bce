"""Few connections to a database: those of one process are shared, and closed once nobody needs them for a moment.

Nothing is kept in a session: no prepared statements, no settings beyond a transaction, no locks beyond one. So a pooler
that gives each transaction another session (PgBouncer's transaction mode) may stand between.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import URL, Connection, create_engine, event, make_url
from sqlalchemy import Engine as SqlEngine
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import QueuePool

from promptguard.directories import Database
from promptguard.lifetime.error_counter import ErrorCounter
from promptguard.lifetime.forks import survive_fork
from promptguard.lifetime.threads import supervised

SCHEMA = "promptguard"
"""Where the tables are, unless the address says `?schema=NAME`."""
MOST = 2
"""Connections of one process and database, whatever its threads do."""
WAIT_FOR_ONE = 10.0
IDLE_SECONDS = 0.2
"""After which connections that nobody uses are closed: a thousand processes that look every few seconds share a hundred."""
MOMENT = 0.25
"""Seconds between attempts, on average, where the server has no connection left."""
CONNECT_SECONDS = 5
STATEMENT_SECONDS, LOCK_SECONDS = 30, 10
ANSWER_SECONDS = 45.0
"""After which a server that says nothing, not even that it gave up, counts as away."""

_OWNS = (
    b"SELECT bool_and(pg_has_role(c.relowner, 'USAGE')) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    b"WHERE n.nspname = %s AND c.relname = ANY(%s)"
)
_KEY = (
    b"SELECT i.relname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid "
    b"WHERE x.indrelid = %s::regclass AND x.indisprimary"
)

_PIECES = b"""
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
WHERE n.nspname = %s AND c.relkind = 'r' AND (c.relname = ANY(%s) OR i.inhparent IN (
  SELECT p.oid FROM pg_class p WHERE p.relnamespace = n.oid AND p.relname = ANY(%s)))
ORDER BY c.oid
"""

T = TypeVar("T")
faults = ErrorCounter()


class LimitedConnection(psycopg.Connection[tuple[object, ...]]):
    """A connection that does not wait for ever: the limits of statements are the server's, which may hang itself."""

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Drive one operation; one that takes longer than ANSWER_SECONDS ends the connection."""
        began = time.monotonic()
        try:
            return super().wait(gen, interval, ANSWER_SECONDS if timeout is None else timeout)
        except psycopg.Error:
            if timeout is None and time.monotonic() - began >= ANSWER_SECONDS:
                self.close()
                raise psycopg.OperationalError(f"no answer within {ANSWER_SECONDS:g} s") from None
            raise


class Connections:
    """The connections of this process to one database. Thread-safe; begins anew in a forked child."""

    def __init__(self, database: Database) -> None:
        url = make_url(database.url)
        self.schema = str(url.query.get("schema", SCHEMA))
        self._url = url.difference_update_query(["schema"]).set(drivername="postgresql+psycopg")
        self.generation = 0
        """another one after a connection was lost: the server may be another than before"""
        self._begin()
        survive_fork(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._active = 0
        self._used = 0.0
        self._closer: threading.Thread | None = None
        self._sql = _engine(self._url)
        event.listen(self._sql, "handle_error", self._on_error)

    def after_fork(self) -> None:
        """Leave the parent's connections to the parent."""
        self._sql.dispose(close=False)
        self._begin()

    def _on_error(self, context: ExceptionContext) -> None:
        if context.is_disconnect:
            self.generation += 1

    @contextmanager
    def begin(self, first: str) -> Iterator[Connection]:
        """Begin a transaction with a statement; its tables are looked for in the schema of this ledger alone."""
        with self._lock:
            self._active += 1
        try:
            with self._connected() as connection, connection.begin():
                connection.exec_driver_sql(
                    f"{first}SET LOCAL search_path = {quoted(self.schema)}; "
                    f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'; SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"
                )
                yield connection
        finally:
            with self._lock:
                self._active -= 1
                self._used = time.monotonic()
                if self._closer is None:
                    self._close_later()

    def rewrite(self, tables: Sequence[str]) -> bool:
        """Have the server write tables anew, so that no byte of what was deleted is left in their files.

        False where this role does not own them: the server would pass them over with a warning.
        Takes as long as it takes; a table that others use for LOCK_SECONDS is an error.
        """
        made = psycopg.connect(**_arguments(self._url), prepare_threshold=None, autocommit=True)
        with made:
            owns = made.execute(_OWNS, (self.schema, list(tables))).fetchone()
            if owns is None or not owns[0]:
                return False
            names = made.execute(_PIECES, (self.schema, list(tables), list(tables))).fetchall()
            for (
                name,
            ) in names:  # of a divided table its parts, one by one: all of it cannot be in a transaction
                self._rewrite(made, str(name))
        return True

    def _rewrite(self, made: psycopg.Connection, table: str) -> None:
        """Have one table written anew in the order of its key.

        VACUUM (FULL) does the same, but in no transaction, so that its limit on waiting would be left in the session: a
        pooler gives that to somebody else.
        """
        name = f"{quoted(self.schema)}.{quoted(table)}"
        with made.transaction():
            made.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'".encode())
            found = made.execute(_KEY, (name,)).fetchone() if _is_there(made, name) else None
            if found is None:
                return  # a day that went meanwhile
            made.execute(f"CLUSTER {name} USING {quoted(found[0])}".encode())
            made.execute(f"ALTER TABLE {name} SET WITHOUT CLUSTER".encode())

    def _connected(self) -> Connection:
        """Connect; a server whose connections are all in use is asked again for a while, as they are held for moments."""
        deadline = time.monotonic() + WAIT_FOR_ONE
        while True:
            try:
                return self._sql.connect()
            except OperationalError as error:
                if not is_crowded(error) or time.monotonic() > deadline:
                    raise
            time.sleep(random.uniform(0.5, 1.5) * MOMENT)

    def _close_later(self) -> None:
        self._closer = supervised("promptguard-connections", self._close_idle, faults.add)
        self._closer.start()

    def _close_idle(self) -> None:
        while True:
            time.sleep(IDLE_SECONDS / 2)
            with self._lock:
                if not self._active and time.monotonic() - self._used >= IDLE_SECONDS:
                    self._sql.dispose()
                    self._closer = None
                    return

    def close(self) -> None:
        """Close what nobody uses now."""
        with self._lock:
            if not self._active:
                self._sql.dispose()


def _is_there(made: psycopg.Connection, name: str) -> bool:
    found = made.execute("SELECT to_regclass(%s)", (name,)).fetchone()
    return found is not None and found[0] is not None


def is_crowded(error: OperationalError) -> bool:
    """Whether a server has no connection left: of a refused one it tells no state, only words."""
    said = str(error.orig)
    return "too many" in said or "remaining connection slots" in said


def quoted(name: str) -> str:
    """Return a name as SQL writes it."""
    return '"' + name.replace('"', '""').replace("\0", "") + '"'


def _arguments(url: URL) -> dict[str, Any]:
    return {
        "connect_timeout": CONNECT_SECONDS,
        "tcp_user_timeout": int(1000 * ANSWER_SECONDS),
        "keepalives_idle": 10,
        "application_name": "promptguard",
        **url.get_dialect()().create_connect_args(url)[1],
    }


def _engine(url: URL) -> SqlEngine:
    # Parameters are hidden from error texts, which end up in logs: they hold questions and answers.
    arguments = _arguments(url)
    return create_engine(
        url,
        creator=lambda: LimitedConnection.connect(**arguments, prepare_threshold=None),
        poolclass=QueuePool,
        pool_size=MOST,
        max_overflow=0,
        pool_timeout=WAIT_FOR_ONE,
        pool_use_lifo=True,
        use_native_hstore=False,
        hide_parameters=True,
    )


_known: dict[str, Connections] = {}
_knowing = threading.Lock()


def connections(database: Database) -> Connections:
    """Return this process's connections to a database, made on first use; none is opened yet."""
    known = _known.get(database.url)
    if known is None:
        with _knowing:
            known = _known.setdefault(database.url, Connections(database))
    return known
