"""Reading series.jsonl: the history of ONE model's answers to prompts that repeat, one answer a line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from promptguard.report.lines_file import LinesFile, json_object, kind_of, text_of

_SHAPE = '{"prompt_id": "...", "text": "...", "at": "2026-11-23T00:00:00Z"}'


@dataclass(frozen=True, slots=True)
class SeriesLine:
    """One answer; `at` is in seconds since 1970, None where the line tells no time."""

    line: int
    prompt_id: str
    text: str
    at: float | None = None
    group: str | None = None


class SeriesFile(LinesFile[SeriesLine]):
    """An open series file: iterate for its answers; `bad` is called for each line skipped."""

    KIND, NEEDS, THING = "series.jsonl", "each needs prompt_id and text", "answer"

    def _parse(self, line: bytes, number: int) -> SeriesLine:
        return parse_answer(line, number)


def parse_answer(line: bytes, number: int) -> SeriesLine:
    """Return the answer on one line. ValueError says what is wrong and what to do."""
    value = json_object(line, _SHAPE)
    prompt_id = value.get("prompt_id")
    if isinstance(prompt_id, bool) or not isinstance(prompt_id, (str, int)) or prompt_id == "":
        raise ValueError("prompt_id is missing; name the prompt, equal for equal prompts")
    text = value.get("text")
    if not isinstance(text, str):
        what = "missing" if text is None else f"a JSON {kind_of(text)}"
        raise ValueError(f"text is {what}; it must be the answer as a string")
    return SeriesLine(
        number, str(prompt_id), text, moment(text_of(value, "at")), text_of(value, "group") or None
    )


def moment(written: str | None) -> float | None:
    """Return an ISO 8601 time as seconds since 1970, UTC where it names no zone. ValueError when it is none."""
    if written is None:
        return None
    try:
        told = datetime.fromisoformat(written)
    except ValueError:
        raise ValueError(f"at is {written[:40]!r}; write a time as 2026-11-23T00:00:00Z") from None
    return (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()
