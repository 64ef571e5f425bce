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
    application: Annotated[
        str | None,
        typer.Option(
            help="what to call the application on the page", envvar="OTEL_SERVICE_NAME", show_envvar=True
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="print the report's figures instead of writing a page")
    ] = False,
) -> None:
    """Write what a ledger says as one HTML file that needs no network.

    Exit codes: 0 written, 2 wrong use.
    """
    from promptguard.dashboard.file import check_writable, write_private

    place = ledger_or_setting(ledger)
    if as_json:
        from promptguard.report.full import full_report

        json.dump(full_report(place).to_dict(), sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    from promptguard.dashboard import render_report
    from promptguard.report.whole import read_whole

    whole = read_whole(place, application=application or "")
    check_writable(Path(output))
    write_private(Path(output), render_report(whole))
    sys.stdout.write(f"{output}: {whole.overview.status}\n")
