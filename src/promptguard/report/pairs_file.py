"""Reading pairs.jsonl: one pair a line, plain or gzip, from a file or standard input.

A bad line is told with its number and what to do about it, and skipped; the file as a whole being unusable is
an InputFileError.
"""

from __future__ import annotations

import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from promptguard.core.model import Stream
from promptguard.errors import InputFileError

STREAMS: tuple[str, ...] = get_args(Stream)
_KNOWN = frozenset(("group", "prompt", "control", "candidate", "stream", "reference"))
_SHAPE = '{"control": {"text": "..."}, "candidate": {"text": "..."}}'
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class PairLine:
    """One line of a pairs file.

    Sides are objects as written, with a string `text` (empty when the answer is missing).
    """

    line: int
    control: Mapping[str, Any]
    candidate: Mapping[str, Any]
    group: str | None = None
    prompt: str | None = None
    reference: str | None = None
    stream: str = "candidate"
    source: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """keys this version does not know, kept"""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that was skipped, and why."""

    source: str
    line: int
    problem: str

    def __str__(self) -> str:
        return f"{self.source}:{self.line}: {self.problem}"


class PairsFile:
    """An open pairs file: iterate for its pairs; `bad` is called for each line skipped."""

    def __init__(self, source: str, bad: Callable[[BadLine], None]) -> None:
        """Open `source`, a path or `-`. InputFileError says what is wrong with it and what to do."""
        self.name = "standard input" if source == "-" else source
        self._bad = bad
        self._raw, self.size = _open(source)
        self.pairs = 0
        self.lines = 0

    def read_bytes(self) -> int:
        """Return how much of the file, as stored, has been read."""
        return self._raw.tell()

    def streams(self) -> set[str]:
        """Return the streams named in the file, by a quick look at every line; `candidate` if none is."""
        found = set()
        for line in self._from_start():
            stream = "candidate"
            if b'"stream"' in line:
                try:
                    stream = parse_pair(line, 0).stream
                except ValueError:
                    continue
            found.add(stream)
        return found

    def _pairs(self) -> Iterator[PairLine]:
        for number, line in enumerate(self._from_start(), 1):
            self.lines = number
            if not line.strip():
                continue
            try:
                pair = parse_pair(line, number, self.name)
            except ValueError as error:
                self._bad(BadLine(self.name, number, str(error)))
                continue
            self.pairs += 1
            yield pair

    def _from_start(self) -> Iterator[bytes]:
        self._raw.seek(0)
        packed = self._raw.peek(2)[:2] == _GZIP
        count = 0
        try:
            for count, line in enumerate(gzip.GzipFile(fileobj=self._raw) if packed else self._raw, 1):  # noqa: B007
                yield line
        except (OSError, EOFError, zlib.error) as error:
            self._raw.close()
            where = f"{self.name}:{count + 1}"
            raise InputFileError(
                f"{where}: the data cannot be read on ({error}); write the file again"
            ) from None

    def __iter__(self) -> Iterator[PairLine]:
        with self._raw:
            yield from self._pairs()
        if not self.lines:
            raise InputFileError(
                f"{self.name}: the file is empty; it needs one JSON object a line (pairs.jsonl)"
            )
        if not self.pairs:
            hint = "each needs control.text and candidate.text"
            raise InputFileError(f"{self.name}: no usable pair in {self.lines} lines; {hint}")


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
        raise InputFileError(f"{source}: no such file; give a pairs.jsonl, or - for standard input") from None
    except IsADirectoryError:
        raise InputFileError(f"{source}: is a directory; give the pairs.jsonl file inside it") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputFileError(f"{source}: cannot be read ({reason})") from None


def _held(data: bytes) -> tuple[io.BufferedReader, int]:
    """Hold data that cannot be read twice."""
    raw: Any = io.BytesIO(data)
    return io.BufferedReader(raw), len(data)


def parse_pair(line: bytes, number: int, source: str = "") -> PairLine:
    """Return the pair on one line. ValueError says what is wrong and what to do."""
    try:
        value = json.loads(line)
    except UnicodeDecodeError:
        raise ValueError("not UTF-8; save the file as UTF-8") from None
    except (ValueError, RecursionError):
        raise ValueError(f"not JSON; write one object a line: {_SHAPE}") from None
    if not isinstance(value, dict):
        raise ValueError(f"a JSON {_kind(value)}, not an object; write one object a line")
    control, candidate = _side(value, "control"), _side(value, "candidate")
    stream = value.get("stream")
    if stream is not None and stream not in STREAMS:
        raise ValueError(f"stream is {stream!r}; use one of {', '.join(STREAMS)}, or leave it out")
    group = _text(value, "group")
    return PairLine(
        number,
        control,
        candidate,
        group=group or None,
        prompt=_text(value, "prompt"),
        reference=_text(value, "reference"),
        stream=stream or "candidate",
        source=source,
        extra={key: inner for key, inner in value.items() if key not in _KNOWN},
    )


def _side(value: dict[str, Any], name: str) -> dict[str, Any]:
    side = value.get(name)
    if not isinstance(side, dict):
        raise ValueError(f'{name} is missing; add "{name}": {{"text": "..."}}')
    text = side.get("text")
    if text is None and (side.get("error") or side.get("tool_calls")):
        text = ""  # a missing answer has no text, and an answer of tool calls only may have none
    if not isinstance(text, str):
        what = "missing" if text is None else f"a JSON {_kind(text)}"
        raise ValueError(f"{name}.text is {what}; it must be the answer as a string, or set {name}.error")
    return {**side, "text": text}


def _text(value: dict[str, Any], name: str) -> str | None:
    found = value.get(name)
    if found is not None and not isinstance(found, str):
        raise ValueError(f"{name} is a JSON {_kind(found)}; it must be a string, or leave it out")
    return found


def _kind(value: object) -> str:
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "list", dict: "object"}
    return names.get(type(value), "null")
