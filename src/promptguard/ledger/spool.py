"""Pairs that wait on this machine while a ledger elsewhere cannot be written: bounded, and delivered once.

There is a file for each process. It outlives the process: the next one of this machine that writes to the same ledger
delivers what it finds. Each pair has a number of its writer's, and the ledger notes the last one it has, so what is
delivered twice counts once.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from promptguard.directories import Database, local_directory
from promptguard.ledger.rows import PairRow
from promptguard.lifetime.forks import survive_fork

MOST_BYTES = 64 * 1024 * 1024
"""Of one process's file; beyond it new pairs are dropped, and counted."""
SUFFIX = ".pairs"
_MARK = "base64:"


class Numbered(NamedTuple):
    """A pair, and its number among those of its writer."""

    number: int
    row: PairRow


class Spool:
    """One process's file. Not thread-safe; OSError wherever the disk fails."""

    def __init__(self, directory: Path, source: str) -> None:
        self.source = source
        self._path = directory / f"{source}{SUFFIX}"
        self._handle: int | None = None
        self._read = self._size = 0
        survive_fork(self)

    @property
    def is_waiting(self) -> bool:
        """Whether there is anything to deliver."""
        return self._read < self._size

    def open(self, *, make: bool = True) -> bool:
        """Take the file for this process; False where another process has it, or there is none."""
        if self._handle is not None:
            return True
        if make:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | (os.O_CREAT if make else 0)
        handle = os.open(self._path, flags, 0o600)
        if not _locked(handle):
            os.close(handle)
            return False
        self._handle = handle
        self._size = os.fstat(handle).st_size
        return True

    def put(self, rows: Sequence[Numbered]) -> int:
        """Add pairs, in order; returns how many there was room for."""
        self.open()
        assert self._handle is not None  # noqa: S101 - a name of our own is nobody else's
        lines: list[bytes] = []
        size = self._size
        for each in rows:
            line = written(each)
            if size + len(line) > MOST_BYTES:
                break
            lines.append(line)
            size += len(line)
        data = b"".join(lines)
        try:
            while data:
                data = data[os.write(self._handle, data) :]
        except OSError:
            os.ftruncate(self._handle, self._size)  # or what was written in part would be there twice
            raise
        self._size = size
        return len(lines)

    def next(self, limit: int) -> tuple[list[Numbered], int]:
        """Return up to `limit` pairs that wait, and what `delivered` is to be told of them.

        A line that was cut off, as the machine stopped, is passed over.
        """
        assert self._handle is not None  # noqa: S101
        found: list[Numbered] = []
        at = self._read
        with os.fdopen(os.dup(self._handle), "rb") as stream:
            stream.seek(at)
            while len(found) < limit and (line := stream.readline()):
                at += len(line)
                with contextlib.suppress(ValueError, TypeError, KeyError):
                    found.append(numbered(line))
        return found, at

    def delivered(self, at: int) -> None:
        """Note how far the ledger has what is here; a file of which it has all is emptied."""
        self._read = at
        if self._handle is not None and not self.is_waiting:
            os.ftruncate(self._handle, 0)
            self._read = self._size = 0

    def close(self) -> None:
        """Leave what waits to the next process; an empty file goes."""
        if self._handle is None:
            return
        if not self.is_waiting:
            with contextlib.suppress(OSError):
                self._path.unlink()
        os.close(self._handle)
        self._handle = None

    def after_fork(self) -> None:
        """Leave the parent's file to the parent."""
        if self._handle is not None:
            os.close(self._handle)
        self._handle, self._read, self._size = None, 0, 0


def spool_directory(database: Database) -> Path:
    """Return where pairs for a ledger wait on this machine."""
    name = hashlib.blake2b(database.encode(), digest_size=8).hexdigest()
    return local_directory(database) / "spool" / name


def left_behind(directory: Path, besides: str) -> Iterator[Spool]:
    """Return the files of processes that are gone, opened; each is closed by who takes it."""
    with contextlib.suppress(OSError):
        for path in sorted(directory.glob(f"*{SUFFIX}")):
            spool = Spool(directory, path.name.removesuffix(SUFFIX))
            if spool.source == besides:
                continue
            with contextlib.suppress(OSError):
                if spool.open(make=False):
                    yield spool


def forget_subject(directory: Path, subject: str) -> tuple[int, bool]:
    """Leave out waiting pairs about a subject, by its digest; returns how many, and whether that was all.

    A file of a process that lives is left to it: it is about to deliver what is there. Raises OSError.
    """
    gone, all_gone, digest = 0, True, subject.encode()
    for path in sorted(directory.glob(f"*{SUFFIX}")):
        lines = path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if digest not in line]
        if len(kept) == len(lines):
            continue
        spool = Spool(directory, path.name.removesuffix(SUFFIX))
        if not spool.open(make=False):
            all_gone = False
            continue
        new = path.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_bytes(b"".join(kept))
        new.replace(path)
        spool.close()
        gone += len(lines) - len(kept)
    return gone, all_gone


def _locked(handle: int) -> bool:
    try:
        import fcntl
    except ImportError:  # no POSIX: a file that is open cannot be taken twice there
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def written(each: Numbered) -> bytes:
    """Return a pair as a line."""
    return json.dumps([each.number, _plain(each.row)], separators=(",", ":")).encode() + b"\n"


def numbered(line: bytes) -> Numbered:
    """Return the pair of a line. Raises ValueError, TypeError or KeyError for what is none."""
    number, row = json.loads(line)
    return Numbered(int(number), _read(row))


def _plain(value: object) -> object:
    """Return a value as JSON holds it: bytes as text that says so."""
    if isinstance(value, bytes):
        return _MARK + base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, str) and value.startswith(_MARK):
        return _plain(value.encode("utf-8", "replace"))
    return value


def _read(row: dict[str, object]) -> PairRow:
    """Return a row as it was before: what is bytes by its column, and all else text or number."""
    found: dict[str, object] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            found[name] = _read(value)
        elif isinstance(value, str) and value.startswith(_MARK):
            data = base64.b64decode(value.removeprefix(_MARK), validate=True)
            found[name] = data if name in _BYTES else data.decode()
        else:
            found[name] = value
    return found  # type: ignore[return-value]


_BYTES = frozenset(("vector", "question", "control", "candidate", "tools"))
