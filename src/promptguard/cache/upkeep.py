"""What people do to a cache by hand, on disk or on a server: look at it, clear it. Slow; never on a caller's thread."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from promptguard.cache.contract import Backend, Store
from promptguard.cache.entry import BadEntry, decode
from promptguard.cache.place import FILES, set_clear_mark
from promptguard.cache.tiered import remove
from promptguard.core.options import check_tag
from promptguard.errors import ConfigurationError, InputFileError

if TYPE_CHECKING:
    from promptguard.cache.strict import StrictStore

TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Contents:
    """What lies in a cache on disk."""

    entries: int = 0
    bytes: int = 0
    """of the entries themselves; the file is a little larger"""
    unreadable: int = 0
    """not written with this secret, or no longer as they were written: never served"""
    oldest: float | None = None
    """seconds since the Unix epoch"""
    newest: float | None = None
    models: dict[str, int] = field(default_factory=dict)
    tags: dict[str, int] = field(default_factory=dict)


def contents(place: Path | Backend, mac_key: bytes) -> Contents:
    """Return what lies in a cache, which may be in use: in a directory, or at a backend.

    Raises InputFileError where there is none, or it cannot be read now.
    """
    count, size, unreadable = 0, 0, 0
    times: list[float] = []
    models: Counter[str] = Counter()
    tags: Counter[str] = Counter()
    with _opened(place) as store:
        for key, blob in store.each():
            try:
                reply = decode(key, blob, mac_key)
            except BadEntry:
                unreadable += 1
                continue
            count, size = count + 1, size + len(blob)
            times = [min([*times[:1], reply.stored_at]), max([*times[1:], reply.stored_at])]
            models[reply.model] += 1
            tags.update(reply.tags)
    oldest, newest = times or (None, None)
    return Contents(
        count, size, unreadable, oldest=oldest, newest=newest, models=dict(models), tags=dict(tags)
    )


def clear(place: Path | Backend, mac_key: bytes, tag: str | None) -> int:
    """Remove every entry, or those with `tag`; returns how many. Processes that use the cache notice within seconds.

    Raises InputFileError without a cache, or where it cannot be written now, and ConfigurationError for a tag that no entry
    can have.
    """
    check_tag(tag, "cache clear --tag")
    with _opened(place) as store:
        removed = remove(store, mac_key, tag)
        if isinstance(place, Path):
            set_clear_mark(place)
        else:
            place.set_clear_mark()
    return removed


def purge(place: Path | Backend, mac_key: bytes, tag: str) -> tuple[int, bool]:
    """Remove entries with `tag` as `clear` does; returns how many, and whether no byte of them is left in a file."""
    with _opened(place) as store:
        removed = remove(store, mac_key, tag)
        if not isinstance(place, Path):
            place.set_clear_mark()
            return removed, True
        set_clear_mark(place)
        return removed, store.expunge() if isinstance(store, _Expunges) else True


@runtime_checkable
class _Expunges(Protocol):
    def expunge(self) -> bool: ...


@contextlib.contextmanager
def _opened(place: Path | Backend) -> Iterator[Store]:
    with _opened_directory(place) if isinstance(place, Path) else _connected(place) as store:
        yield store


@contextlib.contextmanager
def _connected(backend: Backend) -> Iterator[Store]:
    """Give a connection; what is wrong with the place is told by the backend itself, in a log."""
    try:
        writing, reading = backend.open(check=False, on_event=lambda _kind, _reason: None)
        with contextlib.closing(reading), contextlib.closing(writing):
            yield writing
    except ConfigurationError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever its package raises
        raise InputFileError(f"{backend} cannot be used now ({type(error).__name__})") from None


@contextlib.contextmanager
def _opened_directory(directory: Path) -> Iterator[StrictStore]:
    from promptguard.cache.strict import StrictStore

    if not (directory / FILES[0]).is_file():
        raise InputFileError(f'there is no cache in {directory}: cache="disk" makes one')
    try:
        with contextlib.closing(StrictStore(directory, 2**50, TIMEOUT_S)) as store:
            yield store
    except (sqlite3.Error, OSError) as error:
        raise InputFileError(
            f"the cache in {directory} cannot be read now ({type(error).__name__}); try again, or delete the directory"
        ) from None
