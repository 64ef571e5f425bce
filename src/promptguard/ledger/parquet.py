"""Pairs as a Parquet file: the columns of the ledger's table, for tools that read tables. Needs pyarrow.

The header of the JSON lines (`pair_files`) is in the file's metadata, so a ledger takes each pair once, whichever of the
two it comes in. https://parquet.apache.org/docs/file-format/
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from promptguard.errors import InputFileError, MissingExtra
from promptguard.ledger import schema
from promptguard.ledger.pair_files import TEXTS, Tell, check, chunks_of, header_of, take_pairs
from promptguard.ledger.spool import Numbered

MAGIC = b"PAR1"
"""what such a file begins with"""
SUFFIX = ".parquet"
_HEADER = b"promptguard"
_ROWS = 10_000
"""of a row group"""


def write(ledger: str | Path, output: Path, *, texts: bool = False, stream: str = "") -> int:
    """Write a ledger's pairs to a file that only its owner reads; returns how many.

    Raises InputFileError and MissingExtra, before anything is written, and OSError.
    """
    arrow = _arrow()
    form = _schema(arrow, texts=texts).with_metadata({_HEADER: header_of(ledger, stream).encode()})
    done, waiting = 0, list[dict[str, Any]]()
    handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with (
        os.fdopen(handle, "wb") as file,
        _part("parquet").ParquetWriter(file, form, compression="zstd") as written,
    ):
        for chunk in chunks_of(ledger, texts=texts, stream=stream):
            waiting += (_flat(each) for each in chunk)
            done += len(chunk)
            if len(waiting) >= _ROWS:
                written.write_table(arrow.Table.from_pylist(waiting, schema=form))
                waiting = []
        if waiting:
            written.write_table(arrow.Table.from_pylist(waiting, schema=form))
    return done


def take(ledger: str | Path, path: str | Path, tell: Tell = lambda _pairs: None) -> int:
    """Add the pairs of a file to a ledger, as `pair_files.take_lines` does; returns how many were new.

    Raises InputFileError for a file that is none of these, MissingExtra, and what `ledger.door.Door` says.
    """
    arrow, name = _arrow(), str(path)
    try:
        with _part("parquet").ParquetFile(path) as file:
            header = (file.schema_arrow.metadata or {}).get(_HEADER, b"").decode("utf-8", "replace")
            return take_pairs(ledger, header, _pairs(file, name), name, tell)
    except arrow.ArrowInvalid as error:
        raise InputFileError(f"{name}: no Parquet file that can be read ({str(error)[:100]})") from None


def _pairs(file: Any, name: str) -> Iterator[Numbered]:
    number = 0
    for batch in file.iter_batches():
        for row in batch.to_pylist():
            number += 1
            try:
                found = _nested(row)
                check(found.row)
            except (ValueError, TypeError, KeyError) as error:
                raise InputFileError(f"{name}: row {number} is no pair ({error})") from None
            yield found


def _flat(each: Numbered) -> dict[str, Any]:
    row = dict(each.row)
    content: Any = row.pop("content", None)
    return {"id": each.number, **row, **(content or {})}


def _nested(row: dict[str, Any]) -> Numbered:
    number = row.pop("id")
    if not isinstance(number, int):
        raise TypeError("id is of another kind")
    content = {name: row.pop(name, None) for name in TEXTS}
    if content["question"] is not None:
        row["content"] = content
    return Numbered(number, row)  # type: ignore[arg-type]


def _schema(arrow: Any, *, texts: bool) -> Any:
    kinds = {int: arrow.int64(), float: arrow.float64(), str: arrow.string(), bytes: arrow.binary()}
    columns = [*schema.pair.columns, *((schema.content.c[name] for name in TEXTS) if texts else ())]
    return arrow.schema([
        arrow.field(column.name, kinds[column.type.python_type], nullable=column.nullable or column.table is schema.content)
        for column in columns
    ])  # fmt: skip


def _arrow() -> Any:
    """Return pyarrow. Raises MissingExtra."""
    try:
        return import_module("pyarrow")
    except ImportError:
        raise MissingExtra(
            "Parquet files need pyarrow; run: python -m pip install 'promptguard-shadow[parquet]'"
        ) from None


def _part(name: str) -> Any:
    return import_module(f"pyarrow.{name}")
