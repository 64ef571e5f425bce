"""What a ledger forgets, and when: nothing in it grows without end.

Sums (`tally`, `counter`, `spend`) and the fold's snapshot outlive the rows they were made from, so a verdict stands on all
pairs ever, whatever was forgotten. Pairs are forgotten only once they are part of a snapshot.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Table, delete, func, select

from promptguard.ledger import schema
from promptguard.ledger.engines import words
from promptguard.ledger.store import HOUR, Ledger

DAY = 86_400.0
SLICE = 500
"""Rows that one transaction deletes, so that nobody waits for it."""


@dataclass(frozen=True, slots=True)
class Retention:
    """Days after which rows are forgotten.

    Parameters: `pairs` with their vectors and outcomes, and outcomes of rollouts (default 90); `content`, the recorded
    texts of pairs (30); `sightings`, who served, hour by hour (400); `claims` is the most questions and conversations of
    one stream that are remembered as paired (1,000,000); `occurrences` the most alarms and actions (10,000).
    """

    pairs: float = 90.0
    content: float = 30.0
    sightings: float = 400.0
    claims: int = 1_000_000
    occurrences: int = 10_000


def forget(ledger: Ledger, retention: Retention, now: float, *, folded: int) -> int:
    """Delete some of what is too old, one slice of each table; returns how many rows that were.

    Parameters: `now` in seconds since the Unix epoch; `folded`, the last pair that is part of a snapshot. Called again
    until it returns 0. Raises what `ledger.door.Door` says.
    """
    pair, content, sighting = schema.pair, schema.content, schema.sighting
    old_texts = select(content.c.pair_id).join(pair).where(pair.c.at < now - retention.content * DAY)
    # The newest stays, however old: its number may be given to the next pair, which then counted as judged already.
    newest = select(func.max(pair.c.id)).scalar_subquery()
    old_pairs = select(pair.c.id).where(
        pair.c.id <= folded, pair.c.id < newest, pair.c.at < now - retention.pairs * DAY
    )
    old_hours = select(sighting.c.id).where(sighting.c.hour < (now - retention.sightings * DAY) // HOUR)
    gone = 0
    with ledger.transaction() as connection:
        for table, key, chosen in (
            (content, content.c.pair_id, old_texts),
            (pair, pair.c.id, old_pairs),
            (sighting, sighting.c.id, old_hours),
        ):
            if table is pair:  # a foreign key: texts go first, whatever their own limit
                texts = delete(content).where(content.c.pair_id.in_(old_pairs.limit(SLICE)))
                gone += connection.execute(texts).rowcount
            gone += connection.execute(delete(table).where(key.in_(chosen.limit(SLICE)))).rowcount
        # of processes alone: a directory or a file may be drained, or imported, again after years
        writer = schema.writer
        of_process = writer.c.id.not_like("drain:%") & writer.c.id.not_like("file:%")
        old_writers = delete(writer).where(writer.c.at < now - retention.pairs * DAY, of_process)
        gone += connection.execute(old_writers).rowcount
        outcome = schema.outcome
        old_outcomes = select(outcome.c.id).where(outcome.c.at < now - retention.pairs * DAY).limit(SLICE)
        gone += connection.execute(delete(outcome).where(outcome.c.id.in_(old_outcomes))).rowcount
    gone += _forget_most(ledger, schema.claim, retention.claims)
    return gone + _forget_most(ledger, schema.occurrence, retention.occurrences)


def _forget_most(ledger: Ledger, table: Table, most: int) -> int:
    """Delete the oldest rows beyond `most`, a slice of them."""
    with ledger.transaction() as connection:
        excess = int(connection.execute(select(func.count()).select_from(table)).scalar_one()) - most
        if excess <= 0:
            return 0
        age = words(connection).age_order(table)
        oldest = select(age).select_from(table).order_by(age).limit(min(excess, SLICE))
        return connection.execute(delete(table).where(age.in_(oldest))).rowcount


def shrink(ledger: Ledger) -> bool:
    """Give free room back to whom it came from, some at a time; returns whether there is more."""
    ledger.open()
    return ledger.engine.shrink()
