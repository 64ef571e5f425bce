"""A ledger in a schema of a PostgreSQL database, for processes of many hosts."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from promptguard.directories import Database, Place
from promptguard.errors import InputFileError, NoLedger
from promptguard.ledger import schema
from promptguard.ledger.engines import postgres_errors
from promptguard.ledger.engines.contract import Days
from promptguard.ledger.engines.postgres_connections import connections, quoted
from promptguard.ledger.engines.postgres_days import PostgresDays
from promptguard.ledger.engines.postgres_words import PostgresWords
from promptguard.ledger.migrations import SchemaTrouble, checked_version
from promptguard.ledger.trouble import Kind, LedgerUnavailable, Trouble

WORDS = PostgresWords()
PATIENCE = 2.5
LOOK_SECONDS = 5.0
"""How often who follows what others noted looks: a thousand processes do."""
_TABLES_WITH_WORDS = tuple(
    each.name
    for each in (
        schema.pair, schema.content, schema.banked, schema.snapshot_part, schema.verdict, schema.verdict_group,
        schema.occurrence, schema.alert,
    )
)  # fmt: skip
_READS = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; "


class PostgresEngine:
    """As `contract.Engine` says, for one schema of a database."""

    def __init__(self, database: Database) -> None:
        self.place: Place = database
        self.patience = PATIENCE
        self._database = database
        self._connections = connections(database)
        self.days: Days | None = PostgresDays(lambda: self._connections.begin(""))

    def here(self) -> object | None:
        """Return another number once a connection was lost: the server may have been put back, or be another."""
        return self._connections.generation

    def stamp(self) -> tuple[object, ...]:
        """Return another value every LOOK_SECONDS: nothing less than a query tells more."""
        return (int(time.monotonic() // LOOK_SECONDS),)

    def prepare(self) -> list[str]:
        """Make the schema, if there is none. Raises LedgerUnavailable."""
        try:
            with self._connections.begin("") as connection:
                self._make_schema(connection)
        except SQLAlchemyError as error:
            raise LedgerUnavailable(self.of_error(error)) from None
        return []

    def _make_schema(self, connection: Connection) -> None:
        name = self._connections.schema
        if self._may_use(connection) is None:
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (name,))
            connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {quoted(name)}")

    def _may_use(self, connection: Connection) -> bool | None:
        """Whether this role may use the schema, None where there is none. Raises LedgerUnavailable where it may not."""
        name = self._connections.schema
        query = "SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = %s"
        found = connection.exec_driver_sql(query, (name,)).scalar_one_or_none()
        if found is False:
            raise LedgerUnavailable(self.trouble("denied", f"this role may not use the schema {name!r}"))
        return found

    def making(self) -> AbstractContextManager[None]:
        """Do nothing: what makes tables is one transaction under a lock."""
        return nullcontext()

    @contextmanager
    def begin(self, *, writes: bool) -> Iterator[Connection]:
        """Begin a transaction; committed at the end of the block."""
        try:
            with self._connections.begin("" if writes else "SET TRANSACTION READ ONLY; ") as connection:
                yield connection
        except SQLAlchemyError as error:
            if isinstance(error, DBAPIError):
                raise
            raise LedgerUnavailable(self.of_error(error)) from None

    def is_damaged(self) -> bool:
        """Return False: what is wrong with a database is for people to mend, not for one of its clients."""
        return False

    def set_aside(self) -> str | None:
        """Do nothing."""
        return None

    def shrink(self) -> bool:
        """Do nothing: the server's autovacuum does."""
        return False

    def expunge(self) -> bool:
        """Have tables that hold what was said, or is made of it, written anew.

        False where others use one for too long, or where they are another role's.
        """
        try:
            return self._connections.rewrite(_TABLES_WITH_WORDS)
        except psycopg.errors.LockNotAvailable:
            return False
        except psycopg.Error as error:
            raise LedgerUnavailable(self.of_error(error)) from None

    def close(self) -> None:
        """Close what nobody in this process uses."""
        self._connections.close()

    @contextmanager
    def reading(self, *, wait: float, any_version: bool) -> Iterator[Connection]:  # noqa: ARG002 - readers wait for nobody
        """Begin a transaction that only reads, and sees one moment of the ledger. Raises InputFileError."""
        try:
            with self._connections.begin(_READS) as connection:
                self._check(connection, any_version=any_version)
                yield connection
        except InputFileError:
            raise
        except LedgerUnavailable as error:
            raise InputFileError(_told(error.trouble)) from None
        except SchemaTrouble as error:
            raise InputFileError(_told(self.trouble(error.kind, error))) from None
        except (
            SQLAlchemyError,
            ValueError,
            TypeError,
            LookupError,
            ArithmeticError,
            OSError,
            RecursionError,
        ) as error:
            raise InputFileError(_told(self.of_error(error))) from error

    def _check(self, connection: Connection, *, any_version: bool) -> None:
        if any_version:
            found = connection.exec_driver_sql(f"SELECT to_regclass('{schema.meta.name}')").scalar_one()
        else:
            found = WORDS.columns(connection)
        if not found:
            self._may_use(connection)
            raise NoLedger(
                f"{self.place}: no ledger here; run an application with this address as ledger= first"
            )
        if any_version:
            return
        version = checked_version(connection)
        if version < schema.SCHEMA_VERSION:
            reason = f"schema {version}, this version of PromptGuard reads {schema.SCHEMA_VERSION}"
            told = f"{self.place}: older ({reason}): run an application with this version once, which migrates it"
            raise InputFileError(told)

    def leftovers(self) -> Sequence[Path]:
        """Return nothing: no database is ever set aside."""
        return ()

    def trouble(self, kind: Kind, reason: object = "") -> Trouble:
        """Return what to tell of this database."""
        return postgres_errors.trouble(self._database, kind, reason)

    def of_error(self, error: BaseException) -> Trouble:
        """Return what to tell of a database whose use ended in `error`."""
        return postgres_errors.of_error(self._database, error)

    def refuses_row(self, error: BaseException) -> bool:
        """Whether the database is well and will never take this row."""
        return postgres_errors.refuses_row(error)


def _told(found: Trouble) -> str:
    return found.told.replace("; it is tried again", "")


def engine(place: Place) -> PostgresEngine:
    """Return the engine of a database."""
    assert isinstance(place, Database)  # noqa: S101 - as `engines.engine_of` chose it
    return PostgresEngine(place)
