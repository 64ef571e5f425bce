"""What SQLite's errors mean for a ledger's file."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    MultipleResultsFound,
    NoResultFound,
    NotSupportedError,
    ProgrammingError,
    StatementError,
)

from promptguard.ledger.trouble import Kind, Trouble


def sqlite_version() -> tuple[int, ...]:
    """Return the version of SQLite that the interpreter brings."""
    return sqlite3.sqlite_version_info


HEADER = b"SQLite format 3\x00"
SIDE_FILES = ("", "-wal", "-shm", "-journal")

_MENDS: dict[Kind, str] = {
    "damaged": "restore it from a copy, or move it away and start anew",
    "foreign": "it is not a ledger of PromptGuard's: give another directory, or move this file away",
    "newer": "update PromptGuard, or give another directory",
    "locked": "another program holds it; it is tried again",
    "full": "make room on the disk; it is tried again",
    "read-only": "make the directory writable for this user; it is tried again",
    "missing": "it was removed or replaced, and with it what was known; the watch goes on with the file that is there now",
    "denied": "give this user access to it; it is tried again",
    "unusable": "see the reason; it is tried again",
}


def trouble(path: Path, kind: Kind, reason: object = "") -> Trouble:
    """Return what to tell of a ledger's file."""
    why = f" ({reason})" if str(reason) else ""
    return Trouble(kind, f"{path}: {kind}{why}: {_MENDS.get(kind, _MENDS['unusable'])}")


_BY_CODE: dict[int, Kind] = {
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_NOTADB: "damaged",
    sqlite3.SQLITE_FORMAT: "damaged",
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_PROTOCOL: "locked",
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_READONLY: "read-only",
    sqlite3.SQLITE_PERM: "denied",
    sqlite3.SQLITE_AUTH: "denied",
}


_OTHER_SHAPE = re.compile(
    "no such (table|column)|has no column named|cannot modify .* because it is a view|Could not decode to UTF-8|"
    "ON CONFLICT clause does not match|unsupported file format"
)
"""What SQLite says, with its most general code, of tables that are not those that were made."""


_OTHER_VALUES = (
    ValueError, TypeError, LookupError, ArithmeticError, RecursionError, MultipleResultsFound, NoResultFound,
)  # fmt: skip
"""What reading a value raises that is not as it was written."""


def kind_of(error: BaseException) -> Kind:
    """Return what an exception of the database layer means for its file."""
    found: BaseException | None = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(found, PermissionError):
        return "denied"
    if isinstance(found, _OTHER_VALUES):
        return "damaged"  # a row, or the schema's own text, that is no longer what was written
    code = getattr(found, "sqlite_errorcode", None)
    if isinstance(code, int) and (code & 0xFF) in _BY_CODE:
        return _BY_CODE[code & 0xFF]
    if isinstance(found, sqlite3.DatabaseError) and not isinstance(found, sqlite3.OperationalError):
        return "damaged"
    if isinstance(found, sqlite3.OperationalError) and _OTHER_SHAPE.search(str(found)):
        return "damaged"
    return "unusable"


def of_error(path: Path, error: BaseException) -> Trouble:
    """Return what to tell of a file whose use ended in `error`: kind and reason, never a row's content."""
    found = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    reason = str(found) if isinstance(found, (sqlite3.Error, OSError)) else type(found).__name__
    if reason.startswith("Could not decode"):  # what could not be decoded stands after it
        reason = "text that is not UTF-8"
    return trouble(path, kind_of(error), reason)


def refuses_row(error: BaseException) -> bool:
    """Whether the database is well and will never take this row: waiting would hold up all that follow."""
    refused = (IntegrityError, DataError, ProgrammingError, InterfaceError, NotSupportedError)
    if isinstance(error, DBAPIError):
        return isinstance(error, refused)
    return isinstance(error, (StatementError, ValueError, TypeError, OverflowError))
