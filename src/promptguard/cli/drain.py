"""`promptguard drain`: what short-lived processes have left, into the ledger that is judged."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from promptguard.errors import InputFileError
from promptguard.verdict.words import counted

SHORT = "take what short-lived processes have left into a ledger"
EXAMPLES = (
    "promptguard drain /var/spool/promptguard --into postgresql+psycopg://db/watch",
    "promptguard drain /mnt/functions/promptguard --into .promptguard --json",
)


def run(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="the ledger directory that those processes were given")
    ],
    into: Annotated[str, typer.Option(help="the ledger that is judged")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Take pairs out of a directory that short-lived processes write to, which may be in use; each is taken once.

    Run it again after it was cut off, and as often as you like. Exit codes: 0 taken, 2 wrong use, nothing of that kind,
    or a ledger that cannot be used.
    """
    from promptguard.cli.place import ledger_or_setting
    from promptguard.ledger.draining import drain
    from promptguard.ledger.trouble import LedgerUnavailable

    place = ledger_or_setting(into)
    try:
        done = drain(directory, place)
    except LedgerUnavailable as error:
        raise InputFileError(str(error)) from None
    except OSError as error:
        raise InputFileError(f"{directory}: {error.strerror or type(error).__name__}") from None
    if as_json:
        json.dump({"pairs": done.pairs, "compared": done.compared, "files": done.files}, sys.stdout)
        sys.stdout.write("\n")
    else:
        sys.stdout.write(f"{counted(done.pairs, 'pair')} taken into {place} ({done.compared:,} compared)\n")
