"""`promptguard import`: pairs from JSON lines or Parquet into a ledger."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from promptguard.cli.place import OPTION, ledger_or_setting
from promptguard.errors import InputFileError
from promptguard.verdict.words import counted

SHORT = "add pairs from JSON lines or Parquet to a ledger"
EXAMPLES = (
    "promptguard import pairs.jsonl --ledger new",
    "zcat pairs.jsonl.gz | promptguard import - --ledger new",
    "promptguard import pairs.parquet --ledger new",
)


def run(
    file: Annotated[str, typer.Argument(help="file that `promptguard export` wrote; - for standard input")],
    ledger: Annotated[str | None, OPTION] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Add the pairs of a file to a ledger; what it has of them already is left out, so a run that was cut off is run again.

    An empty ledger takes the file's seed; pairs that were measured with another are refused. Exit codes: 0 added, 2 wrong
    use, a file that cannot be read, or a ledger that cannot be used.
    """
    from promptguard.ledger.pair_files import take_lines
    from promptguard.ledger.trouble import LedgerUnavailable

    place = ledger_or_setting(ledger)
    try:
        added = take_lines(place, sys.stdin, "standard input") if file == "-" else _added(place, Path(file))
    except LedgerUnavailable as error:
        raise InputFileError(str(error)) from None
    except UnicodeDecodeError:
        raise InputFileError(f"{file}: not UTF-8") from None
    except OSError as error:
        raise InputFileError(f"{file}: {error.strerror or type(error).__name__}") from None
    if as_json:
        json.dump({"added": added}, sys.stdout)
        sys.stdout.write("\n")
    else:
        sys.stdout.write(f"{counted(added, 'pair')} added\n")


def _added(place: str | Path, file: Path) -> int:
    """Take a file's pairs, whichever of the two formats it has."""
    from promptguard.ledger import parquet
    from promptguard.ledger.pair_files import take_lines

    with file.open("rb") as found:
        is_table = found.read(len(parquet.MAGIC)) == parquet.MAGIC
    if is_table:
        return parquet.take(place, file)
    with file.open(encoding="utf-8") as lines:
        return take_lines(place, lines, str(file))
