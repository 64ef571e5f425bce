"""`promptguard ledger copy`: move a ledger to another place."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from promptguard.errors import InputFileError
from promptguard.verdict.words import counted

SHORT = "copy a ledger between directory and database"
app = typer.Typer(help="Whole ledgers.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _ledger() -> None:
    """Whole ledgers."""


@app.command("copy")
def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="directory or address of the ledger")],
    target: Annotated[str, typer.Argument(metavar="TO", help="directory or address that holds none yet")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Copy a ledger: pairs, verdicts, alarms, stored requests, prompts, its identity and its secrets.

    Cut off, it goes on where it was when it is run again; run again later, it brings over what has come since, until
    something writes to the copy. End what writes to FROM before the last run. An address may also be given by a variable:
    "$PROMPTGUARD_LEDGER". Exit codes: 0 copied, 2 wrong use, or a place that cannot be used.
    """
    from promptguard.keeping import copy_secret
    from promptguard.ledger.copying import copy_ledger
    from promptguard.ledger.trouble import LedgerUnavailable

    progress = _Progress(sys.stderr.isatty())
    try:
        done = copy_ledger(source, target, progress.tell)
        copy_secret(source, target)
    except LedgerUnavailable as error:
        raise InputFileError(str(error)) from None
    finally:
        progress.end()
    if as_json:
        json.dump({"rows": done.rows, "pairs": done.pairs}, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        rows = sum(done.rows.values())
        sys.stdout.write(f"copied: {counted(done.pairs, 'pair')}, {counted(rows, 'row')} in all\n")


class _Progress:
    """Says on a terminal how far it is."""

    def __init__(self, is_terminal: bool) -> None:
        self._is_terminal = is_terminal
        self._rows: dict[str, int] = {}

    def tell(self, table: str, rows: int) -> None:
        self._rows[table] = self._rows.get(table, 0) + rows
        if self._is_terminal:
            sys.stderr.write(f"\r{table}: {self._rows[table]:,} rows\033[K")
            sys.stderr.flush()

    def end(self) -> None:
        if self._is_terminal and self._rows:
            sys.stderr.write("\r\033[K")
