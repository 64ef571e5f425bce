"""Prompts in a ledger: versions that were pushed, which never change, and the moves of their labels, append-only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, func, insert, select

from promptguard.ledger import schema
from promptguard.ledger.engines import add_new
from promptguard.ledger.reading import reading
from promptguard.ledger.store import Ledger

Key = tuple[str, str]
"""(name, version)"""
MoveLine = tuple[str, str, bytes]
"""(name, label, the line of labels.jsonl)"""
Moved = Callable[[Sequence[bytes]], Sequence[bytes]]
"""from the lines of one label so far to those that are added"""


class StoredVersion(NamedTuple):
    """A version as it was pushed."""

    digest: str
    text: bytes


class Contents(NamedTuple):
    """All prompts of a ledger; `state` is another text whenever anything was pushed or moved since."""

    state: str
    versions: dict[Key, StoredVersion]
    moves: list[MoveLine]
    """oldest first"""


class StoredPrompts:
    """The prompts of a ledger; methods raise what `ledger.door.Door` says."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def put(self, versions: Mapping[Key, StoredVersion], *, at: float, by: str) -> dict[Key, StoredVersion]:
        """Keep versions that are not there; returns those that were there with another content, which stay as they are."""
        table = schema.prompt_version
        other: dict[Key, StoredVersion] = {}
        with self._ledger.transaction() as connection:
            for (name, version), given in versions.items():
                row = {
                    "name": name,
                    "version": version,
                    "digest": given.digest,
                    "text": given.text,
                    "at": at,
                    "by": by,
                }
                if add_new(connection, table, row):
                    continue
                query = select(table.c.digest, table.c.text).where(
                    table.c.name == name, table.c.version == version
                )
                there = StoredVersion(*connection.execute(query).one())
                if there.digest != given.digest:
                    other[name, version] = there
        return other

    def move(self, name: str, label: str, moved: Moved) -> Sequence[bytes]:
        """Add the lines that `moved` makes of those there are, in one transaction; returns what was added."""
        table = schema.prompt_move
        query = select(table.c.line).where(table.c.name == name, table.c.label == label).order_by(table.c.id)
        with self._ledger.transaction(alone="prompt_move") as connection:
            added = moved(connection.execute(query).scalars().all())
            for line in added:
                connection.execute(insert(table).values(name=name, label=label, line=line))
        return added


def contents(directory: str | Path, known: str | None = None) -> Contents | None:
    """Return the prompts of a ledger; None where its state is the known one. Raises InputFileError."""
    with reading(directory) as connection:
        state = _state(connection)
        if state == known:
            return None
        return Contents(state, _versions(connection), _moves(connection))


def _state(connection: Connection) -> str:
    """Return what changes whenever there is something new: both tables only grow, and another file has another id."""
    meta, version = schema.meta, schema.prompt_version
    identity = connection.execute(select(meta.c.value).where(meta.c.name == "ledger_id")).scalar_one_or_none()
    count = connection.execute(select(func.count()).select_from(version)).scalar_one()
    last = connection.execute(select(func.max(schema.prompt_move.c.id))).scalar_one_or_none()
    return f"{bytes(identity or b'').hex()} {count} {last or 0}"


def _versions(connection: Connection) -> dict[Key, StoredVersion]:
    table = schema.prompt_version
    rows = connection.execute(select(table.c.name, table.c.version, table.c.digest, table.c.text))
    return {(row.name, row.version): StoredVersion(row.digest, row.text) for row in rows}


def _moves(connection: Connection) -> list[MoveLine]:
    table = schema.prompt_move
    rows = connection.execute(select(table.c.name, table.c.label, table.c.line).order_by(table.c.id))
    return [(row.name, row.label, row.line) for row in rows]
