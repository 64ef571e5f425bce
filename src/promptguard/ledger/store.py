"""Opening a ledger, and the small transactions that run in background threads.

SQLite: WAL, synchronous=FULL (an acknowledged pair survives power loss), no mmap, one writer connection a process.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    case,
    create_engine,
    delete,
    event,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool

from promptguard.errors import ConfigurationError, InputFileError
from promptguard.ledger import schema

FILE_NAME = "ledger.sqlite3"
HOUR = 3600.0


class Ledger:
    """One process's door to a ledger directory. Thread-safe: every transaction has its own short-lived connection.

    Raises ConfigurationError when the directory cannot be used, at construction; sqlalchemy.exc.SQLAlchemyError later,
    which the background threads turn into counted events.
    """

    def __init__(self, directory: str | Path) -> None:
        if "://" in str(directory):
            raise ConfigurationError(
                f"ledger={directory!r}: only directories (SQLite) work in this version; give a path"
            )
        self.directory = Path(directory)
        self.path = self.directory / FILE_NAME
        _prepare_directory(self.directory)
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        self.engine = _writing_engine(self.path)
        self._reads = self.engine.execution_options(writes=False)
        try:
            schema.metadata.create_all(self.engine)
            self._check_version()
        except DatabaseError as error:
            raise ConfigurationError(
                f"{self.path} cannot be used ({error.orig}): give another ledger directory, or move this file away"
            ) from error

    def _check_version(self) -> None:
        found = int(self._once("schema_version", str(schema.SCHEMA_VERSION).encode()))
        if found != schema.SCHEMA_VERSION:
            raise ConfigurationError(
                f"{self.path} has schema {found}, this version of PromptGuard writes {schema.SCHEMA_VERSION}: "
                "use another ledger directory or the version that wrote it"
            )

    def _once(self, name: str, value: bytes) -> bytes:
        """Return the stored value of `name`, storing `value` if there is none yet; safe between processes."""
        with self.engine.begin() as connection:
            connection.execute(upsert(schema.meta).values(name=name, value=value).on_conflict_do_nothing())
            stored = connection.execute(
                select(schema.meta.c.value).where(schema.meta.c.name == name)
            ).scalar_one()
        return bytes(stored)

    @property
    def seed(self) -> bytes:
        """The secret that keys the hash features of this ledger, so that stored pairs do not tell their texts."""
        return self._once("feature_seed", secrets.token_bytes(16))

    def write_pairs(self, rows: Sequence[dict[str, Any]]) -> None:
        """Append pairs in order; a row's `content` (question, control, candidate) goes to its own table."""
        with self.engine.begin() as connection:
            for row in rows:
                texts = row.pop("content", None)
                plain = {name: _storable(value) for name, value in row.items()}
                inserted = connection.execute(insert(schema.pair).values(**plain).returning(schema.pair.c.id))
                number = inserted.scalar_one()  # read at once: SQLite commits nothing over an open statement
                if texts is not None:
                    connection.execute(insert(schema.content).values(pair_id=number, **texts))

    def pairs_after(self, last_id: int, limit: int = 500) -> list[Any]:
        """Return up to `limit` pair rows with an id above `last_id`, in order."""
        query = select(schema.pair).where(schema.pair.c.id > last_id).order_by(schema.pair.c.id).limit(limit)
        with self._reads.connect() as connection:
            return list(connection.execute(query))

    def claim(self, stream: str, epoch: int, clusters: Sequence[str]) -> bool:
        """Take the one pair that each of `clusters` has in a stream's epoch; False, taking none, when one has had it.

        One transaction, so that of several processes one alone succeeds.
        """
        table = schema.claim
        with self.engine.connect() as connection, connection.begin() as transaction:
            for cluster in sorted(set(clusters)):
                row = {"stream": stream, "epoch": epoch, "cluster": cluster}
                if connection.execute(upsert(table).values(**row).on_conflict_do_nothing()).rowcount != 1:
                    transaction.rollback()
                    return False
        return True

    def reserve(self, day: str, usd: float, cap_usd: float | None, cap_calls: int | None) -> bool:
        """Book one call of at most `usd` on `day` before it is sent; False when a cap would be passed."""
        table = schema.spend
        room = [table.c.day == day]
        if cap_usd is not None:
            room.append(table.c.usd + usd <= cap_usd + 1e-9)
        if cap_calls is not None:
            room.append(table.c.calls + 1 <= cap_calls)
        with self.engine.begin() as connection:
            connection.execute(upsert(table).values(day=day, calls=0, usd=0.0).on_conflict_do_nothing())
            booked = connection.execute(
                update(table).where(*room).values(calls=table.c.calls + 1, usd=table.c.usd + usd)
            )
        return bool(booked.rowcount == 1)

    def settle(self, day: str, difference: float) -> None:
        """Correct a reservation to what the call did cost (`difference` in USD, usually below zero)."""
        with self.engine.begin() as connection:
            connection.execute(
                update(schema.spend)
                .where(schema.spend.c.day == day)
                .values(usd=schema.spend.c.usd + difference)
            )

    def count(self, amounts: dict[tuple[str, str], float]) -> None:
        """Add to the counters by (name, label)."""
        with self.engine.begin() as connection:
            for (name, label), amount in amounts.items():
                statement = upsert(schema.counter).values(name=name, label=_storable(label), value=amount)
                connection.execute(
                    statement.on_conflict_do_update(
                        index_elements=["name", "label"], set_={"value": schema.counter.c.value + amount}
                    )
                )

    def counted(self, name: str) -> list[str]:
        """Return the labels that were counted under a name."""
        table = schema.counter
        with self.engine.connect() as connection:
            return list(connection.execute(select(table.c.label).where(table.c.name == name)).scalars())

    def note_sightings(self, seen: Mapping[tuple[str, ...], tuple[float, float, int]]) -> None:
        """Record who served: (origin, asked, model, fingerprint, tier, region, backend) → (first at, last at, calls).

        All calls of one entry lie within one hour.
        """
        table = schema.sighting
        names = ("origin", "asked", "model", "fingerprint", "service_tier", "region", "backend")
        with self.engine.begin() as connection:
            for who, (first, last, calls) in seen.items():
                values = dict(zip(names, map(_storable, who), strict=True))
                statement = upsert(table).values(
                    **values, hour=int(first // HOUR), first_at=first, last_at=last, calls=calls
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
        self, *, at: float, call: int, kind: str, stream: str, group: str, detail: dict[str, Any]
    ) -> None:
        """Record an alarm, an action or an acknowledgement."""
        row = {"at": at, "call": call, "kind": kind, "stream": stream, "group": group}
        with self.engine.begin() as connection:
            connection.execute(insert(schema.occurrence).values(**row, detail=json.dumps(detail).encode()))

    def occurrences_after(self, last_id: int) -> list[dict[str, Any]]:
        """Return everything that was noted after `last_id`, oldest first."""
        query = (
            select(schema.occurrence).where(schema.occurrence.c.id > last_id).order_by(schema.occurrence.c.id)
        )
        with self._reads.connect() as connection:
            return [{**row._mapping, "detail": json.loads(row.detail)} for row in connection.execute(query)]

    def put_verdict(
        self, stream: str, epoch: int, at: float, last_pair: int, document: dict[str, Any]
    ) -> None:
        """Keep the newest verdict of a stream's epoch, for readers; the pairs remain the truth."""
        values = {"at": at, "last_pair": last_pair, "document": json.dumps(document).encode()}
        statement = upsert(schema.verdict).values(stream=stream, epoch=epoch, **values)
        with self.engine.begin() as connection:
            connection.execute(
                statement.on_conflict_do_update(index_elements=["stream", "epoch"], set_=values)
            )

    def take_lease(self, name: str, holder: str, now: float, seconds: float) -> bool:
        """Become, or stay, the one holder of `name` for `seconds`; False while another process holds it."""
        table = schema.lease
        with self.engine.begin() as connection:
            connection.execute(
                upsert(table).values(name=name, holder=holder, expires=now).on_conflict_do_nothing()
            )
            taken = connection.execute(
                update(table)
                .where(table.c.name == name, (table.c.holder == holder) | (table.c.expires <= now))
                .values(holder=holder, expires=now + seconds)
            )
        return bool(taken.rowcount == 1)

    def drop_lease(self, name: str, holder: str) -> None:
        """Give `name` back, so that the next process need not wait."""
        table = schema.lease
        with self.engine.begin() as connection:
            connection.execute(delete(table).where(table.c.name == name, table.c.holder == holder))

    def bank(self, row: dict[str, Any], reservoir: int, oldest: float) -> None:
        """Store a request with one unused answer; what is from before `oldest`, or too many for the group, gives way."""
        table = schema.banked
        with self.engine.begin() as connection:
            connection.execute(delete(table).where(table.c.at < oldest))
            connection.execute(insert(table).values(**row))
            kept = (
                select(table.c.id)
                .where(table.c.group == row["group"], table.c.stream == row["stream"])
                .order_by(table.c.id.desc())
                .limit(reservoir)
            )
            same = (table.c.group == row["group"], table.c.stream == row["stream"])
            connection.execute(delete(table).where(*same, table.c.id.not_in(kept)))

    def due(self, now: float, sources: Sequence[str], limit: int) -> list[Any]:
        """Take up to `limit` stored requests of `sources` whose time has come; each is taken once (and deleted)."""
        table = schema.banked
        ready = select(table.c.id).where(table.c.due <= now, table.c.source.in_(sources))
        chosen = ready.order_by(table.c.due, table.c.id).limit(limit)
        with self.engine.begin() as connection:
            taken = connection.execute(delete(table).where(table.c.id.in_(chosen)).returning(table)).all()
        return sorted(taken, key=lambda row: (row.due, row.id))

    def banked_count(self, due_by: float | None = None) -> int:
        """Return how many stored requests wait, or how many of them are due by a moment."""
        query = select(func.count()).select_from(schema.banked)
        if due_by is not None:
            query = query.where(schema.banked.c.due <= due_by)
        with self._reads.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def _storable(value: Any) -> Any:
    """Return text without lone surrogates: SQLite refuses them, and one such row would hold up all that follow."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _prepare_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError("not writable")
    except OSError as error:
        raise ConfigurationError(
            f"ledger={str(directory)!r} cannot be used ({error}): give a directory that is writable"
        ) from error


def _writing_engine(path: Path) -> Engine:
    # A connection a transaction: nothing is inherited across fork, and no lock outlives a thread. It costs 60 µs.
    # Parameters are hidden from error texts, which end up in logs: they hold questions and answers.
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=NullPool,
        connect_args={"timeout": 10.0},
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def _on_connect(raw: Any, _record: Any) -> None:
        raw.isolation_level = None  # SQLAlchemy's own BEGIN below, not the driver's implicit one
        raw.execute("PRAGMA journal_mode=WAL")
        raw.execute("PRAGMA synchronous=FULL")
        raw.execute("PRAGMA secure_delete=ON")
        raw.execute("PRAGMA mmap_size=0")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(
            "BEGIN IMMEDIATE" if connection.get_execution_options().get("writes", True) else "BEGIN"
        )

    return engine


@contextmanager
def reading(directory: str | Path) -> Iterator[Connection]:
    """Open a ledger for reading only. Raises InputFileError when there is none, or when it cannot be read."""
    path = Path(directory) / FILE_NAME
    if not path.is_file():
        raise InputFileError(
            f"{path}: no ledger here; run an application with promptguard.wrap(ledger={str(directory)!r}) first"
        )
    file = f"file:{quote(str(path.resolve()))}"  # or "?" and "#" in a directory's name would end the path
    url = URL.create("sqlite", database=file, query={"mode": "ro", "uri": "true"})
    engine = create_engine(url, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            yield connection
    except DatabaseError as error:
        raise InputFileError(
            f"{path}: not a readable ledger ({error.orig}); restore it from a copy, or move it away and start anew"
        ) from error
    finally:
        engine.dispose()
