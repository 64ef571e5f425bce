"""What a database must offer to hold a ledger; everything else of a ledger is the same in all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from sqlalchemy import ColumnElement, Connection, Table

from promptguard.directories import Place
from promptguard.ledger.trouble import Kind, Trouble

if TYPE_CHECKING:  # a dialect takes 20 ms to import: each engine imports its own
    from sqlalchemy.dialects import postgresql, sqlite

Upsert: TypeAlias = "sqlite.Insert | postgresql.Insert"
"""An insert that says what happens to a row that is there; both dialects call it `on_conflict_do_...`."""


class Words(Protocol):
    """What is said differently in each dialect of SQL. Without state; found by a connection's dialect (`engines.words`)."""

    many_write: bool
    """whether transactions that write run beside each other, and would wait for each other over rows that all change"""

    def upsert(self, table: Table) -> Upsert:
        """Return an insert with `on_conflict_do_update` and `on_conflict_do_nothing`."""

    def append(self, connection: Connection, table: Table, rows: Sequence[dict[str, object]]) -> None:
        """Add rows, which all have the same columns, in order."""

    def ids_given(self, connection: Connection, table: Table) -> None:
        """Have the ids of rows to come begin behind those that were given by who wrote rows with theirs."""

    def columns(self, connection: Connection) -> dict[str, set[tuple[str, bool]]]:
        """Return the tables there are, each with its columns: (name, whether it is part of the primary key)."""

    def other_types(self, connection: Connection) -> str | None:
        """Say which column holds what no version of ours writes there; None where all is as it should be."""

    def age_order(self, table: Table) -> ColumnElement[Any]:
        """Return what orders the rows of a table without a number by age, about."""

    def contains(self, column: ColumnElement[Any], part: bytes) -> ColumnElement[bool]:
        """Return whether a column of bytes contains others."""

    def used(self, connection: Connection) -> int | None:
        """Return how many bytes a ledger takes on a disk of this machine; None where it is elsewhere."""

    def now(self, here: float) -> float | ColumnElement[float]:
        """Return the time by which leases live, in seconds since the Unix epoch; `here` is this machine's."""

    def alone(self, connection: Connection, what: str) -> None:
        """Let no other transaction that asks for `what` run beside this one, until its end."""

    def end_if_still(self, connection: Connection) -> None:
        """Have this transaction end by itself where its process stands still for long, with whatever it has locked."""

    def newest(self, connection: Connection, table: Table) -> int:
        """Return the newest id of a table, 0 of an empty one."""

    def divide(self, connection: Connection) -> None:
        """Have the tables of pairs be of parts, where that is how old ones go (`Days`); nothing where they are already."""

    def make_room(self, connection: Connection, table: Table, ids: Iterable[int]) -> None:
        """See to it that rows with these ids, which come from another ledger, can be added."""

    def settled(self, connection: Connection, table: Table) -> tuple[int, frozenset[str]]:
        """Return the newest id of a table, and the transactions that may yet commit one below it."""


class Days(Protocol):
    """Parts of the tables of pairs, of about a day each. Raises what the driver raises."""

    def begin(self, day: str) -> bool:
        """Begin a day (YYYYMMDD, UTC), unless it is begun; False where others are in the way: it is tried again."""

    def drop(self, table: str, before: float, folded: int) -> int:
        """Drop parts whose pairs are all from before a moment, and below the pair `folded`; returns how many."""


class Engine(Protocol):
    """One place where a ledger is: its connections, its state, and what its errors mean. Thread-safe.

    Methods that talk to it raise LedgerUnavailable, or an exception that `of_error` explains.
    """

    place: Place
    patience: float
    """how many times as long as in a directory a process waits until it looks again for what others have noted"""

    days: Days | None
    """how pairs go that are too old, a day at a time; None where their rows are deleted"""

    def here(self) -> object | None:
        """Return what tells this place's ledger from another that was put there, cheaply; None where there is none."""

    def stamp(self) -> tuple[object, ...]:
        """Return what changes with every commit, as far as can be told cheaply; empty where there is no ledger."""

    def prepare(self) -> list[str]:
        """Make the place ready; returns what a person should know, one line each. Raises LedgerUnavailable."""

    def making(self) -> AbstractContextManager[None]:
        """Hold the lock under which a ledger is made or set aside."""

    def begin(self, *, writes: bool) -> AbstractContextManager[Connection]:
        """Begin a transaction; committed at the end of the block. Raises what the driver raises."""

    def is_damaged(self) -> bool:
        """Look whether the ledger is damaged: may take long, so only after a fault."""

    def set_aside(self) -> str | None:
        """Put a damaged ledger out of the way; returns its new name, None where that is for people to do."""

    def shrink(self) -> bool:
        """Give free room back, some at a time; returns whether there is more."""

    def expunge(self) -> bool:
        """See to it that no byte of what was deleted is left in any file; False while others read what was there before."""

    def close(self) -> None:
        """Close every connection."""

    def reading(self, *, wait: float, any_version: bool) -> AbstractContextManager[Connection]:
        """Begin a transaction that only reads, as `ledger.reading.reading` says. Raises InputFileError."""

    def leftovers(self) -> Sequence[Path]:
        """Return what was set aside as damaged."""

    def trouble(self, kind: Kind, reason: object = "") -> Trouble:
        """Return what to tell of this place."""

    def of_error(self, error: BaseException) -> Trouble:
        """Return what to tell of a place whose use ended in `error`: kind and reason, never a row's content."""

    def refuses_row(self, error: BaseException) -> bool:
        """Whether the database is well and will never take this row: waiting would hold up all that follow."""
