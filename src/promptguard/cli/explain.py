"""`promptguard explain`: one alarm in full, and what can be done about it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from promptguard.cli import exits
from promptguard.cli.place import OPTION, complete_group, complete_stream, ledger_or_setting
from promptguard.core.epochs import shown_group
from promptguard.core.mistakes import nearest
from promptguard.core.streams import STREAMS
from promptguard.errors import ConfigurationError
from promptguard.verdict.words import utc

if TYPE_CHECKING:
    from promptguard.report.explained import Explained
    from promptguard.report.overview import Overview, Row

SHORT = "one alarm in full: what changed, since when, what to do"
EXAMPLES = (
    "promptguard explain                    the newest alarm",
    "promptguard explain triage@3",
    "promptguard explain triage@3 --stream replay --json",
)


def run(
    group: Annotated[
        str | None,
        typer.Argument(
            help="prompt and version, as `promptguard status` names it; the newest alarm without one",
            autocompletion=complete_group,
        ),
    ] = None,
    stream: Annotated[
        str | None,
        typer.Option(help="candidate, replay, canary, repeat or placebo", autocompletion=complete_stream),
    ] = None,
    ledger: Annotated[str | None, OPTION] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Tell of one alarm everything there is: what changed, since when, by how much, what was done, what to do now.

    Works for prompts without an alarm as well. Exit codes: 0 no drift, 1 drift, 2 wrong use, 3 unmeasured.
    """
    from promptguard.report.explained import explain
    from promptguard.report.overview import read_overview

    if stream is not None and stream not in STREAMS:
        meant = nearest(stream, STREAMS)
        raise ConfigurationError(
            f"--stream takes {', '.join(STREAMS)}, not {stream!r}"
            + (f"; did you mean {meant!r}?" if meant else "")
        )
    place = ledger_or_setting(ledger)
    overview = read_overview(place)
    row = _meant(overview, group, stream)
    told = explain(place, row)
    if as_json:
        json.dump(document(told), sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        from promptguard.terminal.explained import explained_parts
        from promptguard.terminal.verdict import console

        out = console()
        others = [each for each in overview.alarms if each is not row]
        for part in explained_parts(told, others):
            out.print(part)
    raise typer.Exit(exits.NO_DRIFT if row.acknowledged else exits.of_status(row.status))


def _meant(overview: Overview, group: str | None, stream: str | None) -> Row:
    """Return the row that is asked for: what needs somebody stands first. Raises ConfigurationError where there is none."""
    rows = [
        row
        for row in overview.rows
        if stream in {None, row.stream} and group in {None, shown_group(row.group)}
    ]
    if group is None:
        rows = [row for row in rows if row.alarming]
    if rows:
        return rows[0]
    if group is None:
        of = "" if stream is None else f" of the {stream} stream"
        raise ConfigurationError(
            f"{overview.ledger}: no alarm{of} stands; name a GROUP, as `promptguard status --all` lists them"
        )
    known = {shown_group(row.group) for row in overview.rows}
    if group in known:
        raise ConfigurationError(f"{group} has no pairs of the {stream} stream; see promptguard status --all")
    meant = nearest(group, known)
    raise ConfigurationError(
        f"{overview.ledger}: nothing was judged for {group!r}"
        + (f"; did you mean {meant!r}?" if meant else "; see promptguard status --all")
    )


def document(told: Explained) -> dict[str, object]:
    """Return what the command tells, as JSON values."""
    row = told.row
    moments = {
        "since": row.since,
        "since_low": row.since_low,
        "since_high": row.since_high,
        "alarm_at": row.alarm_at,
        "last_pair_at": row.last_at,
    }
    return {
        "schema": 1,
        "ledger": told.ledger,
        "at": utc(told.now),
        "group": row.group,
        "stream": row.stream,
        "status": row.status,
        "acknowledged": row.acknowledged,
        **{name: None if at is None else utc(at) for name, at in moments.items()},
        "asked": row.control,
        "compared_with": row.candidate,
        "sentence": told.report.verdict.sentence(),
        "verdict": told.report.verdict.to_dict(),
        "events": [
            {"at": utc(event.at), "kind": event.kind, "stream": event.stream, "holds": event.holds}
            for event in told.events
        ],
        "steps": [asdict(step) for step in told.steps],
    }
