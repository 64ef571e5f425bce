"""Pairs to look at, those whose answers lie furthest apart first: of a window of the newest ones, never of all."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from sqlalchemy import Connection, Row, select

from promptguard.drift import PairVector
from promptguard.drift.features.catalogue import FEATURES, SCALE
from promptguard.ledger import schema
from promptguard.ledger.reading import reading
from promptguard.report.streams import question_text, text_of
from promptguard.verdict.scales import NAMES, figure, natural

WINDOW = 400
"""Pairs that one page looks at."""
PER_PAGE = 10
Show = Literal["different", "all", "lost"]
SHOWS: tuple[Show, ...] = get_args(Show)
_MOST_DIFFERENCES = 4
_NATURAL = {"length": (0, "characters"), "lines": (1, "lines")}
"""Features that are counted in units of their own: their place among a side's counts."""
_ZERO_SHIFT = 0.02


@dataclass(frozen=True, slots=True)
class Texts:
    """What was recorded of a pair; tool calls as (name, arguments), of both sides."""

    question: str
    control: str
    candidate: str
    control_tools: tuple[tuple[str, str], ...] = ()
    candidate_tools: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which two answers differ, in natural units."""

    feature: str
    phrase: str
    control: str
    candidate: str


@dataclass(frozen=True, slots=True)
class Pair:
    """One pair. `apart` orders pairs by how far their answers lie apart, and has no unit; None for one that was lost."""

    id: int
    stream: str
    epoch: int
    group: str
    at: float
    call: int
    banked_call: int | None
    outcome: str
    reason: str
    control_model: str
    candidate_model: str
    control_served: str
    candidate_served: str
    usd: float
    input_tokens: int
    output_tokens: int
    latency: float
    trace: str
    apart: float | None
    differences: tuple[Difference, ...]
    texts: Texts | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which pairs are meant; None where any is. `before` is the row id that the window ends at."""

    group: str | None = None
    stream: str | None = None
    epoch: int | None = None
    show: Show = "different"
    newest_first: bool = False
    before: int | None = None
    page: int = 1


@dataclass(frozen=True, slots=True)
class Pairs:
    """One page of pairs of a window."""

    filter: Filter
    pairs: tuple[Pair, ...]
    seen: int
    """pairs in the window"""
    matching: int
    """of these, how many the filter lets through"""
    pages: int
    oldest_at: float | None
    newest_at: float | None
    older: int | None
    """what `before` is in the next older window; None where there is none"""
    streams: tuple[str, ...]


def read_pairs(ledger: str | Path, wanted: Filter, *, per_page: int = PER_PAGE) -> Pairs:
    """Return a page of pairs. Raises InputFileError when there is no ledger, or it cannot be read."""
    with reading(ledger) as connection:
        streams = tuple(
            connection.execute(
                select(schema.verdict.c.stream).distinct().order_by(schema.verdict.c.stream)
            ).scalars()
        )
        rows = _window(connection, wanted)
        found = _pairs(rows)
        matching = [pair for pair in found if _shown(pair, wanted.show)]
        if not wanted.newest_first:
            matching.sort(key=lambda pair: (-(pair.apart or 0.0), -pair.id))
        pages = max(1, math.ceil(len(matching) / per_page))
        page = min(max(1, wanted.page), pages)
        shown = matching[(page - 1) * per_page : page * per_page]
        return Pairs(
            filter=replace(wanted, page=page),
            pairs=_in_full(connection, shown),
            seen=len(rows),
            matching=len(matching),
            pages=pages,
            oldest_at=rows[-1].at if rows else None,
            newest_at=rows[0].at if rows else None,
            older=rows[-1].id if len(rows) == WINDOW else None,
            streams=streams,
        )


def read_pair(ledger: str | Path, number: int) -> Pair | None:
    """Return one pair by its row id, or None. Raises InputFileError when the ledger cannot be read."""
    if not 0 < number < 2**63:
        return None
    with reading(ledger) as connection:
        row = connection.execute(select(schema.pair).where(schema.pair.c.id == number)).first()
        return None if row is None else _in_full(connection, _pairs([row]))[0]


def worst_pairs(
    connection: Connection, stream: str, epoch: int, group: str | None, since: float, most: int
) -> tuple[Pair, ...]:
    """Return the pairs furthest apart among the newest since a moment, those with texts first."""
    rows = _window(connection, Filter(group=group, stream=stream, epoch=epoch))
    found = sorted(
        (pair for pair in _pairs([row for row in rows if row.at >= since]) if pair.apart),
        key=lambda pair: -(pair.apart or 0.0),
    )
    full = _in_full(connection, found[: 10 * most])
    return tuple(sorted(full, key=lambda pair: pair.texts is None)[:most])


def _window(connection: Connection, wanted: Filter) -> list[Row[Any]]:
    """Return the newest rows of what is meant, newest first; each query follows one index from its end."""
    rows: list[Row[Any]] = []
    for place in _places(connection, wanted):
        query = select(schema.pair).where(*place)
        if wanted.before is not None:
            query = query.where(schema.pair.c.id < wanted.before)
        rows += connection.execute(query.order_by(schema.pair.c.id.desc()).limit(WINDOW)).all()
    rows.sort(key=lambda row: -row.id)
    return rows[:WINDOW]


def _places(connection: Connection, wanted: Filter) -> Iterator[list[Any]]:
    table = schema.pair
    if wanted.group is None:
        yield [] if wanted.stream is None else [table.c.stream == wanted.stream]
        return
    verdict = schema.verdict
    for stream, epoch in connection.execute(select(verdict.c.stream, verdict.c.epoch)).all():
        if wanted.stream in {None, stream} and wanted.epoch in {None, epoch}:
            yield [table.c.stream == stream, table.c.epoch == epoch, table.c.group == wanted.group]


def _shown(pair: Pair, show: Show) -> bool:
    if show == "lost":
        return pair.outcome != "compared"
    return show == "all" or (pair.outcome == "compared" and bool(pair.apart))


_COLUMNS = (
    "id", "stream", "epoch", "group", "at", "call", "banked_call", "outcome", "reason", "control_model", "candidate_model",
    "control_served", "candidate_served", "usd", "input_tokens", "output_tokens", "latency", "trace",
)  # fmt: skip


def _pairs(rows: Sequence[Row[Any]]) -> list[Pair]:
    """Return rows as pairs, without what only those that are shown need."""
    vectors = [_vector(row) for row in rows]
    distances = iter(apart([vector for vector in vectors if vector is not None]))
    return [
        Pair(
            **{name: getattr(row, name) for name in _COLUMNS},
            apart=None if vector is None else next(distances),
            differences=(),
        )
        for row, vector in zip(rows, vectors, strict=True)
    ]


def _vector(row: Row[Any]) -> PairVector | None:
    if row.outcome != "compared" or row.vector is None:
        return None
    try:
        return PairVector.from_bytes(row.vector)
    except ValueError:
        return None


_WEIGHTS = np.array([feature.tier / 4 for feature in FEATURES])


def apart(vectors: Sequence[PairVector]) -> list[float]:
    """Return how far two answers lie apart, of each pair: features, weighted by how telling they are, and wording."""
    if not vectors:
        return []
    control, candidate = (
        np.stack([getattr(vector, side) for vector in vectors]).astype(np.float64)
        for side in ("control", "candidate")
    )
    hashed = np.stack([vector.hashed for vector in vectors]).astype(np.float64)
    scales = np.array([vector.scale for vector in vectors]) / 127.0
    found = np.abs(control - candidate) / SCALE @ _WEIGHTS + np.sqrt((hashed * hashed).sum(axis=1)) * scales
    return [round(float(each), 6) for each in found]


def differences(vector: PairVector) -> tuple[Difference, ...]:
    """Return what differs most, the most telling first."""
    shifts = np.abs(vector.control.astype(np.float64) - vector.candidate) / SCALE
    found = [
        told
        for place in np.argsort(-(shifts * _WEIGHTS), kind="stable")[: 3 * _MOST_DIFFERENCES]
        if shifts[place] > _ZERO_SHIFT and (told := _difference(vector, int(place))) is not None
    ]
    if vector.labels[0] != vector.labels[1]:
        found.insert(0, Difference("label", "label", vector.labels[0] or "none", vector.labels[1] or "none"))
    return tuple(found[:_MOST_DIFFERENCES])


def _difference(vector: PairVector, place: int) -> Difference | None:
    """Return one feature's difference; None for what other words say already."""
    feature = FEATURES[place]
    if feature.name.startswith("label:"):
        return None
    sides = vector.control[place] / SCALE, vector.candidate[place] / SCALE
    if feature.binary:
        words = ["yes" if side > 0.5 else "no" for side in sides]
    elif feature.name in _NATURAL:
        slot, unit = _NATURAL[feature.name]
        words = [f"{counts[slot]:,} {unit}" for counts in vector.counts]
    elif feature.name in NAMES:
        words = ["one", "another"]
    else:
        words = [_written(*natural(feature.name, float(side))) for side in sides]
    return None if words[0] == words[1] else Difference(feature.name, feature.phrase, *words)


def _written(value: float, unit: str) -> str:
    return f"{figure(value)} %" if unit == "%" else figure(value)


def _tools(raw: bytes | None) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    """Return the tool calls of both sides, their arguments as JSON over several lines where they are some."""
    if raw is None:
        return (), ()
    control, candidate = json.loads(raw)
    return _calls(control), _calls(candidate)


def _calls(told: Sequence[dict[str, object]]) -> tuple[tuple[str, str], ...]:
    return tuple((str(call.get("name", "")), _arguments(call.get("arguments"))) for call in told)


def _arguments(given: object) -> str:
    try:
        value = json.loads(given) if isinstance(given, str) else given
    except ValueError:
        return str(given)
    return json.dumps(value, indent=1, ensure_ascii=False)


def _in_full(connection: Connection, pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """Return pairs with what differs in them, and with their texts where they are kept."""
    numbers = [pair.id for pair in pairs]
    table, own = schema.content, schema.pair
    texts = {
        row.pair_id: Texts(
            question_text(row.question), text_of(row.control), text_of(row.candidate), *_tools(row.tools)
        )
        for row in connection.execute(select(table).where(table.c.pair_id.in_(numbers)))
    }
    vectors = {row.id: _vector(row) for row in connection.execute(select(own).where(own.c.id.in_(numbers)))}
    found = []
    for pair in pairs:
        vector = vectors.get(pair.id)
        told = () if vector is None else differences(vector)
        found.append(replace(pair, texts=texts.get(pair.id), differences=told))
    return tuple(found)
