"""One prompt in one stream with everything around it: what `promptguard explain` tells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from promptguard.core.actions import Done
from promptguard.errors import InputFileError
from promptguard.ledger.reading import reading
from promptguard.report.actions import Event
from promptguard.report.model import StreamReport
from promptguard.report.next_steps import Case, Step, earlier_versions, next_steps
from promptguard.report.overview import Row
from promptguard.report.pairs import Pair
from promptguard.report.prompt import Prompt, examples_of, read_prompt


@dataclass(frozen=True, slots=True)
class Explained:
    """Where one prompt stands in one stream, and all that belongs to it; `now` is in Unix seconds.

    Attributes:
        row: where it stands
        report: its verdict, with the moments it names
        examples: pairs of this stream far apart since the change began, where texts are kept
        events: alarms, actions and acknowledgements of this stream, oldest first
        in_force: what was done about this prompt, or about all of them, and holds
        steps: what can be done now; empty without an alarm
    """

    ledger: str
    now: float
    row: Row
    report: StreamReport
    examples: tuple[Pair, ...]
    events: tuple[Event, ...]
    in_force: tuple[Done, ...]
    steps: tuple[Step, ...]


def explain(ledger: str | Path, row: Row, *, now: float | None = None) -> Explained:
    """Read everything about `row`. Raises InputFileError when the ledger cannot be read, or the prompt has gone."""
    prompt = read_prompt(ledger, row.group, now=now)
    if prompt is None:
        raise InputFileError(f"{ledger}: nothing is known of {row.group!r} any more")
    places = [(each.stream, each.epoch) for each in prompt.rows]
    at = places.index((row.stream, row.epoch))
    with reading(ledger) as connection:
        examples = examples_of(connection, prompt.rows[at])
    return Explained(
        ledger=prompt.ledger,
        now=prompt.now,
        row=prompt.rows[at],
        report=prompt.standing[at],
        examples=examples,
        events=prompt.events_of(row.stream),
        in_force=prompt.in_force,
        steps=next_steps(case_of(prompt.rows[at], prompt.standing[at], prompt))
        if prompt.rows[at].alarming
        else (),
    )


def case_of(row: Row, report: StreamReport, prompt: Prompt) -> Case:
    """Return what the steps for an alarm of a prompt depend on."""
    earlier = earlier_versions(row, prompt.versions)
    return Case(row, report.verdict, prompt.ledger, prompt.in_force, earlier, prompt.recorded_content)
