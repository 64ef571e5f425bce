"""Read models of alerts and actions: what there is, who has had it, and one alert as it is told. Read-only."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from promptguard.alerts.message import Alert, Changed, Example, clock
from promptguard.core.actions import Actions, Done
from promptguard.core.epochs import EVERY_GROUP, shown_group
from promptguard.directories import ledger_option, ledger_place, name_of
from promptguard.errors import InputFileError
from promptguard.ledger import schema
from promptguard.ledger.outbox import Member, StoredAlert, alert_of
from promptguard.ledger.reading import reading
from promptguard.ledger.store import noted_of
from promptguard.report.read import read_verdicts
from promptguard.report.streams import question_text, text_of

log = logging.getLogger("promptguard")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one channel has had of an alert; `waits_for` is empty when it has had everything."""

    channel: str
    kind: str
    revision: int
    delivered_at: float | None
    attempts: int
    next_at: float | None
    error: str
    pending: bool


@dataclass(frozen=True, slots=True)
class AlertRow:
    """One alert of the ledger, with who has had it."""

    alert: StoredAlert
    receipts: tuple[Receipt, ...]

    @property
    def pending(self) -> bool:
        """Whether some channel has not had what there is to tell."""
        return any(each.pending for each in self.receipts)


@dataclass(frozen=True, slots=True)
class Undelivered:
    """A channel that does not take what it is sent: how many alerts wait for it, and why the newest of them does."""

    channel: str
    alerts: int
    error: str


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """One channel that alerts were sent through, by its name; when a process last had it in its settings."""

    name: str
    kind: str
    first_at: float
    last_at: float


def done_in(ledger: str | Path) -> Actions:
    """Return every action, and what of them holds now. Raises InputFileError when there is no ledger."""
    with reading(ledger) as connection:
        return actions_of(connection)


def actions_of(connection: Connection) -> Actions:
    """Return every action of an opened ledger."""
    table, found = schema.occurrence, Actions()
    for row in connection.execute(select(table).where(table.c.kind != "delivered").order_by(table.c.id)):
        found.apply(noted_of(row))
    return found


def read_alerts(ledger: str | Path) -> tuple[tuple[AlertRow, ...], tuple[ChannelRow, ...]]:
    """Return the alerts, newest first, and the channels. Raises InputFileError when there is no ledger."""
    with reading(ledger) as connection:
        return _rows(connection, schema.alert.c.id.is_not(None))


def undelivered(connection: Connection) -> tuple[Undelivered, ...]:
    """Return the channels that have failed to take what there is to tell, with how many alerts wait for each."""
    failing = schema.alert_delivery
    some = select(failing.c.alert).where(failing.c.attempts > 0)
    rows, _ = _rows(connection, schema.alert.c.id.in_(some))
    found: dict[str, list[Receipt]] = {}
    for row in rows:
        for each in row.receipts:
            if each.pending and each.attempts:
                found.setdefault(each.channel, []).append(each)
    return tuple(Undelivered(name, len(several), several[0].error) for name, several in sorted(found.items()))


def read_undelivered(ledger: str | Path) -> tuple[Undelivered, ...]:
    """Return the same of a ledger. Raises InputFileError when there is none."""
    with reading(ledger) as connection:
        return undelivered(connection)


def _rows(
    connection: Connection, wanted: ColumnElement[bool]
) -> tuple[tuple[AlertRow, ...], tuple[ChannelRow, ...]]:
    alert, channel = schema.alert, schema.alert_channel
    had = {(row.alert, row.channel): row for row in connection.execute(select(schema.alert_delivery))}
    channels = connection.execute(select(channel).order_by(channel.c.name)).all()
    stored = connection.execute(select(alert).where(wanted).order_by(alert.c.first.desc())).all()
    rows = tuple(
        AlertRow(
            found,
            tuple(
                _receipt(found, each, had.get((found.id, each.name)))
                for each in channels
                if found.first > each.since
            ),
        )
        for found in map(alert_of, stored)
    )
    return rows, tuple(ChannelRow(row.name, row.kind, row.first_at, row.last_at) for row in channels)


def _receipt(alert: StoredAlert, channel: Any, had: Any) -> Receipt:
    revision = 0 if had is None else had.revision
    pending = revision < alert.revision
    return Receipt(
        channel=channel.name,
        kind=channel.kind,
        revision=revision,
        delivered_at=None if had is None else had.delivered_at,
        attempts=0 if had is None else had.attempts,
        next_at=had.next_at if had is not None and pending and had.attempts else None,
        error="" if had is None or not pending else had.error,
        pending=pending,
    )


def compose(ledger: str | Path, stored: StoredAlert, *, example: bool) -> Alert:
    """Return an alert as receivers are told it, from what the ledger knows now.

    `example` asks for one recorded pair, where there is one. Where something in the ledger is damaged it is told as it was
    noted when it rang: an alert in fewer words is better than none.
    """
    place = ledger_place(ledger)
    told: dict[tuple[str, int, str], Mapping[str, Any]] = {}
    done: list[Done] = []
    pair = None
    try:
        told = {
            (each["stream"], each["epoch"], each["group"]): each
            for document in read_verdicts(place)
            for each in _members(document)
        }
        with reading(place) as connection:
            done = [each for each in actions_of(connection).found.values() if _concerns(each, stored)]
            pair = _example(connection, stored) if example else None
    except InputFileError as error:
        log.debug("an alert is told in fewer words", exc_info=error)
    members = tuple(
        _changed(each, told.get((each.stream, each.epoch, each.group))) for each in stored.members
    )
    where = ledger_option(place)
    return Alert(
        id=stored.id,
        revision=stored.revision,
        ledger=name_of(place),
        model=stored.model,
        opened_at=stored.opened_at,
        members=members,
        ended_at=stored.ended_at,
        done=tuple(f"{shown_group(each.group)}: {action_words(each, where)}" for each in done),
        undo=tuple(
            dict.fromkeys(
                f"promptguard acknowledge {shlex.quote(shown_group(each.group))} {where}" for each in members
            )
        ),
        example=pair,
    )


def _members(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the verdicts of a stream that an alarm may be of: those of its prompts, and that of all of them."""
    return [*document["groups"], {**document, "group": EVERY_GROUP}]


def action_words(done: Done, where: str = "") -> str:
    """Return an action as one line: what was done and when, whether it holds, and how it is taken back."""
    said = f"{done.sentence()}, since {clock(done.at)}"
    if done.ended:
        return f"{said}; {done.ended} {clock(done.ended_at or done.at)}"
    if done.dry_run:
        return said
    return f"{said} (taken back by: promptguard undo {done.id}{f' {where}' if where else ''})"


def _concerns(done: Done, stored: StoredAlert) -> bool:
    groups = {each.group for each in stored.members}
    return done.group in groups and done.asked == stored.model and done.at >= stored.opened_at


def _changed(member: Member, told: Mapping[str, Any] | None) -> Changed:
    """Return one alarm with what the verdict of now adds; without one, as it was noted when it rang."""
    plain = f"The answers changed (alarm after {member.pairs} pairs)."
    known: dict[str, Any] = {}
    if told is not None:
        moments = told.get("moments", {})
        known = {
            name: None if moments.get(moment) is None else float(moments[moment]["at"])
            for name, moment in (("since", "onset"), ("since_low", "onset_low"), ("since_high", "onset_high"))
        }
        known |= {"log10_threshold": told["log10_threshold"], "alpha": told["alpha"]}
    drifted = told is not None and told["status"] == "drift"
    return Changed(
        group=member.group,
        stream=member.stream,
        at=member.at,
        pairs=told["pairs"] if told is not None and drifted else member.pairs,
        log10_evidence=told["log10_evidence"] if told is not None and drifted else member.log10_evidence,
        sentence=str(told.get("sentence") if told is not None and drifted else member.sentence) or plain,
        other=member.other,
        ended=member.ended,
        ended_at=member.ended_at,
        **known,
    )


def _example(connection: Connection, stored: StoredAlert) -> Example | None:
    """Return the newest recorded pair of the first prompt that has one."""
    pair, content = schema.pair, schema.content
    for each in stored.members:
        query = (
            select(content)
            .join(pair, pair.c.id == content.c.pair_id)
            .where(pair.c.stream == each.stream, pair.c.epoch == each.epoch, pair.c.group == each.group)
            .order_by(pair.c.id.desc())
            .limit(1)
        )
        row = connection.execute(query).first()
        if row is not None:
            return Example(question_text(row.question), text_of(row.control), text_of(row.candidate))
    return None
