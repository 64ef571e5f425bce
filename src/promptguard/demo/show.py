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
from promptguard.report.model import Report, StreamReport
from promptguard.terminal.verdict import STYLES, figures
from promptguard.verdict import Verdict
from promptguard.verdict.words import STATUS

_TITLES = {
    ("candidate", 1): "candidate pairs: the alias against its pinned snapshot",
    ("replay", 1): "replay pairs: questions asked before, asked again of the same alias",
    ("repeat", 1): "repeat pairs: the alias against itself, the instrument's own test",
}
_PHASES = {
    "before": "before the change",
    "after": "after it, not yet noticed",
    "acted": "after PromptGuard acted",
}


def show(
    told: Mapping[str, Any],
    report: Report,
    out: Console,
    examples: Sequence[tuple[str, str, str]] = (),
) -> None:
    """Print what the story came to: verdicts from the report, the rest from what `tell` made of it.

    `examples` are (question, before, after).
    """
    for part in _parts(told, report, examples):
        out.print(part)


def _parts(
    told: Mapping[str, Any], report: Report, examples: Sequence[tuple[str, str, str]]
) -> Iterator[RenderableType]:
    yield _story(told)
    streams = list(zip(report.streams, told["streams"], strict=True))
    for stream, calls in streams:
        if (stream.stream, stream.epoch) in _TITLES:
            yield _verdict(stream, calls, told)
    effect = next((s for s, _ in streams if s.stream == "candidate" and s.epoch > 1), None)
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


def _heading(verdict: Verdict) -> Text:
    return Text(f"{STATUS[verdict.status][0]} {verdict.status.upper()}", style=STYLES[verdict.status])


def _verdict(stream: StreamReport, calls: Mapping[str, Any], told: Mapping[str, Any]) -> Group:
    verdict = stream.verdict
    return Group(
        Text(),
        _heading(verdict).append(f"  {_TITLES[stream.stream, stream.epoch]}", style="bold"),
        Text("  " + _when(verdict, calls, told)),
        Text("  " + verdict.sentence()),
        *figures(verdict, most=6),
    )


def _when(verdict: Verdict, calls: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    counted = (
        f"{verdict.pairs} pairs, evidence 10^{verdict.log10_evidence:.1f}, "
        f"alarm at 10^{verdict.log10_threshold:.1f}"
    )
    alarm, onset = calls["alarm"], calls["onset_call"]
    if alarm is None:
        return f"{counted}; no alarm"
    said = f"alarm at call {alarm['call']}, {alarm['pairs_after_switch']} pairs after the change; {counted}"
    if onset is None:
        return said
    where = f"onset at call {onset['call']} (90 % set: {onset['low']} to {onset['high']})"
    return f"{said}\n  {where}; truly at call {told['switch_call']}"


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place == 0 else "right")
    return table


def _effect(stream: StreamReport, told: Mapping[str, Any]) -> Group:
    route = told["route"] or {"asked": "?", "to": "?"}
    names = f"{route['asked']} now", str(route["to"])
    if stream.verdict.control_moved:
        names = names[::-1]
    seen = f"; alarm at call {stream.alarm.call}" if stream.alarm else ""
    heading = _heading(stream.verdict).append(
        f"  evidence 10^{stream.verdict.log10_evidence:.1f} in these pairs alone{seen}", style="default"
    )
    return Group(
        Text(),
        Text(f"→ routed {route['asked']} to {route['to']} at call {route.get('call', '?')}", style="bold"),
        Text(
            f"  {stream.pairs} pairs in which the unrouted alias was asked in the background "
            "beside the routed answers"
        ),
        Text("  ").append_text(heading),
        *figures(stream.verdict, names, most=4),
    )


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
