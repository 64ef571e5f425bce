"""`promptguard report`: everything a ledger says, as one HTML file."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from promptguard.errors import ConfigurationError


def run(
    ledger: Annotated[str, typer.Option(help="ledger directory")] = ".promptguard",
    output: Annotated[str, typer.Option("-o", "--output", help="HTML file to write")] = "report.html",
    as_json: Annotated[
        bool, typer.Option("--json", help="print the report's figures instead of writing a page")
    ] = False,
) -> None:
    """Write what a ledger says as one HTML file that needs no network.

    Exit codes: 0 written, 2 wrong use.
    """
    from promptguard.reporting import full_report

    report = full_report(ledger)
    if as_json:
        json.dump(report.to_dict(), sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    from promptguard.dashboard import render_report

    write_private(Path(output), render_report(report))
    sys.stdout.write(f"{output}: {report.status}\n")


def check_writable(path: Path) -> None:
    """Raise ConfigurationError now when a page could not be written there later; leaves everything as it is."""
    new = not path.exists()
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    except OSError as error:
        raise _unwritable(path, error) from error
    if new:
        path.unlink()


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone may read: the page can hold prompts and answers."""
    try:
        with os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(text)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"{path} cannot be written ({error.strerror}): give another file with -o")
