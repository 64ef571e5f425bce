"""Pinned questions and their stored answers: what canaries are kept as. The pins are one value of the ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select

from promptguard.ledger import schema
from promptguard.ledger.engines import words
from promptguard.ledger.rows import BankedRow, StoredRow
from promptguard.ledger.store import Ledger

STREAM = "canary"
NAME = "canaries"
MOST_PINS = 1_000
DEPTH = 7 * 86_400.0
"""Seconds by which the bank reaches back beyond `after`, once it has grown."""
NEVER = 10 * 365 * 86_400.0
"""Added to the time of an answer: no replay takes it before."""


@dataclass(frozen=True, slots=True)
class Pin:
    """One question that is asked again and again.

    Attributes:
        id: names it; of its question and model
        group: what its pairs are counted under, such as "triage@4"
        model: who is asked
        question: the stored request, as a replay keeps it
        every: seconds between two rounds
        answers: answers that a round compares, and stores anew
        after: seconds that an answer is stored at least before it is compared
        asked_at: when the last round began (Unix seconds); 0.0 before the first
        rounds: how many there were
    """

    id: str
    group: str
    model: str
    question: Mapping[str, Any]
    every: float
    answers: int
    after: float
    asked_at: float = 0.0
    rounds: int = 0

    @property
    def source(self) -> str:
        """Where its stored answers are; no server's, so that no replay takes them."""
        return f"canary|{self.id}"

    @property
    def room(self) -> int:
        """How many answers are stored at most: for so many rounds a change can be seen by answers from before it."""
        return self.answers * (2 + int((self.after + DEPTH) // max(1.0, self.every)))

    @property
    def most_calls(self) -> int:
        """How many calls a round makes at most: while the bank grows it stores twice what it compares."""
        return 3 * self.answers


def pins(connection: Connection) -> list[Pin]:
    """Return all pins, in the order in which they were made; what cannot be read is none."""
    table = schema.meta
    value = connection.execute(select(table.c.value).where(table.c.name == NAME)).scalar_one_or_none()
    try:
        return [Pin(**each) for each in json.loads(bytes(value or b"[]"))]
    except (ValueError, TypeError, RecursionError):
        return []


def stored(connection: Connection) -> dict[str, int]:
    """Return how many answers wait, by source."""
    table = schema.banked
    query = select(table.c.source, func.count()).where(table.c.stream == STREAM).group_by(table.c.source)
    return {source: int(count) for source, count in connection.execute(query)}


def pin(ledger: Ledger, new: Sequence[Pin]) -> int:
    """Add pins, or take new settings for those that are there; returns how many are new. ValueError with too many."""
    with ledger.transaction(alone=NAME) as connection:
        known = {each.id: each for each in pins(connection)}
        before = len(known)
        for each in new:
            old = known.get(each.id)
            known[each.id] = each if old is None else replace(each, asked_at=old.asked_at, rounds=old.rounds)
        if len(known) > MOST_PINS:
            raise ValueError(f"at most {MOST_PINS} canaries")
        _write(connection, list(known.values()))
        return len(known) - before


def unpin(ledger: Ledger, ids: Sequence[str]) -> int:
    """Remove pins with their stored answers; returns how many there were."""
    with ledger.transaction(alone=NAME) as connection:
        known = pins(connection)
        kept = [each for each in known if each.id not in ids]
        _write(connection, kept)
        table = schema.banked
        gone = [f"canary|{name}" for name in ids]
        connection.execute(delete(table).where(table.c.stream == STREAM, table.c.source.in_(gone)))
        return len(known) - len(kept)


def claim(ledger: Ledger, name: str, now: float, *, due: bool = True) -> Pin | None:
    """Begin a round of a pin, for this process alone; None where it is not due (unless `due` is false) or gone."""
    with ledger.transaction(alone=NAME) as connection:
        known = pins(connection)
        found = next((each for each in known if each.id == name), None)
        if found is None or (due and now < found.asked_at + found.every):
            return None
        begun = replace(found, asked_at=now, rounds=found.rounds + 1)
        _write(connection, [begun if each.id == name else each for each in known])
        return begun


def keep_answer(ledger: Ledger, row: BankedRow) -> None:
    """Store an answer for a later round."""
    with ledger.transaction() as connection:
        connection.execute(insert(schema.banked).values({**row, "due": row["at"] + NEVER}))


def take_answers(ledger: Ledger, source: str, before: float, most: int) -> list[StoredRow]:
    """Take the oldest answers of a pin that were stored before a moment; each is taken once (and deleted)."""
    table = schema.banked
    same = (table.c.stream == STREAM, table.c.source == source, table.c.at <= before)
    oldest = select(table.c.id).where(*same).order_by(table.c.at, table.c.id).limit(most)
    with ledger.transaction() as connection:
        taken = connection.execute(delete(table).where(table.c.id.in_(oldest)).returning(table)).all()
    return sorted(taken, key=lambda row: (row.at, row.id))


def _write(connection: Connection, known: Sequence[Pin]) -> None:
    value = json.dumps([asdict(each) for each in known]).encode()
    statement = words(connection).upsert(schema.meta).values(name=NAME, value=value)
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": value}))
