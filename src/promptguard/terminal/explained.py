"""One alarm in full, for a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from promptguard.core.epochs import shown_group
from promptguard.directories import ledger_option
from promptguard.report.actions import event_words
from promptguard.report.explained import Explained
from promptguard.report.next_steps import Step
from promptguard.report.overview import Row
from promptguard.report.pairs import Pair
from promptguard.terminal.verdict import STYLES, figures, quoted
from promptguard.verdict.words import ago, moment

MOST_EXAMPLES = 2


def explained_parts(told: Explained, others: Sequence[Row]) -> list[RenderableType]:
    """Return what there is to show, in order; `others` are the alarms that stand beside this one."""
    row, verdict = told.row, told.report.verdict
    title = Text(row.status.upper(), style=STYLES[row.status])
    title.append_text(quoted(f"  {shown_group(row.group)}, {row.stream} stream"))
    title.append(", acknowledged" if row.acknowledged else "", style="default")
    parts: list[RenderableType] = [title, _facts(told), quoted(verdict.sentence())]
    parts += figures(verdict)
    parts += _examples(told)
    if told.events:
        parts.append(Text("\nwhat happened", style="bold"))
        parts += [quoted(f"  {moment(event.at)}  {event_words(event)}") for event in told.events]
    if told.steps:
        parts.append(Text("\nwhat to do now", style="bold"))
        for number, step in enumerate(told.steps, 1):
            parts += _step(number, step)
    if others:
        parts.append(Text("\nother alarms", style="bold"))
        where = ledger_option(told.ledger)
        parts += [
            quoted(
                f"  promptguard explain {shlex.quote(shown_group(each.group))} --stream {each.stream} {where}"
            )
            for each in others
        ]
    return parts


def _facts(told: Explained) -> Table:
    facts = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column()
    for name, value in _pairs_of(told):
        facts.add_row(name, quoted(value))
    return facts


def _pairs_of(told: Explained) -> Iterator[tuple[str, str]]:
    row = told.row
    if row.since is not None:
        span = ""
        if row.since_low is not None and row.since_high is not None and row.since_low != row.since_high:
            span = f", between {moment(row.since_low)} and {moment(row.since_high)}"
        yield "began", f"{moment(row.since)} ({ago(row.since, told.now)}){span}"
    if row.alarm_at is not None:
        after = told.report.verdict.alarm_at
        yield (
            "alarm",
            f"{moment(row.alarm_at)} ({ago(row.alarm_at, told.now)})"
            + ("" if after is None else f", at pair {after:,}"),
        )
    if row.last_at is not None:
        yield "last pair", f"{moment(row.last_at)} ({ago(row.last_at, told.now)}), {row.pairs:,} in all"
    yield "evidence", f"10^{row.log10_evidence + 0.0:.1f}; the alarm rings at 10^{row.log10_threshold:.1f}"
    if row.control:
        compared = row.candidate
        if row.stream == "repeat":
            compared = "its own answer of the same moment"
        elif compared == row.control:
            compared = "its own earlier answers"
        yield "asked", f"{row.control}, compared with {compared}"
    for done in told.in_force:
        yield "done", f"{done.sentence()} since {moment(done.at)}"


def _examples(told: Explained) -> list[RenderableType]:
    parts: list[RenderableType] = []
    for pair in told.examples[:MOST_EXAMPLES]:
        if pair.texts is None:
            continue
        shown = Table(
            box=box.SIMPLE,
            pad_edge=False,
            expand=True,
            title=f"pair of {moment(pair.at)}",
            title_justify="left",
        )
        for heading in _sides(pair):
            shown.add_column(heading, ratio=1)
        shown.add_row(quoted(pair.texts.control), quoted(pair.texts.candidate))
        parts += [quoted(f"\n{pair.texts.question}"), shown]
    return parts


def _sides(pair: Pair) -> tuple[str, str]:
    if pair.stream in {"replay", "canary", "placebo"}:
        return f"{pair.control_model}, stored answer", f"{pair.candidate_model}, asked again"
    return pair.control_model or "control", pair.candidate_model or "candidate"


def _step(number: int, step: Step) -> list[RenderableType]:
    lines = [Padding(quoted(line), (0, 0, 0, 7), expand=False) for line in step.lines]
    return [
        Text(f"  {number}. {step.title}", style="bold"),
        *lines,
        Padding(Text(step.effect, style="dim"), (0, 0, 0, 5), expand=False),
    ]
