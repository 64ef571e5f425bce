"""Ledgers for the tests of trouble: a sound one with an alarm in it, and every way in which its file may be damaged."""

# ruff: noqa: S608 - statements are put together from the names below, and no input of anybody's
from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from promptguard.background.engine import Background
from promptguard.core.options import Drift
from promptguard.drift import Answer, vectorise
from promptguard.ledger.schema import SCHEMA_VERSION

FILE = "ledger.sqlite3"
PAGE = 4096
NOBODY = 65534
GROUPS = ("support@2", "triage@1")


def sound_ledger(directory: Path) -> None:
    """Make a ledger whose first group has drifted, with verdicts, counters and an alarm."""
    background = Background(
        directory, Drift(), (), record_content=None, queue=1, threads=1, wall=lambda: 60.0
    )
    ledger = background.ledger
    same, other = Answer("Yes, of course."), Answer("No. That is not possible at all, sorry!")
    for number in range(60):
        for group in GROUPS:
            changed = group == GROUPS[0] and number > 20
            vector = vectorise(same, other if changed else same, seed=ledger.seed).to_bytes()
            row = {
                "stream": "candidate", "epoch": 1, "group": group, "at": float(number), "call": number,
                "outcome": "compared", "reason": "", "asked": "m", "control_model": "m", "candidate_model": "n",
            }  # fmt: skip
            ledger.write_pairs([{**row, "vector": vector}])
    ledger.count({("cache", "hit"): 3.0, ("group", GROUPS[0]): 60.0})
    ledger.add_spending({("1970-01-01", "shadow"): (60, 0.5)})
    assert background.flush(20.0)
    background.close(10.0)


def copy_of(sound: Path, directory: Path) -> Path:
    """Copy a sound ledger, and return the copy's file."""
    shutil.copytree(sound, directory)
    return directory / FILE


def _written(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _overwritten(path: Path, page: int) -> None:
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE + (100 if page == 1 else 0))
        file.write(bytes(range(1, 251)) * 15)


def _root_of(path: Path, table: str) -> int:
    return int(_executed(path, f"SELECT rootpage FROM sqlite_master WHERE name = '{table}'")[0][0])


def _executed(path: Path, *statements: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.text_factory = bytes
        for statement in statements:
            found = connection.execute(statement).fetchall()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return found


def _loosened(path: Path, table: str, column: str, value: str) -> None:
    """Put a value into a column that refuses it: the table without its rules, as another program may write it."""
    _executed(
        path,
        f'CREATE TABLE loose AS SELECT * FROM "{table}"',
        f'UPDATE loose SET "{column}" = {value}',
        f'DROP TABLE "{table}"',
        f'ALTER TABLE loose RENAME TO "{table}"',
    )


def _foreign(path: Path) -> None:
    path.unlink()
    _executed(path, "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT)")


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _free(name: str) -> Path:
    """Return a path at which nothing is any more."""
    path = Path(name)
    path.unlink(missing_ok=True)
    return path


def _half(path: Path) -> None:
    _written(path, path.read_bytes()[: path.stat().st_size // PAGE // 2 * PAGE + 17])


NOT_TEXT = "CAST(x'ff41' AS TEXT)"

UNREADABLE: dict[str, Callable[[Path], object]] = {
    "zero bytes": lambda path: _written(path, b""),
    "not SQLite": lambda path: _written(path, b"not a database, whatever its name says" * 200),
    "header only": lambda path: _written(path, path.read_bytes()[:100]),
    "header's page size": lambda path: _written(
        path, path.read_bytes()[:16] + b"\0\3" + path.read_bytes()[18:]
    ),
    "truncated": _half,
    "schema page": lambda path: _overwritten(path, 1),
    "verdict page": lambda path: _overwritten(path, _root_of(path, "verdict")),
    "table missing": lambda path: _executed(path, "DROP TABLE occurrence"),
    "verdicts missing": lambda path: _executed(path, "DROP TABLE verdict"),
    "main table missing": lambda path: _executed(path, "DROP TABLE pair"),
    "a view for a table": lambda path: _executed(
        path, "DROP TABLE verdict", "CREATE VIEW verdict AS SELECT 1 AS a"
    ),
    "column missing": lambda path: _executed(path, "ALTER TABLE verdict DROP COLUMN document"),
    "document NULL": lambda path: _loosened(path, "verdict", "document", "NULL"),
    "document a number": lambda path: _loosened(path, "verdict", "document", "17"),
    "document too deep": lambda path: _executed(
        path, "UPDATE verdict SET document = CAST(replace(hex(zeroblob(30000)), '00', '[') AS BLOB)"
    ),
    "document no JSON": lambda path: _executed(path, "UPDATE verdict SET document = x'7b7b'"),
    "document a list": lambda path: _executed(path, "UPDATE verdict SET document = CAST('[1, 2]' AS BLOB)"),
    "document of nothing": lambda path: _executed(path, "UPDATE verdict SET document = CAST('{}' AS BLOB)"),
    "document cut off": lambda path: _executed(
        path, "UPDATE verdict SET document = substr(document, 1, 200)"
    ),
    "detail no JSON": lambda path: _executed(path, "UPDATE occurrence SET detail = x'00ff'"),
    "detail a number": lambda path: _executed(path, "UPDATE occurrence SET detail = CAST('5' AS BLOB)"),
    "stream not UTF-8": lambda path: _executed(path, f"UPDATE verdict SET stream = {NOT_TEXT}"),
    "kind not UTF-8": lambda path: _executed(path, f"UPDATE occurrence SET kind = {NOT_TEXT}"),
    "epoch a word": lambda path: _loosened(path, "verdict", "epoch", "'many'"),
    "day a blob": lambda path: _loosened(path, "spend", "day", "x'00ff'"),
    "calls a word": lambda path: _loosened(path, "spend", "calls", "'many'"),
    "USD a word": lambda path: _loosened(path, "spend", "usd", "'much'"),
    "sum a blob": lambda path: _loosened(path, "tally", "outcome", "x'00ff'"),
    "counter NULL": lambda path: _loosened(path, "counter", "value", "NULL"),
    "version a word": lambda path: _executed(
        path, "UPDATE meta SET value = x'ff' WHERE name = 'schema_version'"
    ),
    "version NULL": lambda path: _loosened(path, "meta", "value", "NULL"),
    "version negative": lambda path: _executed(
        path, "UPDATE meta SET value = CAST('-1' AS BLOB) WHERE name = 'schema_version'"
    ),
    "header's schema format": lambda path: _written(
        path, path.read_bytes()[:44] + b"\0\0\0\x63" + path.read_bytes()[48:]
    ),
    "no version": lambda path: _executed(path, "DELETE FROM meta"),
    "newer": lambda path: _executed(
        path, f"UPDATE meta SET value = CAST('{SCHEMA_VERSION + 1}' AS BLOB) WHERE name = 'schema_version'"
    ),
    "foreign": _foreign,
    "directory": _directory,
    "pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "journal a pipe": lambda path: os.mkfifo(_free(f"{path}-journal")),
    "wal a directory": lambda path: _free(f"{path}-wal").mkdir(),
    "shm a link": lambda path: _free(f"{path}-shm").symlink_to(path),
    "dangling link": lambda path: (path.unlink(), path.symlink_to(path.parent / "nowhere")),
}
"""Kind of damage → what does it, to a file that nobody has open. No command may tell anything of such a ledger."""

HARMLESS: dict[str, Callable[[Path], object]] = {
    "WAL of garbage": lambda path: _written(Path(f"{path}-wal"), os.urandom(3 * PAGE)),
    "WAL of zeros": lambda path: _written(Path(f"{path}-wal"), bytes(3 * PAGE)),
    "shm of garbage": lambda path: _written(Path(f"{path}-shm"), os.urandom(8 * PAGE)),
    "journal of garbage": lambda path: _written(Path(f"{path}-journal"), os.urandom(2 * PAGE)),
    "both of garbage": lambda path: (
        _written(Path(f"{path}-wal"), os.urandom(3 * PAGE)),
        _written(Path(f"{path}-shm"), os.urandom(8 * PAGE)),
    ),
}
"""What SQLite itself recognises as not its own, so that the ledger reads as before."""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a ledger exclusively, as a backup program or a tool may."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Do as a user without rights; root may do everything, whatever a file's mode says."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
