"""The door to a ledger: opened when first used, looked at again when something is wrong with it."""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from promptguard.directories import ledger_place
from promptguard.ledger.engines import engine_of, words
from promptguard.ledger.migrations import SchemaTrouble, migrate, stored_once
from promptguard.ledger.trouble import Kind, LedgerUnavailable, Trouble

log = logging.getLogger("promptguard")

FIRST_REST, LONGEST_REST = 0.5, 15.0
"""Seconds between attempts to open a ledger that cannot be used; doubled each time."""

Tell = Callable[[Trouble | None], None]
"""Told why a ledger cannot be used, once a change; None when it can be used again."""


class Door:
    """One process's door to a ledger: opened when first used, and again when it goes away.

    Thread-safe: every transaction has a connection to itself, none of which is used on both sides of a fork.

    Parameters: `ledger`, a directory or the address of a database; `tell` is told once whenever its state changes, in the
    thread that met it. Methods raise LedgerUnavailable while it cannot be used, and sqlalchemy.exc.SQLAlchemyError for a
    single transaction; background threads turn both into counted events. Raises ConfigurationError for no such place.
    """

    def __init__(self, ledger: str | Path, *, tell: Tell = lambda _trouble: None) -> None:
        self.place = ledger_place(ledger)
        self.engine = engine_of(self.place)
        self._tell = tell
        self._told: Kind | None = None
        self._here: object | None = None
        """what the place said of the ledger that was opened"""
        self._opening = threading.Lock()
        self._suspect = False
        self._rest = FIRST_REST
        self._next_try = 0.0
        self._failed: LedgerUnavailable | None = None
        self.notes: list[str] = []
        """what a person should know about the place"""
        self.identity = b""
        """random, of this ledger: another one means that everything known of it is of an earlier one"""

    def open(self) -> None:
        """Make the ledger ready, if it is not. Raises LedgerUnavailable; soon after a failure without looking again."""
        if self._here is not None and self._here == self.engine.here():
            return
        with self._opening:
            if self._here is not None and self._here == self.engine.here():
                return
            if self._failed is not None and time.monotonic() < self._next_try:
                raise self._failed
            try:
                self._open_or_again()
            except LedgerUnavailable as error:
                self._failed, self._here = error, None
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
            if error.trouble.kind != "unusable" or self.engine.here() is not None:
                raise
            self._open()  # it was moved away between two looks at it: there is none, and that is no trouble

    def _open(self) -> None:
        before, aside = self.identity, None
        self.notes = self.engine.prepare()
        with self.engine.making():
            found = self._opened()
            if found is not None and (found.kind == "damaged" or self._suspect) and self.engine.is_damaged():
                aside = self.engine.set_aside()
                if aside is not None:
                    log.warning("%s; set aside as %s, a new ledger begins", found.told, aside)
                    self.engine.prepare()
                    found = self._opened()
        if found is not None:
            raise LedgerUnavailable(found)
        self._suspect = False
        self._here = self.engine.here()
        if before and before != self.identity and aside is None:
            with contextlib.suppress(Exception):  # a filter of the application's may raise
                log.warning("%s", self.engine.trouble("missing", "while it was in use").told)

    def _opened(self) -> Trouble | None:
        """Make or migrate the tables; returns what is in the way."""
        try:
            with self.engine.begin(writes=True) as connection:
                migrate(connection)
                self.identity = stored_once(connection, "ledger_id", secrets.token_bytes(16))
            if self._suspect and self.engine.is_damaged():
                return self.engine.trouble("damaged", "quick_check failed")
        except LedgerUnavailable as error:
            return error.trouble
        except SchemaTrouble as error:
            return self.engine.trouble(error.kind, error)
        except Exception as error:  # noqa: BLE001 - whatever a damaged file makes the layers above say
            return self.engine.of_error(error)
        return None

    @contextmanager
    def transaction(self, *, writes: bool = True, alone: str = "") -> Iterator[Connection]:
        """Begin a transaction in the opened ledger; committed at the end of the block.

        `alone`: no other transaction of that name runs beside this one, in any process; what it adds to a table is in the
        order of commits, if all that add to it do so under that name.

        Raises LedgerUnavailable where the ledger is locked, full, read-only, damaged or away, and SQLAlchemyError for what
        is asked of it. After an error that speaks of damage the ledger is looked through.
        """
        self.open()
        try:
            with self.engine.begin(writes=writes) as connection:
                if alone:
                    words(connection).alone(connection, alone)
                yield connection
        except DBAPIError as error:
            if self.refuses_row(error):
                raise
            found = self.engine.of_error(error)
            if found.kind == "damaged":
                self._suspect, self._here = True, None
            else:
                self._say(found)
            raise LedgerUnavailable(found) from error
        if writes and self._told is not None:
            self._say(None)

    def reading(self) -> AbstractContextManager[Connection]:
        """Begin a transaction that only reads."""
        return self.transaction(writes=False)

    def refuses_row(self, error: BaseException) -> bool:
        """Whether the database is well and will never take a row: waiting would hold up all that follow."""
        return self.engine.refuses_row(error)

    def close(self) -> None:
        """Close every connection."""
        self.engine.close()
