"""What an alert says, as plain values and as text for people."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from promptguard.core.epochs import EVERY_GROUP, shown_group
from promptguard.verdict.alarm import what_happened

MOST_SHOWN = 10
"""Prompts that a text names; the others are counted."""
LONGEST_LINE = 600
LONGEST_EXAMPLE = 600
"""Characters of a question or an answer that are sent."""
ENDED: Final = {
    "acknowledged": "acknowledged",
    "taken back": "taken back: the self-test failed, so nothing can be said of these answers",
}


@dataclass(frozen=True, slots=True)
class Changed:
    """One prompt whose answers changed, in one stream. Times are seconds since the Unix epoch.

    `since` is when the change began, as far as it is known, between `since_low` and `since_high`; `at` is when the alarm
    rang. `ended` is empty, "acknowledged" or "taken back".
    """

    group: str
    stream: str
    at: float
    pairs: int
    log10_evidence: float
    sentence: str
    log10_threshold: float | None = None
    alpha: float | None = None
    since: float | None = None
    since_low: float | None = None
    since_high: float | None = None
    ended: str = ""
    ended_at: float | None = None
    other: str = ""
    """of two models that differ, the second one; empty where the model that was asked changed"""


@dataclass(frozen=True, slots=True)
class Example:
    """One recorded pair."""

    question: str
    control: str
    candidate: str


@dataclass(frozen=True, slots=True)
class Alert:
    """One change of a model, for receivers. `id` is the same for ever, `revision` grows with each thing there is to tell.

    `ledger` is its name (the directory's last part); `done` are lines about what was done; `undo` are commands.
    """

    id: str
    revision: int
    ledger: str
    model: str
    opened_at: float
    members: tuple[Changed, ...]
    ended_at: float | None = None
    done: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()
    example: Example | None = None
    is_test: bool = False

    @property
    def status(self) -> str:
        """`firing` or `resolved`, as Alertmanager calls them."""
        return "firing" if self.ended_at is None else "resolved"

    @property
    def message_id(self) -> str:
        """What tells one message from another, the same for every attempt to deliver it: to drop what came twice."""
        return f"{self.id}.{self.revision}"

    @property
    def groups(self) -> tuple[str, ...]:
        """The prompts, each once."""
        return tuple(dict.fromkeys(each.group for each in self.members))

    @property
    def since(self) -> float:
        """When the change began, as far as that is known; else when the first alarm rang."""
        return min(each.at if each.since is None else each.since for each in self.members)


def clock(at: float) -> str:
    """Return a moment as people read it, in UTC."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return "an unknown time"


def title(alert: Alert) -> str:
    """Return one line that says what happened."""
    which = _of_prompts(alert.groups)
    if alert.is_test:
        return f"test: alerts of the ledger {plain(alert.ledger)} arrive here"
    if alert.status == "resolved":
        how = " and ".join(dict.fromkeys(each.ended for each in alert.members if each.ended)) or "over"
        return f"resolved ({how}): {_what(alert)} for {which}"
    return f"drift: {_what(alert)} for {which}"


def _what(alert: Alert) -> str:
    """Return what changed: where every prompt only shows that two models differ, that they do."""
    others = {each.other for each in alert.members}
    return what_happened(plain(alert.model), plain(others.pop()) if len(others) == 1 else "")


def _of_prompts(groups: tuple[str, ...]) -> str:
    if EVERY_GROUP in groups:
        return "all prompts together"
    more = len(groups) - 1
    return plain(groups[0]) + (f" and {more} more prompt{'s' * (more > 1)}" if more else "")


def text(alert: Alert) -> str:
    """Return the whole alert as lines of plain text, the title first."""
    if alert.is_test:
        return f"{title(alert)}\nNothing changed; `promptguard alerts test` sent this."
    lines = [title(alert), f"since: {_since(alert)}"]
    shown = alert.members[:MOST_SHOWN]
    lines += [line for each in shown for line in _member(each)]
    if len(alert.members) > len(shown):
        lines.append(f"and {len(alert.members) - len(shown)} more: promptguard status")
    lines += [f"done: {plain(line)}" for line in alert.done[:MOST_SHOWN] or ("nothing but to warn",)]
    if alert.example is not None:
        lines += _example(alert.example)
    if alert.status == "firing":
        lines += [f"once it is known: {plain(command)}" for command in alert.undo[:MOST_SHOWN]]
    return "\n".join([*lines, f"ledger {plain(alert.ledger)}, alert {alert.id}"])


def _since(alert: Alert) -> str:
    known = [each for each in alert.members if each.since is not None]
    if not known:
        return f"not known; the first alarm rang {clock(alert.opened_at)}"
    first = min(known, key=lambda each: each.since or 0.0)
    low, high = first.since_low, first.since_high
    is_span = low is not None and high is not None and clock(low) != clock(high)
    between = f" (between {clock(low or 0.0)} and {clock(high or 0.0)})" if is_span else ""
    return f"about {clock(first.since or 0.0)}{between}; the first alarm rang {clock(alert.opened_at)}"


def _member(each: Changed) -> list[str]:
    needed = "" if each.log10_threshold is None else f", an alarm needs 10^{each.log10_threshold:.1f}"
    alpha = "" if each.alpha is None else f" (alpha {each.alpha:.3g})"
    ended = f" [{ENDED.get(each.ended, each.ended)}]" if each.ended else ""
    return [
        f"{plain(shown_group(each.group))} ({each.stream} stream){ended}: {plain(each.sentence)}",
        f"  how sure: evidence 10^{each.log10_evidence + 0.0:.1f} after {each.pairs} pairs{needed}{alpha}",
    ]


def _example(example: Example) -> list[str]:
    parts = (("asked", example.question), ("control", example.control), ("candidate", example.candidate))
    return ["example:", *(f"  {name}: {plain(said, LONGEST_EXAMPLE)}" for name, said in parts)]


def plain(said: str, longest: int = LONGEST_LINE) -> str:
    """Return a stranger's text on one line, without control characters, cut to `longest` characters."""
    kept = "".join(letter if letter.isprintable() else " " for letter in said[: 4 * longest])
    short = " ".join(kept.split())
    return short if len(short) <= longest else f"{short[: longest - 1]}…"
