"""The bank of stored requests: what is kept, for how long, and what gives way. Functions within a caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, Integer, cast, delete, func, insert, select, union_all

from promptguard.core.ladder import FIRST, Rung, drawn
from promptguard.ledger import schema
from promptguard.ledger.rows import BankedRow

_PARTS = 8
"""Parts of an age, in each of which so manieth of its room may be filled."""


def keep(
    connection: Connection, row: BankedRow, rungs: Sequence[Rung], at: float, reservoir: int, oldest: float
) -> None:
    """Store a request with one unused answer, due after the age that `at` (in [0, 1)) draws.

    What is from before `oldest` gives way, and with more than `reservoir` of a prompt the oldest of the shortest age, by
    when the calls were made: answers that come late are long ones.
    """
    table = schema.banked
    same = (table.c.group == row["group"], table.c.stream == row["stream"])
    connection.execute(delete(table).where(table.c.at < oldest))
    age = _age(connection, row, rungs, at, same)
    connection.execute(insert(table).values({**row, "due": row["at"] + age}))
    total = int(connection.execute(select(func.count()).where(*same)).scalar_one())
    if total > reservoir:
        # those of the shortest age, the longest due first; the others have room of their own
        wait = cast(func.round(table.c.due - table.c.at), Integer)
        least = (
            select(table.c.id).where(*same).order_by(wait, table.c.at, table.c.id).limit(total - reservoir)
        )
        connection.execute(delete(table).where(table.c.id.in_(least)))


def _age(
    connection: Connection,
    row: BankedRow,
    rungs: Sequence[Rung],
    at: float,
    same: tuple[ColumnElement[bool], ...],
) -> float:
    """Return how long this answer waits: as drawn, or shorter where the bank has as many of that age as it should.

    Those of one age are spread over it, or all of them would be used at one moment.
    """
    place = drawn(rungs, at)
    if place == 0 or _had(connection, row) < FIRST:
        return rungs[0].age
    table = schema.banked
    wait = cast(func.round(table.c.due - table.c.at), Integer)
    for rung in reversed(rungs[1 : place + 1]):
        lately = select(func.count()).where(
            *same, wait == round(rung.age), table.c.at > row["at"] - rung.age / _PARTS
        )
        if int(connection.execute(lately).scalar_one()) * _PARTS < rung.room:
            return rung.age
    return rungs[0].age


def _had(connection: Connection, row: BankedRow) -> int:
    """Return how many answers of a prompt were stored so far: used, or waiting."""
    used, waiting = schema.group_tally, schema.banked
    had = select(func.coalesce(func.sum(used.c.pairs + used.c.lost), 0)).where(
        used.c.group == row["group"], used.c.stream == row["stream"]
    )
    wait = select(func.count()).where(waiting.c.group == row["group"], waiting.c.stream == row["stream"])
    return int(connection.execute(had).scalar_one()) + int(connection.execute(wait).scalar_one())


def stored_since(connection: Connection, since: float, most: int) -> list[tuple[float, float]]:
    """Return when answers were stored for replay since a moment, and how long they wait, or did (seconds); `most` at most.

    Both of those that were used and of those that wait: of either alone, the ages would be too short or too long.
    """
    pair, bank = schema.pair, schema.banked
    asked = pair.c.banked_at.is_not(None)  # what was lost before it could be stored never waited
    newest = (
        select(pair.c.banked_at, pair.c.at).where(pair.c.stream == "replay", asked).order_by(pair.c.id.desc())
    )
    recent = newest.limit(most).subquery()
    used = select(recent.c.banked_at, recent.c.at - recent.c.banked_at).where(recent.c.banked_at >= since)
    waiting = select(bank.c.at, bank.c.due - bank.c.at).where(bank.c.stream == "replay", bank.c.at >= since)
    both = union_all(used, waiting).limit(most)
    return [(float(at), float(wait)) for at, wait in connection.execute(both)]
