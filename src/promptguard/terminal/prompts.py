"""Prompts and their versions in a terminal."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from promptguard.core.word_diff import Runs
from promptguard.terminal.certificates import STYLES as STATUS_STYLES
from promptguard.terminal.certificates import SYMBOLS
from promptguard.terminal.verdict import console, quoted

Told = Mapping[str, Any]
"""What the command prints with --json."""
_STYLES = {"del": "red strike", "ins": "green"}
_MARKS = {"del": ("[-", "-]"), "ins": ("{+", "+}"), "same": ("", "")}


def show_list(rows: Sequence[Told], directory: str) -> None:
    """Print the prompts of a folder."""
    out = console(unbroken=True)
    if not rows:
        out.print(quoted(f"no prompts in {directory}; the first one is a file such as triage/1.prompty"))
        return
    table = Table(box=None, pad_edge=False)
    for title in ("prompt", "newest", "versions", "labels", "used", "certified on"):
        table.add_column(title)
    for row in rows:
        labels = ", ".join(f"{label} = {version}" for label, version in sorted(row["labels"].items()))
        count, used = len(row["versions"]), len(row["used"])
        table.add_row(
            quoted(row["name"]), row["versions"][-1], str(count), quoted(labels), f"{used} of {count}",
            quoted(_certified(row)),
        )  # fmt: skip
    out.print(table)


def _certified(row: Told) -> str:
    """Return on which models which versions are certified, and how much else is known."""
    found, other = [], 0
    for version, models in row["certificates"].items():
        named = [model for model, status in models.items() if status == "certified"]
        other += len(models) - len(named)
        found += [f"{version} on {', '.join(named)}"] if named else []
    return " ".join(["; ".join(found)] * bool(found) + [f"({other} not)"] * bool(other))


def show_prompt(told: Told) -> None:
    """Print one version."""
    out = console(unbroken=True)
    labels = f" ({', '.join(told['labels'])})" if told["labels"] else ""
    out.print(Text(f"{told['name']}@{told['version']}{labels}", style="bold"))
    if told["description"]:
        out.print(quoted(told["description"]))
    used = "used, and locked since" if told["used"] else "never used"
    out.print(quoted(f"{told['digest'][:19]}... {used}   {told['file']}"))
    for line in told["certificates"]:
        style, why = STATUS_STYLES[line["status"]], f": {line['why']}" if line["why"] else ""
        said = (
            f" on {line['model']}, {line['pairs']} pairs, {line['at'][:10]}{why}"
            if line["at"]
            else f" on {line['model']}"
        )
        out.print(Text(f"{SYMBOLS[line['status']]} {line['status']}", style=style) + quoted(said))
    for name, each in told["inputs"].items():
        need = "required" if each["required"] else "optional"
        more = f": {each['description']}" if each["description"] else ""
        out.print(quoted(f"  {name} ({each['kind']}, {need}){more}"))
    for message in told["messages"]:
        out.print()
        out.print(Text(f"{message['role']}:", style="bold"))
        out.print(quoted(message["template"], most=None))


def show_difference(first: str, second: str, changes: Runs, around: int | None) -> None:
    """Print what differs between two versions, with `around` lines beside each change (None: the whole text).

    Marks stand where there is no colour.
    """
    out = console(unbroken=True)
    out.print(quoted(f"{first} -> {second}"))
    if all(kind == "same" for kind, _ in changes):
        out.print("no difference")
        return
    told = Text()
    for kind, text in changes if around is None else _shortened(changes, around):
        before, after = ("", "") if out.is_terminal and not out.no_color else _MARKS[kind]
        told.append(f"{before}{text}{after}", style=_STYLES.get(kind, ""))
    out.print(quoted_text(told))


def _shortened(changes: Runs, around: int) -> Runs:
    """Leave out of what is the same all but the lines that are nearest to a change, and say how many are gone."""
    return tuple(
        (
            kind,
            _lines_near(
                text, around, changes[place - 1][1] if place else None, is_last=place + 1 == len(changes)
            ),
        )
        if kind == "same"
        else (kind, text)
        for place, (kind, text) in enumerate(changes)
    )


def _lines_near(text: str, around: int, before: str | None, *, is_last: bool) -> str:
    lines = text.splitlines(keepends=True)
    # a part of the changed line itself is no line beside it
    low = 0 if before is None else around + (not before.endswith("\n"))
    high = len(lines) if is_last else len(lines) - around - (not text.endswith("\n"))
    gone = high - low
    if gone < 2:  # one line takes as much room as the words that it is left out
        return text
    return "".join([*lines[:low], f"... {gone} equal lines ...\n", *lines[high:]])


def quoted_text(text: Text) -> Text:
    """Return styled text whose control characters are shown, not obeyed."""
    shown = Text()
    for span_text, style in _pieces(text):
        shown.append(quoted(span_text, most=None).plain, style=style)
    return shown


def _pieces(text: Text) -> list[tuple[str, str]]:
    cuts = sorted({0, len(text.plain), *(at for span in text.spans for at in (span.start, span.end))})
    found = []
    for low, high in itertools.pairwise(cuts):
        style = next((str(span.style) for span in text.spans if span.start <= low and high <= span.end), "")
        found.append((text.plain[low:high], style))
    return found


def show_findings(found: Sequence[Told], versions: int) -> None:
    """Print what is wrong, errors first."""
    out = console(unbroken=True)
    for each in sorted(found, key=lambda one: str(one["level"])):
        style = "bold red" if each["level"] == "error" else "yellow"
        what = quoted(f"{each['where']}: {each['message']}", most=None)
        out.print(Text(f"{each['level']}: ", style=style) + what)
    errors = sum(each["level"] == "error" for each in found)
    out.print(
        f"{_counted(versions, 'version')} checked: {_counted(errors, 'error')}, {_counted(len(found) - errors, 'warning')}"
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def show_move(move: Told) -> None:
    """Print where a label stands now."""
    was = f" (was {move['from']})" if move["from"] else ""
    where = f"{move['name']}@{move['label']} is version {move['to']}{was}"
    console().print(quoted(f"{where}; processes have it at their next get()"))


def show_history(moves: Sequence[Told]) -> None:
    """Print the moves of labels, newest first."""
    out = console(unbroken=True)
    if not moves:
        out.print("no label has been moved")
        return
    table = Table(box=None, pad_edge=False)
    for title in ("when", "prompt", "label", "from", "to", "by", "why"):
        table.add_column(title)
    for move in reversed(moves):
        why = f"rollback{': ' if move['why'] else ''}{move['why']}" if move["rollback"] else move["why"]
        row = (*(move[key] or "-" for key in ("at", "name", "label", "from", "to", "by")), why)
        table.add_row(*(quoted(each) for each in row))
    out.print(table)


def show_imports(made: Sequence[Told]) -> None:
    """Print what was read and where it was written."""
    out = console(unbroken=True)
    for each in made:
        done = "would be written to" if each["dry_run"] else "is now"
        out.print(quoted(f"{each['from']} {done} {each['reference']} ({each['file']})", most=None))
        for note in each["notes"]:
            out.print(quoted(f"  {note}", most=None))


def show_carried(done: Sequence[Told]) -> None:
    """Print what went between a folder and a ledger, and what was there already."""
    out = console(unbroken=True)
    new = [each for each in done if each["done"] == "new"]
    for each in new:
        out.print(quoted(f"{each['name']}: {each['what']}", most=None))
    there = len(done) - len(new)
    out.print(f"{len(new)} new, {there} there already" if done else "there are no prompts")
