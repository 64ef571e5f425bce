"""Reading JSON lines, plain or gzip, from a file or standard input.

A bad line is told with its number and what to do about it, and skipped; the file as a whole being unusable is
an InputFileError.
"""

from __future__ import annotations

import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from promptguard.errors import InputFileError

_EXPORTED = b'{"format": "promptguard pairs'
"""How a file of `promptguard export` begins."""
_GZIP = b"\x1f\x8b"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that was skipped, and why."""

    source: str
    line: int
    problem: str

    def __str__(self) -> str:
        return f"{self.source}:{self.line}: {self.problem}"


class LinesFile(Generic[T]):
    """An open file of JSON lines: iterate for what is on them; `bad` is called for each line skipped."""

    KIND: ClassVar[str]
    NEEDS: ClassVar[str]
    THING: ClassVar[str]

    def __init__(self, source: str, bad: Callable[[BadLine], None]) -> None:
        """Open `source`, a path or `-`. InputFileError says what is wrong with it and what to do."""
        self.name = "standard input" if source == "-" else source
        self._bad = bad
        self._raw, self.size = _open(source)
        self.found = 0
        self.lines = 0

    def read_bytes(self) -> int:
        """Return how much of the file, as stored, has been read."""
        return self._raw.tell()

    def _lines(self) -> Iterator[T]:
        for number, line in enumerate(self._from_start(), 1):
            self.lines = number
            if not line.strip():
                continue
            try:
                found = self._parse(line, number)
            except ValueError as error:
                self._bad(BadLine(self.name, number, str(error)))
                continue
            self.found += 1
            yield found

    def _from_start(self) -> Iterator[bytes]:
        self._raw.seek(0)
        packed = self._raw.peek(2)[:2] == _GZIP
        count = 0
        try:
            for count, line in enumerate(gzip.GzipFile(fileobj=self._raw) if packed else self._raw, 1):
                if count == 1 and line.startswith(_EXPORTED):
                    self._raw.close()
                    raise InputFileError(
                        f"{self.name}: these are pairs of a ledger, as `promptguard export` writes them, and were "
                        "compared already: `promptguard import` takes them into a ledger, `promptguard status` tells what "
                        "they say"
                    )
                yield line
        except (OSError, EOFError, zlib.error) as error:
            self._raw.close()
            where = f"{self.name}:{count + 1}"
            raise InputFileError(
                f"{where}: the data cannot be read on ({error}); write the file again"
            ) from None

    def __iter__(self) -> Iterator[T]:
        with self._raw:
            yield from self._lines()
        if not self.lines:
            raise InputFileError(
                f"{self.name}: the file is empty; it needs one JSON object a line ({self.KIND})"
            )
        if not self.found:
            raise InputFileError(f"{self.name}: no usable {self.THING} in {self.lines} lines; {self.NEEDS}")

    def _parse(self, line: bytes, number: int) -> T:
        """Return what is on one line. ValueError says what is wrong and what to do."""
        raise NotImplementedError


def _open(source: str) -> tuple[io.BufferedReader, int]:
    if source == "-":
        return _held(sys.stdin.buffer.read())
    path = Path(source)
    try:
        opened = path.open("rb")
        if opened.seekable():
            return opened, path.stat().st_size
        with opened:  # a pipe: `analyze <(...)`
            return _held(opened.read())
    except FileNotFoundError:
        raise InputFileError(
            f"{source}: no such file; give a file of JSON lines, or - for standard input"
        ) from None
    except IsADirectoryError:
        raise InputFileError(f"{source}: is a directory; give the file inside it") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputFileError(f"{source}: cannot be read ({reason})") from None


def _held(data: bytes) -> tuple[io.BufferedReader, int]:
    """Hold data that cannot be read twice."""
    raw: Any = io.BytesIO(data)
    return io.BufferedReader(raw), len(data)


def json_object(line: bytes, shape: str) -> dict[str, Any]:
    """Return the JSON object on a line; `shape` shows what one looks like. ValueError when there is none."""
    try:
        value = json.loads(line)
    except UnicodeDecodeError:
        raise ValueError("not UTF-8; save the file as UTF-8") from None
    except (ValueError, RecursionError):
        raise ValueError(f"not JSON; write one object a line: {shape}") from None
    if not isinstance(value, dict):
        raise ValueError(f"a JSON {kind_of(value)}, not an object; write one object a line")
    return value


def text_of(value: dict[str, Any], name: str) -> str | None:
    """Return a member that is a string or left out. ValueError otherwise."""
    found = value.get(name)
    if found is not None and not isinstance(found, str):
        raise ValueError(f"{name} is a JSON {kind_of(found)}; it must be a string, or leave it out")
    return found


def kind_of(value: object) -> str:
    """Name the kind of a JSON value as its author would."""
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "list", dict: "object"}
    return names.get(type(value), "null")
