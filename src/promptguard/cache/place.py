"""The cache's directory: 0700, its files 0600, whatever the umask; checked without opening SQLite."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import tempfile
import time
from pathlib import Path


class PlaceUnusable(Exception):  # noqa: N818 - a state of the machine, told as such
    """The cache's directory cannot be used now; the message says why and what to do."""


FILES = ("cache.db", "cache.db-wal", "cache.db-shm")
CLEARED = "cleared"
_PLAINLY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""Neither through a link nor waiting for a pipe: whoever can edit the directory must not lead us elsewhere."""


def prepare(directory: Path) -> None:
    """Make `directory` ready for a cache of this user alone; raises PlaceUnusable saying what to do."""
    if "$" in str(directory) or "~" in str(directory):
        # diskcache would expand them once more
        raise PlaceUnusable(f"write the cache directory {directory} out, without $ and ~")
    try:
        _make_private(directory)
        _make_files_private(directory)
    except OSError as error:
        reason = error.strerror or error
        raise PlaceUnusable(
            f"the cache directory {directory} cannot be used: {reason}; choose one this user can write to"
        ) from None


def _make_private(directory: Path) -> None:
    missing = [directory]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
    facts = directory.stat()
    if os.name != "posix":
        return
    if facts.st_uid != os.geteuid():
        raise PlaceUnusable(f"the cache directory {directory} is another user's; choose another")
    if stat.S_IMODE(facts.st_mode) != 0o700:
        names = os.listdir(directory)  # noqa: PTH208 - names are all that is needed
        if names and FILES[0] not in names:
            raise PlaceUnusable(
                f"{directory} holds other files and is open to others; give the cache a directory of its own"
            )
        directory.chmod(0o700)


def _make_files_private(directory: Path) -> None:
    """Make the database's file before SQLite does: -wal and -shm files take over its mode.

    None that exists is opened: closing it would drop the POSIX locks of this process's other connections to it.
    https://www.sqlite.org/howtocorrupt.html (2.2)
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(directory / FILES[0], os.O_RDWR | os.O_CREAT | os.O_EXCL | _PLAINLY, 0o600))
    for name in FILES:
        path = directory / name
        try:
            facts = path.lstat()
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(errno.ELOOP, f"{name} is not a regular file")
        if os.name == "posix" and stat.S_IMODE(facts.st_mode) != 0o600:
            path.chmod(0o600)


def clear_mark(directory: Path) -> bytes:
    """Return what the last clear left, so that other processes notice it; empty where there was none."""
    try:
        handle = os.open(directory / CLEARED, os.O_RDONLY | _PLAINLY)
    except OSError:
        return b""
    with os.fdopen(handle, "rb") as file:
        return file.read(64) if stat.S_ISREG(os.fstat(handle).st_mode) else b""


def set_clear_mark(directory: Path) -> bytes:
    """Leave a new mark, and return it; renamed into place, so that nothing a link leads to is ever written."""
    mark = secrets.token_hex(16).encode()
    handle, name = tempfile.mkstemp(prefix=f".{CLEARED}-", dir=directory)  # mode 0600, whatever the umask
    with os.fdopen(handle, "wb") as file:
        file.write(mark)
    Path(name).replace(directory / CLEARED)
    return mark


def set_aside(directory: Path) -> str:
    """Rename a corrupt database, so that a new one can be made; return the name. Nothing is deleted."""
    mark = f".corrupt-{int(time.time())}"
    for name in FILES:
        path = directory / name
        if path.exists():
            path.rename(directory / f"{name}{mark}")
    _make_files_private(directory)
    return f"{FILES[0]}{mark}"
