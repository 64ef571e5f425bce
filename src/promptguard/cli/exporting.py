"""`promptguard export`: the pairs of a ledger as JSON lines or Parquet."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from promptguard.cli.place import OPTION, ledger_or_setting
from promptguard.errors import ConfigurationError
from promptguard.verdict.words import counted

SHORT = "write a ledger's pairs as JSON lines or Parquet"
EXAMPLES = (
    "promptguard export -o pairs.jsonl",
    "promptguard export --stream candidate | gzip > pairs.jsonl.gz",
    "promptguard export -o pairs.parquet",
)


def run(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="file to write (0600); else to standard output")
    ] = None,
    stream: Annotated[str, typer.Option(help="only this stream's pairs")] = "",
    texts: Annotated[bool, typer.Option("--texts", help="with recorded questions and answers")] = False,
    ledger: Annotated[str | None, OPTION] = None,
) -> None:
    """Write the pairs of a ledger: one JSON line each, in the order in which they are judged, behind a header.

    A file whose name ends in .parquet has them as a table (needs promptguard-shadow[parquet]), the header in its metadata.

    The header has the seed that the features are keyed with: keep the file as you keep the ledger. Exit codes: 0 written,
    2 wrong use, or a ledger that cannot be read.
    """
    from promptguard.ledger import parquet
    from promptguard.ledger.pair_files import compared_in, lines_of

    place = ledger_or_setting(ledger)
    if output is None:
        for line in lines_of(place, texts=texts, stream=stream):
            sys.stdout.write(f"{line}\n")
        return
    try:
        compared = compared_in(place, stream)
        if output.suffix == parquet.SUFFIX:
            count = parquet.write(place, output, texts=texts, stream=stream)
        else:
            count = _write_lines(output, lines_of(place, texts=texts, stream=stream))
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ConfigurationError(f"{output} cannot be written ({why}): give another file with -o") from None
    sys.stderr.write(f"{output}: {counted(count, 'pair')} ({compared:,} compared)\n")


def _write_lines(output: Path, lines: Iterator[str]) -> int:
    """Write a header and pairs; returns how many pairs there were."""
    first, count = next(lines), 0  # a ledger that cannot be read leaves the file that is there alone
    with os.fdopen(
        os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(f"{first}\n")
        for line in lines:
            file.write(f"{line}\n")
            count += 1
    return count
