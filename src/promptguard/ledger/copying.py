"""Copying a whole ledger to another place, between databases of any kind; cut off anywhere, it goes on from there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, delete, select, tuple_

from promptguard.errors import ConfigurationError
from promptguard.ledger import schema
from promptguard.ledger.engines import words
from promptguard.ledger.reading import reading
from promptguard.ledger.rows import storable
from promptguard.ledger.store import Ledger

MARK = "copied:"
"""Names in `meta` that begin so say how far a table was copied, and from which ledger."""
CHUNK = 1000
_GROWS = (
    "pair",
    "content",
    "occurrence",
    "claim",
    "outcome",
    "rollout",
    "prompt_move",
    "sighting",
    "identity",
)
"""Tables whose rows are copied once, in the order of their keys. All others are small, and copied whole each time."""

Told = Callable[[str, int], None]
"""Told a table's name and how many of its rows were copied now."""
_Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy has come to: rows by table, of this run."""

    rows: dict[str, int]

    @property
    def pairs(self) -> int:
        """Pairs that were copied now."""
        return self.rows.get("pair", 0)


def copy_ledger(source: str | Path, target: str | Path, tell: Told = lambda _table, _rows: None) -> Copied:
    """Copy every table of `source` to `target`, which becomes the same ledger: its identity and its seed go with it.

    Begun again, it goes on where it was cut off, and brings over what has come since; but not once something else writes to
    the target. Rows that others change while it runs may be copied as they were: end what writes, and run it once more.

    Raises ConfigurationError where the target holds something else, InputFileError where the source cannot be read, and
    what `ledger.door.Door` says of the target.
    """
    with reading(source) as connection:
        identity = _meta(connection).get("ledger_id", b"").hex()
    ledger = Ledger(target)
    ledger.open()
    _check(ledger, identity)
    done: dict[str, int] = {}
    for table in schema.metadata.sorted_tables:
        if table is not schema.meta:
            done[table.name] = _copy_table(source, ledger, table, tell)
    _copy_meta(source, ledger)
    return Copied(done)


def _meta(connection: Connection) -> dict[str, bytes]:
    return {row.name: bytes(row.value) for row in connection.execute(select(schema.meta))}


def _check(ledger: Ledger, identity: str) -> None:
    """Take the target for this copy. Raises ConfigurationError where it holds anything else."""
    with ledger.transaction(alone="copying") as connection:
        known = _meta(connection).get(f"{MARK}ledger")
        newest = words(connection).newest(connection, schema.pair)
        if known is None and newest:
            raise ConfigurationError(
                f"{ledger.place} holds a ledger already: copy to a place that holds none"
            )
        if known is not None and known.decode() != identity:
            raise ConfigurationError(f"{ledger.place} is the copy of another ledger")
        mark = _marked(connection, schema.pair)
        if known is not None and newest != (mark[0] if mark else 0):
            raise ConfigurationError(f"{ledger.place} has pairs of its own since it was copied: it is in use")
        _put_meta(connection, f"{MARK}ledger", identity.encode())


def _copy_table(source: str | Path, ledger: Ledger, table: Table, tell: Told) -> int:
    grows = table.name in _GROWS
    with ledger.transaction(writes=False) as connection:
        after = _marked(connection, table) if grows else None
        last_pair = _marked(connection, schema.pair)
    if not grows:
        with ledger.transaction() as connection:
            connection.execute(delete(table))
    total = 0
    for rows, key in _chunks(source, table, after, last_pair):
        with ledger.transaction() as connection:
            if table.name in ("pair", "content"):
                identity = next(iter(table.primary_key)).name
                words(connection).make_room(connection, table, [int(str(row[identity])) for row in rows])
            words(connection).append(connection, table, rows)
            words(connection).ids_given(connection, table)
            if grows:
                _put_meta(connection, f"{MARK}{table.name}", json.dumps(key).encode())
        total += len(rows)
        tell(table.name, len(rows))
    return total


def _storable(row: Mapping[Any, Any]) -> dict[str, object]:
    """Return a row whose texts every database takes."""
    return {name: storable(value) if isinstance(value, str) else value for name, value in row.items()}


def _chunks(
    source: str | Path, table: Table, after: _Key | None, last_pair: _Key | None
) -> Iterator[tuple[Sequence[dict[str, object]], list[object]]]:
    """Return the rows of a table in the order of its key, some at a time, each with the key of its last."""
    keys = [*table.primary_key.columns]
    while True:
        query = select(table).order_by(*keys).limit(CHUNK)
        if after is not None:
            query = query.where(tuple_(*keys) > tuple_(*after))
        if table is schema.content and last_pair is not None:
            query = query.where(table.c.pair_id <= last_pair[0])
        with reading(source) as connection:
            rows = [_storable(row._mapping) for row in connection.execute(query)]
        if not rows:
            return
        after = tuple(rows[-1][key.name] for key in keys)
        yield rows, list(after)
        if len(rows) < CHUNK:
            return


def _marked(connection: Connection, table: Table) -> _Key | None:
    found = _meta(connection).get(f"{MARK}{table.name}")
    return None if found is None else tuple(json.loads(found))


def _copy_meta(source: str | Path, ledger: Ledger) -> None:
    with reading(source) as connection:
        given = _meta(connection)
    with ledger.transaction() as connection:
        for name, value in given.items():
            if name != "schema_version" and not name.startswith(MARK):
                _put_meta(connection, name, value)


def _put_meta(connection: Connection, name: str, value: bytes) -> None:
    statement = words(connection).upsert(schema.meta).values(name=name, value=value)
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": value}))
