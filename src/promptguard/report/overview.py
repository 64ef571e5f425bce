"""Where every prompt stands: one row a prompt and stream, alarms first. Reads rows that were written for readers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from promptguard.core.actions import Done
from promptguard.core.streams import SELF_TESTS
from promptguard.directories import as_text
from promptguard.ledger import schema
from promptguard.ledger.reading import reading
from promptguard.report.actions import in_force
from promptguard.report.documents import (
    Document,
    noted_epochs,
    overall,
    standing,
    stored_object,
    verdict_documents,
)
from promptguard.report.freshness import measured
from promptguard.report.full import saved_usd
from promptguard.report.memory import Memory
from promptguard.report.model import CacheUse, Day, Notice
from promptguard.report.streams import verdict_of
from promptguard.report.sums import cache_use, notices
from promptguard.verdict import Status, Verdict
from promptguard.verdict.window import Window
from promptguard.verdict.words import counted, moment

WHOLE_STREAM = ""
"""In place of a prompt's name: all pairs of a stream."""


@dataclass(frozen=True, slots=True)
class Row:
    """Where one prompt stands in one stream. Times are seconds since the Unix epoch, None where there is none.

    `since` is when the change began, by the onset's estimate, with `since_low` and `since_high` around it at 90 %.
    `told` is the document it was made of.
    """

    group: str
    stream: str
    epoch: int
    status: Status
    reason: str | None
    acknowledged: bool
    routed: bool
    pairs: int
    log10_evidence: float
    log10_threshold: float
    control: str
    candidate: str
    since: float | None
    since_low: float | None
    since_high: float | None
    alarm_at: float | None
    last_at: float | None
    told: Document
    usd: float | None = None
    """what its background calls cost, by list price; None where nothing is known of it"""

    @property
    def judging(self) -> bool:
        """Whether it can speak of a change: self-tests cannot."""
        return self.stream not in SELF_TESTS

    @property
    def alarming(self) -> bool:
        """Whether it stands at an alarm that nobody has acknowledged."""
        return self.status == "drift" and not self.acknowledged

    @property
    def window(self) -> Window | None:
        """What its pairs could have shown by now; of all pairs of a stream alone."""
        told = self.told.get("window")
        return None if told is None else Window.from_dict(told)

    @property
    def spark(self) -> tuple[tuple[int, float], ...]:
        """(pair, log10 evidence) of its curve; thinned where it was made of a summary."""
        return tuple((int(point[0]), float(point[2])) for point in self.told.get("curve") or ())

    def sentence(self) -> str:
        """Return what was found, in words."""
        text = self.told.get("sentence")
        if self.status == "unmeasured" or not isinstance(text, str):
            return f"Not measured: {self.reason} ({counted(self.pairs, 'pair')})." if self.reason else ""
        since = self.as_before_since
        return text if since is None else f"{text} The answers are as before since {moment(since)}."

    @property
    def as_before_since(self) -> float | None:
        """Since when the answers are as they were before a change that is known; None where they are not."""
        since = self.told.get("as_before_since")
        return None if since is None else float(since)


@dataclass(frozen=True, slots=True)
class Overview:
    """A ledger at a glance."""

    ledger: str
    now: float
    status: Status
    rows: tuple[Row, ...]
    """alarms first, the newest of them on top; then what is not measured; self-tests last"""
    streams: tuple[Row, ...]
    """the same of all pairs of each stream"""
    in_force: tuple[Done, ...]
    today: Day
    cache: CacheUse
    notices: tuple[Notice, ...]
    judged_at: float | None
    """when a verdict was last written"""
    last_pair_at: float | None
    pairs: int
    recorded_content: bool
    measured: tuple[int, int] = (0, 0)
    """groups that are measured in some stream that judges, and groups in all"""

    @property
    def alarms(self) -> tuple[Row, ...]:
        """The alarms that nobody has acknowledged, self-tests included."""
        return tuple(row for row in self.rows if row.alarming)

    @property
    def prompts(self) -> int:
        """How many prompts there are."""
        return len({row.group for row in self.rows if row.group})


def read_overview(ledger: str | Path, *, memory: Memory | None = None, now: float | None = None) -> Overview:
    """Read where everything stands. `memory` is kept by who reads often; `now` is for tests.

    Raises InputFileError when there is no ledger, or it cannot be read.
    """
    at = time.time() if now is None else now
    with reading(ledger) as connection:
        documents = verdict_documents(connection, now=at, known=(memory or Memory()).summaries)
        routed = {epoch for _, epoch in noted_epochs(connection).routed}
        stand = standing(documents)
        use, usd = cache_use(connection), _usd(connection)
        return Overview(
            ledger=as_text(ledger),
            now=at,
            status=overall(documents),
            measured=measured(stand),
            rows=ordered([row_of(told, routed, usd) for told in stand]),
            streams=tuple(row_of(told, routed) for told in documents),
            in_force=in_force(connection),
            today=_today(connection, at),
            cache=replace(use, saved_usd=saved_usd(use)),
            notices=notices(connection),
            judged_at=connection.execute(select(func.max(schema.verdict.c.at))).scalar_one(),
            last_pair_at=connection.execute(select(func.max(schema.tally.c.last_at))).scalar_one(),
            pairs=_compared(connection),
            recorded_content=has_content(connection),
        )


def _usd(connection: Connection) -> dict[tuple[str, str], float]:
    table = schema.group_tally
    rows = connection.execute(select(table.c.stream, table.c.group, table.c.usd))
    return {(row.stream, row.group): float(row.usd) for row in rows}


def row_of(told: Document, routed: set[int], usd: Mapping[tuple[str, str], float] | None = None) -> Row:
    """Return a document, or its summary, as a row; `usd` says what prompts cost, by (stream, prompt)."""
    moments = told.get("moments", {})
    return Row(
        group=told.get("group") or WHOLE_STREAM,
        stream=told["stream"],
        epoch=told["epoch"],
        status=told["status"],
        reason=told["reason"],
        acknowledged=bool(told.get("acknowledged")),
        routed=told["stream"] == "candidate" and told["epoch"] in routed,
        pairs=told["pairs"],
        log10_evidence=told["log10_evidence"],
        log10_threshold=told["log10_threshold"],
        control=told.get("control_model", ""),
        candidate=told.get("candidate_model", ""),
        since=_at(moments.get("onset")),
        since_low=_at(moments.get("onset_low")),
        since_high=_at(moments.get("onset_high")),
        alarm_at=_at(moments.get("alarm")),
        last_at=_at(moments.get("last")),
        told=told,
        usd=(usd or {}).get((told["stream"], told.get("group") or WHOLE_STREAM)),
    )


def split_name(group: str) -> tuple[str, str]:
    """Return name and version of a group; the version is empty where it has none.

    >>> split_name("team/triage@3"), split_name("a1b2c3")
    (('team/triage', '3'), ('a1b2c3', ''))
    """
    name, separator, version = group.rpartition("@")
    return (name, version) if separator and name else (group, "")


def whole_verdict(connection: Connection, row: Row) -> Verdict:
    """Return the verdict of a row, read in full."""
    table = schema.verdict_group
    query = select(table.c.document).where(
        table.c.stream == row.stream, table.c.epoch == row.epoch, table.c.group == row.group
    )
    found = connection.execute(query).scalar_one_or_none()
    told = row.told if found is None else stored_object(found)
    return verdict_of(
        {
            **told,
            "status": row.status,
            "reason": row.reason,
            "acknowledged": row.acknowledged,
            "epoch": row.epoch,
            "groups": [],
        }
    )


def ordered(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Return rows as people want them: what needs somebody first."""

    def place(row: Row) -> tuple[int, float, str, str]:
        rank = 0 if row.alarming else {"unmeasured": 2, "drift": 3, "no_drift": 4}[row.status]
        if not row.judging:
            rank = rank or 1
            rank += 4 if rank > 1 else 0
        newest = -(row.alarm_at or 0.0) if row.alarming else -(row.log10_evidence - row.log10_threshold)
        return rank, newest, row.group, row.stream

    return tuple(sorted(rows, key=place))


def has_content(connection: Connection) -> bool:
    """Whether texts of any pair are kept."""
    return connection.execute(select(schema.content.c.pair_id).limit(1)).first() is not None


def _at(moment: Any) -> float | None:
    return None if moment is None else float(moment["at"])


def _today(connection: Connection, now: float) -> Day:
    day, table = time.strftime("%Y-%m-%d", time.gmtime(now)), schema.spend
    row = connection.execute(select(table).where(table.c.day == day)).first()
    return Day(day, 0, 0.0) if row is None else Day(*row)


def _compared(connection: Connection) -> int:
    table = schema.tally
    query = select(func.sum(table.c.pairs)).where(table.c.outcome == "compared")
    return int(connection.execute(query).scalar_one() or 0)
