"""What PostgreSQL's errors mean for a ledger, by their SQLSTATE.

https://www.postgresql.org/docs/current/errcodes-appendix.html
"""

from __future__ import annotations

import psycopg
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.exc import TimeoutError as NoneFree

from promptguard.directories import Database
from promptguard.ledger.trouble import Kind, Trouble

_MENDS: dict[Kind, str] = {
    "damaged": "its tables are not those that PromptGuard made: restore them, or give another schema (?schema=NAME)",
    "foreign": "the schema holds tables of another program: give another one (?schema=NAME)",
    "newer": "update PromptGuard, or give another schema (?schema=NAME)",
    "locked": "it is busy, or another transaction holds it; it is tried again",
    "full": "make room for the database; it is tried again",
    "read-only": "it takes no writes: give the address of the primary; it is tried again",
    "missing": "make the database, or give the name of one that is there; it is tried again",
    "denied": "check user, password and rights (docs/reference/ledger.md lists them); it is tried again",
    "away": "it does not answer; it is tried again",
    "unusable": "see the reason; it is tried again",
}
_BY_STATE: dict[str, Kind] = {
    "25006": "read-only",
    "28000": "denied",
    "28P01": "denied",
    "3D000": "missing",
    "3F000": "missing",
    "40001": "locked",
    "40P01": "locked",
    "42501": "denied",
    "42703": "damaged",
    "42P01": "damaged",
    "53100": "full",
    "53200": "full",
    "53300": "locked",
    "53400": "full",
    "55P03": "locked",
    "25P03": "away",
    "57014": "locked",
    "57P01": "away",
    "57P02": "away",
    "57P03": "away",
}
_CHECK = "23514"
_REFUSED = ("22", "23", "54")
"""Classes of states that speak of the row: its data, its keys, its size."""


def trouble(place: Database, kind: Kind, reason: object = "") -> Trouble:
    """Return what to tell of a database."""
    why = f" ({reason})" if str(reason) else ""
    return Trouble(kind, f"{place}: {kind}{why}: {_MENDS.get(kind, _MENDS['unusable'])}")


def _cause(error: BaseException) -> BaseException:
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def kind_of(error: BaseException) -> Kind:
    """Return what an exception of the database layer means for a ledger."""
    if isinstance(error, NoneFree):
        return "locked"
    cause = _cause(error)
    state = getattr(cause, "sqlstate", None)
    if isinstance(state, str) and state:
        return _BY_STATE.get(state, "away" if state.startswith("08") else "unusable")
    if isinstance(cause, (psycopg.OperationalError, psycopg.InterfaceError)):
        return _of_connecting(str(cause))
    # What reading a value raises that is not as it was written.
    is_value = isinstance(cause, (ValueError, TypeError, LookupError, ArithmeticError, RecursionError))
    return "damaged" if is_value else "unusable"


def _of_connecting(said: str) -> Kind:
    """Return what a refused connection means: no state is told of one, but in the server's own words."""
    for words, kind in (
        ("password", "denied"),
        ("pg_hba.conf", "denied"),
        ("role ", "denied"),
        ("does not exist", "missing"),
        ("too many", "locked"),
        ("remaining connection slots", "locked"),
    ):
        if words in said:
            return kind  # type: ignore[return-value]
    return "away"


def of_error(place: Database, error: BaseException) -> Trouble:
    """Return what to tell of a database whose use ended in `error`: kind and reason, never a row's content."""
    cause = _cause(error)
    if isinstance(error, NoneFree):
        reason = "all connections of this process are in use"
    elif isinstance(cause, psycopg.Error):
        reason = cause.diag.message_primary or str(cause).strip().partition("\n")[0] or type(cause).__name__
    elif isinstance(cause, OSError):
        reason = str(cause)
    else:
        reason = type(cause).__name__
    return trouble(place, kind_of(error), place.cleaned(reason))


def refuses_row(error: BaseException) -> bool:
    """Whether the database is well and will never take this row."""
    cause = _cause(error)
    if isinstance(cause, psycopg.Error):
        state = cause.sqlstate
        if state == _CHECK and not cause.diag.constraint_name:
            return False  # no part takes it yet: the row is fine, and waits
        return state.startswith(_REFUSED) if state else isinstance(cause, psycopg.DataError)
    return isinstance(error, (StatementError, ValueError, TypeError, OverflowError)) and not isinstance(
        error, DBAPIError
    )
