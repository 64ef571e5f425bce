"""A cache on disk behind a small one in memory: where its entries lie, in a directory of their own.

diskcache's constructor blocks for 60 s while another process holds the lock, and a `set` for as long as its timeout;
`Tiered` runs neither on a caller's thread.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from promptguard.cache.contract import Listener, OnEvent, Store
from promptguard.cache.place import PlaceUnusable, clear_mark, prepare, set_aside, set_clear_mark
from promptguard.cache.tiered import READ_TIMEOUT_S, Tiered
from promptguard.core.options import Cache
from promptguard.errors import MissingExtra

log = logging.getLogger("promptguard")

WRITE_TIMEOUT_S = 0.5


class DiskCache(Tiered):
    """Replies in `directory`, at most about `max_bytes` (default 1 GiB), authenticated with `mac_key`.

    The directory is for the cache alone; it becomes 0700 and its files 0600. All else is as `Tiered` says. A directory that
    cannot be used makes every lookup a miss and is tried again. Raises ConfigurationError for a secret that is too short
    and MissingExtra without diskcache.
    """

    def __init__(
        self,
        directory: str | Path,
        mac_key: bytes,
        max_bytes: int = 2**30,
        *,
        memory_bytes: int = 16 * 2**20,
        listener: Listener | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_installed()
        self._place = Directory(Path(directory), max_bytes)
        self.directory = self._place.place
        super().__init__(self._place, mac_key, memory_bytes=memory_bytes, listener=listener, clock=clock)


def check_installed() -> None:
    """Raise MissingExtra without diskcache."""
    if find_spec("diskcache") is None:
        raise MissingExtra('cache="disk" needs diskcache; run: python -m pip install "diskcache>=5.6.3,<6"')


class Directory:
    """A directory as a `Backend`: one SQLite file, opened by diskcache."""

    many_readers = False
    meets = False
    rhythm_s = None
    """as long as no call comes, nothing of this process can be out of date"""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.place = path
        self.max_bytes = max_bytes
        """of the entries, about; taken when it is opened next"""

    def use(self, option: Cache) -> None:
        """Take another limit."""
        self.max_bytes = option.max_bytes

    def open(self, *, check: bool, on_event: OnEvent) -> tuple[Store, Store]:
        """Open both connections; with `check`, look through the file first and set a corrupt one aside."""
        try:
            prepare(self.place)
            try:
                return self._connected(check=check)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise  # locked, full, I/O: the file itself may be sound
                on_event("cache_replaced", set_aside(self.place))
                return self._connected(check=False)
        except PlaceUnusable as error:
            log.warning("%s; until then nothing is kept on disk", error)
            raise

    def is_busy(self, error: Exception) -> bool:
        """Whether another process holds the file's lock, no more."""
        return "locked" in str(error) and not isinstance(error, PlaceUnusable)

    def clear_mark(self) -> bytes:
        """Return what changes when somebody clears the cache."""
        return clear_mark(self.place)

    def set_clear_mark(self) -> bytes:
        """Say that the cache was cleared; returns the new mark."""
        return set_clear_mark(self.place)

    def _connected(self, *, check: bool) -> tuple[Store, Store]:
        from promptguard.cache.strict import StrictStore

        writing = StrictStore(self.place, self.max_bytes, WRITE_TIMEOUT_S)
        try:
            if check and not writing.is_sound():
                raise sqlite3.DatabaseError("quick_check failed")
            return writing, StrictStore(self.place, self.max_bytes, READ_TIMEOUT_S)
        except BaseException:
            writing.close()
            raise
