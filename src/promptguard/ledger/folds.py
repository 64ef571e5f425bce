"""What the evaluator keeps in a ledger: snapshots of its fold, and verdicts as readers want them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Table, delete, select

from promptguard.ledger import schema
from promptguard.ledger.engines import words
from promptguard.ledger.order import CommitOrder
from promptguard.ledger.rows import StoredRow
from promptguard.ledger.store import Ledger, holds, put_group_verdict, put_whole_verdict
from promptguard.ledger.sums import add_to_group_tally, add_to_tally


@dataclass(frozen=True, slots=True)
class Part:
    """One row of a snapshot: a stream's head (group ""), or one group's state."""

    stream: str
    epoch: int
    group: str
    state: bytes


@dataclass(frozen=True, slots=True)
class Saved:
    """A snapshot: the last pair it has seen, and its parts by stream and epoch."""

    last_id: int
    parts: Mapping[tuple[str, int], Sequence[tuple[str, bytes]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Told:
    """A verdict to be written: of a group, or of a whole stream (group "")."""

    stream: str
    epoch: int
    group: str
    document: dict[str, object]


FOLDED = (
    "id", "stream", "epoch", "group", "at", "call", "banked_call", "banked_at", "outcome", "reason", "asked",
    "control_model", "candidate_model", "vector",
)  # fmt: skip
"""The columns of a pair that the fold reads."""


SUMS = 2000
"""Batches' sums that one transaction adds."""
SLICE, LONG_SLICE = 500, 2000
"""Pairs that the fold reads at once beside an application at work, and where somebody waits: a look opens a connection."""


@dataclass(frozen=True, slots=True)
class NthPair:
    """A pair that was looked up by its number."""

    id: int
    call: int
    at: float
    banked_call: int | None


class Folds:
    """The evaluator's own tables. Methods raise what `ledger.door.Door` says."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._order = CommitOrder(schema.pair)

    def pair_before(self, stream: str, epoch: int, group: str, later: int, until: int) -> NthPair | None:
        """Return the compared pair of a group, or of a stream (group ""), that has `later` after it up to row `until`.

        Counted from the end: the first ones may be forgotten. None where this one is.
        """
        table = schema.pair
        columns = (table.c.id, table.c.call, table.c.at, table.c.banked_call)
        query = select(*columns).where(
            table.c.stream == stream,
            table.c.epoch == epoch,
            table.c.outcome == "compared",
            table.c.id <= until,
        )
        if group:
            query = query.where(table.c.group == group)
        with self._ledger.reading() as connection:
            row = connection.execute(query.order_by(table.c.id.desc()).limit(1).offset(later)).first()
        return None if row is None else NthPair(*row)

    def load(self, key: str) -> Saved | None:
        """Return the snapshot of these settings, or None."""
        table, parts = schema.snapshot, schema.snapshot_part
        found: dict[tuple[str, int], list[tuple[str, bytes]]] = {}
        with self._ledger.reading() as connection:
            last_id = connection.execute(
                select(table.c.last_id).where(table.c.key == key)
            ).scalar_one_or_none()
            if last_id is None:
                return None
            newest = words(connection).newest(connection, schema.pair)
            if last_id > newest:  # pairs were taken away since: a copy put back, say
                return None
            for row in connection.execute(select(parts).where(parts.c.key == key)):
                found.setdefault((row.stream, row.epoch), []).append((row.group, row.state))
        return Saved(last_id, found)

    def save(self, key: str, last_id: int, parts: Iterable[Part]) -> None:
        """Keep what changed of a snapshot, in one transaction; snapshots of other settings give way."""
        table, rows = schema.snapshot, schema.snapshot_part
        with self._ledger.transaction(alone="snapshot") as connection:
            known = connection.execute(select(table.c.last_id).where(table.c.key == key)).scalar_one_or_none()
            if known is not None and known > last_id:
                return  # of a process that has lost the lease meanwhile: another has gone on from there
            connection.execute(delete(table).where(table.c.key != key))
            connection.execute(delete(rows).where(rows.c.key != key))
            head = words(connection).upsert(table).values(key=key, last_id=last_id)
            connection.execute(head.on_conflict_do_update(index_elements=["key"], set_={"last_id": last_id}))
            values = [
                {"key": key, **{name: getattr(part, name) for name in Part.__slots__}} for part in parts
            ]
            if values:
                statement = words(connection).upsert(rows)
                named = ["key", "stream", "epoch", "group"]
                newer = {"state": statement.excluded.state}
                connection.execute(statement.on_conflict_do_update(index_elements=named, set_=newer), values)

    def write(
        self, verdicts: Iterable[Told], last_id: int, at: float, *, lease: tuple[str, str] | None = None
    ) -> bool:
        """Keep verdicts for readers, and how far everything is judged; the pairs remain the truth.

        `lease`: (name, holder) without which nothing is written; returns whether it was.
        """
        with self._ledger.transaction() as connection:
            if lease is not None and not holds(connection, *lease):
                return False
            for told in verdicts:
                if told.group:
                    put_group_verdict(connection, told.stream, told.epoch, told.group, at, told.document)
                else:
                    put_whole_verdict(connection, told.stream, told.epoch, at, last_id, told.document)
            _note_judged(connection, last_id)
        return True

    def note_stale_after(self, seconds: float | None) -> None:
        """Keep how old a last pair may be, as the settings say; None for the default."""
        with self._ledger.transaction() as connection:
            _put_meta(connection, schema.STALE_AFTER, seconds)

    def note_refused(self, refused: Mapping[str, tuple[str, float]]) -> None:
        """Keep why calls were not even prepared: stream → (reason, when last, in Unix seconds)."""
        with self._ledger.transaction() as connection:
            for stream, (reason, at) in refused.items():
                _put_meta(connection, f"{schema.REFUSED}{stream}", {"reason": reason, "at": at})

    def rows_after(self, last_id: int, limit: int = SLICE) -> Sequence[StoredRow]:
        """Return up to `limit` pairs with an id above `last_id`, in order: what the fold reads of each.

        None that another could still be committed before.
        """
        table = schema.pair
        query = select(*(table.c[name] for name in FOLDED))
        query = query.where(table.c.id > last_id).order_by(table.c.id).limit(limit)
        with self._ledger.reading() as connection:
            upto = self._order.upto(connection)
            return connection.execute(query.where(table.c.id <= upto)).all()

    @property
    def is_held_back(self) -> bool:
        """Whether there are pairs that `rows_after` does not return yet."""
        return self._order.is_held_back

    @property
    def newest(self) -> int:
        """The newest pair's id at the last `rows_after`."""
        return self._order.newest

    def take_sums(self) -> None:
        """Add what writers have noted to the sums that readers read."""
        for news, add in ((schema.tally_news, add_to_tally), (schema.group_tally_news, add_to_group_tally)):
            while self._take_some(news, add):
                pass

    def _take_some(self, news: Table, add: Callable[[Connection, Sequence[Mapping[str, Any]]], None]) -> bool:
        with self._ledger.reading() as connection:
            if connection.execute(select(news.c.id).limit(1)).first() is None:
                return False
        oldest = select(news.c.id).order_by(news.c.id).limit(SUMS)
        with self._ledger.transaction(alone="sums") as connection:
            rows = connection.execute(delete(news).where(news.c.id.in_(oldest)).returning(news)).all()
            ordered = sorted(rows, key=lambda row: int(row.id))
            add(connection, [{n: value for n, value in row._mapping.items() if n != "id"} for row in ordered])
        return len(rows) == SUMS

    def progress(self) -> tuple[int, int]:
        """Return the newest pair's id, and up to which all are in a verdict that was written, by whichever process."""
        with self._ledger.reading() as connection:
            return words(connection).newest(connection, schema.pair), judged_up_to(connection)

    def told(self) -> set[tuple[str, int, str]]:
        """Return (stream, epoch, group) of every verdict that readers have; group "" for a whole stream."""
        whole, groups = schema.verdict, schema.verdict_group
        with self._ledger.reading() as connection:
            found = {
                (row.stream, row.epoch, "")
                for row in connection.execute(select(whole.c.stream, whole.c.epoch))
            }
            rows = connection.execute(select(groups.c.stream, groups.c.epoch, groups.c.group))
            return found | {(row.stream, row.epoch, row.group) for row in rows}

    def begin_anew(self) -> None:
        """Drop the verdicts of groups: everything is folded again, and tells them anew."""
        with self._ledger.transaction() as connection:
            connection.execute(delete(schema.snapshot))
            connection.execute(delete(schema.snapshot_part))


def _note_judged(connection: Connection, last_id: int) -> None:
    _put(connection, "judged", str(last_id).encode())


def _put_meta(connection: Connection, name: str, told: object) -> None:
    _put(connection, name, json.dumps(told).encode())


def _put(connection: Connection, name: str, value: bytes) -> None:
    statement = words(connection).upsert(schema.meta).values(name=name, value=value)
    connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": value}))


def judged_up_to(connection: Connection) -> int:
    """Return the id up to which all pairs are in a verdict that was written; 0 where nobody has judged."""
    query = select(schema.meta.c.value).where(schema.meta.c.name == "judged")
    judged = connection.execute(query).scalar_one_or_none()
    return 0 if judged is None else int(judged)
