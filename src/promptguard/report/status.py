"""What `promptguard status` shows: where every prompt stands, what was not done with calls, and who answered."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, select

from promptguard.core.actions import Done
from promptguard.core.identity import IdentityFact
from promptguard.ledger import schema
from promptguard.ledger.reading import reading
from promptguard.ledger.store import noted_of
from promptguard.report.alerts import Undelivered, actions_of, undelivered
from promptguard.report.memory import Memory
from promptguard.report.model import PassedBy
from promptguard.report.overview import Overview, read_overview
from promptguard.report.read import false_alarms
from promptguard.report.remedies import Accepted
from promptguard.report.sums import passed_by


@dataclass(frozen=True, slots=True)
class Situation:
    """A ledger at one moment, for a terminal.

    Attributes:
        overview: where every prompt stands
        done: what was done about alarms and has not ended, dry runs included
        ended: what has ended of it while an alarm of the prompt stands
        accepted: what pairs were compared with when a change was accepted
        undelivered: channels that do not take the alerts they are sent
        passed_by: what was not done with calls and why, the commonest first
        facts: who answered
        total_usd: what background calls have cost in all, in USD
        false_alarms_per_year: at most so many are expected if nothing changes; None without a pace
    """

    overview: Overview
    done: tuple[Done, ...]
    ended: tuple[Done, ...]
    accepted: Accepted
    undelivered: tuple[Undelivered, ...]
    passed_by: tuple[PassedBy, ...]
    facts: tuple[IdentityFact, ...]
    total_usd: float
    false_alarms_per_year: float | None


def read_situation(
    ledger: str | Path, *, memory: Memory | None = None, now: float | None = None
) -> Situation:
    """Read it. `memory` is kept by who reads again and again; `now`, in Unix seconds, is for tests.

    Raises InputFileError when there is no ledger, or it cannot be read.
    """
    memory = memory or Memory()
    at = time.time() if now is None else now
    overview = read_overview(ledger, memory=memory, now=at)
    with reading(ledger) as connection:
        actions = actions_of(connection)
        return Situation(
            overview=overview,
            done=tuple(each for each in actions.found.values() if not each.ended),
            ended=actions.ended_of(_standing(overview)),
            accepted=_accepted(connection),
            undelivered=undelivered(connection),
            passed_by=passed_by(connection),
            facts=memory.seen(connection).facts,
            total_usd=float(
                connection.execute(select(func.coalesce(func.sum(schema.spend.c.usd), 0.0))).scalar_one()
            ),
            false_alarms_per_year=false_alarms(connection, [row.told for row in overview.streams]),
        )


def _standing(overview: Overview) -> Iterator[tuple[str, float]]:
    """Yield the prompt of each alarm that stands, and when it rang, in Unix seconds."""
    for row in overview.rows:
        if row.alarming and row.judging and row.alarm_at is not None:
            yield row.group, row.alarm_at


def _accepted(connection: Connection) -> Accepted:
    """Return what pairs were compared with when a change was last accepted."""
    table = schema.occurrence
    rows = connection.execute(select(table).where(table.c.kind == "acknowledge").order_by(table.c.id))
    found = {(row.stream, row.group): noted_of(row)["detail"].get("accepted") for row in rows}
    return {place: str(model) for place, model in found.items() if model}
