"""`promptguard acknowledge`: say that an alarm is known, and begin to watch anew."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from promptguard.cli.place import OPTION, complete_group, complete_stream, ledger_or_setting, who
from promptguard.core.epochs import shown_group
from promptguard.errors import ConfigurationError

if TYPE_CHECKING:
    from promptguard.core.actions import Done

SHORT = "say that an alarm is known, and watch anew"
EXAMPLES = (
    "promptguard acknowledge triage@3",
    "promptguard acknowledge --all",
    "promptguard acknowledge triage@3 --accept    today's model is the reference from now on",
)


def run(
    group: Annotated[
        str | None,
        typer.Argument(
            help="prompt and version, or (all), as `promptguard status` names it",
            autocompletion=complete_group,
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="every alarm of the ledger")] = False,
    stream: Annotated[
        str | None,
        typer.Option(
            help="only this stream's alarm; what was done about the prompt ends all the same",
            autocompletion=complete_stream,
        ),
    ] = None,
    accept: Annotated[
        bool,
        typer.Option(
            "--accept",
            help="make today's answers the reference: what is from before is not compared with any more",
        ),
    ] = False,
    ledger: Annotated[str | None, OPTION] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Acknowledge alarms: routes end, calls no longer raise, and a new epoch with its own alpha begins.

    Exit codes: 0 acknowledged, 2 wrong use or no such alarm.
    """
    from promptguard.alarms import acknowledge

    if (group is None) != every:
        raise ConfigurationError("name one GROUP, or give --all for every alarm of the ledger")
    place, moments = ledger_or_setting(ledger), list[float]()

    def clock() -> float:
        moments.append(time.time())
        return moments[-1]

    found = acknowledge(place, group, stream=stream, accept=accept, by=who(), clock=clock)
    ended = _ended(place, moments)
    if as_json:
        json.dump(_told(found, ended), sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    for name, whose in found:
        sys.stdout.write(f"acknowledged: {shown_group(whose)}, {name} stream; a new epoch begins\n")
        if accept and name == "candidate":
            sys.stdout.write(
                "  it is compared with the same model no more, which would alarm again: name a snapshot of today in "
                "Shadow(model=...)\n"
            )
    for done in ended:
        sys.stdout.write(
            f"ended with it, action {done.id}: {shown_group(done.group)}: {done.sentence()} no more\n"
        )
    if not accept and any(name == "replay" for name, _ in found):
        sys.stdout.write(
            "answers from before the change are still compared with today's; --accept makes today's the reference\n"
        )


def _told(found: Sequence[tuple[str, str]], ended: Sequence[Done]) -> list[dict[str, object]]:
    """Return what --json prints: what ended stands in the first row of its prompt, and so once."""
    told: list[dict[str, object]] = []
    seen: set[str] = set()
    for name, whose in found:
        numbers = [] if whose in seen else [done.id for done in ended if done.group == whose]
        told.append({"stream": name, "group": whose, "ended": numbers})
        seen.add(whose)
    return told


def _ended(place: str, moments: Sequence[float]) -> list[Done]:
    """Return the actions that ended with what was acknowledged at these moments; none where that cannot be read."""
    from promptguard.errors import InputFileError
    from promptguard.report.alerts import done_in

    try:
        found = done_in(place).found.values()
    except InputFileError:
        return []  # it is acknowledged, and that is what was asked for
    ended = (done for done in found if done.ended == "acknowledged" and done.ended_at in moments)
    return [done for done in ended if done.kind != "rollback" and not done.dry_run]
