"""Everything about one prompt: its verdicts in every stream, its versions, what was done, who answered."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, select

from promptguard.core.actions import Done
from promptguard.core.epochs import EVERY_GROUP
from promptguard.core.identity import IdentityFact
from promptguard.directories import as_text
from promptguard.ledger import schema
from promptguard.ledger.reading import reading
from promptguard.report.actions import Event, concerning, events_of, in_force
from promptguard.report.documents import Document, noted_epochs, standing, verdict_documents
from promptguard.report.memory import Memory, Seen
from promptguard.report.model import StreamReport
from promptguard.report.overview import WHOLE_STREAM, Row, has_content, ordered, row_of, split_name
from promptguard.report.pairs import Pair, worst_pairs
from promptguard.report.streams import stream_report

MOST_VERSIONS = 40
MOST_EXAMPLES = 2


@dataclass(frozen=True, slots=True)
class Release:
    """When the first pair of a version of the prompt was made (seconds since the Unix epoch)."""

    group: str
    version: str
    at: float


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt, as counted under `group`. Times are seconds since the Unix epoch."""

    ledger: str
    now: float
    group: str
    name: str
    version: str
    rows: tuple[Row, ...]
    """where it stands, a row a stream, alarms first"""
    reports: tuple[StreamReport, ...]
    """its verdict in every stream and epoch"""
    versions: tuple[Row, ...]
    """where every version of the prompt of this name stands, the newest version first"""
    releases: tuple[Release, ...]
    events: tuple[Event, ...]
    """what happened to it, the newest first"""
    facts: tuple[IdentityFact, ...]
    """who answered to the models it asks for: changes alone"""
    in_force: tuple[Done, ...]
    """what was done about it, or about all prompts, and holds"""
    examples: tuple[Pair, ...]
    """of the first alarm that stands: pairs far apart since the change began"""
    recorded_content: bool

    @property
    def standing(self) -> tuple[StreamReport, ...]:
        """The verdict of each row, in the order of `rows`."""
        found = {(report.stream, report.epoch): report for report in self.reports}
        return tuple(found[row.stream, row.epoch] for row in self.rows)

    @property
    def earlier(self) -> tuple[StreamReport, ...]:
        """The verdicts of epochs that stand no more, the newest first."""
        standing = {(row.stream, row.epoch) for row in self.rows}
        found = [report for report in self.reports if (report.stream, report.epoch) not in standing]
        return tuple(sorted(found, key=lambda report: -(0.0 if report.last is None else report.last.at)))

    def events_of(self, stream: str) -> tuple[Event, ...]:
        """Return what happened in one stream, oldest first."""
        return tuple(event for event in reversed(self.events) if event.stream == stream)


def read_prompt(
    ledger: str | Path, group: str, *, memory: Memory | None = None, now: float | None = None
) -> Prompt | None:
    """Return a prompt, or None where the ledger has no verdict of it. `memory` as for the overview.

    Raises InputFileError when there is no ledger, or it cannot be read.
    """
    memory = memory or Memory()
    at = time.time() if now is None else now
    with reading(ledger) as connection:
        documents = verdict_documents(connection, now=at, only=group or None)
        own = [{**told, "groups": [], "group": group} for each in documents for told in _own(each, group)]
        if not own:
            return None
        routed = {epoch for name, epoch in noted_epochs(connection).routed if name in (group, EVERY_GROUP)}
        rows = ordered([row_of(told, routed) for told in standing(own)])
        name, version = split_name(group)
        siblings = _siblings(connection, name, group, memory, at)
        return Prompt(
            ledger=as_text(ledger),
            now=at,
            group=group,
            name=name,
            version=version,
            rows=rows,
            reports=tuple(stream_report(connection, told, group, routed=routed) for told in own),
            versions=siblings,
            releases=_releases(siblings),
            events=events_of(connection, group=group),
            facts=_facts(memory.seen(connection), rows),
            in_force=concerning(group, {row.control for row in rows}, in_force(connection)),
            examples=examples_of(connection, next((row for row in rows if row.status == "drift"), None)),
            recorded_content=has_content(connection),
        )


def _own(document: Document, group: str) -> list[Document]:
    """Return a document's verdicts of one group; of `WHOLE_STREAM`, its own where that stands beside those of groups."""
    if group != WHOLE_STREAM:
        return list(document["groups"])
    return [document] if document.get("together") or not document["groups"] else []


def examples_of(connection: Connection, row: Row | None) -> tuple[Pair, ...]:
    """Return pairs of a row's own that are far apart since its change began; none without a change."""
    if row is None or row.status != "drift":
        return ()
    since = row.since_low or row.since or row.alarm_at or 0.0
    return worst_pairs(connection, row.stream, row.epoch, row.group or None, since, MOST_EXAMPLES)


def _siblings(connection: Connection, name: str, group: str, memory: Memory, now: float) -> tuple[Row, ...]:
    documents = verdict_documents(connection, now=now, known=memory.summaries)
    for each in documents:
        each["together"] = False
        each["groups"] = [
            told for told in each["groups"] if told["group"] == group or split_name(told["group"])[0] == name
        ]
    rows = [row_of(told, set()) for told in standing([each for each in documents if each["groups"]])]

    def place(row: Row) -> tuple[int, str, str]:
        version = split_name(row.group)[1]
        return (-int(version) if version.isdecimal() and len(version) < 10 else 0, version, row.stream)

    return tuple(sorted(rows, key=place)[:MOST_VERSIONS])


def _releases(rows: tuple[Row, ...]) -> tuple[Release, ...]:
    """Return when each version was first seen; its name says a version only where it has one."""
    first: dict[str, float] = {}
    for row in rows:
        begun = row.told.get("moments", {}).get("first")
        if begun is not None:
            first[row.group] = min(first.get(row.group, begun["at"]), begun["at"])
    found = [Release(group, split_name(group)[1], at) for group, at in first.items() if split_name(group)[1]]
    return tuple(sorted(found, key=lambda release: release.at))


def _facts(seen: Seen, rows: tuple[Row, ...]) -> tuple[IdentityFact, ...]:
    models = {model for row in rows for model in (row.control, row.candidate) if model}
    return tuple(fact for fact in seen.facts if fact.asked in models and fact.kind in {"changed", "mixture"})


def groups_of(ledger: str | Path) -> tuple[str, ...]:
    """Return the names of all prompts that have a verdict."""
    table = schema.verdict_group
    with reading(ledger) as connection:
        return tuple(connection.execute(select(table.c.group).distinct().order_by(table.c.group)).scalars())
