"""diskcache, held to one thing: text keys, byte values, inside one SQLite file.

diskcache unpickles what a row tells it to (CVE-2025-69872, unfixed in 5.6.3; `JSONDisk` does so as well),
opens and deletes files that a row names, and makes every row of its Settings table an attribute or a PRAGMA.
All of that is refused here: whoever can edit the file can lose us entries, and nothing else. diskcache has
had no release since 2023, so leaning on its inner methods is safe as long as its version is what this module
was written for.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import diskcache
from diskcache.core import DEFAULT_SETTINGS, ENOVAL, METADATA, MODE_RAW

from promptguard.cache.entry import MAX_ENTRY_BYTES, BadEntry

DATABASE = "cache.db"
OPEN_WAIT_MS = 2_000

SETTINGS: dict[str, object] = {
    **DEFAULT_SETTINGS,
    "statistics": 0,
    "tag_index": 0,
    "eviction_policy": "least-recently-stored",  # the others write on every read
    "cull_limit": 10,
    "disk_min_file_size": 2**31,  # every value inside the database: no files that a crash leaves behind
    "disk_pickle_protocol": 0,
    "sqlite_mmap_size": 0,  # a truncated file under a memory map is a SIGBUS
    "sqlite_cache_size": 1_024,  # pages
}
_COUNTS = frozenset(METADATA)


class BytesDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no types
    """Keys are text, values bytes; anything else is refused and never interpreted."""

    def put(self, key: object) -> tuple[str, bool]:
        """Return the columns of a key."""
        if type(key) is not str:
            raise TypeError("a cache key is text")
        return key, True

    def get(self, key: object, raw: object) -> str:
        """Return the key of a row."""
        if not raw or type(key) is not str:
            raise BadEntry("foreign key")
        return key

    def store(self, value: object, read: object, key: object = None) -> tuple[int, int, None, memoryview]:  # noqa: ARG002
        """Return the columns of a value."""
        if type(value) is not bytes or read:
            raise TypeError("a cache value is bytes")
        return 0, MODE_RAW, None, memoryview(value)

    def fetch(self, mode: object, filename: object, value: object, read: object) -> bytes:
        """Return the value of a row."""
        if mode != MODE_RAW or filename is not None or read or type(value) is not bytes:
            raise BadEntry("foreign row")
        return value

    def filename(self, key: object = None, value: object = None) -> NoReturn:  # noqa: ARG002
        """Refuse: no value has a file."""
        raise TypeError("no value is kept in a file of its own")

    def remove(self, file_path: object) -> None:
        """Delete nothing: no row of ours names a file; one that does was put there by somebody else."""


class StrictStore(diskcache.Cache):  # type: ignore[misc]
    """One connection for one thread at a time; opening it may take long: never on a caller's thread."""

    def __init__(self, directory: Path, max_bytes: int, timeout_s: float) -> None:
        self._connection: sqlite3.Connection | None = None
        settings = {**SETTINGS, "size_limit": max_bytes}
        try:
            super().__init__(str(directory), timeout=timeout_s, disk=BytesDisk, **settings)
        except BaseException:
            self.close()
            raise

    @property
    def _con(self) -> sqlite3.Connection:
        if self._connection is None:
            path = os.path.join(self._directory, DATABASE)  # noqa: PTH118 - once an opening, as diskcache does
            connection = sqlite3.connect(
                path, timeout=self._timeout, isolation_level=None, check_same_thread=False
            )
            connection.setlimit(
                sqlite3.SQLITE_LIMIT_LENGTH, MAX_ENTRY_BYTES + 4_096
            )  # a 1 GB row is an error
            connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
            self._connection = connection
            # diskcache opens with a timeout of 0 first: of processes that open at once all but one would fail.
            connection.execute(f"PRAGMA busy_timeout = {OPEN_WAIT_MS}")
            for name, value in (
                ("trusted_schema", 0),
                ("mmap_size", 0),
                ("synchronous", 1),
                ("cache_size", 1_024),
                ("secure_delete", 1),  # what is cleared leaves no bytes in the file
            ):
                connection.execute(f"PRAGMA {name} = {value}")
            connection.execute(f"PRAGMA busy_timeout = {int(1000 * self._timeout)}")
        return self._connection

    def reset(self, key: str, value: object = ENOVAL, update: bool = True) -> object:
        """Set our own settings; a row that somebody else put into the Settings table has no effect."""
        if key in _COUNTS:
            return super().reset(key, value, update)
        if key not in SETTINGS:
            return value
        return super().reset(key, value if key == "size_limit" else SETTINGS[key], update)

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def is_sound(self) -> bool:
        """Look through the whole file; slow on a large one."""
        return bool(self._con.execute("PRAGMA quick_check(1)").fetchall() == [("ok",)])

    def expunge(self) -> bool:
        """Empty the write-ahead log, which has pages as they were; False while another process reads those."""
        busy, *_ = self._con.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    def each(self) -> Iterator[tuple[str, bytes]]:
        """Yield every row that could be an entry; what is no text and no bytes is passed over."""
        columns = "SELECT key, value FROM Cache WHERE raw = 1 AND mode = 1 AND filename IS NULL"
        for key, value in self._con.execute(columns):
            if type(key) is str and type(value) is bytes:
                yield key, value

    def abandon(self) -> sqlite3.Connection | None:
        """Let go of a connection that came through a fork, without closing it: SQLite forbids its use."""
        connection, self._connection = self._connection, None
        return connection
