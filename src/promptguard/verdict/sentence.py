"""The verdict in plain words, from its own figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from promptguard.verdict.ages import DAY, HOUR
from promptguard.verdict.scales import figure, shown

if TYPE_CHECKING:
    from promptguard.verdict.values import Change, Verdict
    from promptguard.verdict.window import Since

_MOST_CLAUSES = 3
AGES = {HOUR: "1 h", 6 * HOUR: "6 h", DAY: "1 d", 7 * DAY: "7 d"}
"""How ages of changes are written, by seconds."""


def sentence(verdict: Verdict) -> str:
    """Return one or two sentences that say what was found, since when and by how much.

    Figures read before -> after where one side is known to have moved, else control -> candidate.
    """
    verdict = verdict.told_forward()
    if verdict.status == "unmeasured":
        return not_measured(verdict.reason, verdict.pairs, sum(verdict.skipped.values()))
    if verdict.status == "no_drift":
        return _quiet(verdict)
    start = _start(verdict)
    if not verdict.changes:
        return f"{start}: a difference, cause not yet clear{_pairs(verdict.examples)}."
    if verdict.tolerance is not None:
        start = f"{start}, beyond the tolerance of {_percent(verdict.tolerance)}"
    clauses = "; ".join(change_in_words(change) for change in verdict.changes[:_MOST_CLAUSES])
    course = "" if verdict.course is None else f" {verdict.course.sentence()}"
    return f"{start}: {clauses}.{_ability(verdict)}{course}"


def _start(verdict: Verdict) -> str:
    onset = verdict.onset if verdict.speaks_of is None else verdict.own_onset
    if onset is None:
        return f"The answers changed (alarm at pair {verdict.alarm_at})"
    span = "" if onset.low == onset.high else f" ({onset.low}-{onset.high})"
    since = f"since about pair {onset.pair}{span}"
    if verdict.speaks_of is None:
        return since[0].upper() + since[1:]
    count, others = verdict.group_count, len(verdict.named) - 1
    which = (
        f"and {others} of {count - 1} others"
        if others > 0
        else f"one of {count} groups"
        if verdict.named
        else f"of {count} groups the one with nearly all evidence"
    )
    return f"In {verdict.speaks_of} ({which}), {since} of its own"


def _pairs(examples: Sequence[int]) -> str:
    """Return which pairs show it most."""
    if not examples:
        return ""
    numbers = " and ".join(str(number) for number in examples[:2])
    return f" (see pair {numbers})" if len(examples) == 1 else f" (see pairs {numbers})"


def not_measured(reason: str | None, pairs: int, lost: int) -> str:
    """Return the sentence of a verdict that says nothing, and why."""
    count = f"{pairs} pair{'' if pairs == 1 else 's'}"
    missing = f", {lost} skipped" if lost else ""
    return f"Not measured: {reason} ({count}{missing})."


def _quiet(verdict: Verdict) -> str:
    days = "" if verdict.days is None else verdict.days.sentence()
    return f"{_hidden(verdict)} {days}" if days else _hidden(verdict)


def _hidden(verdict: Verdict) -> str:
    hidden = verdict.largest_hidden_drift
    since = verdict.window.since if verdict.window is not None else ()
    if verdict.reads_forward and since:
        return _quiet_since(verdict, since)
    if hidden is None:
        return f"No drift in {verdict.pairs} pairs."
    if hidden >= 1.0:
        return f"No drift in {verdict.pairs} pairs; too few to exclude more than a change of every answer."
    share = _percent(hidden)
    told = (
        f"No drift in {verdict.pairs} pairs; of the flags that are looked for, a change of under about {share} of the "
        "answers could hide"
    )
    return f"{told}{_of_a_day_ago(verdict, hidden)}."


def _quiet_since(verdict: Verdict, since: tuple[Since, ...]) -> str:
    """Say what could hide where only pairs that straddle the beginning of a change could show it."""
    best = min(since, key=lambda each: (each.hidden, each.seconds))
    told = f"No drift in {verdict.pairs} pairs; of a change that began {AGES.get(best.seconds, 'then')} ago"
    of_day = next((each for each in since if each.seconds == DAY), best)
    rest = "" if of_day is best else f", of one that began 1 d ago {_share(of_day.hidden)}"
    return f"{told} {_share(best.hidden)} could hide{rest}."


def _share(hidden: float) -> str:
    return f"under about {_percent(hidden)} of the answers" if hidden < 1.0 else "any size"


def _of_a_day_ago(verdict: Verdict, hidden: float) -> str:
    """Return what could hide of a change that began a day ago, where that is clearly more."""
    since = verdict.window.since if verdict.window is not None else ()
    of_day = next((each.hidden for each in since if each.seconds == DAY), hidden)
    return "" if of_day <= 1.2 * hidden else f", of one that began 1 d ago {_share(of_day)}"


_MUCH = 5.0
_OWN_UNITS = frozenset(("length", "lines", "words_per_line"))


def change_in_words(change: Change) -> str:
    """Return one change as a sentence has it, from the control to the candidate."""
    if change.pattern:
        # not str.format: a path may hold braces
        told = change.pattern.replace("{0}", _percent(change.control))
        return told.replace("{1}", _percent(change.candidate))
    if change.unit is None or change.control_units is None or change.candidate_units is None:
        return _plain_clause(change)
    figures = f"{_number(change.control_units)} -> {_number(change.candidate_units)} {change.unit}"
    if change.feature not in _OWN_UNITS:
        return f"{_plain_clause(change)} ({figures})"
    if change.feature == "length" and _MUCH * change.candidate_units <= change.control_units:
        return f"answers shrank, {figures}"
    return f"{change.phrase} {'up' if change.difference > 0 else 'down'}, {figures}"


def _plain_clause(change: Change) -> str:
    if change.is_of_wording:
        return f"{change.phrase} changed, which gives the side away in {_percent(change.candidate)} of pairs"
    if change.kind == "label":
        return f"{change.phrase} {_percent(change.control)} -> {_percent(change.candidate)}"
    if change.binary:
        return f"answers with {change.phrase} {_percent(change.control)} -> {_percent(change.candidate)}"
    direction = "more" if change.difference > 0 else "less"
    if change.kind == "reasoning":
        lost = change.candidate < 0.1 * change.control
        return "answers lost their reasoning" if lost else f"{direction} reasoning"
    rising = "up" if change.difference > 0 else "down"
    on = shown(change)
    if on is None:
        return f"{change.phrase} {rising}"
    unit = " %" if on.unit == "%" else "" if on.unit == change.phrase else f" {on.unit}"
    first, second = figure(on.first.value), figure(on.second.value)
    return f"{change.phrase} {rising}" + (f" ({first} -> {second}{unit})" if first != second else "")


def _ability(verdict: Verdict) -> str:
    ability = verdict.ability
    if ability is None:
        return ""
    first, second = ability.control, ability.candidate
    text = f" Accuracy {_percent(first.accuracy.value)} -> {_percent(second.accuracy.value)}"
    if first.d_prime is None or second.d_prime is None:
        return text + "."
    fell = second.d_prime.high < first.d_prime.low
    rose = second.d_prime.low > first.d_prime.high
    what = "ability fell too" if fell else "ability rose" if rose else "no clear change of ability"
    text = f"{text}; {what}, d' {first.d_prime.value:.1f} -> {second.d_prime.value:.1f}."
    habit = ability.habit
    # where d' is not known well enough to tell that it moved, neither is its share of the change
    if habit is None or not (fell or rose) or not 0.0 < habit.alone <= 1.0:
        return text
    return f"{text} Of that change the habit alone would explain {_percent(habit.alone)}."


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 or share == 0 else f"{100 * share:.1f} %"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"
