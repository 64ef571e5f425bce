"""Reading pairs.jsonl: one pair a line, plain or gzip, from a file or standard input.

A bad line is told with its number and what to do about it, and skipped; the file as a whole being unusable is
an InputFileError.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from promptguard.core.streams import STREAMS
from promptguard.report.lines_file import LinesFile, json_object, kind_of, text_of

_KNOWN = frozenset(("group", "prompt", "control", "candidate", "stream", "reference", "repeat"))
_SHAPE = '{"control": {"text": "..."}, "candidate": {"text": "..."}}'


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
    repeat: Mapping[str, Any] | None = None
    """another answer of the control's model to the same request"""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """keys this version does not know, kept"""


class PairsFile(LinesFile[PairLine]):
    """An open pairs file: iterate for its pairs; `bad` is called for each line skipped."""

    KIND, NEEDS, THING = "pairs.jsonl", "each needs control.text and candidate.text", "pair"

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

    def usable(self) -> Iterator[PairLine]:
        """Look at every pair before they are read; bad lines are passed over."""
        for number, line in enumerate(self._from_start(), 1):
            try:
                yield parse_pair(line, number)
            except ValueError:
                continue

    def _parse(self, line: bytes, number: int) -> PairLine:
        return parse_pair(line, number, self.name)


def parse_pair(line: bytes, number: int, source: str = "") -> PairLine:
    """Return the pair on one line. ValueError says what is wrong and what to do."""
    value = json_object(line, _SHAPE)
    control, candidate = _side(value, "control"), _side(value, "candidate")
    stream = value.get("stream")
    if stream is not None and stream not in STREAMS:
        raise ValueError(f"stream is {stream!r}; use one of {', '.join(STREAMS)}, or leave it out")
    group = text_of(value, "group")
    return PairLine(
        number,
        control,
        candidate,
        group=group or None,
        prompt=text_of(value, "prompt"),
        reference=text_of(value, "reference"),
        stream=stream or "candidate",
        source=source,
        repeat=_side(value, "repeat") if value.get("repeat") is not None else None,
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
        what = "missing" if text is None else f"a JSON {kind_of(text)}"
        raise ValueError(f"{name}.text is {what}; it must be the answer as a string, or set {name}.error")
    return {**side, "text": text}
