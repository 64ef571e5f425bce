"""The door to a ledger's file: opened when first used, looked at again when something is wrong with it.

SQLite: WAL, synchronous=FULL (an acknowledged pair survives power loss), no mmap, one connection a transaction, none
of them open while the process forks (`lifetime.forks`).
"""

from __future__ import annotations

import contextlib
import logging
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from promptguard.directories import ledger_directory
from promptguard.ledger.migrations import SchemaTrouble, migrate, other_shape, stored_once
from promptguard.ledger.place import FILE_NAME, locked, prepare, set_aside
from promptguard.ledger.trouble import (
    Kind,
    LedgerUnavailable,
    Trouble,
    kind_of,
    of_error,
    refuses_row,
    trouble,
)
from promptguard.lifetime import forks

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

log = logging.getLogger("promptguard")

LOCK_WAIT = 10.0
"""Seconds that a transaction waits for another process's, without a connection open meanwhile but for moments."""
BUSY_MOMENT = 0.05
FIRST_REST, LONGEST_REST = 0.5, 15.0
"""Seconds between attempts to open a ledger that cannot be used; doubled each time."""

Tell = Callable[[Trouble | None], None]
"""Told why a ledger cannot be used, once a change; None when it can be used again."""


class Door:
    """One process's door to a ledger directory: opened when first used, and again when its file goes away.

    Thread-safe: every transaction has its own short-lived connection, none of which is open across a fork.

    Parameters: `directory` of the ledger; `tell` is told once whenever its state changes, in the thread that met it.
    Methods raise LedgerUnavailable while it cannot be used, and sqlalchemy.exc.SQLAlchemyError for a single transaction;
    background threads turn both into counted events.
    """

    def __init__(self, directory: str | Path, *, tell: Tell = lambda _trouble: None) -> None:
        self.directory = ledger_directory(directory)
        self.path = self.directory / FILE_NAME
        self._tell = tell
        self._told: Kind | None = None
        self._file: tuple[int, int] | None = None
        """device and inode of the file that was opened"""
        self._opening = threading.Lock()
        self._suspect = False
        self._rest = FIRST_REST
        self._next_try = 0.0
        self._failed: LedgerUnavailable | None = None
        self._engine: Engine | None = None
        self.notes: list[str] = []
        """what a person should know about the place"""
        self.identity = b""
        """random, of this file: another one means that everything known of the ledger is of an earlier file"""

    @property
    def engine(self) -> Engine:
        """The database, opened."""
        if self._engine is None:
            self._engine = _writing_engine(self.path)
        return self._engine

    def open(self) -> None:
        """Make the ledger ready, if it is not. Raises LedgerUnavailable; soon after a failure without looking again."""
        if self._file is not None and self._file == _file_of(self.path):
            return
        with self._opening:
            if self._file is not None and self._file == _file_of(self.path):
                return
            if self._failed is not None and time.monotonic() < self._next_try:
                raise self._failed
            try:
                self._open_or_again()
            except LedgerUnavailable as error:
                self._failed, self._file = error, None
                self._next_try = time.monotonic() + self._rest
                self._rest = min(2 * self._rest, LONGEST_REST)
                self._say(error.trouble)
                raise
            self._failed, self._rest = None, FIRST_REST
            self._say(None)

    @property
    def trouble(self) -> Trouble | None:
        """Why the ledger could not be used when last tried, or None."""
        return None if self._failed is None else self._failed.trouble

    def _say(self, found: Trouble | None) -> None:
        kind = None if found is None else found.kind
        if kind != self._told:
            self._told = kind
            with contextlib.suppress(Exception):
                self._tell(found)

    def _open_or_again(self) -> None:
        try:
            self._open()
        except LedgerUnavailable as error:
            if error.trouble.kind != "unusable" or self.path.exists():
                raise
            self._open()  # the file was moved away between two looks at it: there is none, and that is no trouble

    def _open(self) -> None:
        if forks.is_unsafe():
            raise LedgerUnavailable(trouble(self.path, "unusable", "forked while a database was in use"))
        before, aside = self.identity, None
        self.notes = prepare(self.directory)
        with locked(self.directory):
            found = self._opened()
            if found is not None and (found.kind == "damaged" or self._suspect) and self._is_damaged():
                with forks.connection():
                    aside = set_aside(self.path)
                log.warning("%s; set aside as %s, a new ledger begins", found.told, aside.name)
                prepare(self.directory)
                found = self._opened()
        if found is not None:
            raise LedgerUnavailable(found)
        self._suspect = False
        self._file = _file_of(self.path)
        if before and before != self.identity and aside is None:
            with contextlib.suppress(Exception):  # a filter of the application's may raise
                log.warning("%s", trouble(self.path, "missing", "while it was in use").told)

    def _opened(self) -> Trouble | None:
        """Make or migrate the tables; returns what is in the way."""
        try:
            with self._begun(writes=True) as connection:
                migrate(connection)
                self.identity = stored_once(connection, "ledger_id", secrets.token_bytes(16))
            if self._suspect and self._is_damaged():
                return trouble(self.path, "damaged", "quick_check failed")
        except LedgerUnavailable as error:
            return error.trouble
        except SchemaTrouble as error:
            return trouble(self.path, error.kind, error)
        except Exception as error:  # noqa: BLE001 - whatever a damaged file makes the layers above say
            return of_error(self.path, error)
        return None

    def _is_damaged(self) -> bool:
        """Look through the whole file: slow for a large one, so only after a fault."""
        try:
            with self._begun(writes=False) as connection:
                sound = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one() == "ok"
                return not sound or other_shape(connection) is not None
        except SchemaTrouble as error:
            return error.kind == "damaged"
        except Exception as error:  # noqa: BLE001
            return kind_of(error) == "damaged"

    @contextmanager
    def _begun(self, *, writes: bool) -> Iterator[Connection]:
        """Open a connection and begin a transaction; one that is held up by another process waits without it."""
        engine = self.engine.execution_options(writes=writes)
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

    @contextmanager
    def transaction(self, *, writes: bool = True) -> Iterator[Connection]:
        """Begin a transaction in the opened ledger; committed at the end of the block.

        Raises LedgerUnavailable where the file is locked, full, read-only, damaged or away, and SQLAlchemyError for what
        is asked of it. After an error that speaks of damage the file is looked through.
        """
        self.open()
        try:
            with self._begun(writes=writes) as connection:
                yield connection
        except DBAPIError as error:
            if refuses_row(error):
                raise
            found = of_error(self.path, error)
            if found.kind == "damaged":
                self._suspect, self._file = True, None
            else:
                self._say(found)
            raise LedgerUnavailable(found) from error
        if writes and self._told is not None:
            self._say(None)

    def run_script(self, script: str) -> None:
        """Run a statement that takes many steps and returns no rows, on a connection of its own, in no transaction.

        sqlite3 takes one step of such a statement, unless it is a script. Raises as `transaction` does.
        """
        self.open()
        with forks.connection():
            raw = self.engine.raw_connection()
            try:
                raw.cursor().executescript(script)
            finally:
                raw.close()

    def reading(self) -> AbstractContextManager[Connection]:
        """Begin a transaction that only reads."""
        return self.transaction(writes=False)

    def close(self) -> None:
        """Close every connection."""
        if self._engine is not None:
            self._engine.dispose()


def _lenient_text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _file_of(path: Path) -> tuple[int, int] | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "secure_delete=ON",
    "mmap_size=0",
)


def _writing_engine(path: Path) -> Engine:
    # A connection a transaction: none is open when the process forks, and no lock outlives a thread. It costs 60 µs.
    # Parameters are hidden from error texts, which end up in logs: they hold questions and answers.
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=NullPool,
        connect_args={"timeout": BUSY_MOMENT},
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
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

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(
            "BEGIN IMMEDIATE" if connection.get_execution_options().get("writes", True) else "BEGIN"
        )

    return engine
