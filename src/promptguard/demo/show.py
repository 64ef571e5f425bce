"""The demo's last page on a terminal; plain text elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from promptguard.demo.recordings import TASKS

_TITLES = {
    ("candidate", 1): "candidate pairs: the alias against its pinned snapshot",
    ("replay", 1): "replay pairs: questions asked before, asked again of the same alias",
    ("repeat", 1): "repeat pairs: the alias against itself, the instrument's own test",
}
_STYLES = {"drift": "bold red", "no_drift": "green", "unmeasured": "yellow"}
_SYMBOLS = {"drift": "▲", "no_drift": "●", "unmeasured": "○"}
_PHASES = {
    "before": "before the change",
    "after": "after it, not yet noticed",
    "acted": "after PromptGuard acted",
}
_SIGNAL = {"yes_rate": "yes-rate", "sensitivity": "sensitivity", "specificity": "specificity", "d_prime": "d'",
           "criterion": "criterion"}  # fmt: skip


def show(told: Mapping[str, Any], out: Console, examples: Sequence[tuple[str, str, str]] = ()) -> None:
    """Print what the story came to; `examples` are (question, before, after)."""
    for part in _parts(told, examples):
        out.print(part)


def _parts(told: Mapping[str, Any], examples: Sequence[tuple[str, str, str]]) -> Iterator[RenderableType]:
    yield _story(told)
    for stream in told["streams"]:
        if (stream["stream"], stream["epoch"]) in _TITLES:
            yield _verdict(stream, told)
    effect = next((s for s in told["streams"] if s["stream"] == "candidate" and s["epoch"] > 1), None)
    if effect is not None:
        yield _effect(effect, told)
    if examples:
        yield _examples(examples)
    yield _usable(told)
    yield _spent(told)


def _story(told: Mapping[str, Any]) -> Panel:
    models = told["models"]
    switch = told["switch_call"]
    secret = f"the provider's secret: from call {switch} on, {models['alias']!r} was served by {models['after']}, silently"
    lines = [
        f"{told['calls']} calls of prompt {told['task']}@1 to {models['alias']!r} through the real openai client",
        secret
        if switch
        else "the provider changed nothing (--no-switch); with one recorded answer a question, an easy null",
        f"usable means: {TASKS[told['task']]}; asked at temperature 0, recorded at 0.1",
    ]
    return Panel("\n".join(lines), title="PromptGuard demo", box=box.ROUNDED, title_align="left")


def _verdict(stream: Mapping[str, Any], told: Mapping[str, Any]) -> Group:
    status = stream["status"]
    heading = Text(f"{_SYMBOLS[status]} {status.upper()}", style=_STYLES[status])
    heading.append(f"  {_TITLES[stream['stream'], stream['epoch']]}", style="bold")
    lines: list[RenderableType] = [
        Text(),
        heading,
        Text("  " + _when(stream, told)),
        Text("  " + stream["sentence"]),
    ]
    if stream["changes"]:
        lines.append(_changes(stream))
    if stream["ability"]:
        lines.append(_ability(stream["ability"], turned=_turned(stream), headings=("before", "after")))
    return Group(*lines)


def _when(stream: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    evidence, threshold = stream["log10_evidence"], stream["log10_threshold"]
    counted = f"{stream['pairs']} pairs, evidence 10^{evidence:.1f}, alarm at 10^{threshold:.1f}"
    alarm, onset = stream["alarm"], stream["onset_call"]
    if alarm is None:
        return f"{counted}; no alarm"
    said = f"alarm at call {alarm['call']}, {alarm['pairs_after_switch']} pairs after the change; {counted}"
    if onset is None:
        return said
    where = f"onset at call {onset['call']} (90 % set: {onset['low']} to {onset['high']})"
    return f"{said}\n  {where}; truly at call {told['switch_call']}"


def _turned(stream: Mapping[str, Any]) -> bool:
    """Whether the control is the side that moved, so that figures must be exchanged to read before → after."""
    first = stream["changes"][0] if stream["changes"] else None
    if first is None or first["before"] is None:
        return False
    return bool(abs(first["control"] - first["before"]) > abs(first["candidate"] - first["before"]))


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place == 0 else "right")
    return table


def _changes(stream: Mapping[str, Any]) -> Table:
    turned = _turned(stream)
    table = _table("  what changed", "before", "95 % interval", "after", "95 % interval")
    for change in stream["changes"][:6]:
        sides = ("candidate", "control") if turned else ("control", "candidate")
        cells = []
        for side in sides:
            cells += [_rate(change, side), _interval(change, side)]
        table.add_row("  " + change["phrase"], *cells)
    return table


def _rate(change: Mapping[str, Any], side: str) -> str:
    units = change[f"{side}_units"]
    if change["unit"] and units is not None and not change["binary"]:
        return f"{units:.0f} {change['unit']}"
    return f"{100 * change[side]:.0f} %" if change["binary"] else f"{change[side]:.2f}"


def _interval(change: Mapping[str, Any], side: str) -> str:
    """Return the 95 % interval of a rate; none where the rate is shown in units that the interval is not in."""
    if change["unit"] and change[f"{side}_units"] is not None and not change["binary"]:
        return ""
    return _span(change[f"{side}_interval"], percent=change["binary"])


def _span(interval: Sequence[float], *, percent: bool = False) -> str:
    low, high = interval
    return f"{100 * low:.0f}-{100 * high:.0f} %" if percent else f"{low:.2f}-{high:.2f}"


def _ability(ability: Mapping[str, Any], *, turned: bool, headings: tuple[str, str]) -> Table:
    table = _table("  behaviour or ability?", headings[0], "95 % interval", headings[1], "95 % interval")
    sides = ("candidate", "control") if turned else ("control", "candidate")
    for name, shown in {"accuracy": "accuracy", **_SIGNAL}.items():
        cells = []
        for side in sides:
            measure = ability[side][name]
            if measure is None:
                break
            cells += [f"{measure['value']:.2f}", f"{measure['low']:.2f} to {measure['high']:.2f}"]
        else:
            table.add_row("  " + shown, *cells)
    return table


def _effect(stream: Mapping[str, Any], told: Mapping[str, Any]) -> Group:
    route = told["route"] or {"asked": "?", "to": "?"}
    text = f"  {stream['pairs']} pairs in which the unrouted alias was asked in the background beside the routed answers"
    table = _table("  how much", f"{route['asked']} now", route["to"], "difference", "95 % at any time")
    for change in stream["changes"][:4]:
        bounds = "pending" if change["low"] is None else f"{change['low']:+.2f} to {change['high']:+.2f}"
        table.add_row(
            "  " + change["phrase"],
            _rate(change, "control"),
            _rate(change, "candidate"),
            f"{change['difference']:+.2f}",
            bounds,
        )
    heading = Text(
        f"{_SYMBOLS[stream['status']]} {stream['status'].upper()}", style=_STYLES[stream["status"]]
    )
    alarm = stream["alarm"]
    seen = f"; alarm at call {alarm['call']}" if alarm else ""
    heading.append(
        f"  evidence 10^{stream['log10_evidence']:.1f} in these pairs alone{seen}", style="default"
    )
    parts: list[RenderableType] = [
        Text(),
        Text(f"→ routed {route['asked']} to {route['to']} at call {route.get('call', '?')}", style="bold"),
        Text(text),
        Text("  ").append_text(heading),
    ]
    if stream["changes"]:
        parts.append(table)
    if stream["ability"]:
        parts.append(
            _ability(stream["ability"], turned=False, headings=(f"{route['asked']} now", route["to"]))
        )
    return Group(*parts)


def _examples(examples: Sequence[tuple[str, str, str]]) -> Group:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True)
    for heading in ("  two of the pairs", "pinned snapshot, or stored answer", "the alias, changed"):
        table.add_column(heading, ratio=1)
    for row in examples:
        table.add_row(*(Text(_clipped(text)) for text in row))
    return Group(Text(), table)


def _clipped(text: str, most: int = 220) -> str:
    safe = "".join(
        char if char.isprintable() or char == "\n" else "\N{REPLACEMENT CHARACTER}" for char in text
    )
    return safe if len(safe) <= most else safe[:most].rstrip() + " ..."


def _usable(told: Mapping[str, Any]) -> Group:
    table = _table("  usable answers", "calls", "with PromptGuard", "without", "from the cache")
    for phase, shown in _PHASES.items():
        tally = told["usable"][phase]
        if tally["calls"]:
            with_guard = f"{tally['usable']} ({100 * tally['usable'] / tally['calls']:.0f} %)"
            without = f"{tally['usable_without']} ({100 * tally['usable_without'] / tally['calls']:.0f} %)"
            table.add_row("  " + shown, str(tally["calls"]), with_guard, without, str(tally["cached"]))
    return Group(Text(), table)


def _spent(told: Mapping[str, Any]) -> Group:
    table = _table("  what it cost", "calls", "input tokens", "output tokens", "USD at list price")
    for stream, cost in told["shadow"].items():
        figures = (
            f"{cost['pairs']:.0f}",
            f"{cost['input_tokens']:.0f}",
            f"{cost['output_tokens']:.0f}",
            f"{cost['usd']:.2f}",
        )
        table.add_row(f"  {stream} calls", *figures)
    cache, latency = told["cache"], told["latency_ms"]
    lines = (
        f"  the cache answered {cache['hits']} of {cache['calls']} calls: saved {cache['saved_output_tokens']}",
        f" output tokens, {cache['saved_usd']:.2f} USD;",
        f" {cache['not_served_because_the_model_changed']} answers of the changed model were not served",
        f"\n  added to a call: median {latency['added_median']:.2f} ms, 95th percentile",
        f" {latency['added_p95']:.2f} ms, over a bare call of {latency['bare_median']:.2f} ms on loopback;",
        " application, provider and shadow share this process",
    )
    return Group(table, Text("".join(lines)))
