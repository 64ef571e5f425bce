"""The ledger's directory and file: whose they are and who may read them, looked at before anything is written.

What cannot be as it should is told and lived with where that is safe: a mounted volume may be another user's, and its
files readable by a group. Nothing is ever written through a link.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from promptguard.ledger.engines.sqlite_errors import SIDE_FILES, trouble
from promptguard.ledger.trouble import Kind, LedgerUnavailable
from promptguard.lifetime import forks

FILE_NAME = "ledger.sqlite3"
LOCK_NAME = "ledger.lock"
_BY_ERRNO: dict[int, Kind] = {
    errno.ENOSPC: "full",
    errno.EDQUOT: "full",
    errno.EROFS: "read-only",
    errno.EACCES: "denied",
    errno.EPERM: "denied",
    errno.ELOOP: "foreign",
}
_PLAINLY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def prepare(directory: Path) -> list[str]:
    """Make `directory` and its ledger file ready; returns what a person should know, one line each.

    Raises LedgerUnavailable where that is impossible, and where somebody else could lead us to another file.
    """
    path = directory / FILE_NAME
    try:
        _make(directory)
        notes = _look_at_directory(directory)
        for suffix in SIDE_FILES:  # SQLite opens them all, and waits for ever for a pipe's other end
            notes += _look_at_file(Path(f"{path}{suffix}"), make=not suffix)
    except OSError as error:
        raise _unavailable(path, error) from None
    return notes


def _unavailable(path: Path, error: OSError) -> LedgerUnavailable:
    kind = _BY_ERRNO.get(error.errno or 0, "unusable")
    return LedgerUnavailable(trouble(path, kind, error.strerror or error))


def _make(directory: Path) -> None:
    missing = [directory]
    while not missing[-1].exists() and missing[-1] != missing[-1].parent:
        missing.append(missing[-1].parent)
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)


def _look_at_directory(directory: Path) -> list[str]:
    facts = directory.stat()
    if os.name != "posix":
        return []
    mode = stat.S_IMODE(facts.st_mode)
    if facts.st_uid == os.geteuid():
        if mode & 0o077 and _is_ours_alone(directory):
            directory.chmod(0o700)
        return []
    if mode & 0o002 and not mode & stat.S_ISVTX:
        raise LedgerUnavailable(
            trouble(directory, "denied", "another user's, and anybody may write to it: choose another")
        )
    return [
        f"{directory} belongs to another user (uid {facts.st_uid}): what is kept there may be read by them"
    ]


def _is_ours_alone(directory: Path) -> bool:
    """Whether a directory holds nothing but what PromptGuard put there, so that its mode may be changed."""
    known = ("ledger.", "keys", "cache", ".")
    return all(name.startswith(known) for name in os.listdir(directory))  # noqa: PTH208 - names are all that is needed


def _look_at_file(path: Path, *, make: bool) -> list[str]:
    """Make a file if there is none, and see to it that it is this user's alone.

    One that exists is never opened: closing it would drop the POSIX locks that SQLite holds for this process's other
    connections, and two processes could write at once. https://www.sqlite.org/howtocorrupt.html (2.2)
    """
    if make:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _PLAINLY, 0o600))
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return []
    if not stat.S_ISREG(facts.st_mode):
        raise LedgerUnavailable(trouble(path, "foreign", "not a regular file"))
    if os.name != "posix" or not facts.st_mode & 0o077:
        return []
    try:
        path.chmod(0o600)
    except PermissionError:
        return [f"{path} can be read by other users and is not ours to change"]
    return []


def set_aside(path: Path) -> Path:
    """Rename a damaged ledger and what belongs to it; returns the new name. Nothing is deleted."""
    mark = f".damaged-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.getpid()}"
    for suffix in SIDE_FILES:
        part = Path(f"{path}{suffix}")
        if part.exists():
            part.rename(Path(f"{path}{mark}{suffix}"))
    return Path(f"{path}{mark}")


def _is_odd(path: Path) -> bool:
    """Whether there is something that is no file."""
    try:
        return not stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the one lock under which a ledger is made or set aside, so that two processes do not do it to each other."""
    try:
        import fcntl
    except ImportError:  # no POSIX: renaming a file that is open fails there by itself
        yield
        return
    lock = directory / LOCK_NAME
    with forks.connection():  # no fork may come between the two
        try:
            handle = os.open(lock, os.O_RDWR | os.O_CREAT | _PLAINLY, 0o600)
        except OSError as error:
            # a sound ledger is not to be moved away for what stands in the lock's place
            raise _unavailable(lock if _is_odd(lock) else directory / FILE_NAME, error) from None
        _locks.handles.add(handle)
    try:
        deadline = time.monotonic() + 5.0
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise LedgerUnavailable(
                        trouble(directory / FILE_NAME, "locked", "another process is opening it")
                    ) from None
                time.sleep(0.02)
        yield
    finally:
        with forks.connection():
            if handle in _locks.handles:  # not in a child of this very thread
                _locks.handles.discard(handle)
                os.close(handle)


class _Locks:
    """Locks that this process holds or waits for. A child's copy of one would hold it for as long as the child lives."""

    def __init__(self) -> None:
        self.handles: set[int] = set()

    def after_fork(self) -> None:
        """Let go of the parent's; that does not unlock them."""
        handles, self.handles = self.handles, set()
        for handle in handles:
            with contextlib.suppress(OSError):
                os.close(handle)


_locks = _Locks()
forks.survive_fork(_locks)
