"""Rollouts in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from promptguard.rollout.judging import figure
from promptguard.terminal.verdict import console, quoted

_STYLES = {
    "running": "cyan", "held": "yellow", "paused": "yellow", "done": "green", "rolled_back": "bold red", "aborted": "dim",
}  # fmt: skip


def headline(told: Mapping[str, Any]) -> Text:
    """Return one line of where a rollout stands."""
    version = "" if told["subject"].startswith("model:") else "@"
    old, new = (
        f"{told['subject']}{version}{each}" if version else each for each in (told["from"], told["to"])
    )
    state = told["state"].replace("_", " ")
    line = Text(f"rollout {told['number']}  ", style="bold")
    line.append(f"{state}  ", style=_STYLES.get(told["state"], ""))
    return line.append_text(quoted(f"{old} -> {new}, {100 * told['share']:g} % of units"))


def show_rollouts(rollouts: Sequence[Mapping[str, Any]]) -> None:
    """Print rollouts with the evidence of those under way."""
    out = console(unbroken=True)
    if not rollouts:
        out.print(
            "no rollout yet; begin one with `promptguard rollout start NAME@VERSION --guard usable,refusal,cost,latency`"
        )
    for told in rollouts:
        out.print(headline(told))
        if told["why"]:
            out.print(quoted(f"  {told['why']}", most=None))
        if told["label_moved_to"] is not None:
            version, label = told["label_moved_to"], told["label"]
            out.print(
                quoted(f"  label moved by hand to {version}: {label} gives everybody that version", most=None)
            )
        evidence = told["evidence"]
        if evidence is not None:
            _show_evidence(told, evidence)


def _show_evidence(told: Mapping[str, Any], evidence: Mapping[str, Any]) -> None:
    out = console(unbroken=True)
    units = evidence["outcomes"]
    out.print(
        f"  {units['before']} units with the old version, {units['now']} with the new one, {evidence['pairs']} pairs; "
        f"log10 evidence of a worsening {evidence['log10_evidence']:.2f}, rolled back at {evidence['log10_threshold']:.2f}"
    )
    table = Table(box=None, pad_edge=False)
    for title in ("  guard", "before", "now", "log10", "at most", "for the next step"):
        table.add_column(title)
    for guard in evidence["guards"]:
        before, now = (
            "" if guard[side] is None else figure(guard["guard"], guard[side]) for side in ("before", "now")
        )
        bound = "" if guard["bound"] is None else f"{guard['bound']:.2f} worse"
        need = guard["lacks"] or "enough"
        table.add_row(
            f"  {guard['guard']}",
            before,
            now,
            f"{guard['log10_evidence']:.2f}",
            bound,
            need if told["state"] != "done" else "",
        )
    out.print(table)


def show_steps(steps: Sequence[Mapping[str, Any]]) -> None:
    """Print every step, newest last."""
    out = console(unbroken=True)
    table = Table(box=None, pad_edge=False)
    for title in ("when (UTC)", "rollout", "step", "by", "why"):
        table.add_column(title, overflow="fold")
    for step in steps:
        when = datetime.fromtimestamp(step["at"], UTC).strftime("%Y-%m-%d %H:%M:%S")
        what = step["kind"]
        if what == "start":
            steps_told = ",".join(f"{each:g}" for each in step["detail"].get("steps", ()))
            what = f"start {steps_told} %"
        table.add_row(
            when,
            quoted(f"{step['rollout']} {step['subject'] or ''}"),
            what,
            quoted(step["by"]),
            quoted(step["why"], most=None),
        )
    out.print(table)
