"""Pairs as JSON lines: to move history between ledgers and tools. A header line, then a pair a line, in order.

`parquet` has the same pairs as columns.

Vectors are keyed by the ledger's seed, which the header has: whoever has the file knows of texts what whoever has the
ledger knows. Bytes are base64. Recorded texts are left out unless they are asked for.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from promptguard.errors import InputFileError
from promptguard.ledger import schema
from promptguard.ledger.engines import words
from promptguard.ledger.reading import reading
from promptguard.ledger.rows import PairRow
from promptguard.ledger.spool import Numbered, numbered, written
from promptguard.ledger.store import Ledger

FORMAT = "promptguard pairs 1"
CHUNK = 500
TEXTS = ("question", "control", "candidate", "tools")
"""what is kept of a pair's texts, compressed"""
_SEED = "feature_seed"

Tell = Callable[[int], None]
"""Told how many pairs were moved so far."""


def lines_of(ledger: str | Path, *, texts: bool = False, stream: str = "") -> Iterator[str]:
    """Return the lines of a ledger's pairs, without line ends; `stream` chooses one. Raises InputFileError."""
    yield header_of(ledger, stream)
    for chunk in chunks_of(ledger, texts=texts, stream=stream):
        for each in chunk:
            yield written(each).decode().rstrip("\n")


def header_of(ledger: str | Path, stream: str = "") -> str:
    """Return what a file of pairs begins with: of each such file a pair is taken once. Raises InputFileError."""
    with reading(ledger) as connection:
        seed = connection.execute(
            select(schema.meta.c.value).where(schema.meta.c.name == _SEED)
        ).scalar_one_or_none()
        whose = connection.execute(select(schema.meta.c.value).where(schema.meta.c.name == "ledger_id"))
        ledger_id = bytes(whose.scalar_one_or_none() or b"").hex()
    header = {"format": FORMAT, "seed": base64.b64encode(bytes(seed or b"")).decode(), "ledger": ledger_id}
    return json.dumps({**header, "stream": stream})


def compared_in(ledger: str | Path, stream: str = "") -> int:
    """Return how many of a ledger's pairs, or of one stream's, were compared: the others came to nothing."""
    pair = schema.pair
    query = select(func.count()).select_from(pair).where(pair.c.outcome == "compared")
    with reading(ledger) as connection:
        return int(connection.execute(query.where(pair.c.stream == stream) if stream else query).scalar_one())


def chunks_of(ledger: str | Path, *, texts: bool = False, stream: str = "") -> Iterator[list[Numbered]]:
    """Return a ledger's pairs in order, up to CHUNK at a time. Raises InputFileError."""
    pair, content, last = schema.pair, schema.content, 0
    while True:
        query = select(pair).where(pair.c.id > last).order_by(pair.c.id).limit(CHUNK)
        if stream:
            query = query.where(pair.c.stream == stream)
        with reading(ledger) as connection:
            rows = [dict(row._mapping) for row in connection.execute(query)]
            if texts and rows:
                some = content.c.pair_id.between(rows[0]["id"], rows[-1]["id"])
                known = {row.pair_id: row for row in connection.execute(select(content).where(some))}
                for row in rows:
                    if (found := known.get(row["id"])) is not None:
                        row["content"] = {name: getattr(found, name) for name in TEXTS}
        if not rows:
            return
        last = rows[-1]["id"]
        yield [Numbered(row.pop("id"), row) for row in rows]  # type: ignore[arg-type]


def take_lines(ledger: str | Path, lines: Iterable[str], name: str, tell: Tell = lambda _pairs: None) -> int:
    """Add the pairs of a file to a ledger; returns how many were new. The same file again adds nothing.

    Parameters: `name` of the file, for messages. Raises InputFileError for a file that is none of these, or whose pairs
    were measured with another seed than the ledger's, and what `ledger.door.Door` says.
    """
    given = iter(lines)
    header = next(given, "")
    numbers = itertools.count(2)
    pairs = (_pair_of(line, name, next(numbers)) for line in given)
    return take_pairs(ledger, header.rstrip("\n"), pairs, name, tell)


def take_pairs(
    ledger: str | Path, header: str, pairs: Iterable[Numbered], name: str, tell: Tell = lambda _pairs: None
) -> int:
    """Add pairs behind a header to a ledger, as `take_lines` does; each has been checked with `check`."""
    seed = _seed_of(header, name)
    store = Ledger(ledger)
    take_seed(store, seed, name)
    line = f"{header}\n".encode()  # as a file of lines begins
    source = f"file:{hashlib.blake2b(line, digest_size=8).hexdigest()}"
    before, done, given = _count(store), 0, iter(pairs)
    while chunk := list(itertools.islice(given, CHUNK)):
        store.write_pairs([each.row for each in chunk], source, [each.number for each in chunk])
        done += len(chunk)
        tell(done)
    return _count(store) - before


def _seed_of(header: str, name: str) -> bytes:
    try:
        told = json.loads(header)
        found, seed = str(told["format"]), base64.b64decode(told["seed"], validate=True)
    except (ValueError, TypeError, KeyError):
        raise InputFileError(
            f"{name}: no file of pairs: it must begin as `promptguard export` writes it"
        ) from None
    if found != FORMAT:
        raise InputFileError(f"{name}: {found[:40]!r} is another format than {FORMAT!r}")
    return seed


def take_seed(ledger: Ledger, seed: bytes, name: str) -> None:
    """Give an empty ledger the file's seed. Raises InputFileError where pairs were measured with another."""
    own = ledger.seed
    if not seed or seed == own:
        return
    with ledger.transaction(alone="importing") as connection:
        if connection.execute(select(func.max(schema.pair.c.id))).scalar_one() is not None:
            raise InputFileError(
                f"{name}: these pairs were measured with another seed than those of {ledger.place}, and cannot be judged "
                "together: take them into a ledger of their own, or set one PROMPTGUARD_SECRET for all processes beforehand"
            )
        statement = words(connection).upsert(schema.meta).values(name=_SEED, value=seed)
        connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": seed}))


def _count(ledger: Ledger) -> int:
    with ledger.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(schema.pair)).scalar_one())


def _pair_of(line: str, name: str, number: int) -> Numbered:
    """Return the pair of a line. Raises InputFileError."""
    try:
        found = numbered(line.encode())
        check(found.row)
    except (ValueError, TypeError, KeyError) as error:
        raise InputFileError(f"{name}: line {number} is no pair ({error})") from None
    return found


_KINDS: Mapping[str, type | tuple[type, ...]] = {str(column.name): (
    (int, float) if column.type.python_type is float else column.type.python_type
) for column in schema.pair.columns if column.name != "id"}  # fmt: skip
_NEEDED = (
    "stream",
    "epoch",
    "group",
    "at",
    "call",
    "outcome",
    "reason",
    "asked",
    "control_model",
    "candidate_model",
)


def check(row: PairRow) -> None:
    """Raise ValueError or TypeError for what is no pair."""
    values: Mapping[str, Any] = dict(row)
    for name in _NEEDED:
        if name not in values:
            raise ValueError(f"{name} is missing")
    for name, value in values.items():
        if name == "content":
            continue
        kind = _KINDS.get(name)
        if kind is None:
            raise ValueError(f"{name[:40]!r} is not known")
        if value is None and schema.pair.c[name].nullable:
            continue
        if not isinstance(value, kind) or isinstance(value, bool):
            raise TypeError(f"{name} is of another kind")
