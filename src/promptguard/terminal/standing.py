"""Where every prompt of a ledger stands, as lines and a table for a terminal or a pipe."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from promptguard.core.actions import nothing_holds
from promptguard.core.epochs import shown_group
from promptguard.directories import ledger_option
from promptguard.report.identity_words import NO_VERDICT, sentence, worth_telling
from promptguard.report.overview import Overview, Row
from promptguard.report.remedies import remedies
from promptguard.report.status import Situation
from promptguard.report.suggestions import suggestions
from promptguard.terminal.verdict import STYLES, quoted, table
from promptguard.verdict.words import ago, counted, moment, window_words

MOST_OTHERS = 20
"""Unmeasured prompts, and prompts without a change, that are listed; the rest is counted, and listed on request."""
MOST_REASONS = 12
"""Reasons why calls were passed by that a terminal shows."""
MOST_REMEDIES = 3
"""Things to do next that a terminal shows."""
MOST_FACTS = 12
"""Facts of identity that a terminal shows."""

_KINDS = {"unmeasured": "unmeasured", "no_drift": "without a change"}
NARROW = 100
"""Columns below which a table would break its cells: rows are told in lines then."""

_MARKS = {"drift": "▲", "unmeasured": "?", "no_drift": "●"}
_PLAIN_MARKS = {"drift": "!", "unmeasured": "?", "no_drift": "-"}


def standing_parts(situation: Situation, out: Console, *, every: bool = False) -> list[RenderableType]:
    """Return what there is to show, in order.

    Parameters: `out` says which signs its encoding has; `every`: list all prompts, however many there are.
    """
    overview = situation.overview
    shown, left = _listed(overview.rows, every=every)
    parts: list[RenderableType] = [_heading(overview)]
    if shown:
        draw = _table if out.width >= NARROW else _lines
        parts.append(draw(shown, overview.now, _marks(out)))
    if left:
        parts.append(Text(f"and {left}: promptguard status --all"))
    parts += map(quoted, _done(situation))
    parts += map(quoted, _undelivered(situation))
    parts += map(quoted, _windows(overview))
    parts += map(quoted, _next(situation))
    parts += map(quoted, _sums(situation))
    parts += map(quoted, _passed_by(situation))
    parts += map(quoted, (each.sentence for each in suggestions(situation.passed_by)[:MOST_REASONS]))
    parts += map(quoted, _identity(situation))
    return parts


def _marks(out: Console) -> dict[str, str]:
    return _MARKS if out.encoding.lower().startswith("utf") else _PLAIN_MARKS


def _listed(rows: Sequence[Row], *, every: bool) -> tuple[list[Row], str]:
    """Return the rows to show, and what is said of those that are left out; "" where none is."""
    kept: list[Row] = []
    left: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row.status] += 1
        if every or row.status == "drift" or counts[row.status] <= MOST_OTHERS:
            kept.append(row)
        else:
            left[_KINDS[row.status]] += 1
    return kept, ", ".join(f"{count:,} more {kind}" for kind, count in sorted(left.items()))


def _heading(overview: Overview) -> Text:
    heading = Text(overview.status.upper(), style=STYLES[overview.status])
    facts = [overview.ledger, moment(overview.now), counted(overview.pairs, "pair")]
    measured, groups = overview.measured
    if measured < groups:
        facts.append(f"{measured:,} of {groups:,} groups measured")
    if overview.judged_at is not None:
        facts.append(f"judged {ago(overview.judged_at, overview.now)}")
    elif overview.pairs:
        facts.append("not judged yet")
    return heading.append("  ").append_text(quoted("; ".join(facts)))


def _table(rows: Sequence[Row], now: float, marks: dict[str, str]) -> Table:
    shown = table("", "prompt", "stream", "status", "since", "last pair", "pairs", "evidence")
    for column in shown.columns[1:4]:
        column.justify = "left"
    # A prompt's name is what `promptguard explain` and `acknowledge` need: never cut.
    shown.columns[1].overflow = "fold"
    for row in rows:
        style = STYLES[row.status] if row.alarming or row.status != "drift" else ""
        shown.add_row(
            Text(marks[row.status], style=style),
            quoted(shown_group(row.group)),
            row.stream + (" (after route)" if row.routed else ""),
            quoted(_status(row)),
            moment(row.since or row.alarm_at or 0.0) if row.status == "drift" else "",
            ago(row.last_at, now),
            f"{row.pairs:,}",
            f"10^{row.log10_evidence + 0.0:.1f} of 10^{row.log10_threshold:.1f}",
        )
    return shown


def _lines(rows: Sequence[Row], now: float, marks: dict[str, str]) -> RenderableType:
    told: list[RenderableType] = [Text()]
    for row in rows:
        style = STYLES[row.status] if row.alarming or row.status != "drift" else ""
        first = Text(f"{marks[row.status]} ", style=style).append_text(quoted(shown_group(row.group)))
        since = f" since {moment(row.since or row.alarm_at or 0.0)}" if row.status == "drift" else ""
        told.append(first.append(f", {row.stream}: {_status(row)}{since}", style="default"))
        told.append(
            Text(
                f"  {counted(row.pairs, 'pair')}, last {ago(row.last_at, now)}; "
                f"evidence 10^{row.log10_evidence + 0.0:.1f} of 10^{row.log10_threshold:.1f}"
            )
        )
    return Group(*told, Text())


def _status(row: Row) -> str:
    reason = f" ({row.reason})" if row.reason is not None else ""
    since = row.as_before_since
    back = "" if since is None else f", as before since {moment(since)}"
    return f"{row.status}{reason}{', acknowledged' if row.acknowledged else ''}{back}"


def _done(situation: Situation) -> Iterator[str]:
    """Yield what holds now because of alarms, a line each."""
    overview = situation.overview
    for done in situation.done:
        back = f"; promptguard undo {done.id} takes it back" if done.in_force else ""
        yield f"{shown_group(done.group)}: {done.sentence()} since {moment(done.at)}{back}"
    if overview.status == "drift" and not any(done.in_force for done in situation.done):
        yield nothing_holds(situation.ended)


def _undelivered(situation: Situation) -> Iterator[str]:
    """Yield the channels through which nobody was told."""
    for each in situation.undelivered:
        several = f"{each.alerts:,} alert{'s' * (each.alerts != 1)}"
        yield f"not told: {several} through {each.channel} ({each.error}), tried again: promptguard alerts list"


def _windows(overview: Overview) -> Iterator[str]:
    """Yield what the pairs of each stream that judges could have shown by now."""
    told = {row.stream: row for row in overview.streams if row.judging}  # the newest epoch of each
    for row in told.values():
        if row.window is not None:
            yield f"{row.stream}: {window_words(row.window, overview.now)}"


def _next(situation: Situation) -> Iterator[str]:
    """Yield the command that says more of what needs somebody, or what to set otherwise."""
    overview = situation.overview
    where = f" {ledger_option(overview.ledger)}"
    alarms = overview.alarms
    if alarms:
        first = f"next: promptguard explain {shlex.quote(shown_group(alarms[0].group))} --stream {alarms[0].stream}{where}"
        yield f"{first}  (what changed, and what to do about it)"
    elif overview.status == "unmeasured":
        for remedy in remedies(overview, situation.accepted)[:MOST_REMEDIES]:
            yield f"next: {remedy}"


def _sums(situation: Situation) -> Iterator[str]:
    overview = situation.overview
    if situation.false_alarms_per_year is not None:
        yield (
            f"if nothing changes, at most {situation.false_alarms_per_year:.2g} false alarms a year at the pace so far"
        )
    saved = overview.cache.saved_usd
    yield (
        f"shadow today: {counted(overview.today.calls, 'call')}, ${overview.today.usd:.2f} "
        f"(${situation.total_usd:.2f} in all); "
        f"cache: {counted(overview.cache.hits, 'hit')}, {counted(overview.cache.misses, 'miss', 'misses')}"
        + (f", ${saved:.2f} saved" if saved else "")
    )
    for each in overview.notices:
        yield f"cannot work: {each.text} (said {moment(each.at)})"


_CAPS = {
    "not_asked: rate": " (the cap of Budget(calls_per_minute=...))",
    "not_asked: budget": " (the cap of Budget(usd_per_day=...) or Budget(calls_per_day=...))",
    "not_asked: price_unknown": " (give Budget(price=promptguard.Price(input, output)))",
}
"""What stands behind a reason, where a setting does."""


def _passed_by(situation: Situation) -> Iterator[str]:
    for each in situation.passed_by[:MOST_REASONS]:
        yield f"{each.sentence}: {each.reason}{_CAPS.get(each.reason, '')}"
    if len(situation.passed_by) > MOST_REASONS:
        yield f"and {len(situation.passed_by) - MOST_REASONS} more reasons: promptguard status --json"


def _identity(situation: Situation) -> Iterator[str]:
    facts = worth_telling(situation.facts)
    if not facts:
        return
    yield "\nwho answered:"
    for fact in facts[:MOST_FACTS]:
        yield f"  {sentence(fact)}"
    if len(facts) > MOST_FACTS:
        yield f"  and {len(facts) - MOST_FACTS} more: promptguard status --json"
    yield NO_VERDICT
