"""What a ledger forgets, and when: nothing in it grows without end.

Sums (`tally`, `counter`, `spend`) and the fold's snapshot outlive the rows they were made from, so a verdict stands on all
pairs ever, whatever was forgotten. Pairs are forgotten only once they are part of a snapshot.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Table, delete, func, select
from sqlalchemy.exc import SQLAlchemyError

from promptguard.ledger import schema
from promptguard.ledger.engines import words
from promptguard.ledger.store import HOUR, Ledger
from promptguard.ledger.trouble import LedgerUnavailable

DAY = 86_400.0
SLICE = 500
"""Rows that one transaction deletes, so that nobody waits for it."""
WAITS = 2 * DAY
"""How much older rows may get where days go as a whole; what is older still lies among younger rows, and is deleted."""


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


def begin_day(ledger: Ledger, now: float) -> bool:
    """Let today's pairs (UTC) be one part of the tables, where the database has parts, so that they can go together.

    False where others use the tables and it is to be tried again soon. Raises what `ledger.door.Door` says.
    """
    ledger.open()
    days = ledger.engine.days
    if days is None:
        return True
    with _told(ledger):
        return days.begin(time.strftime("%Y%m%d", time.gmtime(now)))


def forget(ledger: Ledger, retention: Retention, now: float, *, folded: int) -> int:
    """Delete some of what is too old: whole days where they can go so, and one slice of each table.

    Parameters: `now` in seconds since the Unix epoch; `folded`, the last pair that is part of a snapshot. Called again
    until it returns 0. Raises what `ledger.door.Door` says.
    """
    pair, content, sighting = schema.pair, schema.content, schema.sighting
    old_pairs, old_texts = now - retention.pairs * DAY, now - retention.content * DAY
    gone = _drop_days(ledger, old_pairs, old_texts, folded)
    if ledger.engine.days is not None:
        old_pairs, old_texts = old_pairs - WAITS, old_texts - WAITS
    old_hours = select(sighting.c.id).where(sighting.c.hour < (now - retention.sightings * DAY) // HOUR)
    with ledger.transaction() as connection:
        # The newest stays, however old: its number may be given to the next pair, which then counted as judged already.
        upto = min(folded, words(connection).newest(connection, pair) - 1)
        for table, key, chosen in (
            (content, content.c.pair_id, select(content.c.pair_id).join(pair).where(pair.c.at < old_texts)),
            (pair, pair.c.id, select(pair.c.id).where(pair.c.id <= upto, pair.c.at < old_pairs)),
            (sighting, sighting.c.id, old_hours),
        ):
            # by their numbers, so that no part of a table is looked at in vain
            rows = connection.execute(chosen.limit(SLICE)).scalars().all()
            if not rows:
                continue
            if table is pair:  # a foreign key: texts go first, whatever their own limit
                gone += connection.execute(delete(content).where(content.c.pair_id.in_(rows))).rowcount
            gone += connection.execute(delete(table).where(key.in_(rows))).rowcount
        # of processes alone: a directory or a file may be drained, or imported, again after years
        writer, old = schema.writer, now - retention.pairs * DAY
        of_process = writer.c.id.not_like("drain:%") & writer.c.id.not_like("file:%")
        gone += connection.execute(delete(writer).where(writer.c.at < old, of_process)).rowcount
        outcome = schema.outcome
        old_outcomes = select(outcome.c.id).where(outcome.c.at < old).limit(SLICE)
        gone += connection.execute(delete(outcome).where(outcome.c.id.in_(old_outcomes))).rowcount
    gone += _forget_most(ledger, schema.claim, retention.claims)
    return gone + _forget_most(ledger, schema.occurrence, retention.occurrences)


def _drop_days(ledger: Ledger, old_pairs: float, old_texts: float, folded: int) -> int:
    ledger.open()
    days = ledger.engine.days
    if days is None:
        return 0
    with _told(ledger):
        texts = days.drop(schema.content.name, max(old_pairs, old_texts), folded)
        return texts + days.drop(schema.pair.name, old_pairs, folded)


@contextmanager
def _told(ledger: Ledger) -> Iterator[None]:
    """Raise of the ledger what the driver raises."""
    try:
        yield
    except SQLAlchemyError as error:
        raise LedgerUnavailable(ledger.engine.of_error(error)) from error


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
