"""Rollouts in a ledger: their steps, append-only, and the outcomes of their units, one a unit."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select
from sqlalchemy.exc import OperationalError

from promptguard.ledger import schema
from promptguard.ledger.engines import add_new
from promptguard.ledger.store import Ledger, holds

LIMIT = 2_000
"""Outcomes read at a time."""


class Rollouts:
    """The rollouts of a ledger; methods raise what `ledger.door.Door` says."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def begin(
        self,
        *,
        at: float,
        by: str,
        why: str,
        detail: Mapping[str, object],
        check: Callable[[Sequence[Mapping[str, Any]]], None] = lambda _steps: None,
    ) -> int:
        """Note the start of a rollout; returns its number.

        `check` is given every step so far, in the same transaction, and raises where the rollout may not begin.
        """
        table = schema.rollout
        with self._ledger.transaction(alone="rollout") as connection:
            check(steps(connection))
            newest = connection.execute(select(func.max(table.c.rollout))).scalar_one_or_none()
            number = int(newest or 0) + 1
            connection.execute(insert(table).values(**_row(number, at, "start", by, why, detail)))
        return number

    def note(
        self,
        number: int,
        kind: str,
        *,
        at: float,
        by: str,
        why: str,
        detail: Mapping[str, object],
        lease: tuple[str, str] | None = None,
    ) -> bool:
        """Note a step of a rollout. `lease`: (name, holder) without which it is not noted; returns whether it was."""
        with self._ledger.transaction(alone="rollout") as connection:
            if lease is not None and not holds(connection, *lease):
                return False
            connection.execute(insert(schema.rollout).values(**_row(number, at, kind, by, why, detail)))
        return True

    def steps_after(self, last_id: int) -> list[dict[str, Any]]:
        """Return every step that was noted after `last_id`, oldest first."""
        with self._ledger.reading() as connection:
            return steps(connection, last_id)

    def put(self, rows: Sequence[Mapping[str, object]]) -> int:
        """Keep outcomes, in order; returns how many. One whose unit has one already is left out."""
        with self._ledger.transaction(alone="outcome") as connection:
            return sum(add_new(connection, schema.outcome, row) for row in rows)

    def outcomes_after(self, number: int, last_id: int) -> list[dict[str, Any]]:
        """Return up to LIMIT outcomes of a rollout after `last_id`, in the order in which they were committed."""
        with self._ledger.reading() as connection:
            return outcomes(connection, number, last_id)


def identity(connection: Connection) -> bytes:
    """Return what tells this file from another one at its place; empty for one that was never opened for writing."""
    table = schema.meta
    found = connection.execute(select(table.c.value).where(table.c.name == "ledger_id")).scalar_one_or_none()
    return bytes(found) if isinstance(found, bytes) else str(found or "").encode()


def steps(connection: Connection, last_id: int = 0) -> list[dict[str, Any]]:
    """Return every step of every rollout after `last_id`, oldest first.

    A damaged one has an empty detail; one that cannot be read at all is of no rollout.
    """
    table = schema.rollout
    query = select(table).where(table.c.id > last_id).order_by(table.c.id)
    try:
        return [_step(row) for row in connection.execute(query)]
    except _UNREADABLE:
        ids = connection.execute(query.with_only_columns(table.c.id)).scalars().all()
        return [_step_of(connection, each) for each in ids]


_UNREADABLE = (TypeError, ValueError, OperationalError)
"""what a damaged value raises on its way here; text that is no UTF-8 is an OperationalError"""


def _step_of(connection: Connection, number: int) -> dict[str, Any]:
    try:
        return _step(connection.execute(select(schema.rollout).where(schema.rollout.c.id == number)).one())
    except _UNREADABLE:
        return {
            "id": number,
            "rollout": None,
            "at": 0.0,
            "kind": "unreadable",
            "by": "",
            "why": "",
            "detail": {},
        }


def _step(row: Row[Any]) -> dict[str, Any]:
    return {**row._mapping, "detail": _detail(row.detail)}


def outcomes(connection: Connection, number: int, last_id: int) -> list[dict[str, Any]]:
    """Return up to LIMIT outcomes of a rollout after `last_id`."""
    table = schema.outcome
    query = (
        select(table).where(table.c.rollout == number, table.c.id > last_id).order_by(table.c.id).limit(LIMIT)
    )
    return [dict(row._mapping) for row in connection.execute(query)]


def _detail(data: object) -> dict[str, Any]:
    try:
        told = json.loads(data) if isinstance(data, bytes | str) else {}
    except (ValueError, RecursionError):
        told = {}
    return told if isinstance(told, dict) else {}


def _row(
    number: int, at: float, kind: str, by: str, why: str, detail: Mapping[str, object]
) -> dict[str, object]:
    storable = {name: text.encode("utf-8", "replace").decode() for name, text in (("by", by), ("why", why))}
    return {"rollout": number, "at": at, "kind": kind, **storable, "detail": json.dumps(detail).encode()}
