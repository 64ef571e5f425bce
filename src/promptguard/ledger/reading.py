"""Reading a ledger without writing to it: for status, report and every page, in any process, while others write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection

from promptguard.directories import Database, check_ledger, expanded
from promptguard.ledger.engines import engine_of

BUSY_SECONDS = 5.0


@contextmanager
def reading(
    ledger: str | Path, *, wait: float | None = None, any_version: bool = False
) -> Iterator[Connection]:
    """Open a ledger for reading only, its connection given back at the end of the block.

    Parameters: `wait`, seconds that a locked one is waited for, `BUSY_SECONDS` by default; `any_version`, to read one of an
    older version as it is, for who asks only for what all versions have: any other reader is given a copy in memory.

    Raises InputFileError, in one line, when there is no ledger, when it is of a newer version, and when it, or what the
    block reads of it, cannot be read.
    """
    given = check_ledger(ledger)
    engine = engine_of(given if isinstance(given, Database) else expanded(given))
    with engine.reading(wait=BUSY_SECONDS if wait is None else wait, any_version=any_version) as connection:
        yield connection
