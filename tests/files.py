"""What lies in a directory of SQLite's while threads are writing to it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def contents(directory: Path, pattern: str = "*") -> dict[str, bytes]:
    """Return every file's bytes by its name.

    A log of SQLite's may be removed between two looks: then what it held is in the database, which is read after it.
    """
    files = [path for path in directory.rglob(pattern) if path.is_file()]
    found = {}
    for path in sorted(files, key=lambda path: not path.name.endswith(("-wal", "-shm", "-journal"))):
        with contextlib.suppress(FileNotFoundError):
            found[path.name] = path.read_bytes()
    return found


def asked_of(database: Path, query: str) -> list[tuple[Any, ...]]:
    """Return what a database answers; its connection is closed, of which `with` alone would only end the transaction."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


@contextlib.contextmanager
def held_open(database: Path) -> Iterator[None]:
    """Read a database within this block: SQLite removes `-wal` and `-shm` only with the last connection."""
    with contextlib.closing(sqlite3.connect(database, timeout=10, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        yield
