"""How figures of a verdict are written, once for terminals, pages and the demo.

Tables show `Verdict.told_forward()`, as the sentence does, so that both read in the same direction.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import groupby
from typing import Final

from promptguard.verdict.ability import Measure
from promptguard.verdict.sentence import AGES
from promptguard.verdict.values import Change, Status, Verdict
from promptguard.verdict.window import Since, Window

STATUS: Final[dict[Status, tuple[str, str]]] = {
    "drift": ("▲", "drift"),
    "no_drift": ("●", "no drift"),
    "unmeasured": ("◌", "unmeasured"),
}
"""A symbol and words for each status; colour never carries the meaning alone."""
MEASURES: Final = (
    ("accuracy", "accuracy", "both"),
    ("yes_rate", 'answers "{}"', "behaviour"),
    ("criterion", "criterion (bias)", "behaviour"),
    ("sensitivity", "sensitivity", "both"),
    ("specificity", "specificity", "both"),
    ("d_prime", "d' (discrimination)", "ability"),
)
"""Measures against references: the attribute of a SideAbility, its words (`{}` is the positive label), what it tells."""


def counted(number: int, one: str, several: str = "") -> str:
    """Return a number with its noun: "1 hit", "2,000 hits"; `several` where its plural is not made with an s."""
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"


def directions(verdict: Verdict) -> tuple[str, str]:
    """Return what the first and the second side of `verdict.told_forward()` are called."""
    return ("before", "after") if verdict.reads_forward else ("control", "candidate")


def figure(change: Change, *, candidate: bool) -> str:
    """Return one side's rate: a share of answers, the feature's own units, or both."""
    rate = change.candidate if candidate else change.control
    units = change.candidate_units if candidate else change.control_units
    share = f"{100 * rate:.0f} %" if change.binary else f"{rate:.2f}"
    if units is None or change.unit is None:
        return share
    natural = f"{units:,.0f} {change.unit}"
    return f"{share} ({natural})" if change.binary else natural


def rate_interval(change: Change, *, candidate: bool) -> str:
    """Return the 95 % interval of one side's rate; empty where the rate is shown in units that it is not in."""
    if change.unit is not None and change.control_units is not None and not change.binary:
        return ""
    low, high = change.candidate_interval if candidate else change.control_interval
    return f"{100 * low:.0f}-{100 * high:.0f} %" if change.binary else f"{low:.2f}-{high:.2f}"


def difference(change: Change) -> str:
    """Return the difference of the rates, second side minus first."""
    return f"{change.difference:+.2f}"


def difference_interval(change: Change) -> str:
    """Return the interval of the difference, or how many pairs it still waits for."""
    if change.low is None or change.high is None:
        return f"pending: {change.effect_pairs} of 30 pairs"
    return f"{change.low:+.2f} to {change.high:+.2f}"


def measured(measure: Measure) -> tuple[str, str]:
    """Return a measure and its 95 % interval."""
    return f"{measure.value:.3f}", f"{measure.low:.2f} to {measure.high:.2f}"


def evidence(verdict: Verdict) -> str:
    """Return the evidence now, and where the alarm is."""
    now = round(verdict.log10_evidence, 1) + 0.0  # no minus zero
    return f"evidence 10^{now:.1f} (alarm at 10^{verdict.log10_threshold:.1f})"


def moment(at: float | None) -> str:
    """Return a moment (seconds since the Unix epoch) as people write it, with its zone."""
    if at is None:
        return "none"
    try:
        when = datetime.fromtimestamp(at, UTC)
    except (OverflowError, ValueError, OSError):
        return "no date"
    return f"{when.day} {when:%b %Y, %H:%M} UTC"


def utc(at: float) -> str:
    """Return a moment (seconds since the Unix epoch) as ISO 8601 in UTC, to the second; empty for one that is no moment."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return ""


def ago(at: float | None, now: float) -> str:
    """Return how long before `now` a moment was, in one unit (both in seconds since the Unix epoch); "never" for None."""
    if at is None:
        return "never"
    seconds = now - at
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit} ago"
    return "in the future" if seconds < -60 else "just now" if seconds < 5 else f"{seconds:.0f} s ago"


def window_words(window: Window, now: float) -> str:
    """Return when the pairs of a verdict are from, and which changes they could have shown at `now` (Unix seconds)."""
    told = []
    for seen, alike in groupby(window.since, key=_seen_of):
        spans = " or ".join(AGES.get(each.seconds, f"{each.seconds:.0f} s") for each in alike)
        told.append(f"{spans} ago: {seen}")
    ages = f"first pair {ago(window.first_at, now)}, last {ago(window.last_at, now)}"
    return f"{ages}; pairs that could show a change that began {', '.join(told)}"


def _seen_of(since: Since) -> str:
    if since.hidden >= 1.0:
        return f"{since.pairs:,} (any could hide)"
    return f"{since.pairs:,} (under {100 * since.hidden:.2g} % of answers could hide)"
