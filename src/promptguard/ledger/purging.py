"""Deleting what a ledger keeps of one subject. Functions within a caller's transaction.

Rows of pairs stay, without what was made of their answers: they are counted in sums, and other rows are found by counting
them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Table, delete, func, insert, select, update

from promptguard.ledger import schema

PURGED = "purged"
"""The outcome of a pair whose answers were purged."""
REPLACED = "(purged)"
_SLICE = 500
Texts = Callable[[bytes], Iterable[str]]
"""What a pair's vector says in words; raises ValueError for one that cannot be read."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was deleted of a subject."""

    pairs: int
    contents: int
    stored: int
    words: frozenset[str]
    """texts that the vectors of its pairs held, and no other pair's: labels and references"""


def delete_rows(connection: Connection, subject: str, texts_of: Texts) -> Found:
    """Delete texts, stored requests and vectors of a subject, by its digest."""
    pair, content, banked = schema.pair, schema.content, schema.banked
    # a pair of a cached answer and a fresh one may be about two
    mine = pair.c.subject.contains(subject, autoescape=True)
    words = {
        word
        for (vector,) in connection.execute(select(pair.c.vector).where(mine, pair.c.vector.is_not(None)))
        for word in _said(texts_of, vector)
    }
    ids = select(pair.c.id).where(mine)
    contents = connection.execute(delete(content).where(content.c.pair_id.in_(ids))).rowcount
    stored = connection.execute(delete(banked).where(banked.c.subject == subject)).rowcount
    pairs = connection.execute(
        update(pair).where(mine).values(outcome=PURGED, reason="", vector=None, trace="", subject="")
    ).rowcount
    return Found(pairs, contents, stored, frozenset(words - _said_by_others(connection, words, texts_of)))


def _said(texts_of: Texts, vector: bytes) -> set[str]:
    try:
        return {text for text in texts_of(vector) if text}
    except ValueError:
        return set()


def _said_by_others(connection: Connection, words: Collection[str], texts_of: Texts) -> set[str]:
    """Return those of `words` that pairs of others say too, such as a label: they tell nothing of anybody."""
    table, found, last = schema.pair, set[str](), 0
    while len(found) < len(words):
        query = select(table.c.id, table.c.vector).where(table.c.id > last, table.c.vector.is_not(None))
        rows = connection.execute(query.order_by(table.c.id).limit(_SLICE)).all()
        if not rows:
            break
        last = rows[-1].id
        for row in rows:
            found |= _said(texts_of, row.vector).intersection(words)
    return found


def mentions(connection: Connection, words: Collection[str], readable: Callable[[bytes], str]) -> bool:
    """Whether a snapshot or a verdict holds one of these texts; `readable` unpacks a part of a snapshot."""
    if not words:
        return False
    pattern = _pattern([*words, *(json.dumps(word)[1:-1] for word in words)])
    parts = ((schema.snapshot_part, "state", readable), *((each, "document", _as_text) for each in _VERDICTS))
    return any(
        pattern.search(text)
        for table, column, read in parts
        for text in _each(connection, table, column, read)
    )


_VERDICTS = (schema.verdict, schema.verdict_group)
_TOLD: tuple[tuple[Table, str], ...] = ((schema.occurrence, "detail"), (schema.alert, "members"))


def _pattern(words: Collection[str]) -> re.Pattern[str]:
    """Return what finds these texts, but not within longer words."""
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile("|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in longest_first))


def _each(connection: Connection, table: Table, column: str, read: Callable[[bytes], str]) -> Iterator[str]:
    for (value,) in connection.execute(select(table.c[column])):
        try:
            yield read(bytes(value))
        except ValueError:
            continue  # damaged: whoever needs it passes it over as well


def _as_text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def forget_judgements(connection: Connection) -> None:
    """Delete snapshot and verdicts: they are made again from the pairs that are left."""
    for table in (schema.snapshot_part, schema.snapshot, *_VERDICTS):
        connection.execute(delete(table))
    connection.execute(delete(schema.meta).where(schema.meta.c.name == "judged"))


def replace_words(connection: Connection, words: Collection[str]) -> int:
    """Replace these texts in what was noted of alarms and actions; returns how many rows had some."""
    if not words:
        return 0
    pattern = _pattern(words)
    changed = 0
    for table, column in _TOLD:
        key = next(iter(table.primary_key))
        for identity, value in connection.execute(select(key, table.c[column])).all():
            before = json.loads(value)
            after = _replaced(before, pattern)
            if after != before:
                new = json.dumps(after).encode()
                connection.execute(update(table).where(key == identity).values({column: new}))
                changed += 1
    return changed


def _replaced(value: object, pattern: re.Pattern[str]) -> object:
    if isinstance(value, str):
        return pattern.sub(REPLACED, value)
    if isinstance(value, list):
        return [_replaced(each, pattern) for each in value]
    if isinstance(value, Mapping):
        return {key: _replaced(each, pattern) for key, each in value.items()}
    return value


def evaluators(connection: Connection, now: float) -> int:
    """Return how many processes judge now; they may write once more what they have in memory."""
    lease = schema.lease
    query = select(func.count()).where(lease.c.name == "evaluator", lease.c.expires > now)
    return int(connection.execute(query).scalar_one())


def note(connection: Connection, at: float, detail: Mapping[str, object]) -> None:
    """Note that something was purged, in the same transaction: whoever reads on has seen both or neither."""
    row = {
        "at": at,
        "call": 0,
        "kind": "purge",
        "stream": "",
        "group": "",
        "detail": json.dumps(detail).encode(),
    }
    connection.execute(insert(schema.occurrence).values(row))
