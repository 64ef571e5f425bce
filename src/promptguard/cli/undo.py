"""`promptguard undo`: take one action back."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from promptguard.cli.place import OPTION, ledger_or_setting, who
from promptguard.core.epochs import shown_group

SHORT = "take back what was done about an alarm"
EXAMPLES = ("promptguard undo 12        the route that `promptguard status` calls 12 ends in every process",)


def run(
    action: Annotated[int, typer.Argument(help="the action's number, as `promptguard status` tells it")],
    ledger: Annotated[str | None, OPTION] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Take one action back: a route ends, calls no longer raise, the cache is asked again. The alarm goes on standing.

    It is not done again until the alarm is acknowledged. Exit codes: 0 taken back, 2 no such action, or it has ended.
    """
    from promptguard.alarms import undo
    from promptguard.terminal.verdict import console, quoted

    done = undo(ledger_or_setting(ledger), action, by=who())
    if as_json:
        json.dump(asdict(done), sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    console().print(
        quoted(
            f"undone: {shown_group(done.group)}: {done.sentence()} no more; every process follows within seconds"
        )
    )
