"""What a ledger keeps: small transactions that run in background threads."""

from __future__ import annotations

import hashlib
import itertools
import json
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, case, delete, func, insert, or_, select, update

from promptguard.core.epochs import EVERY_GROUP
from promptguard.core.ladder import Rung
from promptguard.errors import ConfigurationError
from promptguard.ledger import schema
from promptguard.ledger.bank import keep
from promptguard.ledger.door import Door
from promptguard.ledger.engines import add_new, words
from promptguard.ledger.migrations import stored_once
from promptguard.ledger.rows import BankedRow, PairRow, StoredRow, storable
from promptguard.ledger.sums import add_sums
from promptguard.shared_secret import shared_secret

HOUR = 3600.0


CACHE_PLACE = "cache place"
"""The counter of servers on which processes of a ledger keep cached answers, by address without its password."""


class Ledger(Door):
    """The tables of one ledger, as `Door` opens them. Thread-safe; methods raise what `Door` says."""

    @property
    def seed(self) -> bytes:
        """The secret that keys the hash features of this ledger, so that stored pairs do not tell their texts."""
        with self.transaction() as connection:
            return stored_once(connection, "feature_seed", _new_seed())

    def write_pairs(self, rows: Sequence[PairRow], source: str = "", numbers: Sequence[int] = ()) -> None:
        """Append pairs in order; a row's `content` (question, control, candidate) goes to its own table.

        `numbers`, of the writer `source`, ascend from pair to pair: those that are there already are left out.
        """
        with self.transaction() as connection:
            if numbers:
                rows = rows[_delivered(connection, source, numbers) :]
            for has_texts, some in itertools.groupby(rows, lambda row: row.get("content") is not None):
                if has_texts:
                    _insert_with_texts(connection, some)
                else:
                    words(connection).append(connection, schema.pair, [_complete(row) for row in some])
            add_sums(connection, rows)

    def lose_pairs(
        self, rows: Sequence[PairRow], reason: str, source: str = "", numbers: Sequence[int] = ()
    ) -> None:
        """Count pairs that are not kept, as dropped for `reason`; numbered as in `write_pairs`.

        What was lost before it was a pair keeps its own reason.
        """
        with self.transaction() as connection:
            if numbers:
                rows = rows[_delivered(connection, source, numbers) :]
            lost = {"outcome": "dropped", "reason": reason}
            add_sums(connection, [{**row, **lost} if row["outcome"] == "compared" else row for row in rows])  # type: ignore[typeddict-item]

    def pairs_after(self, last_id: int, limit: int = 500) -> Sequence[StoredRow]:
        """Return up to `limit` pair rows with an id above `last_id`, in order."""
        table = schema.pair
        query = select(table).where(table.c.id > last_id).order_by(table.c.id).limit(limit)
        with self.reading() as connection:
            return connection.execute(query).all()

    def claim(self, stream: str, epoch: int, clusters: Sequence[str]) -> bool:
        """Take the one pair that each of `clusters` has in a stream's epoch; False, taking none, when one has had it.

        One transaction, so that of several processes one alone succeeds.
        """
        table = schema.claim
        with self.transaction() as connection:
            taken = connection.begin_nested()
            for cluster in sorted(set(clusters)):
                row = {"stream": stream, "epoch": epoch, "cluster": cluster}
                if not add_new(connection, table, row):
                    taken.rollback()
                    return False
        return True

    def reserve(
        self, day: str, purpose: str, usd: float, cap_usd: float | None, cap_calls: int | None
    ) -> bool:
        """Reserve one call of at most `usd` on `day` before it is sent; False when a cap of `purpose` would be passed."""
        table = schema.budget
        room = [table.c.day == day, table.c.purpose == purpose]
        if cap_usd is not None:
            room.append(table.c.usd + usd <= cap_usd + 1e-9)
        if cap_calls is not None:
            room.append(table.c.calls + 1 <= cap_calls)
        with self.transaction() as connection:
            none_yet = words(connection).upsert(table).values(day=day, purpose=purpose, calls=0, usd=0.0)
            connection.execute(none_yet.on_conflict_do_nothing())
            reserved = connection.execute(
                update(table).where(*room).values(calls=table.c.calls + 1, usd=table.c.usd + usd)
            )
            if reserved.rowcount == 1:
                _add_to_day(connection, day, 1, usd)
        return bool(reserved.rowcount == 1)

    def settle(self, day: str, purpose: str, difference: float) -> None:
        """Correct a reservation to what the call did cost (`difference` in USD, usually below zero)."""
        table = schema.budget
        with self.transaction() as connection:
            connection.execute(
                update(table)
                .where(table.c.day == day, table.c.purpose == purpose)
                .values(usd=table.c.usd + difference)
            )
            _add_to_day(connection, day, 0, difference)

    def calls_reserved(self, day: str, purpose: str) -> int:
        """Return how many calls of a purpose were reserved on a day (UTC)."""
        table = schema.budget
        query = select(table.c.calls).where(table.c.day == day, table.c.purpose == purpose)
        with self.reading() as connection:
            return int(connection.execute(query).scalar_one_or_none() or 0)

    def add_spending(self, spent: Mapping[tuple[str, str], tuple[int, float]]) -> None:
        """Add to what was spent: (day, purpose) → (calls, USD)."""
        table = schema.budget
        with self.transaction() as connection:
            for (day, purpose), (calls, usd) in sorted(spent.items()):
                statement = (
                    words(connection).upsert(table).values(day=day, purpose=purpose, calls=calls, usd=usd)
                )
                connection.execute(
                    statement.on_conflict_do_update(
                        index_elements=["day", "purpose"],
                        set_={"calls": table.c.calls + calls, "usd": table.c.usd + usd},
                    )
                )
            # the days last, as who reserves does: in another order two transactions would wait for each other
            for (day, _), (calls, usd) in sorted(spent.items()):
                _add_to_day(connection, day, calls, usd)

    def count(self, amounts: dict[tuple[str, str], float]) -> None:
        """Add to the counters by (name, label)."""
        with self.transaction() as connection:
            for (name, label), amount in sorted(amounts.items()):
                statement = (
                    words(connection)
                    .upsert(schema.counter)
                    .values(name=name, label=storable(label), value=amount)
                )
                connection.execute(
                    statement.on_conflict_do_update(
                        index_elements=["name", "label"], set_={"value": schema.counter.c.value + amount}
                    )
                )

    def counted(self, name: str) -> list[str]:
        """Return the labels that were counted under a name."""
        table = schema.counter
        with self.reading() as connection:
            return list(connection.execute(select(table.c.label).where(table.c.name == name)).scalars())

    def note_sightings(self, seen: Mapping[tuple[str, ...], tuple[float, float, int]]) -> None:
        """Record who served: (origin, asked, model, fingerprint, tier, region, backend) → (first at, last at, calls).

        All calls of one entry lie within one hour.
        """
        table = schema.sighting
        names = ("origin", "asked", "model", "fingerprint", "service_tier", "region", "backend")
        with self.transaction() as connection:
            for who, (first, last, calls) in sorted(seen.items()):
                values = dict(zip(names, map(storable, who), strict=True))
                statement = (
                    words(connection)
                    .upsert(table)
                    .values(**values, hour=int(first // HOUR), first_at=first, last_at=last, calls=calls)
                )
                # Other processes write the same rows, not in the order of time.
                merged = {
                    "first_at": case((table.c.first_at < first, table.c.first_at), else_=first),
                    "last_at": case((table.c.last_at > last, table.c.last_at), else_=last),
                    "calls": table.c.calls + calls,
                }
                connection.execute(
                    statement.on_conflict_do_update(index_elements=[*names, "hour"], set_=merged)
                )

    def note(
        self, *, at: float, call: int, kind: str, stream: str, group: str, detail: dict[str, object]
    ) -> None:
        """Record an alarm, an action or an acknowledgement."""
        self.note_all(
            [{"at": at, "call": call, "kind": kind, "stream": stream, "group": group, "detail": detail}]
        )

    def note_all(self, rows: Iterable[Mapping[str, Any]], *, lease: tuple[str, str] | None = None) -> bool:
        """Record what belongs together, all of it or nothing, in order; the rows are as `note` takes them.

        `lease`: (name, holder) without which nothing is recorded; returns whether it was.
        """
        with self.transaction(alone="occurrence") as connection:
            if lease is not None and not holds(connection, *lease):
                return False
            for row in rows:
                values = {**row, "detail": json.dumps(row["detail"]).encode()}
                connection.execute(insert(schema.occurrence).values(**values))
        return True

    def put_notices(self, texts: Sequence[str], at: float) -> None:
        """Keep what was said of the settings at `at` (seconds since the Unix epoch), each text once."""
        table = schema.meta
        with self.transaction() as connection:
            for text in sorted(texts):
                name = f"{schema.NOTICE}{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"
                value = json.dumps({"text": text, "at": at}).encode()
                statement = words(connection).upsert(table).values(name=name, value=value)
                connection.execute(
                    statement.on_conflict_do_update(index_elements=["name"], set_={"value": value})
                )

    def occurrences_after(self, last_id: int) -> list[dict[str, Any]]:
        """Return everything that was noted after `last_id`, oldest first."""
        query = (
            select(schema.occurrence).where(schema.occurrence.c.id > last_id).order_by(schema.occurrence.c.id)
        )
        with self.reading() as connection:
            return [noted_of(row) for row in connection.execute(query)]

    def put_verdict(
        self, stream: str, epoch: int, at: float, last_pair: int, document: dict[str, Any]
    ) -> None:
        """Keep a verdict.json that was made elsewhere, its groups included, for readers; the pairs remain the truth."""
        with self.transaction() as connection:
            put_whole_verdict(connection, stream, epoch, at, last_pair, {**document, "groups": []})
            for group in document["groups"]:
                put_group_verdict(connection, stream, epoch, group["group"], at, group)

    def take_lease(self, name: str, holder: str, now: float, seconds: float) -> bool:
        """Become, or stay, the one holder of `name` for `seconds`; False while another process holds it."""
        table = schema.lease
        with self.transaction() as connection:
            words(connection).end_if_still(connection)
            clock = words(connection).now(now)
            connection.execute(
                words(connection)
                .upsert(table)
                .values(name=name, holder=holder, expires=clock)
                .on_conflict_do_nothing()
            )
            taken = connection.execute(
                update(table)
                .where(
                    table.c.name == name,
                    # One that ends later than any lease could was written by a clock that is wrong.
                    or_(
                        table.c.holder == holder,
                        table.c.expires <= clock,
                        table.c.expires > clock + 2 * seconds,
                    ),
                )
                .values(holder=holder, expires=clock + seconds)
            )
        return bool(taken.rowcount == 1)

    def lease_is_held(self, name: str, now: float) -> bool:
        """Whether any process holds `name` at this moment; `now` is this machine's time."""
        table = schema.lease
        with self.reading() as connection:
            query = select(func.count()).where(
                table.c.name == name, table.c.expires > words(connection).now(now)
            )
            return bool(connection.execute(query).scalar_one())

    def drop_lease(self, name: str, holder: str) -> None:
        """Give `name` back, so that the next process need not wait."""
        table = schema.lease
        with self.transaction() as connection:
            connection.execute(delete(table).where(table.c.name == name, table.c.holder == holder))

    def bank(self, row: BankedRow, rungs: Sequence[Rung], at: float, reservoir: int, oldest: float) -> None:
        """Store a request with one unused answer, due after the age that `at` draws; `bank.keep` says what gives way."""
        with self.transaction(alone=f"bank {row['stream']} {row['group']}") as connection:
            keep(connection, row, rungs, at, reservoir, oldest)

    def forget_stored(self, stream: str, group: str, before: float) -> None:
        """Delete stored requests of a group, or of all, from before a moment: they are no reference any more."""
        table = schema.banked
        old = delete(table).where(table.c.stream == stream, table.c.at < before)
        with self.transaction() as connection:
            connection.execute(old if group == EVERY_GROUP else old.where(table.c.group == group))

    def due(self, now: float, sources: Sequence[str], limit: int) -> list[StoredRow]:
        """Take up to `limit` stored requests of `sources` whose time has come; each is taken once (and deleted)."""
        table = schema.banked
        ready = select(table.c.id).where(table.c.due <= now, table.c.source.in_(sources))
        chosen = ready.order_by(table.c.due, table.c.id).limit(limit).with_for_update(skip_locked=True)
        with self.transaction() as connection:
            taken = connection.execute(delete(table).where(table.c.id.in_(chosen)).returning(table)).all()
        return sorted(taken, key=lambda row: (row.due, row.id))

    def sources(self) -> list[str]:
        """Return who may ask the stored requests that wait: each names a server, then a digest of the credential."""
        with self.reading() as connection:
            return list(connection.execute(select(schema.banked.c.source).distinct()).scalars())

    def banked_count(self, due_by: float | None = None) -> int:
        """Return how many stored requests wait, or how many of them are due by a moment."""
        query = select(func.count()).select_from(schema.banked)
        if due_by is not None:
            query = query.where(schema.banked.c.due <= due_by)
        with self.reading() as connection:
            return int(connection.execute(query).scalar_one())


def holds(connection: Connection, name: str, holder: str) -> bool:
    """Whether `holder` has a lease which nobody has taken since, and that nobody takes before the transaction ends."""
    words(connection).end_if_still(connection)
    table = schema.lease
    query = select(table.c.holder).where(table.c.name == name).with_for_update(read=True)
    return bool(connection.execute(query).scalar_one_or_none() == holder)


def _new_seed() -> bytes:
    return shared_seed() or secrets.token_bytes(16)


def shared_seed() -> bytes | None:
    """Return the seed of all ledgers of hosts that share a secret, so that pairs can be put together; None without one."""
    try:
        given = shared_secret()
    except ConfigurationError:  # told at wrap()
        given = None
    if given is None:
        return None
    return hashlib.blake2b(given, digest_size=16, person=b"promptguard-seed").digest()


def noted_of(row: StoredRow) -> dict[str, Any]:
    """Return what was noted; of a damaged row that there is one: the others must be followed all the same."""
    try:
        detail = json.loads(row.detail)
    except (ValueError, TypeError, RecursionError):
        detail = None
    if not isinstance(detail, dict):
        return {**row._mapping, "kind": "unreadable", "detail": {}}
    return {**row._mapping, "detail": detail}


def _add_to_day(connection: Connection, day: str, calls: int, usd: float) -> None:
    table = schema.spend
    statement = words(connection).upsert(table).values(day=day, calls=calls, usd=usd)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["day"], set_={"calls": table.c.calls + calls, "usd": table.c.usd + usd}
        )
    )


def _delivered(connection: Connection, source: str, numbers: Sequence[int]) -> int:
    """Note the last of a writer's numbers; returns how many of them were noted before."""
    table, at = schema.writer, time.time()
    new = update(table).where(table.c.id == source, table.c.last < numbers[0]).values(last=numbers[-1], at=at)
    if connection.execute(new).rowcount == 1:
        return 0
    if add_new(connection, table, {"id": source, "last": numbers[-1], "at": at}):
        return 0
    known = select(table.c.last).where(table.c.id == source).with_for_update()
    last = int(connection.execute(known).scalar_one())
    if last < numbers[-1]:
        connection.execute(update(table).where(table.c.id == source).values(last=numbers[-1], at=at))
    return sum(number <= last for number in numbers)


def _insert_with_texts(connection: Connection, rows: Iterable[PairRow]) -> None:
    for row in rows:
        inserted = connection.execute(
            insert(schema.pair).values(**_complete(row)).returning(schema.pair.c.id)
        )
        number = inserted.scalar_one()  # read at once: SQLite commits nothing over an open statement
        connection.execute(insert(schema.content).values(pair_id=number, **row["content"]))


_OPTIONAL: dict[str, object] = {
    "banked_call": None, "banked_at": None, "control_served": "", "candidate_served": "", "vector": None, "usd": 0.0,
    "input_tokens": 0, "output_tokens": 0, "latency": 0.0, "trace": "", "rules": "", "subject": "",
}  # fmt: skip


def _complete(row: PairRow) -> dict[str, object]:
    """Return every column of a pair, so that rows of one batch are one statement."""
    given = {
        name: storable(value) if isinstance(value, str) else value
        for name, value in row.items()
        if name != "content"
    }
    return {**_OPTIONAL, **given}


def put_whole_verdict(
    connection: Connection, stream: str, epoch: int, at: float, last_pair: int, document: dict[str, object]
) -> None:
    """Keep the verdict of all pairs of a stream, within a transaction."""
    values = {"at": at, "last_pair": last_pair, "document": json.dumps(document).encode()}
    statement = words(connection).upsert(schema.verdict).values(stream=stream, epoch=epoch, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["stream", "epoch"], set_=values))


def put_group_verdict(
    connection: Connection, stream: str, epoch: int, group: str, at: float, document: dict[str, object]
) -> None:
    """Keep the verdict of one group, within a transaction."""
    values = {"at": at, "document": json.dumps(document).encode()}
    statement = (
        words(connection)
        .upsert(schema.verdict_group)
        .values(stream=stream, epoch=epoch, group=group, **values)
    )
    connection.execute(
        statement.on_conflict_do_update(index_elements=["stream", "epoch", "group"], set_=values)
    )
