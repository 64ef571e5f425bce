"""`promptguard status`: where every stream and group stands now."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptguard.cli import exits
from promptguard.cli.place import OPTION, ledger_or_setting
from promptguard.verdict.words import utc

if TYPE_CHECKING:
    from promptguard.core.identity import IdentityFact
    from promptguard.report.model import Report, StreamReport

MOST_REASONS = 12
"""Reasons why calls were passed by that a terminal shows."""

WIDEST_GROUP = 45
"""Letters of a group's name up to which it stays on one line of a terminal."""

MOST_FACTS = 12
"""Facts of identity that a terminal shows."""

SHORT = "where every prompt stands now"
EXAMPLES = (
    "promptguard status",
    "promptguard status --watch                   the same, live",
    "promptguard status --json | jq .status",
)


def run(
    ledger: Annotated[str | None, OPTION] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Tell where every stream and group of a ledger stands, and what was done about a change.

    Exit codes: 0 no drift, 1 drift, 2 wrong use, 3 unmeasured.
    """
    from promptguard.report.read import read_report

    report = read_report(ledger_or_setting(ledger))
    told = summary(report, time.strftime("%Y-%m-%d", time.gmtime()))
    if as_json:
        json.dump(told, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        _show(told)
        _show_identity(report)
    raise typer.Exit(exits.of_status(report.status))


def summary(report: Report, today: str) -> dict[str, Any]:
    """Return what the command tells; `today` is the UTC day whose spending is meant."""
    spent = next((day for day in report.days if day.day == today), None)
    rows = [row for stream in report.streams for row in stream.groups or (stream,)]
    return {
        "status": report.status,
        "rows": [_row(row) for row in rows],
        "done": _done(report),
        "today": {"calls": spent.calls if spent else 0, "usd": spent.usd if spent else 0.0},
        "total_usd": sum(day.usd for day in report.days),
        "false_alarms_per_year": report.false_alarms_per_year,
        "cache": {"hits": report.cache.hits, "misses": report.cache.misses},
        "passed_by": [asdict(each) for each in report.passed_by],
        "notices": [asdict(each) for each in report.notices],
        "identity": [_fact(fact) for fact in report.identity_facts],
    }


def _fact(fact: IdentityFact) -> dict[str, Any]:
    """Return what one kind of fact has to say, and the sentence."""
    from promptguard.report.identity_words import sentence

    told = {name: value for name, value in asdict(fact).items() if value not in ("", (), {})}
    return {**told, "sentence": sentence(fact)}


def _row(row: StreamReport) -> dict[str, Any]:
    told = row.verdict
    return {
        "stream": row.stream,
        "epoch": row.epoch,
        "group": row.group,
        "status": row.status,
        "reason": told.reason,
        "acknowledged": row.acknowledged,
        "routed": row.routed,
        "pairs": row.pairs,
        "alarm_at": utc(row.alarm.at) if row.alarm else None,
        "onset_at": utc(row.onset.at) if row.onset else None,
        "alarm_call": row.alarm.call if row.alarm else None,
        "onset_call": row.onset.call if row.onset else None,
        "log10_evidence": told.log10_evidence,
        "log10_threshold": told.log10_threshold,
        "sentence": told.sentence(),
    }


def _done(report: Report) -> list[str]:
    """Return what was done about alarms, one line an action."""
    lines = []
    for noted in report.actions:
        place = f"{noted.group}, {utc(noted.at)}"
        if noted.kind == "route":
            lines.append(f"{place}: calls for {noted.detail['asked']} go to {noted.detail['to']} since then")
        elif noted.kind == "raise":
            lines.append(f"{place}: calls raise since then ({noted.detail['message']})")
    if report.status == "drift" and not lines:
        lines.append("nothing was done but to warn: calls still go to the same model")
    return lines


def _show(told: dict[str, Any]) -> None:
    from rich.text import Text

    from promptguard.terminal.verdict import console, quoted, table

    out = console()
    out.print(Text(told["status"].upper(), style="bold"))
    rows = table("stream", "group", "status", "pairs", "alarm", "change began", "evidence")
    # A group's name is what `promptguard acknowledge` needs: never cut.
    rows.columns[1].overflow = "fold"
    rows.columns[1].no_wrap = all(len(row["group"] or "") <= WIDEST_GROUP for row in told["rows"])
    for row in told["rows"]:
        status = row["status"] if row["reason"] is None else f"{row['status']} ({row['reason']})"
        status += ", acknowledged" if row["acknowledged"] else ""
        rows.add_row(
            row["stream"] + (" (after route)" if row["routed"] else ""),
            quoted(row["group"] or "(all)"),
            status,
            str(row["pairs"]),
            _spaced(row["alarm_at"]),
            _spaced(row["onset_at"]),
            f"10^{row['log10_evidence'] + 0.0:.1f} (alarm at 10^{row['log10_threshold']:.1f})",
        )
    out.print(rows)
    for line in told["done"]:
        out.print(quoted(line))
    if told["false_alarms_per_year"] is not None:
        out.print(
            f"if nothing changes, at most {told['false_alarms_per_year']:.2g} false alarms a year at the pace so far"
        )
    today, cache = told["today"], told["cache"]
    out.print(
        f"shadow today: {today['calls']} calls, ${today['usd']:.2f} (${told['total_usd']:.2f} in all); "
        f"cache: {cache['hits']} hits, {cache['misses']} misses"
    )
    for each in told["notices"]:
        out.print(quoted(f"cannot work: {each['text']} (said {utc(each['at'])})"))
    for each in told["passed_by"][:MOST_REASONS]:
        out.print(quoted(f"{each['calls']:,} calls {each['what']}: {each['reason']}"))
    if len(told["passed_by"]) > MOST_REASONS:
        out.print(f"and {len(told['passed_by']) - MOST_REASONS} more reasons: promptguard status --json")


def _spaced(at: str | None) -> str:
    """Return a time that may be broken into two lines where a terminal is narrow."""
    return (at or "").replace("T", " ")


def _show_identity(report: Report) -> None:
    from promptguard.report.identity_words import NO_VERDICT, sentence, worth_telling
    from promptguard.terminal.verdict import console, quoted

    facts = worth_telling(report.identity_facts)
    if not facts:
        return
    out = console()
    out.print("\nwho answered:")
    for fact in facts[:MOST_FACTS]:
        out.print(quoted(f"  {sentence(fact)}"))
    if len(facts) > MOST_FACTS:
        out.print(f"  and {len(facts) - MOST_FACTS} more: promptguard status --json")
    out.print(NO_VERDICT)
