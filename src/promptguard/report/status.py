"""What `promptguard status` shows: where every prompt stands, what was not done with calls, and who answered."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from promptguard.core.actions import Done
from promptguard.core.identity import IdentityFact
from promptguard.ledger import schema
from promptguard.ledger.reading import reading
from promptguard.report.alerts import Undelivered, actions_of, undelivered
from promptguard.report.memory import Memory
from promptguard.report.model import PassedBy
from promptguard.report.overview import Overview, read_overview
from promptguard.report.read import false_alarms
from promptguard.report.sums import passed_by


@dataclass(frozen=True, slots=True)
class Situation:
    """A ledger at one moment, for a terminal.

    Attributes:
        overview: where every prompt stands
        done: what was done about alarms and has not ended, dry runs included
        undelivered: channels that do not take the alerts they are sent
        passed_by: what was not done with calls and why, the commonest first
        facts: who answered
        total_usd: what background calls have cost in all, in USD
        false_alarms_per_year: at most so many are expected if nothing changes; None without a pace
    """

    overview: Overview
    done: tuple[Done, ...]
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
        return Situation(
            overview=overview,
            done=tuple(each for each in actions_of(connection).found.values() if not each.ended),
            undelivered=undelivered(connection),
            passed_by=passed_by(connection),
            facts=memory.seen(connection).facts,
            total_usd=float(
                connection.execute(select(func.coalesce(func.sum(schema.spend.c.usd), 0.0))).scalar_one()
            ),
            false_alarms_per_year=false_alarms(connection, [row.told for row in overview.streams]),
        )
