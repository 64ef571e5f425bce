"""What shadowing costs, how long its calls take, what the cache saved: sums, and the newest pairs of each stream."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, func, select

from promptguard.core.streams import STREAMS
from promptguard.ledger import schema
from promptguard.ledger.reading import reading
from promptguard.report.full import saved_usd
from promptguard.report.model import CacheUse, Day, Spent
from promptguard.report.sums import cache_use, spent

DAYS = 60
NEWEST = 1000
"""Pairs of a stream whose background calls' times are looked at."""
DAY_SECONDS = 86_400.0
FEWEST_SECONDS = 1800.0
"""Of a day, before which its spending so far says nothing of its end."""


@dataclass(frozen=True, slots=True)
class Latency:
    """How long the background calls of a stream took, in seconds; of the newest `pairs` compared ones."""

    stream: str
    pairs: int
    median: float
    p95: float
    usd_per_thousand: float


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a purpose (`shadow`, `replay`) has spent today."""

    purpose: str
    calls: int
    usd: float


@dataclass(frozen=True, slots=True)
class Cost:
    """Costs in USD by list price; days are UTC."""

    now: float
    days: tuple[Day, ...]
    """oldest first, without holes"""
    today: Day
    forecast_usd: float | None
    """of today at its end, at the pace so far and at yesterday's; None while the day is too young to tell"""
    forecast_calls: float | None
    purposes: tuple[Purpose, ...]
    spent: tuple[Spent, ...]
    latencies: tuple[Latency, ...]
    cache: CacheUse

    @property
    def total_usd(self) -> float:
        """What all days shown cost together."""
        return sum(day.usd for day in self.days)


def read_cost(ledger: str | Path, *, now: float | None = None) -> Cost:
    """Return it. Raises InputFileError when there is no ledger, or it cannot be read."""
    at = time.time() if now is None else now
    with reading(ledger) as connection:
        days = _days(connection, at)
        use = cache_use(connection)
        running = days[-1].day == _day(at)
        usd, calls = forecast(days, at) if running else (None, None)
        return Cost(
            now=at,
            days=days,
            today=days[-1] if running else Day(_day(at), 0, 0.0),
            forecast_usd=usd,
            forecast_calls=calls,
            purposes=_purposes(connection, days[-1].day),
            spent=spent(connection),
            latencies=tuple(
                found for stream in STREAMS if (found := _latency(connection, stream)) is not None
            ),
            cache=replace(use, saved_usd=saved_usd(use)),
        )


def forecast(days: Sequence[Day], now: float) -> tuple[float | None, float | None]:
    """Return (USD, calls) of today at its end: what is spent, and the rest of the day at the pace of the last 24 hours.

    Yesterday counts as spread evenly over its hours. None while there is neither half an hour of today nor a yesterday.
    """
    gone = now % DAY_SECONDS
    today, before = days[-1], days[-2] if len(days) > 1 else None
    had_yesterday = before is not None and before.calls > 0
    if gone < FEWEST_SECONDS and not had_yesterday:
        return None, None
    left = DAY_SECONDS - gone

    def end(spent_so_far: float, yesterday: float) -> float:
        if not had_yesterday:
            return spent_so_far + spent_so_far * left / gone
        pace = (spent_so_far + yesterday * left / DAY_SECONDS) / DAY_SECONDS
        return spent_so_far + pace * left

    usd, calls = (before.usd, before.calls) if before is not None else (0.0, 0)
    return end(today.usd, usd), end(float(today.calls), float(calls))


def _days(connection: Connection, now: float) -> tuple[Day, ...]:
    """Return the days up to today, or where nothing was spent in them, up to the last day on which there was."""
    table = schema.spend
    last = connection.execute(select(func.max(table.c.day))).scalar_one()
    end = now
    if last is not None and last < _day(now - (DAYS - 1) * DAY_SECONDS):
        end = datetime.fromisoformat(last).replace(tzinfo=UTC).timestamp()
    first = _day(end - (DAYS - 1) * DAY_SECONDS)
    rows = connection.execute(select(table).where(table.c.day >= first).order_by(table.c.day)).all()
    known = {row.day: Day(*row) for row in rows}
    names = [_day(end - back * DAY_SECONDS) for back in range(DAYS - 1, -1, -1)]
    begun = next((place for place, name in enumerate(names) if name in known), len(names) - 1)
    return tuple(known.get(name, Day(name, 0, 0.0)) for name in names[begun:])


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))


def _purposes(connection: Connection, day: str) -> tuple[Purpose, ...]:
    table = schema.budget
    query = select(table.c.purpose, table.c.calls, table.c.usd).where(table.c.day == day)
    return tuple(Purpose(*row) for row in connection.execute(query.order_by(table.c.purpose)))


def _latency(connection: Connection, stream: str) -> Latency | None:
    table = schema.pair
    newest = (
        select(table.c.latency, table.c.usd, table.c.outcome)
        .where(table.c.stream == stream)
        .order_by(table.c.id.desc())
        .limit(NEWEST)
    )
    rows = [row for row in connection.execute(newest) if row.outcome == "compared"]
    times = sorted(float(row.latency) for row in rows if row.latency > 0)
    if not rows:
        return None
    usd = 1000 * sum(float(row.usd) for row in rows) / len(rows)
    if not times:
        return Latency(stream, len(rows), 0.0, 0.0, usd)
    return Latency(
        stream, len(rows), times[len(times) // 2], times[min(len(times) - 1, int(0.95 * len(times)))], usd
    )
