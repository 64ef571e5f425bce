"""Files that several processes and people write: one writer at a time, and a crash leaves the old or the new, never half.

The lock is the operating system's own on the folder, so that it ends with whoever held it and leaves nothing behind.
Windows locks no folders: there it is a file.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from promptguard.errors import PromptError

WAIT_SECONDS = 10.0
"""How long a writer waits for another one, which holds the lock for some milliseconds."""
_LOOK_SECONDS = 0.005
_NAME = ".lock"


@contextmanager
def one_writer(directory: Path, wait: float = WAIT_SECONDS) -> Iterator[None]:
    """Be the only process that writes below `directory` in this block, of those that ask in this way.

    Raises PromptError where another one writes for longer than `wait` seconds, and OSError where nothing can be written.
    """
    if os.name == "nt":
        handle = os.open(directory / _NAME, os.O_RDWR | os.O_CREAT, 0o644)
    else:
        handle = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        deadline = time.monotonic() + wait
        while not _taken(handle):
            if time.monotonic() > deadline:
                raise PromptError(
                    f"{directory} is held by another process that writes prompts or labels; try again"
                )
            time.sleep(_LOOK_SECONDS)
        yield
    finally:
        os.close(handle)  # which gives the lock back


def _taken(handle: int) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def append_line(path: Path, line: str) -> None:
    """Add a line of JSON to a file, on disk before this returns; one that a crash left half written is cut off first.

    For use within `one_writer`. Raises OSError.
    """
    with path.open("ab+") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - MOST_LINE))
        tail = stream.read()
        start = tail.rfind(b"\n") + 1
        unended = tail[start:]
        if unended and not _is_json(unended):
            stream.truncate(size - len(unended))
        stream.seek(0, os.SEEK_END)
        stream.write(b"\n" * _is_json(unended) + line.encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


MOST_LINE = 65_536
"""Bytes of one line at most."""


def whole_lines(text: str) -> list[str]:
    """Return the lines of JSON that were written to their end: people leave out the last line's end, crashes more."""
    lines = text.split("\n")
    return lines if _is_json(lines[-1].encode()) else lines[:-1]


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def replace_file(path: Path, data: bytes) -> None:
    """Replace a file as a whole, so that no reader ever sees half of it. Raises OSError."""
    handle, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(0o644)  # meant to be committed and read by others
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
