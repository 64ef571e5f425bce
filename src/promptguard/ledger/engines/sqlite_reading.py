"""Reading a ledger's file without writing to it, in any process, while others write."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine
from sqlalchemy.exc import DatabaseError, SQLAlchemyError
from sqlalchemy.pool import NullPool, StaticPool

from promptguard.errors import InputFileError, NoLedger
from promptguard.ledger import schema
from promptguard.ledger.engines.sqlite_errors import SIDE_FILES, kind_of, of_error, trouble
from promptguard.ledger.engines.sqlite_file import FILE_NAME
from promptguard.ledger.migrations import SchemaTrouble, checked_version, migrate
from promptguard.ledger.trouble import Trouble
from promptguard.lifetime import forks

MOST_ENGINES = 8
"""Ledgers of a process whose compiled statements are kept."""

log = logging.getLogger("promptguard")

_UNREADABLE = (
    SQLAlchemyError, ValueError, TypeError, LookupError, ArithmeticError, OSError, RecursionError,
)  # fmt: skip
"""What a damaged row, or a foreign one, makes of whoever reads it."""


@contextmanager
def reading(directory: Path, *, wait: float, any_version: bool) -> Iterator[Connection]:
    """Open a ledger for reading only, as `ledger.reading.reading` says."""
    path = directory / FILE_NAME
    _look_at(path, directory)
    engine = _engine(path, wait)
    try:
        with forks.connection(), engine.connect() as connection:
            if any_version or checked_version(connection) == schema.SCHEMA_VERSION:
                yield connection
                return
            with _as_of_today(connection) as migrated:
                yield migrated
    except InputFileError:
        raise
    except SchemaTrouble as error:
        raise InputFileError(_told(trouble(path, error.kind, error))) from None
    except _UNREADABLE as error:
        log.debug("the ledger cannot be read", exc_info=error)
        raise InputFileError(_told(of_error(path, error))) from error


def _look_at(path: Path, directory: Path) -> None:
    """Raise InputFileError for what is no file, or not for this user to read: SQLite's own words say neither."""
    try:
        facts = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            raise InputFileError(_told(trouble(path, "foreign", "a link that leads nowhere"))) from None
        if directory.is_file():
            raise NoLedger(f"{directory} is a file: a ledger is a directory, name that") from None
        raise NoLedger(
            f"{path}: no ledger here; run an application with promptguard.wrap(ledger={str(directory)!r}) first"
        ) from None
    except OSError as error:
        raise InputFileError(_told(of_error(path, error))) from None
    if not stat.S_ISREG(facts.st_mode):
        raise InputFileError(_told(trouble(path, "foreign", "not a regular file")))
    for suffix in SIDE_FILES[1:]:  # SQLite opens them all, and waits for ever for a pipe's other end
        beside = Path(f"{path}{suffix}")
        told = _facts(beside)
        if told is not None and not stat.S_ISREG(told.st_mode):
            raise InputFileError(_told(trouble(beside, "foreign", "not a regular file")))
    if not os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
        raise InputFileError(_told(trouble(path, "denied", "this user may not read it")))


def _facts(path: Path) -> os.stat_result | None:
    """Return what is known of a file beside the ledger; None where it is not, or no longer: its writers take it away."""
    try:
        return path.lstat()
    except OSError:
        return None


def _told(found: Trouble) -> str:
    return found.told.replace("; it is tried again", "")


def _engine(path: Path, wait: float) -> Engine:
    """Return an engine that only reads; of a volume that is read-only itself, as of a file that nobody changes.

    SQLite makes a -shm file beside a ledger to read it, which cannot be on such a volume; after an ordinary end of all its
    writers the file alone is the whole truth. https://www.sqlite.org/wal.html#read_only_databases
    """
    path = path.absolute()  # a process may change its directory
    found = _made(path, wait)
    try:
        with forks.connection(), found.connect() as connection:
            connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
    except DatabaseError as error:
        wal = _facts(Path(f"{path}-wal"))
        if kind_of(error) in {"read-only", "unusable", "denied"} and (wal is None or not wal.st_size):
            return _made(path, wait, immutable=True)
        raise InputFileError(_told(of_error(path, error))) from error
    except _UNREADABLE as error:
        raise InputFileError(_told(of_error(path, error))) from error
    return found


@lru_cache(maxsize=MOST_ENGINES)
def _made(path: Path, wait: float, *, immutable: bool = False) -> Engine:
    """Return an engine; it holds no connection, but what it has compiled, which costs more than most reading."""
    query = {"mode": "ro", "uri": "true", **({"immutable": "1"} if immutable else {})}
    file = f"file:{quote(os.fsencode(os.path.realpath(path)))}"  # or "?" and "#" in a directory's name would end the path
    url = URL.create("sqlite", database=file, query=query)
    return create_engine(url, poolclass=NullPool, connect_args={"timeout": wait}, hide_parameters=True)


@contextmanager
def _as_of_today(connection: Connection) -> Iterator[Connection]:
    """Copy a ledger of an older version into memory and migrate the copy: a reader changes nothing on disk."""
    source = connection.connection.driver_connection
    assert isinstance(source, sqlite3.Connection)  # noqa: S101 - what the engine above makes
    copy = sqlite3.connect(":memory:", check_same_thread=False)
    engine = create_engine("sqlite://", creator=lambda: copy, poolclass=StaticPool, hide_parameters=True)
    try:
        source.backup(copy)
        with engine.begin() as copied:
            migrate(copied)
            yield copied
    finally:
        engine.dispose()
        copy.close()
