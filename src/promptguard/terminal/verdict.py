"""Showing verdicts to people: rich on a terminal, plain text elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from promptguard.verdict import Ability, Change, Measure, Verdict

_PLAIN_WIDTH = 110
_STYLES = {"drift": "bold red", "no_drift": "green", "unmeasured": "yellow"}
_SIGNAL = ("yes_rate", "sensitivity", "specificity", "d_prime", "criterion")


def console() -> Console:
    """Return a console for standard output; a fixed width and no colour when it is not a terminal."""
    if sys.stdout.isatty():
        return Console()
    return Console(width=_PLAIN_WIDTH, no_color=True, highlight=False)


def show_verdicts(verdicts: Sequence[Verdict], texts: Mapping[str, Any] | None = None) -> None:
    """Print verdicts, a stream after the other.

    `texts` holds (pair number, line, control, candidate) by stream.
    """
    out = console()
    for place, verdict in enumerate(verdicts):
        if place:
            out.print()
        for part in verdict_parts(verdict, (texts or {}).get(verdict.stream, ())):
            out.print(part)


def verdict_parts(verdict: Verdict, texts: Any = ()) -> list[RenderableType]:
    """Return one verdict as things rich can print: heading, sentence, changes, ability, examples, groups."""
    parts: list[RenderableType] = [_heading(verdict), Text(verdict.sentence())]
    if verdict.changes:
        parts.append(_changes(verdict.changes, verdict.characters))
    if verdict.ability is not None:
        parts.append(_ability(verdict.ability))
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
    heading = Text(verdict.status.upper(), style=_STYLES[verdict.status])
    facts = [f"{verdict.stream} pairs: {verdict.pairs}", f"alpha {verdict.alpha:g}, {verdict.mode}"]
    if verdict.reason:
        facts.insert(0, verdict.reason)
    if verdict.alarm_at is not None:
        facts.append(f"alarm at pair {verdict.alarm_at}")
    evidence = round(verdict.log10_evidence, 1) + 0.0  # no minus zero
    facts.append(f"evidence 10^{evidence:.1f} (alarm at 10^{verdict.log10_threshold:.1f})")
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


def _changes(changes: Sequence[Change], characters: tuple[float, float] | None) -> Table:
    shown = table(
        "what changed", "kind", "control", "candidate", "difference", "95 % interval", "candidate before"
    )
    for change in changes:
        interval = "pending" if change.low is None or change.high is None else _span(change.low, change.high)
        before = "" if change.before is None else _share(change, change.before)
        name = escape(change.feature if change.kind == "label" else change.phrase)
        row = [name, change.kind, *_rates(change), f"{change.difference:+.2f}", interval, before]
        shown.add_row(*row)
    if characters is not None:
        shown.caption = (
            f"mean length of an answer: control {characters[0]:.0f} characters, candidate {characters[1]:.0f}"
        )
        shown.caption_justify = "left"
    return shown


def _rates(change: Change) -> tuple[str, str]:
    first, second = _share(change, change.control), _share(change, change.candidate)
    if change.unit is None or change.control_units is None or change.candidate_units is None:
        return first, second
    natural = f"{change.control_units:.0f} {change.unit}", f"{change.candidate_units:.0f}"
    if not change.binary:
        return natural
    return f"{first} ({natural[0]})", f"{second} ({natural[1]})"


def _share(change: Change, rate: float) -> str:
    return f"{100 * rate:.1f} %" if change.binary else f"{rate:.2f}"


def _span(low: float, high: float) -> str:
    return f"{low:+.2f} to {high:+.2f}"


def _ability(ability: Ability) -> Table:
    rows = table("against the references", "control", "95 % interval", "candidate", "95 % interval")
    for name in ("accuracy", *_SIGNAL):
        first: Measure | None = getattr(ability.control, name)
        second: Measure | None = getattr(ability.candidate, name)
        if first is not None and second is not None:
            shown = f'"{ability.positive}" rate' if name == "yes_rate" else name.replace("_prime", "'")
            rows.add_row(escape(shown), *_figures(first), *_figures(second))
    habit = ability.habit
    if habit is not None:
        share = f"{habit.alone:.0%} (Shapley {habit.shapley:.0%})"
        rows.caption = f"of the change of accuracy the criterion alone explains {share}"
        rows.caption_justify = "left"
    return rows


def _figures(measure: Measure) -> tuple[str, str]:
    return f"{measure.value:.3f}", f"{measure.low:.2f} to {measure.high:.2f}"


def _examples(numbers: Sequence[int], texts: Any) -> list[RenderableType]:
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


def quoted(text: str) -> Text:
    """Return an answer as text that cannot steer the terminal: control characters are shown, not sent."""
    shown = text if len(text) <= 320 else text[:320].rstrip() + " ..."
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
