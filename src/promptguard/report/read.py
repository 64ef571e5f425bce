"""Read models over a ledger. Nothing here writes: the connection is opened read-only."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, case, func, inspect, select

from promptguard.core.epochs import EVERY_GROUP, Epochs
from promptguard.core.identity import ATTRIBUTES, Sighting, identity_facts
from promptguard.core.streams import SELF_TESTS, doubt
from promptguard.ledger import schema
from promptguard.ledger.reading import reading
from promptguard.report.model import (
    CacheUse,
    Day,
    Example,
    Loss,
    Moment,
    Noted,
    Notice,
    PassedBy,
    Point,
    Report,
    Spent,
    StreamReport,
)
from promptguard.verdict import Verdict

Document = dict[str, Any]
NOTICE_SECONDS = 3 * 86400.0
"""A notice that was not said again so long is taken as mended: processes say theirs every day."""
_ORDER = ("candidate", "replay", "canary", "repeat", "placebo")
_COMPARED = schema.pair.c.outcome == "compared"


def read_verdicts(ledger: str | Path) -> list[Document]:
    """Return verdict.json of every stream and epoch, the streams that judge first.

    Raises InputFileError when there is no ledger.
    """
    with reading(ledger) as connection:
        return verdict_documents(connection)


def standing(documents: Sequence[Document]) -> list[Document]:
    """Return the one verdict that stands for each stream and group.

    A drift stays until acknowledged, so the first epoch that drifted stands (later ones measure the effect of
    what was done about it); without one, the newest.
    """
    found: dict[tuple[str, str | None], Document] = {}
    for document in documents:
        for told in document["groups"] or [document]:
            place = (told["stream"], told.get("group"))
            earlier = found.get(place, {})
            if earlier.get("status") != "drift" or earlier.get("acknowledged"):
                found[place] = told
    return list(found.values())


def standing_alarms(documents: Sequence[Document], ledger: str | Path) -> list[tuple[str, str]]:
    """Return the (stream, group) of every alarm that nobody has acknowledged; of a self-test once, with group "".

    Those noted count as well: an alarm whose verdict a failed self-test has taken away may still route calls.
    """
    found: dict[tuple[str, str], None] = {}
    for told in documents:
        drifted = [each for each in told["groups"] if each["status"] == "drift" and not each["acknowledged"]]
        for each in drifted:
            found[told["stream"], EVERY_GROUP if told["stream"] in SELF_TESTS else each["group"]] = None
    with reading(ledger) as connection:
        for noted in _actions(connection):
            if noted.kind == "alarm":
                found[noted.stream, noted.group] = None
            elif noted.kind == "acknowledge":
                found.pop((noted.stream, noted.group), None)
    return list(found)


def overall(documents: Sequence[Mapping[str, Any]]) -> str:
    """Return one status of all but the self-test: drift if any, else unmeasured if any, else no_drift."""
    found = {
        told["status"]
        for told in documents
        if told["stream"] not in SELF_TESTS and not (told["status"] == "drift" and told.get("acknowledged"))
    }
    return next((status for status in ("drift", "unmeasured", "no_drift") if status in found), "unmeasured")


def read_report(ledger: str | Path) -> Report:
    """Return all there is to show but prices, which promptguard.report.full adds.

    Raises InputFileError when there is no ledger.
    """
    with reading(ledger) as connection:
        documents = verdict_documents(connection)
        actions = _actions(connection)
        sightings = _sightings(connection)
        routed = {epoch for _, epoch in _epochs(connection).routed}
        return Report(
            ledger=str(ledger),
            status=overall(standing(documents)),
            streams=tuple(_stream(connection, told, None, routed=routed) for told in documents),
            actions=actions,
            losses=losses(connection),
            identities=_identities(sightings),
            identity_facts=identity_facts(sightings),
            cache=cache_use(connection),
            passed_by=_passed_by(connection),
            notices=_notices(connection),
            days=tuple(
                Day(*row) for row in connection.execute(select(schema.spend).order_by(schema.spend.c.day))
            ),
            spent=spent(connection),
            false_alarms_per_year=_false_alarms(connection, documents),
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


def read_pace(ledger: str | Path, stream: str) -> tuple[float | None, float | None]:
    """Return a stream's compared pairs a day and what one cost in USD; None where there are too few to tell."""
    with reading(ledger) as connection:
        pairs, daily = _pace(connection, stream)
        usd = sum(each.usd for each in spent(connection) if each.stream == stream)
    return daily, float(usd) / pairs if pairs else None


def _pace(connection: Connection, stream: str, shortest: float = 0.0) -> tuple[int, float | None]:
    """Return a stream's compared pairs, and how many there were a day between the first and the last.

    None for the latter where those are not more than `shortest` seconds apart.
    """
    table = schema.tally
    sums = select(func.sum(table.c.pairs), func.max(table.c.last_at) - func.min(table.c.first_at))
    found = connection.execute(sums.where(table.c.stream == stream, table.c.outcome == "compared")).one()
    pairs, seconds = int(found[0] or 0), found[1]
    daily = (pairs - 1) / (seconds / 86400.0) if pairs > 1 and seconds and seconds > shortest else None
    return pairs, daily


SHORTEST_PACE = 3600.0
"""Seconds between first and last pair below which nothing is said of a year."""


def _false_alarms(connection: Connection, documents: Sequence[Document]) -> float | None:
    """Add up pairs a year times alpha / horizon over the streams that watch: their run length is at least H/alpha."""
    newest = {told["stream"]: told for told in documents if told["mode"] == "monitor"}
    paces = {stream: _pace(connection, stream, SHORTEST_PACE)[1] for stream in newest}
    rates = [
        365.25 * pace * told["alpha"] / told["horizon"]
        for stream, told in newest.items()
        if (pace := paces[stream]) is not None
    ]
    return sum(rates) if rates else None


def verdict_documents(connection: Connection) -> list[Document]:
    """Return verdict.json of every stream and epoch as it stands: after self-tests and acknowledgements."""
    table = schema.verdict
    rows = connection.execute(select(table.c.stream, table.c.epoch, table.c.document)).all()
    place = {stream: number for number, stream in enumerate(_ORDER)}
    rows = sorted(rows, key=lambda row: (place.get(row.stream, len(place)), row.stream, row.epoch))
    # Each epoch has a monitor of its own, which says epoch 1: the ledger's number is the true one.
    documents: list[Document] = [{**_object(row.document), "epoch": int(row.epoch)} for row in rows]
    groups = _group_documents(connection)
    for told in documents:
        own = groups.get((told["stream"], told["epoch"]))
        told["groups"] = told["groups"] if own is None else own
    _mark_acknowledged(documents, _epochs(connection))
    failed = {
        told["stream"]
        for told in documents
        if told["stream"] in SELF_TESTS and told["status"] == "drift" and not told["acknowledged"]
    }
    for told in documents:
        reason = doubt(told["stream"], failed)
        if reason is not None:
            # A verdict written before the self-test failed would still speak.
            for each in (told, *told["groups"]):
                each.update(status="unmeasured", reason=reason)
    return documents


def _group_documents(connection: Connection) -> dict[tuple[str, int], list[Document]]:
    """Return the verdicts of groups by stream and epoch, in the order in which the groups came."""
    table = schema.verdict_group
    found: dict[tuple[str, int], list[Document]] = {}
    for row in connection.execute(select(table.c.stream, table.c.epoch, table.c.document)):
        found.setdefault((row.stream, row.epoch), []).append(
            {**_object(row.document), "epoch": int(row.epoch)}
        )
    for documents in found.values():
        documents.sort(key=_came_first)
    return found


def _came_first(told: Document) -> tuple[float, int, str]:
    first = told.get("moments", {}).get("first")
    return (math.inf, 0, told["group"]) if first is None else (first["at"], first["call"], told["group"])


def _epochs(connection: Connection) -> Epochs:
    """Return which epochs were routed and which alarms acknowledged, from what the ledger noted."""
    table, found = schema.occurrence, Epochs()
    query = select(table.c.kind, table.c.stream, table.c.group).order_by(table.c.id)
    for row in connection.execute(query):
        found.apply({"kind": row.kind, "stream": row.stream, "group": row.group})
    return found


def _mark_acknowledged(documents: Sequence[Document], epochs: Epochs) -> None:
    """Say of every verdict whether somebody has acknowledged it; of a stream, whether that is so of all that drifted."""
    for told in documents:
        told["groups"] = [{**group, "epoch": told["epoch"]} for group in told["groups"]]
        for group in told["groups"]:
            group["acknowledged"] = epochs.is_closed(told["stream"], group["group"], told["epoch"])
        drifted = [group for group in told["groups"] if group["status"] == "drift"]
        told["acknowledged"] = bool(drifted) and all(group["acknowledged"] for group in drifted)


def _stream(connection: Connection, told: Document, group: str | None, *, routed: set[int]) -> StreamReport:
    stream, epoch = told["stream"], told["epoch"]
    moments: dict[str, Moment | None] = {
        name: None if value is None else Moment(**value) for name, value in told.get("moments", {}).items()
    }
    return StreamReport(
        stream=stream,
        epoch=epoch,
        group=group,
        verdict=_verdict(told),
        control=told.get("control_model", ""),
        candidate=told.get("candidate_model", ""),
        routed=stream == "candidate" and epoch in routed,
        alarm=moments.get("alarm"),
        onset=moments.get("onset"),
        onset_low=moments.get("onset_low"),
        onset_high=moments.get("onset_high"),
        last=moments.get("last"),
        curve=tuple(Point(*point) for point in told.get("curve", ())),
        examples=() if group else _examples(connection, told),
        groups=tuple(
            _stream(connection, each, each["group"], routed=routed) for each in told["groups"] if not group
        ),
    )


def _verdict(told: Document) -> Verdict:
    """Return a document that was marked as acknowledged or not, as a value."""
    return replace(
        Verdict.from_dict(told),
        acknowledged=bool(told["acknowledged"]),
        groups=tuple(_verdict(group) for group in told["groups"]),
    )


def _examples(connection: Connection, told: Document) -> tuple[Example, ...]:
    table, content = schema.pair, schema.content
    found = []
    for number, row_id in told.get("example_pairs", ()):
        columns = (table.c.call, table.c.at, table.c.banked_call)
        row = connection.execute(select(*columns).where(table.c.id == row_id)).first()
        texts = connection.execute(select(content).where(content.c.pair_id == row_id)).first()
        if row is not None and texts is not None:
            moment = Moment(number, row.call, row.at, row.banked_call)
            found.append(
                Example(moment, _question(texts.question), _text(texts.control), _text(texts.candidate))
            )
    return tuple(found)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")


def _question(raw: bytes) -> str:
    """Return the messages as a person reads them; content that is no text is told by its kind."""
    messages = json.loads(raw)
    return "\n\n".join(
        f"{message.get('role', '')}: {_content(message.get('content'))}" for message in messages
    )


def _content(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(
            str(part.get("text") or f"({part.get('type')})") for part in content if isinstance(part, dict)
        )
    return "" if content is None else str(content)


_NEEDED = {"route": ("asked", "to"), "raise": ("message",)}
"""What readers take from the details of an occurrence, by its kind."""


def _object(raw: bytes, *needed: str) -> Document:
    """Read a stored JSON object. Raises ValueError for anything else, and where one of `needed` is missing."""
    found = json.loads(raw)
    if not isinstance(found, dict) or not found.keys() >= set(needed):
        raise ValueError("not the object that was stored")
    return found


def _actions(connection: Connection) -> tuple[Noted, ...]:
    table = schema.occurrence
    rows = connection.execute(select(table).where(table.c.kind != "delivered").order_by(table.c.id))
    return tuple(
        Noted(
            row.at, row.call, row.kind, row.stream, row.group, _object(row.detail, *_NEEDED.get(row.kind, ()))
        )
        for row in rows
    )


def losses(connection: Connection) -> tuple[Loss, ...]:
    """Return how many pairs were lost and why, the commonest first."""
    table = schema.tally
    query = select(table.c.stream, table.c.outcome, table.c.reason, table.c.pairs)
    query = query.where(table.c.outcome != "compared")
    rows = connection.execute(
        query.order_by(table.c.pairs.desc(), table.c.stream, table.c.outcome, table.c.reason)
    )
    return tuple(Loss(*row) for row in rows)


def _sightings(connection: Connection) -> list[Sighting]:
    """Return who answered, hour by hour; what older ledgers kept is one entry for all the time it covers."""
    found: list[Sighting] = []
    known = set(inspect(connection).get_table_names())
    new, old = schema.sighting, schema.identity
    if new.name in known:
        columns = [new.c[name] for name in Sighting.__slots__]
        found += [Sighting(*row) for row in connection.execute(select(*columns))]
    if old.name in known:
        for row in connection.execute(select(old)):
            who = ("", row.asked, row.served, row.fingerprint, row.service_tier, row.region, "")
            found.append(Sighting(*who, row.first_at, row.last_at, row.calls))
    return found


def _identities(sightings: Sequence[Sighting]) -> tuple[Sighting, ...]:
    """Add up the hours."""
    sums: dict[tuple[str, ...], Sighting] = {}
    for seen in sightings:
        who = (seen.origin, seen.asked, *(getattr(seen, name) for name in ATTRIBUTES))
        known = sums.get(who)
        sums[who] = seen if known is None else _added(known, seen)
    return tuple(sorted(sums.values(), key=lambda seen: (seen.origin, seen.asked, seen.first_at, seen.model)))


def _added(one: Sighting, other: Sighting) -> Sighting:
    first, last = min(one.first_at, other.first_at), max(one.last_at, other.last_at)
    return replace(one, first_at=first, last_at=last, calls=one.calls + other.calls)


def spent(connection: Connection) -> tuple[Spent, ...]:
    """Return what background calls cost, by stream."""
    table = schema.tally
    pairs = func.sum(case((table.c.outcome == "compared", table.c.pairs), else_=0))
    sums = (func.sum(table.c.usd), func.sum(table.c.input_tokens), func.sum(table.c.output_tokens))
    query = select(table.c.stream, pairs, *sums).group_by(table.c.stream).order_by(table.c.stream)
    return tuple(Spent(*row) for row in connection.execute(query))


_PASSED_BY = {"not paired": "not paired", "not read": "neither cached nor paired"}


def _passed_by(connection: Connection) -> tuple[PassedBy, ...]:
    """Return what was not done with calls and why, the commonest first. Counters alone are read, never pairs."""
    table = schema.counter
    rows = connection.execute(select(table).where(table.c.name.in_((*_PASSED_BY, "cache"))))
    found = [
        PassedBy("not cached", row.label.removeprefix("bypass: "), int(row.value))
        if row.name == "cache"
        else PassedBy(_PASSED_BY[row.name], row.label, int(row.value))
        for row in rows
        if row.name != "cache" or row.label.startswith("bypass: ")
    ]
    return tuple(sorted(found, key=lambda each: (-each.calls, each.what, each.reason)))


def _notices(connection: Connection) -> tuple[Notice, ...]:
    """Return what was said of the settings lately: what was mended is said no more, and ages."""
    table = schema.meta
    rows = connection.execute(select(table.c.value).where(table.c.name.startswith(schema.NOTICE)))
    found = [Notice(told["text"], told["at"]) for told in (json.loads(row.value) for row in rows)]
    judged = connection.execute(select(func.max(schema.verdict.c.at))).scalar_one() or 0.0
    newest = max([judged, *(notice.at for notice in found)])
    fresh = [notice for notice in found if notice.at > newest - NOTICE_SECONDS]
    return tuple(sorted(fresh, key=lambda notice: (-notice.at, notice.text)))


def cache_use(connection: Connection) -> CacheUse:
    """Return what the cache did, without prices."""
    table = schema.counter
    rows = connection.execute(select(table).where(table.c.name.in_(("cache", "cache saved tokens"))))
    decisions: dict[str, int] = {}
    tokens: dict[str, list[int]] = {}
    for row in rows:
        if row.name == "cache":
            decisions[row.label] = int(row.value)
        else:
            # "<model>: input"; a model's own name may hold a colon
            model, _, side = row.label.rpartition(": ")
            tokens.setdefault(model, [0, 0])[side == "output"] = int(row.value)
    hits = decisions.pop("hit", 0) + decisions.get("hit: joined", 0)
    misses = decisions.pop("miss", 0)
    return CacheUse(hits, misses, decisions, {model: (both[0], both[1]) for model, both in tokens.items()})
