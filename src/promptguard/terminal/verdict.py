"""Showing verdicts to people: rich on a terminal, plain text elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from promptguard.verdict import Ability, Change, Measure, Verdict, words

_PLAIN_WIDTH = 110
_UNBROKEN = 100_000
Pair = tuple[int, int, str, str]
"""pair number, line, control, candidate"""
STYLES = {"drift": "bold red", "no_drift": "green", "unmeasured": "yellow"}


def console(*, unbroken: bool = False) -> Console:
    """Return a console for standard output; a fixed width and no colour when it is not a terminal.

    The width is that of COLUMNS, where it is set. Without it, and `unbroken`, a pipe's lines are as long as they are.
    """
    if sys.stdout.isatty():
        return Console()
    given = os.environ.get("COLUMNS", "")
    width = int(given) if given.isdecimal() and int(given) else _UNBROKEN if unbroken else _PLAIN_WIDTH
    return Console(width=width, no_color=True, highlight=False)


def show_verdicts(verdicts: Sequence[Verdict], texts: Mapping[str, Iterable[Pair]] | None = None) -> None:
    """Print verdicts, a stream after the other; `texts` holds pairs by stream."""
    out = console()
    for place, verdict in enumerate(verdicts):
        if place:
            out.print()
        for part in verdict_parts(verdict, (texts or {}).get(verdict.stream, ())):
            out.print(part)


def verdict_parts(verdict: Verdict, texts: Iterable[Pair] = ()) -> list[RenderableType]:
    """Return one verdict as things rich can print: heading, sentence, changes, ability, examples, groups."""
    parts: list[RenderableType] = [_heading(verdict), Text(verdict.sentence())]
    parts += figures(verdict)
    parts.extend(_examples(verdict.examples[:2], texts))
    if len(verdict.groups) > 1:
        parts.append(_groups(verdict.groups))
        if verdict.named:
            parts.append(
                Text(f"changed groups (expected share of wrong names at most {verdict.alpha:g}): ").append(
                    quoted(", ".join(verdict.named))
                )
            )
    return parts


def _heading(verdict: Verdict) -> RenderableType:
    heading = Text(verdict.status.upper(), style=STYLES[verdict.status])
    facts = [f"{verdict.stream} pairs: {verdict.pairs}", f"alpha {verdict.alpha:g}, {verdict.mode}"]
    if verdict.reason:
        facts.insert(0, verdict.reason)
    if verdict.alarm_at is not None:
        facts.append(f"alarm at pair {verdict.alarm_at}")
    facts.append(words.evidence(verdict))
    if verdict.skipped:
        all_of_them = verdict.pairs + sum(verdict.skipped.values())
        lost = (f"{n} {reason} ({n / all_of_them:.1%})" for reason, n in sorted(verdict.skipped.items()))
        facts.append("skipped: " + ", ".join(lost))
    return heading.append("  " + "; ".join(facts), style="default")


def table(*headings: str) -> Table:
    """Return an empty table, the first column left and the rest right."""
    shown = Table(box=box.SIMPLE, pad_edge=False)
    for place, heading in enumerate(headings):
        shown.add_column(heading, justify="left" if place == 0 else "right")
    return shown


def figures(
    verdict: Verdict, headings: tuple[str, str] | None = None, most: int | None = None
) -> list[RenderableType]:
    """Return the tables of what changed and of ability, in the direction in which the sentence reads.

    `headings` name the two sides instead of "before" and "after", or "control" and "candidate"; `most` is how many
    changes are shown, all of them by default.
    """
    told, names = verdict.told_forward(), headings or words.directions(verdict)
    parts: list[RenderableType] = []
    if told.changes:
        parts.append(_changes(told.changes[:most], names, told.characters))
    if told.ability is not None:
        parts.append(_ability(told.ability, names))
    return parts


def _changes(
    changes: Sequence[Change], names: tuple[str, str], characters: tuple[float, float] | None
) -> Table:
    shown = table(
        "what changed", "kind", names[0], "95 %", names[1], "95 %", "difference", "95 % at any time"
    )
    for change in changes:
        name = escape(change.feature if change.kind == "label" else change.phrase)
        both = [
            cell
            for side in (False, True)
            for cell in (words.figure(change, candidate=side), words.rate_interval(change, candidate=side))
        ]
        shown.add_row(name, change.kind, *both, words.difference(change), words.difference_interval(change))
    if characters is not None:
        first, second = characters
        shown.caption = (
            f"mean length of an answer: {names[0]} {first:.0f} characters, {names[1]} {second:.0f}"
        )
        shown.caption_justify = "left"
    return shown


def _ability(ability: Ability, names: tuple[str, str]) -> Table:
    rows = table("against the references", names[0], "95 % interval", names[1], "95 % interval")
    for name, shown, _ in words.MEASURES:
        first: Measure | None = getattr(ability.control, name)
        second: Measure | None = getattr(ability.candidate, name)
        if first is not None and second is not None:
            rows.add_row(
                escape(shown.format(ability.positive)), *words.measured(first), *words.measured(second)
            )
    habit = ability.habit
    if habit is not None:
        share = f"{habit.alone:.0%} (Shapley {habit.shapley:.0%})"
        rows.caption = f"of the change of accuracy the criterion alone explains {share}"
        rows.caption_justify = "left"
    return rows


def _examples(numbers: Sequence[int], texts: Iterable[Pair]) -> list[RenderableType]:
    kept = {entry[0]: entry for entry in texts}
    parts: list[RenderableType] = []
    for number in numbers:
        if number in kept:
            _, line, control, candidate = kept[number]
            pair = Table(
                box=box.SIMPLE,
                pad_edge=False,
                expand=True,
                title=f"pair {number}, line {line}",
                title_justify="left",
            )
            pair.add_column("control", ratio=1)
            pair.add_column("candidate", ratio=1)
            pair.add_row(quoted(control), quoted(candidate))
            parts.append(Group(pair))
    return parts


def quoted(text: str, most: int | None = 320) -> Text:
    """Return an answer as text that cannot steer the terminal: control characters are shown, not sent.

    Of a longer text than `most` characters the beginning; None for all of it.
    """
    shown = text if most is None or len(text) <= most else text[:most].rstrip() + " ..."
    safe = "".join(
        char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in shown
    )
    return Text(safe)


def _groups(groups: Sequence[Verdict]) -> Table:
    shown = table("group", "status", "pairs", "alarm at", "log10 evidence")
    for group in groups:
        alarm = "" if group.alarm_at is None else str(group.alarm_at)
        status = group.status if group.reason is None else f"{group.status} ({group.reason})"
        shown.add_row(
            quoted(group.group or "(none)"), status, str(group.pairs), alarm, f"{group.log10_evidence:.1f}"
        )
    return shown
