"""Certificates in a terminal: one examination, the matrix, the history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich import box
from rich.table import Table
from rich.text import Text

from promptguard.terminal.verdict import console, quoted

Told = Mapping[str, Any]
"""What the command prints with --json."""
STYLES: Final = {
    "certified": "green", "drifted": "bold red", "untested": "yellow", "withdrawn": "red", "expired": "yellow",
}  # fmt: skip
SYMBOLS: Final = {"certified": "●", "drifted": "▲", "untested": "◌", "withdrawn": "✕", "expired": "◷"}


def show_certificate(told: Told, *, resumed: int = 0, missing: int = 0) -> None:
    """Print what one examination came to."""
    out = console(unbroken=True)
    head = Text(told["status"].upper(), style=STYLES[told["status"]])
    out.print(head + quoted(f"  {told['name']}@{told['version']} on {told['model']}"))
    if told["why"]:
        out.print(quoted(f"  {told['why']}", most=None))
    for line in _lines(told, resumed, missing):
        out.print(quoted(f"  {line}", most=None))


def _lines(told: Told, resumed: int, missing: int) -> list[str]:
    confidence = f"{100 * (1 - told['alpha']):g} %"
    lost = f", {told['lost']} with a missing answer" if told["lost"] else ""
    before = f", {resumed} of them from before" if resumed else ""
    found = [
        f"against {told['against']} on {told['against_model']}: {told['pairs']} pairs{lost}{before}",
        f"evidence of a shift beyond {told['tolerance']:g}: 10^{told['log10_evidence']:.1f}, enough at {confidence}"
        if told["status"] == "drifted" and told["log10_evidence"] > 0
        else f"no feature shifted by more than {told['bound']:.3g} (asked for: {told['tolerance']:g}), at {confidence}"
        " confidence",
    ]
    passed, of = told["cases"]
    found += [f"cases: {passed} of {of} pass"] if of else []
    found += [f"{missing} questions have no answer of one side, and were left out"] if missing else []
    served, other = (", ".join(told[name]) for name in ("served", "against_served"))
    found += [f"answered by {served}; for the reference by {other}"] if served and other else []
    cost = "" if told["usd"] is None else f", {told['calls']} calls, {told['usd']:.4f} USD"
    attempt = f", attempt {told['attempt']}" if told["attempt"] > 1 else ""
    found.append(f"answers: {told['source']}{cost}{attempt}")
    return found


def show_matrix(told: Told) -> None:
    """Print versions by models."""
    out = console(unbroken=True)
    out.print(quoted(told["name"]).append("", style="bold"))
    if not told["models"]:
        out.print(
            quoted(
                f"  nothing is certified; promptguard prompts certify {told['name']}@{told['versions'][-1]} --on MODEL"
                " --against VERSION/MODEL --budget 2usd"
            )
        )
        return
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("version")
    for model in told["models"]:
        table.add_column(quoted(model))
    labels: dict[str, list[str]] = {}
    for label, version in told["labels"].items():
        labels.setdefault(version, []).append(label)
    for version, row in reversed(told["cells"].items()):
        named = f" ({', '.join(sorted(labels[version]))})" if version in labels else ""
        table.add_row(quoted(f"{version}{named}"), *(_cell(row[model]) for model in told["models"]))
    out.print(table)


def _cell(told: Told) -> Text:
    status = told["status"]
    text = Text(f"{SYMBOLS[status]} {status}", style=STYLES[status])
    if status in ("certified", "drifted"):
        text.append(f"\n{told['pairs']} pairs, {told['at'][:10]}", style="dim")
    if told["why"] and status != "certified":
        text.append("\n").append_text(quoted(told["why"], most=60))
    return text


def show_lines(lines: Sequence[Told]) -> None:
    """Print examinations and withdrawals, newest first."""
    out = console(unbroken=True)
    if not lines:
        out.print("nothing has been examined")
        return
    table = Table(box=None, pad_edge=False)
    for title in ("when", "version", "model", "status", "pairs", "against", "by", "why"):
        table.add_column(title)
    for told in reversed(lines):
        against = f"{told['against']}/{told['against_model']}" if told["against"] else "-"
        row = (
            told["at"] or "-", f"{told['name']}@{told['version']}", told["model"], told["status"], str(told["pairs"]),
            against, told["by"] or "-", told["why"],
        )  # fmt: skip
        table.add_row(*(quoted(each, most=200) for each in row))
    out.print(table)


_OUTCOMES: Final = {"restores": ("●", "green"), "differs": ("▲", "bold red"), "open": ("◌", "yellow")}


def show_comparison(told: Told) -> None:
    """Print which versions and remedies restore the old behaviour, the closest first."""
    out = console(unbroken=True)
    out.print(quoted(f"{told['name']} on {told['on']}, against {told['against']} on {told['against_model']}"))
    table = Table(box=box.SIMPLE, pad_edge=False)
    for title in (
        "",
        "version",
        "remedy",
        "shift at most",
        "largest shift seen",
        "pairs",
        "USD per 1,000",
        "what differs",
    ):
        table.add_column(title)
    for row in told["rows"]:
        symbol, style = _OUTCOMES[row["outcome"]]
        feature, shift = row["largest"]
        cost = (
            "-"
            if row["usd_per_thousand"] is None
            else f"{row['usd_per_thousand']:.2f}" + "*" * row["is_of_answers"]
        )
        table.add_row(
            Text(f"{symbol} {row['outcome']}", style=style), quoted(row["reference"]), row["remedy"] or "-",
            f"{row['bound']:.3g}", quoted(f"{feature} {shift:+.2f}"), str(row["pairs"]), cost,
            quoted("; ".join(row["changes"][:2])),
        )  # fmt: skip
    out.print(table)
    if any(row["is_of_answers"] for row in told["rows"]):
        out.print("* answers alone: nobody recorded the tokens of the questions")
    if told["ended"]:
        out.print(quoted(f"ended before all was known: {told['ended']}"))
    out.print(quoted(told["sentence"], most=None).append("", style="bold"))
