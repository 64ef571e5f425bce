"""The outbox: which alerts there are, and which channel has had which.

It follows what the ledger notes (alarms, acknowledgements) by a cursor of its own, in one transaction with what comes of
it: whichever process does so, and wherever it is killed, each alarm is in exactly one alert. What is owed to a channel is
computed, not queued: a revision of an alert that is newer than the last one it took.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, Row, func, select

from promptguard.ledger import schema
from promptguard.ledger.engines import words
from promptguard.ledger.store import Ledger

CURSOR = "alerts_read"
"""The name in `meta` of the last occurrence that was read."""
TAKEN_BACK = "taken back"
TOGETHER_SECONDS = 6 * 3600.0
"""Alarms of one model within so long after the first are one change: prompts with fewer calls show it later."""


Place = tuple[str, int, str]
"""stream, epoch and group"""


@dataclass(frozen=True, slots=True)
class Member:
    """One alarm of an alert. `ended` says why it stands no more: "acknowledged" or "taken back", with `ended_at`."""

    stream: str
    group: str
    epoch: int
    alarm: int
    at: float
    pairs: int
    log10_evidence: float
    sentence: str
    ended: str = ""
    ended_at: float | None = None
    other: str = ""
    """of two models that differ, the second one"""

    @property
    def place(self) -> Place:
        """What the alarm is of."""
        return self.stream, self.epoch, self.group


@dataclass(frozen=True, slots=True)
class StoredAlert:
    """One change, as the ledger keeps it. `revision` grows with all that receivers should hear of."""

    id: str
    first: int
    model: str
    opened_at: float
    changed_at: float
    ended_at: float | None
    revision: int
    members: tuple[Member, ...]

    @property
    def status(self) -> str:
        """`firing` or `resolved`."""
        return "firing" if self.ended_at is None else "resolved"


@dataclass(frozen=True, slots=True)
class Owed:
    """An alert with what one channel has had of it."""

    alert: StoredAlert
    revision: int = 0
    delivered_at: float | None = None
    attempts: int = 0
    next_at: float = 0.0
    error: str = field(default="")

    @property
    def is_pending(self) -> bool:
        """Whether there is something that the channel has not had."""
        return self.revision < self.alert.revision


class Outbox:
    """The alerts of one ledger. Thread-safe, in any number of processes; methods raise what `ledger.door.Door` says."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def register(self, channels: Mapping[str, str], now: float) -> None:
        """Have channels (name → kind) told of every alarm that is noted from now on; known ones keep their beginning."""
        with self._ledger.transaction(alone="alerts") as connection:
            newest = _newest(connection)
            _put(connection, CURSOR, str(newest), keep=True)
            table = schema.alert_channel
            for name, kind in channels.items():
                row = {"name": name, "kind": kind, "since": newest, "first_at": now, "last_at": now}
                statement = words(connection).upsert(table).values(**row)
                connection.execute(
                    statement.on_conflict_do_update(
                        index_elements=["name"], set_={"kind": kind, "last_at": now}
                    )
                )

    def follow(self) -> int:
        """Make alerts of what was noted since the last look, by whichever process; returns how many rows were read."""
        with self._ledger.reading() as connection:
            if _cursor(connection) >= _newest(connection):
                return 0
        with self._ledger.transaction(alone="alerts") as connection:
            table = schema.occurrence
            query = select(table).where(table.c.id > _cursor(connection)).order_by(table.c.id)
            rows = connection.execute(query).all()
            for row in rows:
                if row.kind == "alarm":
                    _take_alarm(connection, row, self._ledger.identity)
                elif row.kind == "acknowledge":
                    _acknowledge(connection, row.stream, row.group, row.at)
            if rows:
                _put(connection, CURSOR, str(rows[-1].id))
        return len(rows)

    def take_back(self, members: Collection[Place], now: float) -> None:
        """End what stands of these: their alarms were taken back."""
        with self._ledger.transaction(alone="alerts") as connection:
            for alert in _firing(connection):
                _end(
                    connection, alert, lambda each: each.place in members and not each.ended, TAKEN_BACK, now
                )

    def put_up_again(self, members: Collection[Place], now: float) -> None:
        """Let those of these alarms that were taken back stand again."""
        with self._ledger.transaction(alone="alerts") as connection:
            for alert in _watched(connection):
                if not any(each.place in members and each.ended == TAKEN_BACK for each in alert.members):
                    continue
                again = tuple(
                    replace(each, ended="", ended_at=None)
                    if each.place in members and each.ended == TAKEN_BACK
                    else each
                    for each in alert.members
                )
                revision = alert.revision + 1
                _write(
                    connection,
                    replace(alert, members=again, ended_at=None, revision=revision, changed_at=now),
                )

    def watched(self) -> list[StoredAlert]:
        """Return the alerts that fire, and those of which something was taken back."""
        with self._ledger.reading() as connection:
            return _watched(connection)

    def owed(self, channel: str) -> list[Owed]:
        """Return what fires and what is pending for a channel, oldest first."""
        alert, known, had = schema.alert, schema.alert_channel, schema.alert_delivery
        query = (
            select(
                alert,
                had.c.revision.label("had"),
                had.c.delivered_at,
                had.c.attempts,
                had.c.next_at,
                had.c.error,
            )
            .select_from(
                alert.join(known, known.c.name == channel).outerjoin(
                    had, (had.c.alert == alert.c.id) & (had.c.channel == channel)
                )
            )
            .where(alert.c.first > known.c.since)
            .where(alert.c.ended_at.is_(None) | (func.coalesce(had.c.revision, 0) < alert.c.revision))
            .order_by(alert.c.first)
        )
        with self._ledger.reading() as connection:
            return [owed_of(row) for row in connection.execute(query)]

    def delivered(self, alert: str, channel: str, revision: int, now: float) -> None:
        """Note that a channel took a revision."""
        self._note(alert, channel, revision=revision, delivered_at=now, attempts=0, next_at=0.0, error="")

    def failed(self, alert: str, channel: str, *, attempts: int, next_at: float, error: str) -> None:
        """Note a failed attempt, and when the next one is due (seconds since the Unix epoch)."""
        self._note(alert, channel, attempts=attempts, next_at=next_at, error=error)

    def _note(self, alert: str, channel: str, **values: Any) -> None:
        table = schema.alert_delivery
        none_yet: dict[str, Any] = {
            "revision": 0,
            "delivered_at": None,
            "attempts": 0,
            "next_at": 0.0,
            "error": "",
        }
        row = {"alert": alert, "channel": channel, **none_yet, **values}
        with self._ledger.transaction(alone="alerts") as connection:
            statement = words(connection).upsert(table).values(**row)
            connection.execute(
                statement.on_conflict_do_update(index_elements=["alert", "channel"], set_=values)
            )


def owed_of(row: Row[Any]) -> Owed:
    """Return a row of an alert beside what a channel has had; nothing had is None in each of its columns."""
    alert = alert_of(row)
    if row.had is None:
        return Owed(alert)
    return Owed(alert, row.had, row.delivered_at, row.attempts, row.next_at, row.error)


def alert_of(row: Row[Any]) -> StoredAlert:
    """Return a row of `alert` as a value. Raises ValueError, KeyError or TypeError for one that is damaged."""
    members = tuple(Member(**each) for each in json.loads(row.members))
    return StoredAlert(
        row.id, row.first, row.model, row.opened_at, row.changed_at, row.ended_at, row.revision, members
    )


def _take_alarm(connection: Connection, row: Row[Any], identity: bytes) -> None:
    """Put an alarm into the alert of its change, or begin one."""
    try:
        detail = json.loads(row.detail)
        member = Member(
            row.stream, row.group, int(detail["epoch"]), row.id, row.at, int(detail["pairs"]),
            float(detail["log10_evidence"]), str(detail.get("sentence", "")), other=str(detail.get("other", "")),
        )  # fmt: skip
        model = str(detail["asked"])
    except (ValueError, TypeError, LookupError, RecursionError):
        return  # a damaged row: the alarms after it must be told all the same
    standing = [alert for alert in _firing(connection) if alert.model == model]
    told = ((each.stream, each.group) for alert in standing for each in alert.members if not each.ended)
    if (member.stream, member.group) in told:
        return  # told already: it rang again in the epoch after a route
    joined = next((alert for alert in standing if row.at - alert.opened_at <= TOGETHER_SECONDS), None)
    if joined is None:
        digest = hashlib.blake2b(b"%s:%d" % (identity, row.id), digest_size=8).hexdigest()
        _write(connection, StoredAlert(f"pg-{digest}", row.id, model, row.at, row.at, None, 1, (member,)))
    else:
        members = (*joined.members, member)
        _write(
            connection,
            replace(joined, members=members, revision=joined.revision + 1, changed_at=row.at),
        )


def _acknowledge(connection: Connection, stream: str, group: str, at: float) -> None:
    """End what stands of (stream, group), and what was taken back: nobody waits for the self-test any more."""
    for alert in _watched(connection):
        _end(
            connection,
            alert,
            lambda each: (each.stream, each.group) == (stream, group) and each.ended in {"", TAKEN_BACK},
            "acknowledged",
            at,
        )


def _end(
    connection: Connection, alert: StoredAlert, is_meant: Callable[[Member], bool], why: str, at: float
) -> None:
    """End members of an alert; one of which nothing stands any more is resolved.

    What ends one by one is told when all of it has ended: nobody wants to be woken by less of an alarm.
    """
    if not any(map(is_meant, alert.members)):
        return
    members = tuple(
        replace(each, ended=why, ended_at=each.ended_at or at) if is_meant(each) else each
        for each in alert.members
    )
    is_over = alert.ended_at is None and all(each.ended for each in members)
    _write(
        connection,
        replace(
            alert,
            members=members,
            ended_at=at if is_over else alert.ended_at,
            revision=alert.revision + is_over,
            changed_at=at,
        ),
    )


def _write(connection: Connection, alert: StoredAlert) -> None:
    members = [{name: getattr(each, name) for name in Member.__slots__} for each in alert.members]
    values = {name: getattr(alert, name) for name in StoredAlert.__slots__}
    values["members"] = json.dumps(members).encode()
    statement = words(connection).upsert(schema.alert).values(**values)
    connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))


def _firing(connection: Connection) -> list[StoredAlert]:
    table = schema.alert
    query = select(table).where(table.c.ended_at.is_(None)).order_by(table.c.first)
    return [alert_of(row) for row in connection.execute(query)]


def _watched(connection: Connection) -> list[StoredAlert]:
    table = schema.alert
    back = words(connection).contains(table.c.members, f'"{TAKEN_BACK}"'.encode())
    query = select(table).where(table.c.ended_at.is_(None) | back).order_by(table.c.first)
    return [alert_of(row) for row in connection.execute(query)]


def _newest(connection: Connection) -> int:
    return connection.execute(select(func.max(schema.occurrence.c.id))).scalar_one() or 0


def _cursor(connection: Connection) -> int:
    query = select(schema.meta.c.value).where(schema.meta.c.name == CURSOR)
    found = connection.execute(query).scalar_one_or_none()
    return _newest(connection) if found is None else int(found)


def _put(connection: Connection, name: str, value: str, *, keep: bool = False) -> None:
    row = {"name": name, "value": value.encode()}
    new = words(connection).upsert(schema.meta).values(**row)
    if keep:
        connection.execute(new.on_conflict_do_nothing())
    else:
        connection.execute(new.on_conflict_do_update(index_elements=["name"], set_={"value": row["value"]}))
