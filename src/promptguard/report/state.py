"""The read model behind the state gauges: rows and sums of a ledger, read again and again at little cost.

Verdicts, sums, counters and budgets are rows. Pairs are looked at for one figure alone, how many there were in the last
day, and each of them once (`RecentPairs`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Integer, cast, func, select

from promptguard.core.epochs import ALL_PROMPTS
from promptguard.core.ledger_state import BudgetLeft, LedgerState, Lost, PromptState, Standing
from promptguard.directories import Place
from promptguard.ledger import schema
from promptguard.ledger.engines import words
from promptguard.ledger.reading import reading
from promptguard.report.documents import Document, standing, verdict_documents
from promptguard.report.freshness import OLDER_CONTROL
from promptguard.report.sums import cache_use, losses, spent
from promptguard.shadow.budget import list_price

WAIT = 0.25
"""Seconds that a reader of gauges waits for a locked ledger."""
DAY = 86_400.0
BUCKET = 900
"""Seconds: pairs of the last day are counted to a quarter of an hour."""
SLICE = 20_000
"""Pairs that are counted with one statement."""
COUNTING_SECONDS = 0.25
"""What counting may take at a time; what is left is counted the next time."""
MOST_PROMPTS = 500
"""Rows of (stream, prompt) that are told: those that drifted first, then those with the newest pairs."""
_RANK: dict[Standing, int] = {"drift": 0, "acknowledged": 1, "unmeasured": 2, "no_drift": 3}


class StateReader:
    """Reads the state of one ledger. Not thread-safe.

    Parameters: `ledger`, its place; `holder`, the name under which this process takes the evaluator's lease.
    """

    def __init__(self, ledger: Place, holder: str) -> None:
        self._ledger = ledger
        self._holder = holder
        self._recent = RecentPairs()

    def read(self, now: float, caps: Mapping[str, BudgetLeft]) -> LedgerState | None:
        """Return the state, or None while another process has the lease, or none.

        Parameters: `now` in Unix seconds; `caps`, what each purpose may spend a day. Raises InputFileError where the ledger
        cannot be read, within `WAIT` seconds.
        """
        with reading(self._ledger, wait=WAIT) as connection:
            if not self._leads(connection):
                return None
            return LedgerState(
                prompts=_prompts(connection, self._recent.count(connection, now), now),
                losses=tuple(
                    Lost(each.stream, each.outcome, each.reason, each.count) for each in losses(connection)
                ),
                spent={each.stream: float(each.usd) for each in spent(connection)},
                saved=_saved(connection),
                budgets=_budgets(connection, caps, now),
            )

    def _leads(self, connection: Connection) -> bool:
        """Whether this process was the last to take the lease, be it in time or not: one that hangs shows its age."""
        table = schema.lease
        found = connection.execute(
            select(table.c.holder).where(table.c.name == "evaluator")
        ).scalar_one_or_none()
        return found == self._holder


class RecentPairs:
    """Compared pairs of the last day by (stream, group), each row looked at once."""

    def __init__(self) -> None:
        self._seen = 0
        self._counts: Counter[tuple[str, str, int]] = Counter()

    def count(self, connection: Connection, now: float) -> Mapping[tuple[str, str], int]:
        """Count the pairs made between a day ago and `now` (Unix seconds), to `BUCKET` seconds."""
        newest = words(connection).newest(connection, schema.pair)
        if newest < self._seen:  # another file, or a copy that was put back
            self._seen, self._counts = 0, Counter()
        if not self._seen:
            self._seen = _last_before(connection, now - DAY, newest)
        until = time.monotonic() + COUNTING_SECONDS
        while self._seen < newest and time.monotonic() < until:
            self._add(connection, self._next(connection, newest))
        first = int((now - DAY) // BUCKET)
        for key in [key for key in self._counts if key[2] < first]:
            del self._counts[key]
        found: Counter[tuple[str, str]] = Counter()
        for (stream, group, _), pairs in self._counts.items():
            found[stream, group] += pairs
        return found

    def _next(self, connection: Connection, newest: int) -> int:
        """Return the id up to which the next slice goes: ids may have wide gaps."""
        table = schema.pair
        query = select(table.c.id).where(table.c.id > self._seen, table.c.id <= newest)
        found = connection.execute(query.order_by(table.c.id).limit(1).offset(SLICE - 1)).scalar_one_or_none()
        return newest if found is None else int(found)

    def _add(self, connection: Connection, last: int) -> None:
        table = schema.pair
        bucket = cast(table.c.at / BUCKET, Integer)
        query = select(table.c.stream, table.c.group, bucket, func.count())
        query = query.where(table.c.id > self._seen, table.c.id <= last, table.c.outcome == "compared")
        for stream, group, quarter, pairs in connection.execute(
            query.group_by(table.c.stream, table.c.group, bucket)
        ):
            self._counts[stream, group, quarter] += pairs
        self._seen = last


def _last_before(connection: Connection, at: float, newest: int) -> int:
    """Return the id of the last pair before `at`, by bisection: pairs are stored about in the order of their times."""
    table = schema.pair
    low, high = 0, newest
    while low < high:
        middle = (low + high + 1) // 2
        nearest = select(table.c.id, table.c.at).where(table.c.id > low, table.c.id <= middle)
        found = connection.execute(nearest.order_by(table.c.id.desc()).limit(1)).first()
        low, high = (middle, high) if found is None or found.at < at else (low, found.id - 1)
    return low


def _prompts(
    connection: Connection, recent: Mapping[tuple[str, str], int], now: float
) -> tuple[PromptState, ...]:
    alarms = _alarms(connection)
    documents = verdict_documents(connection, now=now)
    found = [_prompt(told, recent, alarms) for told in standing(documents) if not _is_awaited(told)]
    found.sort(key=lambda each: (_RANK[each.standing], -(each.last_pair_at or 0.0)))
    return tuple(found[:MOST_PROMPTS])


def _is_awaited(told: Document) -> bool:
    """Whether a stream's own verdict stands alone only until those of its prompts are written, a moment later.

    An alert without the prompt's name would be resolved, and told again by the name.
    """
    return told.get("group") is None and bool(told.get("group_count")) and not told.get("together")


def _prompt(
    told: Document, recent: Mapping[tuple[str, str], int], alarms: Mapping[tuple[str, str], int]
) -> PromptState:
    stream, group = told["stream"], told.get("group")
    last = told.get("moments", {}).get("last")
    place = (stream, group or "")
    unmeasured = told["status"] == "unmeasured"
    return PromptState(
        stream=stream,
        group=ALL_PROMPTS if told.get("together") else group,
        standing=_standing(told),
        log10_evidence=float(told["log10_evidence"]),
        log10_threshold=float(told["log10_threshold"]),
        hidden_shift=None if unmeasured else told.get("largest_hidden_drift"),
        last_pair_at=None if last is None else float(last["at"]),
        pairs_of_last_day=_of_last_day(told, recent),
        alarms=alarms.get(place, 0),
        reason=told["reason"] if unmeasured else None,
    )


def _of_last_day(told: Document, recent: Mapping[tuple[str, str], int]) -> int:
    """Return how many pairs could have shown a change of a day ago; where that is not known, how many there were since."""
    stream, group, window = told["stream"], told.get("group"), told.get("window")
    if stream in OLDER_CONTROL and window is not None:
        return next(int(each["pairs"]) for each in window["since"] if each["seconds"] == DAY)
    if group:
        return recent.get((stream, group), 0)
    return sum(n for (name, _), n in recent.items() if name == stream)


def _standing(told: Mapping[str, Any]) -> Standing:
    status: Standing = told["status"]
    return "acknowledged" if status == "drift" and told["acknowledged"] else status


def _alarms(connection: Connection) -> Mapping[tuple[str, str], int]:
    table = schema.occurrence
    query = select(table.c.stream, table.c.group, func.count()).where(table.c.kind == "alarm")
    rows = connection.execute(query.group_by(table.c.stream, table.c.group))
    return {(stream, group): int(count) for stream, group, count in rows}


def _saved(connection: Connection) -> dict[str, float]:
    """Return what the answers from the cache would have cost, for each model whose price is known."""
    found = {}
    for model, (asked, answered) in cache_use(connection).saved_tokens.items():
        price = list_price(model)
        if price is not None:
            found[model] = (price.input * asked + price.output * answered) / 1e6
    return found


def _budgets(connection: Connection, caps: Mapping[str, BudgetLeft], now: float) -> dict[str, BudgetLeft]:
    table = schema.budget
    today = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
    query = select(table.c.purpose, table.c.calls, table.c.usd).where(table.c.day == today)
    used = {row.purpose: (int(row.calls), float(row.usd)) for row in connection.execute(query)}
    return {purpose: _left(cap, *used.get(purpose, (0, 0.0))) for purpose, cap in caps.items()}


def _left(cap: BudgetLeft, calls: int, usd: float) -> BudgetLeft:
    return BudgetLeft(
        usd=None if cap.usd is None else max(0.0, cap.usd - usd),
        calls=None if cap.calls is None else max(0, cap.calls - calls),
    )


def least(caps: Collection[BudgetLeft]) -> BudgetLeft:
    """Return the caps that are reached first of several clients that spend for one purpose."""
    usd = [cap.usd for cap in caps if cap.usd is not None]
    calls = [cap.calls for cap in caps if cap.calls is not None]
    return BudgetLeft(min(usd, default=None), min(calls, default=None))
