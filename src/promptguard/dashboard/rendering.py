"""The environment that all pages and the report are rendered with.

What models and users wrote is hostile: everything is escaped, invisible characters are made visible, and nothing of it
is ever a link.
"""

from __future__ import annotations

import functools
import re
import shlex
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from promptguard.core.actions import KINDS
from promptguard.core.epochs import shown_group
from promptguard.core.streams import SELF_TESTS
from promptguard.dashboard import charts, words
from promptguard.dashboard.charts.evidence import numbered
from promptguard.dashboard.charts.svg import both
from promptguard.dashboard.diff import text_diff
from promptguard.directories import ledger_option
from promptguard.report.actions import Event
from promptguard.report.cost import Cost, Latency
from promptguard.report.explained import case_of
from promptguard.report.identity_words import NO_VERDICT, sentence, worth_telling
from promptguard.report.model import StreamReport
from promptguard.report.next_steps import Case, Step, next_steps
from promptguard.report.overview import Row
from promptguard.report.pairs import Pair
from promptguard.report.prompt import Prompt
from promptguard.report.unmeasured import Unmeasured
from promptguard.report.who import Lane
from promptguard.rollout.judging import figure
from promptguard.verdict.words import MEASURES, ago, measured

_CLIP = 700
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_KEPT = "\n\t\u200d"


class Link(Protocol):
    """Where something is shown: an address, or "" where it has no page of its own."""

    def __call__(self, name: str, **values: object) -> str:
        """Return the address of a page (`prompt`, `pairs`, `pair`) with these values."""


@dataclass(frozen=True, slots=True)
class OpenCase:
    """A case of `next_steps`, and whether its steps are unfolded at first."""

    case: Case
    open: bool = False

    @property
    def row(self) -> Row:
        """The row it is about."""
        return self.case.row


def shown(value: object) -> object:
    """Make invisible characters visible; Jinja's last step before escaping, so nothing goes around it."""
    if isinstance(value, Markup) or not isinstance(value, str) or (value.isascii() and value.isprintable()):
        return value
    return "".join(
        f"⟨U+{ord(char):04X}⟩" if unicodedata.category(char) in _HIDDEN and char not in _KEPT else char
        for char in value
    )


def clip(text: str) -> tuple[str, str]:
    """Return the text that is shown at once and the text behind a click, empty when all fits."""
    return (text, "") if len(text) <= _CLIP else (text[:_CLIP].rstrip() + " …", text)


_WORD_WITH_HYPHEN = re.compile(r"\S+-\S+")


def unbroken(text: str) -> Markup:
    """Return text in which words with hyphens, names of models say, stay on one line."""
    escaped = str(escape(shown(text)))
    return Markup(_WORD_WITH_HYPHEN.sub(r'<span class="nobr">\g<0></span>', escaped))  # noqa: S704 - escaped above


@functools.cache
def environment() -> Environment:
    """Return the environment; templates are compiled once a process."""
    made = Environment(
        loader=PackageLoader("promptguard.dashboard"),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(
        when=words.when,
        iso=words.iso,
        clock=words.clock,
        ago=ago,
        usd=words.usd,
        seconds=words.seconds,
        power=words.power,
        hidden=words.hidden,
        kind=words.kind,
        models=words.models,
        standing_words=words.standing_words,
        said=words.said,
        sentence=sentence,
        figure=words.change_figure,
        difference=words.change_difference,
        interval=words.change_interval,
        measured=measured,
        clip=clip,
        unbroken=unbroken,
        event_words=words.event_words,
        event_now=words.event_now,
        by_asked=_by_asked,
        zip=zip,
    )
    made.globals.update(
        MEASURES=MEASURES,
        NO_VERDICT=NO_VERDICT,
        worth_telling=worth_telling,
        state_words=words.KINDS.__getitem__,
        overall_kind=words.overall_kind,
        stream_words=words.stream_words,
        stored_words=words.stored_words,
        sides=words.sides,
        pair_sides=_pair_sides,
        text_diff=text_diff,
        next_steps=_steps,
        matrix_columns=_columns,
        matrix_rows=_matrix,
        latency_of=_latency_of,
        spark=lambda row: charts.sparkline(row.spark, row.log10_threshold),
        spark_of=_spark_of,
        evidence=_evidence,
        guard_figure=figure,
        marks_shown=_marks_shown,
        changes_chart=_changes,
        days_chart=lambda cost: both(lambda width: charts.days_chart(cost.days, cost.forecast_usd, width)),
        funnel=_funnel,
        lanes_chart=lambda lanes, ends: both(lambda width: charts.lanes_chart(lanes, ends, width)),
    )
    return made


def marks_of(prompt: Prompt, report: StreamReport) -> list[charts.Mark]:
    """Return what happened beside the evidence of a prompt's stream."""
    found = [
        charts.Mark(release.at, "release", f"version {release.version} first seen")
        for release in prompt.releases[1:]
    ]
    found += [charts.Mark(fact.since, "identity", words.fact_words(fact)) for fact in prompt.facts]
    found += [
        charts.Mark(
            event.at, "acknowledge" if event.kind == "acknowledge" else "action", words.event_words(event)
        )
        for event in prompt.events
        if event.stream == report.stream and event.kind != "alarm"
    ]
    times = [point.at for point in report.curve if point.at is not None]
    return [mark for mark in found if times and times[0] <= mark.at <= times[-1]]


def _steps(case: OpenCase) -> tuple[Step, ...]:
    return next_steps(case.case)


def take_back(event: Event, ledger: str) -> str:
    """Return the shell command that takes an event back, or "" where nothing is to be taken back."""
    if not event.holds or event.kind not in {"alarm", *KINDS}:
        return ""
    if event.kind in KINDS:
        return f"promptguard undo {event.id} {ledger_option(ledger)}"
    which = "--all" if event.stream in SELF_TESTS else shlex.quote(shown_group(event.group))
    return f"promptguard acknowledge {which} --stream {event.stream} {ledger_option(ledger)}"


def _spark_of(report: StreamReport) -> Markup:
    step = -(-len(report.curve) // 24) or 1
    points = [(point.pair, point.log10_evidence) for point in report.curve[::-step][::-1]]
    return charts.sparkline(points, report.verdict.log10_threshold)


def _evidence(prompt: Prompt, report: StreamReport, true_switch: int | None) -> Markup:
    marks = marks_of(prompt, report)
    return both(lambda width: charts.evidence_chart(report, width, marks, true_switch))


def _marks_shown(prompt: Prompt, report: StreamReport) -> list[tuple[str, charts.Mark]]:
    return numbered(marks_of(prompt, report))


def _changes(report: StreamReport) -> Markup:
    changes, names = report.verdict.told_forward().changes, words.sides(report)
    return both(lambda width: charts.changes_chart(changes, names, width))


def _funnel(found: Unmeasured) -> Markup:
    return both(lambda width: charts.funnel(found.stages, width))


def _pair_sides(pair: Pair) -> tuple[str, str]:
    if pair.stream in {"replay", "canary", "placebo"}:
        return "stored answer", "asked again"
    return ("first answer", "second answer") if pair.stream == "repeat" else ("control", "candidate")


def _columns(prompt: Prompt) -> list[str]:
    return list(dict.fromkeys(f"{row.stream}: {words.models(row)}" for row in prompt.versions))


def _matrix(prompt: Prompt) -> list[tuple[str, list[Row | None]]]:
    columns = _columns(prompt)
    cells = {(row.group, f"{row.stream}: {words.models(row)}"): row for row in prompt.versions}
    groups = dict.fromkeys(row.group for row in prompt.versions)
    return [(group, [cells.get((group, column)) for column in columns]) for group in groups]


def _latency_of(cost: Cost, stream: str) -> Latency | None:
    return next((each for each in cost.latencies if each.stream == stream), None)


def _by_asked(lanes: Sequence[Lane]) -> list[tuple[str, list[Lane]]]:
    return [
        (f"{asked} at {origin}" if origin else asked, list(some))
        for (origin, asked), some in groupby(lanes, key=lambda lane: (lane.origin, lane.asked))
    ]


def standing_case(row: Row, prompt: Prompt | None, *, opened: bool = False) -> OpenCase | None:
    """Return the case of an alarm that stands, from its prompt; None where the prompt has no such verdict any more."""
    if prompt is None or not row.alarming:
        return None
    for own, report in zip(prompt.rows, prompt.standing, strict=True):
        if (own.stream, own.epoch) == (row.stream, row.epoch):
            return OpenCase(case_of(own, report, prompt), opened)
    return None
