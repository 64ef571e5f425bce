"""Read models over a ledger. Nothing here writes: the connection is opened read-only."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from sqlalchemy import Connection, func, select

from promptguard.core.epochs import EVERY_GROUP
from promptguard.core.identity import identity_facts
from promptguard.core.ladder import AGES
from promptguard.core.streams import SELF_TESTS
from promptguard.directories import as_text
from promptguard.ledger import schema
from promptguard.ledger.bank import stored_since
from promptguard.ledger.reading import reading
from promptguard.report.documents import (
    NEEDED,
    Document,
    noted_epochs,
    overall,
    standing,
    stored_object,
    verdict_documents,
)
from promptguard.report.freshness import measured
from promptguard.report.model import Day, Occurrence, Report
from promptguard.report.streams import stream_report
from promptguard.report.sums import cache_use, losses, notices, passed_by, spent
from promptguard.report.who import added_up, sightings

_COMPARED = schema.pair.c.outcome == "compared"


def read_verdicts(ledger: str | Path, *, now: float | None = None) -> list[Document]:
    """Return verdict.json of every stream and epoch as of `now` (Unix seconds, for tests), those that judge first.

    Raises InputFileError when there is no ledger.
    """
    with reading(ledger) as connection:
        return verdict_documents(connection, now=time.time() if now is None else now)


def standing_alarms(documents: Sequence[Document], ledger: str | Path) -> list[tuple[str, str]]:
    """Return the (stream, group) of every alarm that nobody has acknowledged; group "" for all prompts, or a self-test.

    Those noted count as well: an alarm whose verdict a failed self-test has taken away may still route calls.
    """
    found: dict[tuple[str, str], None] = {}
    for told in documents:
        drifted = [each for each in told["groups"] if each["status"] == "drift" and not each["acknowledged"]]
        if told.get("together") and told["status"] == "drift" and not told["acknowledged"]:
            found[told["stream"], EVERY_GROUP] = None
        for each in drifted:
            found[told["stream"], EVERY_GROUP if told["stream"] in SELF_TESTS else each["group"]] = None
    with reading(ledger) as connection:
        for noted in actions(connection):
            if noted.kind == "alarm":
                found[noted.stream, noted.group] = None
            elif noted.kind == "acknowledge":
                found = {
                    place: None
                    for place in found
                    if place[0] != noted.stream or noted.group not in {EVERY_GROUP, place[1]}
                }
    return list(found)


def read_report(ledger: str | Path, *, now: float | None = None) -> Report:
    """Return all there is to show but prices, which promptguard.report.full adds; `now`, in Unix seconds, is for tests.

    Raises InputFileError when there is no ledger.
    """
    with reading(ledger) as connection:
        documents = verdict_documents(connection, now=time.time() if now is None else now)
        seen = sightings(connection)
        routed = {epoch for _, epoch in noted_epochs(connection).routed}
        return Report(
            ledger=as_text(ledger),
            status=overall(documents),
            measured=measured(standing(documents)),
            streams=tuple(stream_report(connection, told, None, routed=routed) for told in documents),
            actions=actions(connection),
            losses=losses(connection),
            identities=added_up(seen),
            identity_facts=identity_facts(seen),
            cache=cache_use(connection),
            passed_by=passed_by(connection),
            notices=notices(connection),
            days=tuple(
                Day(*row) for row in connection.execute(select(schema.spend).order_by(schema.spend.c.day))
            ),
            spent=spent(connection),
            false_alarms_per_year=false_alarms(connection, documents),
            recorded_content=connection.execute(select(schema.content.c.pair_id).limit(1)).first()
            is not None,
        )


def read_vectors(ledger: str | Path, stream: str, epoch: int) -> Iterator[tuple[str, int, bytes]]:
    """Yield (group, call, quantised vector) of a stream's compared pairs, in the order of judging."""
    table = schema.pair
    query = select(table.c.group, table.c.call, table.c.vector)
    query = query.where(table.c.stream == stream, table.c.epoch == epoch, _COMPARED).order_by(table.c.id)
    with reading(ledger) as connection:
        for row in connection.execute(query):
            yield row.group, row.call, row.vector


SHORTEST_PACE = 3600.0
"""Seconds between a stream's first and last pair, up to which they tell nothing of a day or a year."""


def read_pace(ledger: str | Path, stream: str) -> tuple[float | None, float | None]:
    """Return a stream's compared pairs a day and what one cost in USD; None where there are too few to tell.

    What was made within SHORTEST_PACE says nothing of a day.
    """
    with reading(ledger) as connection:
        pairs, daily = pace(connection, stream, SHORTEST_PACE)
        usd = sum(each.usd for each in spent(connection) if each.stream == stream)
    return daily, float(usd) / pairs if pairs else None


MOST_WAITS = 5000
"""Stored answers that are looked at for how long they wait."""


def read_waits(ledger: str | Path, now: float) -> list[float]:
    """Return how long answers of the last fortnight waited, or are to wait, until they are asked again (seconds).

    Of those stored in that time: the ones that were used, and the ones that wait.
    """
    with reading(ledger) as connection:
        return [wait for _, wait in stored_since(connection, now - AGES[-1], MOST_WAITS)]


def pace(connection: Connection, stream: str, shortest: float = 0.0) -> tuple[int, float | None]:
    """Return a stream's compared pairs, and how many there were a day between the first and the last.

    None for the latter where those are not more than `shortest` seconds apart.
    """
    table = schema.tally
    sums = select(func.sum(table.c.pairs), func.max(table.c.last_at) - func.min(table.c.first_at))
    found = connection.execute(sums.where(table.c.stream == stream, table.c.outcome == "compared")).one()
    pairs, seconds = int(found[0] or 0), found[1]
    daily = (pairs - 1) / (seconds / 86400.0) if pairs > 1 and seconds and seconds > shortest else None
    return pairs, daily


def false_alarms(connection: Connection, documents: Sequence[Document]) -> float | None:
    """Add up pairs a year times alpha / horizon over the streams that watch: their run length is at least H/alpha."""
    newest = {told["stream"]: told for told in documents if told["mode"] == "monitor"}
    paces = {stream: pace(connection, stream, SHORTEST_PACE)[1] for stream in newest}
    rates = [
        365.25 * daily * told["alpha"] / told["horizon"]
        for stream, told in newest.items()
        if (daily := paces[stream]) is not None
    ]
    return sum(rates) if rates else None


def actions(connection: Connection) -> tuple[Occurrence, ...]:
    """Return alarms, actions and acknowledgements, in the order in which they happened."""
    table = schema.occurrence
    rows = connection.execute(select(table).where(table.c.kind != "delivered").order_by(table.c.id))
    return tuple(
        Occurrence(
            row.at,
            row.call,
            row.kind,
            row.stream,
            row.group,
            stored_object(row.detail, *NEEDED.get(row.kind, ())),
            row.id,
        )
        for row in rows
    )
