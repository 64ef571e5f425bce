"""How pages write moments, ages, money, and what happened. What a verdict says comes from `verdict/words.py`."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from promptguard.core.identity import IdentityFact
from promptguard.dashboard.charts.svg import power as _power
from promptguard.report.actions import Event
from promptguard.report.actions import event_words as told_event
from promptguard.report.identity_words import sentence
from promptguard.report.model import Moment, StreamReport
from promptguard.report.overview import Overview, Row
from promptguard.verdict import Change
from promptguard.verdict.scales import figure as number
from promptguard.verdict.scales import shown
from promptguard.verdict.words import STATUS, ago, difference_interval, moment, utc

KINDS: Final[dict[str, str]] = {
    **{status: words for status, (_, words) in STATUS.items()},
    "acknowledged": "acknowledged",
}
"""What a row is shown as, in words; each has a shape of its own beside it."""


when = moment


def kind(row: Row) -> str:
    """Return what a row is shown as: its status, or `acknowledged` for a drift that is known."""
    return "acknowledged" if row.status == "drift" and row.acknowledged else row.status


def overall_kind(overview: Overview) -> str:
    """Return the same of a whole ledger."""
    if overview.alarms:
        return "drift"
    return "acknowledged" if overview.status == "drift" else overview.status


def clock(at: float) -> str:
    """Return the time of day of a moment."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S UTC")


def usd(value: float | None) -> str:
    """Return an amount; None is a model without a list price."""
    if value is None:
        return "no list price"
    return f"${value:,.2f}" if abs(value) >= 1 or not value else f"${value:.4f}"


def seconds(value: float) -> str:
    """Return a duration."""
    if value <= 0:
        return "not known"
    return f"{1000 * value:.0f} ms" if value < 1 else f"{value:.1f} s"


def power(exponent: float) -> str:
    """Return evidence as a power of ten."""
    return _power(round(exponent, 1) + 0.0)


def hidden(share: float) -> str:
    """Return the largest change that could still be hidden."""
    return (
        "a change of every answer" if share >= 1 else f"a change of under {100 * share:.2g} % of the answers"
    )


def change_figure(change: Change, *, candidate: bool) -> str:
    """Return one side of a change in natural units."""
    on = shown(change)
    if on is None:
        rate = change.candidate if candidate else change.control
        return f"{100 * rate:.0f} %" if change.is_of_wording else "another" if candidate else "as before"
    return on.text((on.second if candidate else on.first).value)


def change_difference(change: Change) -> str:
    """Return the difference of both sides in natural units."""
    on = shown(change)
    if on is None:
        return ""
    gap = on.second.value - on.first.value
    sign = "+" if gap > 0 else "−" if gap < 0 else ""
    if on.unit == "%":
        return f"{sign}{number(abs(gap))} points"
    first = on.first.value
    times = f" (×{on.second.value / first:.2g})" if first > 0 and 0.1 <= on.second.value / first <= 10 else ""
    return f"{sign}{number(abs(gap))} {on.unit}{times}"


def change_interval(change: Change) -> str:
    """Return the 95 % interval of the difference where it is one of shares, or how many pairs it waits for."""
    if change.low is None or change.high is None:
        return difference_interval(change)
    if change.binary:
        return f"95 %: {100 * change.low:+.0f} to {100 * change.high:+.0f} points"
    return f"from {change.effect_pairs:,} pairs since the alarm"


def sides(stream: StreamReport) -> tuple[str, str]:
    """Return what the two sides of `stream.verdict.told_forward()` are called."""
    if stream.stream in {"replay", "placebo"}:
        return f"{stream.control}, stored answer", f"{stream.candidate}, asked again"
    if stream.stream == "repeat":
        return stream.control, f"{stream.candidate}, second answer"
    names = stream.control or "control", stream.candidate or "candidate"
    return names[::-1] if stream.verdict.control_moved else names


_SINCE_PAIR = re.compile(r"^Since about pair \d+(?: \(\d+-\d+\))?")


def said(row: Row) -> str:
    """Return what was found, with the time for the pair's number, and typographic arrows."""
    text = row.sentence().replace(" -> ", " → ").replace(" %", "\u00a0%")
    return text if row.since is None else _SINCE_PAIR.sub(f"Since {when(row.since)}", text)


def fact_words(fact: IdentityFact) -> str:
    """Return a change of identity in a few words, for the margin of a chart."""
    if fact.kind == "changed":
        what = fact.attribute.replace("_", " ")
        return f"{fact.asked}: {what} {', '.join(fact.before[:2])} → {', '.join(fact.after[:2])}"
    return sentence(fact)


_STREAM_WORDS = {
    "repeat": "One model against itself at the same moment: a difference here would mean that the instrument is at fault.",
    "placebo": "A pinned snapshot against itself, hours apart: a difference here would mean that something other than the "
    "model changes answers over time.",
    "replay": "A stored question asked again: a difference here is a change of the same name over time.",
    "canary": "A pinned prompt asked again: a difference here is a change of the same name over time.",
    "candidate": "Both were asked the same question: a difference here is one between the two models.",
}


def stream_words(row: Row) -> str:
    """Return what a difference in a stream means."""
    if row.routed:
        return "These pairs show what the calls would have received without the route."
    return _STREAM_WORDS.get(row.stream, "")


def models(row: Row) -> str:
    """Return which models a row compares."""
    if row.control == row.candidate:
        how = "asked twice" if row.stream == "repeat" else "then and now"
        return f"{row.control}, {how}" if row.control else "not known"
    return f"{row.control} against {row.candidate}"


def stored_words(moment: Moment) -> str:
    """Return which stored answer a replay compares with."""
    return "" if moment.banked_call is None else f", against the answer stored at call {moment.banked_call:,}"


def standing_words(overview: Overview) -> str:
    """Return the line beneath the headline of a ledger without alarms."""
    if overview.judged_at is None:
        return "Nothing has been judged yet."
    return f"Last judged {ago(overview.judged_at, overview.now)}, {when(overview.judged_at)}."


def event_words(event: Event) -> str:
    """Return what happened, in words."""
    return told_event(event, power)


def event_now(event: Event) -> str:
    """Return what is true of it now."""
    if event.holds is None:
        return ""
    if event.holds:
        return {"alarm": "stands"}.get(event.kind, "in force")
    return f"ended {when(event.ended_at)}" if event.ended_at is not None else "ended"


def iso(at: float) -> str:
    """Return a moment for machines."""
    return utc(at)
