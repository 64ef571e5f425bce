"""A ledger in a file of a directory of this machine.

SQLite: WAL, synchronous=FULL (an acknowledged pair survives power loss), no mmap, one connection a transaction, none
of them open while the process forks (`lifetime.forks`).
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy import Engine as SqlEngine
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from promptguard.directories import Place
from promptguard.ledger.engines import sqlite_errors, sqlite_reading
from promptguard.ledger.engines.contract import Days
from promptguard.ledger.engines.sqlite_errors import kind_of, refuses_row
from promptguard.ledger.engines.sqlite_file import FILE_NAME, locked, prepare, set_aside
from promptguard.ledger.engines.sqlite_words import SqliteWords
from promptguard.ledger.migrations import SchemaTrouble, other_shape
from promptguard.ledger.trouble import Kind, LedgerUnavailable, Trouble
from promptguard.lifetime import forks

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

LOCK_WAIT = 10.0
"""Seconds that a transaction waits for another process's, without a connection open meanwhile but for moments."""
BUSY_MOMENT = 0.05
PAGES = 256
"""Pages given back to the file system at a time: a megabyte."""
WORDS = SqliteWords()


class SqliteEngine:
    """As `contract.Engine` says, for the ledger of one directory."""

    def __init__(self, directory: Path) -> None:
        self.place: Place = directory
        self.patience = 1.0
        self.days: Days | None = None
        self._directory = directory
        self.path = directory / FILE_NAME
        self._made: SqlEngine | None = None

    @property
    def sql(self) -> SqlEngine:
        """The database, opened."""
        if self._made is None:
            self._made = _writing_engine(self.path)
        return self._made

    def here(self) -> object | None:
        """Return device and inode of the file."""
        try:
            facts = self.path.stat()
        except OSError:
            return None
        return facts.st_dev, facts.st_ino

    def stamp(self) -> tuple[object, ...]:
        """Return what changes with every commit; empty where there is no ledger."""
        found: list[object] = []
        for each in (str(self.path), f"{self.path}-wal"):
            try:
                told = os.stat(each)  # noqa: PTH116 - several times a second
            except OSError:
                found.append(None)
            else:
                found += [told.st_ino, told.st_mtime_ns, told.st_size]
        return () if found[0] is None else tuple(found)

    def prepare(self) -> list[str]:
        """Make directory and file; returns what a person should know. Raises LedgerUnavailable."""
        if forks.is_unsafe():
            raise LedgerUnavailable(self.trouble("unusable", "forked while a database was in use"))
        return prepare(self._directory)

    def making(self) -> AbstractContextManager[None]:
        """Hold the lock under which a ledger is made or set aside."""
        return locked(self._directory)

    @contextmanager
    def begin(self, *, writes: bool) -> Iterator[Connection]:
        """Open a connection and begin a transaction; one that is held up by another process waits without it."""
        engine = self.sql.execution_options(writes=writes)
        deadline = time.monotonic() + LOCK_WAIT
        while True:
            with forks.connection():
                try:
                    connection = engine.connect()
                    try:
                        transaction = connection.begin()
                    except BaseException:
                        connection.close()
                        raise
                except OperationalError as error:
                    if kind_of(error) != "locked" or time.monotonic() > deadline:
                        raise
                else:
                    with connection, transaction:
                        yield connection
                    return
            time.sleep(random.uniform(0.2, 1.0) * BUSY_MOMENT)

    def is_damaged(self) -> bool:
        """Look through the whole file: slow for a large one, so only after a fault."""
        try:
            with self.begin(writes=False) as connection:
                sound = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one() == "ok"
                return not sound or other_shape(connection) is not None
        except SchemaTrouble as error:
            return error.kind == "damaged"
        except Exception as error:  # noqa: BLE001
            return kind_of(error) == "damaged"

    def set_aside(self) -> str | None:
        """Rename a damaged ledger; nothing is deleted."""
        with forks.connection():
            return set_aside(self.path).name

    def shrink(self) -> bool:
        """Give free pages back to the file system, a megabyte at a time; returns whether there are more.

        Of ledgers that were made before this version pages are used again and the file keeps its size.
        """
        with self.begin(writes=False) as connection:
            incremental = connection.exec_driver_sql("PRAGMA auto_vacuum").scalar_one() == 2
            free = int(connection.exec_driver_sql("PRAGMA freelist_count").scalar_one())
        if not incremental or not free:
            return False
        self._run_script(f"PRAGMA incremental_vacuum({PAGES})")
        return free > PAGES

    def expunge(self) -> bool:
        """Empty the write-ahead log, which has pages as they were; what is deleted is overwritten in the file itself."""
        with forks.connection():
            raw = self.sql.raw_connection()
            try:
                busy, *_ = raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                raw.close()
        return not busy

    def _run_script(self, script: str) -> None:
        """Run a statement that takes many steps and returns no rows: sqlite3 takes one, unless it is a script."""
        with forks.connection():
            raw = self.sql.raw_connection()
            try:
                raw.cursor().executescript(script)
            finally:
                raw.close()

    def close(self) -> None:
        """Close every connection."""
        if self._made is not None:
            self._made.dispose()

    def reading(self, *, wait: float, any_version: bool) -> AbstractContextManager[Connection]:
        """Begin a transaction that only reads. Raises InputFileError."""
        return sqlite_reading.reading(self._directory, wait=wait, any_version=any_version)

    def leftovers(self) -> Sequence[Path]:
        """Return what was set aside as damaged."""
        return sorted(self._directory.glob(f"{FILE_NAME}.damaged-*"))

    def trouble(self, kind: Kind, reason: object = "") -> Trouble:
        """Return what to tell of this file."""
        return sqlite_errors.trouble(self.path, kind, reason)

    def of_error(self, error: BaseException) -> Trouble:
        """Return what to tell of a file whose use ended in `error`."""
        return sqlite_errors.of_error(self.path, error)

    def refuses_row(self, error: BaseException) -> bool:
        """Whether the database is well and will never take this row."""
        return refuses_row(error)


def engine(place: Place) -> SqliteEngine:
    """Return the engine of a directory."""
    return SqliteEngine(Path(place))


def _lenient_text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "secure_delete=ON",
    "mmap_size=0",
)


def _writing_engine(path: Path) -> SqlEngine:
    # A connection a transaction: none is open when the process forks, and no lock outlives a thread. It costs 60 µs.
    # Parameters are hidden from error texts, which end up in logs: they hold questions and answers.
    made = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=NullPool,
        connect_args={"timeout": BUSY_MOMENT},
        hide_parameters=True,
    )

    @event.listens_for(made, "connect")
    def _on_connect(raw: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        # One damaged text must not keep all rows after it from being read.
        raw.text_factory = _lenient_text
        raw.isolation_level = None  # SQLAlchemy's own BEGIN below, not the driver's implicit one
        cursor = raw.cursor()
        try:
            # Said of a file that begins now alone: of another it would be a transaction that writes.
            begins = () if path.stat().st_size else ("auto_vacuum=INCREMENTAL",)
            for pragma in (*begins, *_PRAGMAS):
                cursor.execute(f"PRAGMA {pragma}")
        except BaseException:
            # SQLAlchemy would leave both to the collector, and a fork would find them open: a connection outlives its
            # `close` while a statement is not finished.
            cursor.close()
            raw.close()
            raise
        cursor.close()

    @event.listens_for(made, "begin")
    def _on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(
            "BEGIN IMMEDIATE" if connection.get_execution_options().get("writes", True) else "BEGIN"
        )

    return made
