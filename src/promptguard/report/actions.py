"""What happened and what was done: alarms, routes, acknowledgements, and what of it holds now."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from promptguard.core.actions import DRY_RUN, KINDS, UNDO, Done
from promptguard.core.actions import Actions as Folded
from promptguard.core.epochs import EVERY_GROUP
from promptguard.core.streams import SELF_TESTS
from promptguard.ledger import schema
from promptguard.ledger.reading import reading
from promptguard.report.documents import NEEDED, stored_object
from promptguard.verdict.alarm import what_happened

MOST = 500
"""Of the newest, that a page shows."""
_BOOKKEEPING = ("delivered",)


@dataclass(frozen=True, slots=True)
class Event:
    """An alarm, an action or an acknowledgement. `holds` is None for what cannot hold, an acknowledgement say."""

    id: int
    at: float
    kind: str
    stream: str
    group: str
    detail: Mapping[str, Any]
    holds: bool | None = None
    ended_at: float | None = None

    @property
    def by(self) -> str:
        """Who did it, where the ledger says so."""
        who = self.detail.get("by", "")
        return who if isinstance(who, str) else ""


@dataclass(frozen=True, slots=True)
class Actions:
    """What was done, the newest first, and what of it holds."""

    events: tuple[Event, ...]
    in_force: tuple[Done, ...]


def read_actions(ledger: str | Path) -> Actions:
    """Return it. Raises InputFileError when there is no ledger, or it cannot be read."""
    with reading(ledger) as connection:
        return Actions(events_of(connection), in_force(connection))


def events_of(connection: Connection, *, group: str | None = None, most: int = MOST) -> tuple[Event, ...]:
    """Return the newest events, newest first: of one prompt, or of all."""
    table = schema.occurrence
    query = select(table).where(table.c.kind.not_in(_BOOKKEEPING))
    if group is not None:
        query = query.where(table.c.group.in_((group, "")))
    rows = connection.execute(query.order_by(table.c.id.desc()).limit(most)).all()
    found: list[Event] = []
    ended: dict[tuple[str, str], float] = {}
    by_group: dict[str, float] = {}
    undone: dict[int, float] = {}
    for row in rows:  # the newest first: what comes later has ended what came before
        detail = stored_object(row.detail, *NEEDED.get(row.kind, ()))
        holds: bool | None = None
        end: float | None = None
        if row.kind == "acknowledge":
            ended.setdefault((row.stream, row.group), row.at)
            if row.stream not in SELF_TESTS:  # as in core.actions
                by_group.setdefault(row.group, row.at)
        elif row.kind == "alarm":
            end = ended.get((row.stream, row.group), ended.get((row.stream, "")))
            holds = end is None
        elif row.kind.startswith(UNDO):
            undone.setdefault(int(detail.get("action", 0)), row.at)
        elif row.kind in KINDS:
            end = undone.get(row.id, by_group.get(row.group))
            holds = end is None
        found.append(Event(row.id, row.at, row.kind, row.stream, row.group, detail, holds, end))
    return tuple(found)


def in_force(connection: Connection) -> tuple[Done, ...]:
    """Return what was done and holds, oldest first."""
    table, found = schema.occurrence, Folded()
    kinds = (*KINDS, *(f"{UNDO}{kind}" for kind in KINDS), "acknowledge")
    query = select(table).where(table.c.kind.in_(kinds))
    for row in connection.execute(query.order_by(table.c.id)):
        needed = NEEDED.get(row.kind, ())
        found.apply({**row._mapping, "detail": stored_object(row.detail, *needed)})
    return found.in_force


def concerning(group: str, asked: Collection[str], done: Iterable[Done]) -> tuple[Done, ...]:
    """Return what was done about one prompt, or about all prompts for a model that it asks."""
    return tuple(
        each for each in done if each.group == group or (each.group == EVERY_GROUP and each.asked in asked)
    )


def plain_power(exponent: float) -> str:
    """Return evidence as a power of ten, in letters that every terminal has."""
    return f"10^{exponent + 0.0:.1f}"


def event_words(event: Event, power: Callable[[float], str] = plain_power) -> str:
    """Return what happened, in words; `power` writes evidence from its decimal logarithm."""
    detail = event.detail
    if event.kind == "alarm":
        after = f"after {detail.get('pairs', 0):,} pairs"
        evidence = power(detail.get("log10_evidence", 0.0))
        what = what_happened(str(detail.get("asked", "the model")), str(detail.get("other", "")))
        return f"Alarm: {what}, {after} (evidence {evidence})."
    if event.kind == "route":
        return f"Calls that ask for {detail['asked']} are sent to {detail['to']} from here on."
    if event.kind == "acknowledge":
        return f"The {event.stream} alarm was acknowledged: routes ended, and its evidence began anew."
    if event.kind == "raise":
        return f"Calls of this prompt raise from here on: {detail['message']}"
    if event.kind == "withdrawn":
        return f"The certificate of {detail.get('version')} on {detail.get('model')} was withdrawn."
    return _less_often(event)


def _less_often(event: Event) -> str:
    """Return the words of what is done less often."""
    detail = event.detail
    if event.kind == "bypass":
        return f"Calls that ask for {detail.get('asked', 'the model')} are not answered from the cache from here on."
    if event.kind == "rollback":
        return f"The label {detail.get('label')} stands on version {detail.get('to')} in place of {detail.get('before')}."
    if event.kind == DRY_RUN and detail.get("action") == "rollback":
        return (
            f"Dry run, nothing was done: the label {detail.get('label')} would stand on version {detail.get('to')} in "
            f"place of {detail.get('before')}."
        )
    if event.kind == DRY_RUN:
        would = (
            f"would be sent to {detail['to']}" if "to" in detail else "would not be answered from the cache"
        )
        return f"Dry run, nothing was done: calls that ask for {detail.get('asked')} {would}."
    if event.kind.startswith(UNDO):
        return f"The {event.kind.removeprefix(UNDO)} was taken back (action {detail.get('action')})."
    return _plainly(event)


def _plainly(event: Event) -> str:
    """Return what was purged, or what is noted of an event that has no words of its own."""
    detail = event.detail
    if event.kind == "purge":
        kept = ", ".join(
            f"{detail[name]} {name}"
            for name in ("pairs", "texts", "stored", "cached", "waiting")
            if detail.get(name)
        )
        return f"What was kept of one subject was removed: {kept or 'nothing'}."
    known = {name: value for name, value in detail.items() if isinstance(value, str | int | float)}
    more = ", ".join(f"{name} {value}" for name, value in list(known.items())[:4])
    return f"{event.kind.replace('_', ' ').capitalize()}{': ' + more if more else ''}"
