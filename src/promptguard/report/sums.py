"""What a ledger keeps as sums: losses, costs, the cache, and what was said of the settings. No pair is read."""

from __future__ import annotations

import json

from sqlalchemy import Connection, case, func, select

from promptguard.ledger import schema
from promptguard.report.model import CacheUse, Loss, Notice, PassedBy, Spent

NOTICE_SECONDS = 3 * 86400.0
"""A notice that was not said again so long is taken as mended: processes say theirs every day."""


def losses(connection: Connection) -> tuple[Loss, ...]:
    """Return the pairs that were not made, the commonest reason first."""
    table = schema.tally
    query = select(table.c.stream, table.c.outcome, table.c.reason, table.c.pairs)
    query = query.where(table.c.outcome != "compared")
    rows = connection.execute(
        query.order_by(table.c.pairs.desc(), table.c.stream, table.c.outcome, table.c.reason)
    )
    return tuple(Loss(*row) for row in rows)


def spent(connection: Connection) -> tuple[Spent, ...]:
    """Return what each stream's background calls cost."""
    table = schema.tally
    pairs = func.sum(case((table.c.outcome == "compared", table.c.pairs), else_=0))
    sums = (func.sum(table.c.usd), func.sum(table.c.input_tokens), func.sum(table.c.output_tokens))
    query = select(table.c.stream, pairs, *sums).group_by(table.c.stream).order_by(table.c.stream)
    return tuple(Spent(*row) for row in connection.execute(query))


_PASSED_BY = {"not paired": "not paired", "not read": "neither cached nor paired"}


def passed_by(connection: Connection) -> tuple[PassedBy, ...]:
    """Return what was not done with calls and why, the commonest first. Counters alone are read, never pairs."""
    table = schema.counter
    rows = connection.execute(select(table).where(table.c.name.in_((*_PASSED_BY, "cache"))))
    found = [
        PassedBy("not cached", row.label.removeprefix("bypass: "), int(row.value))
        if row.name == "cache"
        else PassedBy(_PASSED_BY[row.name], row.label, int(row.value))
        for row in rows
        if row.name != "cache" or row.label.startswith("bypass: ")
    ]
    return tuple(sorted(found, key=lambda each: (-each.calls, each.what, each.reason)))


def notices(connection: Connection) -> tuple[Notice, ...]:
    """Return what was said of the settings lately: what was mended is said no more, and ages."""
    table = schema.meta
    rows = connection.execute(select(table.c.value).where(table.c.name.startswith(schema.NOTICE)))
    found = [Notice(told["text"], told["at"]) for told in (json.loads(row.value) for row in rows)]
    judged = connection.execute(select(func.max(schema.verdict.c.at))).scalar_one() or 0.0
    newest = max([judged, *(notice.at for notice in found)])
    fresh = [notice for notice in found if notice.at > newest - NOTICE_SECONDS]
    return tuple(sorted(fresh, key=lambda notice: (-notice.at, notice.text)))


def cache_use(connection: Connection) -> CacheUse:
    """Return what the response cache did, without prices."""
    table = schema.counter
    rows = connection.execute(select(table).where(table.c.name.in_(("cache", "cache saved tokens"))))
    decisions: dict[str, int] = {}
    tokens: dict[str, list[int]] = {}
    for row in rows:
        if row.name == "cache":
            decisions[row.label] = int(row.value)
        else:
            # "<model>: input"; a model's own name may hold a colon
            model, _, side = row.label.rpartition(": ")
            tokens.setdefault(model, [0, 0])[side == "output"] = int(row.value)
    hits = decisions.pop("hit", 0) + decisions.get("hit: joined", 0)
    misses = decisions.pop("miss", 0)
    return CacheUse(hits, misses, decisions, {model: (both[0], both[1]) for model, both in tokens.items()})
