"""`promptguard report`: everything a ledger says, as one HTML file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from promptguard.cli.place import OPTION, ledger_or_setting

SHORT = "write everything a ledger says as one HTML file"
EXAMPLES = (
    "promptguard report -o monday.html",
    "promptguard report --json > report.json",
)


def run(
    ledger: Annotated[str | None, OPTION] = None,
    output: Annotated[str, typer.Option("-o", "--output", help="HTML file to write")] = "report.html",
    as_json: Annotated[
        bool, typer.Option("--json", help="print the report's figures instead of writing a page")
    ] = False,
) -> None:
    """Write what a ledger says as one HTML file that needs no network.

    Exit codes: 0 written, 2 wrong use.
    """
    from promptguard.report.full import full_report

    report = full_report(ledger_or_setting(ledger))
    if as_json:
        json.dump(report.to_dict(), sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    from promptguard.dashboard import render_report
    from promptguard.dashboard.file import write_private

    write_private(Path(output), render_report(report))
    sys.stdout.write(f"{output}: {report.status}\n")
