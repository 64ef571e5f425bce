"""`promptguard status`: where every stream and group stands now."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptguard.cli import exits
from promptguard.cli.place import OPTION, ledger_or_setting
from promptguard.core.epochs import shown_group
from promptguard.core.streams import SELF_TESTS
from promptguard.errors import ConfigurationError
from promptguard.verdict.words import utc

if TYPE_CHECKING:
    from promptguard.core.actions import Actions
    from promptguard.core.identity import IdentityFact
    from promptguard.report.model import Report, StreamReport

SCHEMA = 1
"""Version of the JSON document; it grows by members, and is counted up if one ever goes or changes its meaning."""
SHORTEST_INTERVAL = 0.2

SHORT = "where every prompt stands now"
EXAMPLES = (
    "promptguard status",
    "promptguard status --watch                   the same, live",
    "promptguard status --json | jq .status",
)


def run(
    ledger: Annotated[str | None, OPTION] = None,
    every: Annotated[
        bool, typer.Option("--all", help="list prompts without a change, too, however many")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="show it again and again, until interrupted")
    ] = False,
    interval: Annotated[float, typer.Option(help="seconds between two looks of --watch")] = 2.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="print JSON (docs/reference/status.schema.json)")
    ] = False,
) -> None:
    """Tell where every prompt of a ledger stands, since when, and what to do next.

    In a pipe names are whole and lines are not broken, unless COLUMNS says how wide they may be. Exit codes: 0 no drift,
    1 drift, 2 wrong use, 3 unmeasured.
    """
    if watch and as_json:
        raise ConfigurationError(
            "--watch shows a screen again and again, --json one document: give one of them"
        )
    if not interval >= SHORTEST_INTERVAL:
        raise ConfigurationError(f"--interval takes seconds of at least {SHORTEST_INTERVAL}")
    place = ledger_or_setting(ledger)
    if as_json:
        raise typer.Exit(exits.of_status(_print_json(place)))
    from promptguard.report.status import read_situation

    if watch:
        from promptguard.terminal.watching import watch as again_and_again

        status = again_and_again(lambda memory: read_situation(place, memory=memory), interval, every=every)
        raise typer.Exit(exits.of_status(status))
    from promptguard.terminal.standing import standing_parts
    from promptguard.terminal.verdict import console

    situation, out = read_situation(place), console(unbroken=True)
    for part in standing_parts(situation, out, every=every):
        out.print(part)
    raise typer.Exit(exits.of_status(situation.overview.status))


def _print_json(place: str) -> str:
    from promptguard.report.read import read_report

    now = time.time()
    report = read_report(place, now=now)
    json.dump(summary(report, now), sys.stdout, indent=2)
    sys.stdout.write("\n")
    return report.status


def summary(report: Report, now: float) -> dict[str, Any]:
    """Return what the command tells, as docs/reference/status.schema.json describes it; `now` is in Unix seconds."""
    from promptguard.report.alerts import read_undelivered
    from promptguard.report.suggestions import suggestions

    today = time.strftime("%Y-%m-%d", time.gmtime(now))
    spent = next((day for day in report.days if day.day == today), None)
    rows = [row for stream in report.streams for row in stream.rows]
    return {
        "schema": SCHEMA,
        "ledger": report.ledger,
        "at": utc(now),
        "status": report.status,
        "groups": {"measured": report.measured[0], "of": report.measured[1]},
        "rows": [_row(row, now) for row in rows],
        "done": _done(report),
        "actions": _actions(report),
        "undelivered": [asdict(each) for each in read_undelivered(report.ledger)],
        "today": {"calls": spent.calls if spent else 0, "usd": spent.usd if spent else 0.0},
        "total_usd": sum(day.usd for day in report.days),
        "false_alarms_per_year": report.false_alarms_per_year,
        "cache": {"hits": report.cache.hits, "misses": report.cache.misses},
        "passed_by": [asdict(each) for each in report.passed_by],
        "suggestions": [
            {**asdict(each), "sentence": each.sentence} for each in suggestions(report.passed_by)
        ],
        "notices": [asdict(each) for each in report.notices],
        "identity": [_fact(fact) for fact in report.identity_facts],
    }


def _fact(fact: IdentityFact) -> dict[str, Any]:
    """Return what one kind of fact has to say, and the sentence."""
    from promptguard.report.identity_words import sentence

    told = {name: value for name, value in asdict(fact).items() if value not in ("", (), {})}
    return {**told, "sentence": sentence(fact)}


def _row(row: StreamReport, now: float) -> dict[str, Any]:
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
        "last_pair_at": utc(row.last.at) if row.last else None,
        "first_pair_at": utc(told.window.first_at) if told.window else None,
        "window": None if told.window is None else asdict(told.window),
        "last_pair_age_seconds": round(now - row.last.at, 1) if row.last else None,
        "as_before_since": None if row.as_before_since is None else utc(row.as_before_since),
        "log10_evidence": told.log10_evidence,
        "log10_threshold": told.log10_threshold,
        "sentence": told.sentence(),
    }


def _actions(report: Report) -> list[dict[str, Any]]:
    """Return what was done about alarms, and whether it holds now."""
    return [
        {
            **asdict(done),
            "at": utc(done.at),
            "ended_at": None if done.ended_at is None else utc(done.ended_at),
            "in_force": done.in_force,
            "sentence": done.sentence(),
        }
        for done in _folded(report).found.values()
    ]


def _folded(report: Report) -> Actions:
    from promptguard.core.actions import Actions

    found = Actions()
    for noted in report.actions:
        found.apply({each.name: getattr(noted, each.name) for each in fields(noted)})
    return found


def _done(report: Report) -> list[str]:
    """Return what holds now of what was done about alarms, one line an action; dry runs of alarms that stand as well."""
    from promptguard.core.actions import nothing_holds

    lines, actions = [], _folded(report)
    for done in actions.found.values():
        if not done.ended:
            back = f"; taken back by: promptguard undo {done.id}" if done.in_force else ""
            lines.append(f"{shown_group(done.group)}, {utc(done.at)}: {done.sentence()} since then{back}")
    if report.status == "drift" and not any("dry run" not in line for line in lines):
        alarms = [
            (row.group or "", row.alarm.at)
            for stream in report.streams
            for row in stream.rows
            if row.alarm
            and row.status == "drift"
            and not row.acknowledged
            and stream.stream not in SELF_TESTS
        ]
        lines.append(nothing_holds(actions.ended_of(alarms)))
    return lines
