"""Sums over pairs, which readers read instead of counting rows: kept with each batch, within its transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, case

from promptguard.ledger import schema
from promptguard.ledger.engines import words
from promptguard.ledger.rows import PairRow, storable


def add_sums(connection: Connection, rows: Sequence[PairRow]) -> None:
    """Add the sums of a batch of pairs, or note them where others write at the same moment (`folds.Folds.take_sums`)."""
    sums, by_group = [vars(each) for each in _tallied(rows)], _tallied_by_group(rows)
    speech = words(connection)
    if not speech.many_write:
        add_to_tally(connection, sums)
        add_to_group_tally(connection, by_group)
    elif sums:
        speech.append(connection, schema.tally_news, sums)
        speech.append(connection, schema.group_tally_news, by_group)


@dataclass
class _Sums:
    """The sums of some pairs of one stream, outcome and reason."""

    stream: str
    outcome: str
    reason: str
    first_at: float
    last_at: float
    pairs: int = 0
    usd: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0


def _tallied(rows: Sequence[PairRow]) -> Iterable[_Sums]:
    """Return the sums of a batch of pairs by stream, outcome and reason."""
    sums: dict[tuple[str, str, str], _Sums] = {}
    for row in rows:
        at = row["at"]
        key = (row["stream"], row["outcome"], storable(row["reason"]))
        known = sums.setdefault(key, _Sums(*key, first_at=at, last_at=at))
        known.pairs += 1
        known.usd += row.get("usd", 0.0) or 0.0
        known.input_tokens += row.get("input_tokens", 0) or 0
        known.output_tokens += row.get("output_tokens", 0) or 0
        known.first_at, known.last_at = min(known.first_at, at), max(known.last_at, at)
    return sums.values()


def add_to_tally(connection: Connection, sums: Sequence[Mapping[str, Any]]) -> None:
    """Add to the sums by stream, outcome and reason; rows in one order, as others may want them too."""
    table = schema.tally
    rows = sorted(sums, key=lambda each: (each["stream"], each["outcome"], each["reason"]))
    if not rows:
        return
    statement = words(connection).upsert(table)
    new = statement.excluded
    added = {name: table.c[name] + new[name] for name in ("pairs", "usd", "input_tokens", "output_tokens")}
    ends = {
        "first_at": case((table.c.first_at < new.first_at, table.c.first_at), else_=new.first_at),
        "last_at": case((table.c.last_at > new.last_at, table.c.last_at), else_=new.last_at),
    }
    keys = ["stream", "outcome", "reason"]
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_={**added, **ends}), rows)


def _tallied_by_group(rows: Sequence[PairRow]) -> list[dict[str, object]]:
    """Return the sums of a batch of pairs by stream and prompt."""
    sums: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        known = sums.setdefault((row["stream"], str(storable(row["group"]))), [0, 0, 0.0])
        known[row["outcome"] != "compared"] += 1
        known[2] += row.get("usd", 0.0) or 0.0
    return [
        {"stream": stream, "group": group, "pairs": pairs, "lost": lost, "usd": usd}
        for (stream, group), (pairs, lost, usd) in sums.items()
    ]


def add_to_group_tally(connection: Connection, sums: Sequence[Mapping[str, Any]]) -> None:
    """Add to the sums by stream and prompt."""
    table = schema.group_tally
    rows = sorted(sums, key=lambda each: (each["stream"], each["group"]))
    if not rows:
        return
    statement = words(connection).upsert(table)
    added = {name: table.c[name] + statement.excluded[name] for name in ("pairs", "lost", "usd")}
    connection.execute(statement.on_conflict_do_update(index_elements=["stream", "group"], set_=added), rows)
