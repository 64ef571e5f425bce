"""From where short-lived processes leave their pairs to the ledger that is judged: each pair once, also when cut off.

Such a process writes to a ledger of its own, a directory that is cheap to open, and judges nothing. What lies there is
taken in the order in which it was committed, under the numbers it has there; the ledger notes the last one it has of each
directory, in the transaction that adds them, so what is taken twice counts once. Files of pairs that waited for a
database (`spool`) are taken too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, select

from promptguard.core.epochs import Epochs
from promptguard.directories import Database
from promptguard.errors import InputFileError
from promptguard.ledger import schema
from promptguard.ledger.engines import words
from promptguard.ledger.pair_files import take_seed
from promptguard.ledger.rows import PairRow, StoredRow
from promptguard.ledger.spool import Numbered, Spool, left_behind
from promptguard.ledger.store import Ledger, shared_seed

CHUNK = 500
_DRAINED = "drained"
"""The name in `meta` of the number of the last pair that was taken out of a directory."""
Tell = Callable[[int], None]
"""Told how many pairs were taken so far."""


@dataclass(frozen=True, slots=True)
class Drained:
    """What was taken."""

    pairs: int
    """new ones: those that the ledger had already are left out"""
    compared: int
    """of these, pairs that were compared: the others came to nothing"""
    files: int
    """files of waiting pairs that were emptied"""


def drain(directory: Path, into: str | Path, tell: Tell = lambda _pairs: None) -> Drained:
    """Take the pairs in `directory`, which may be in use, into the ledger `into`.

    Raises InputFileError where there is nothing of that kind, or pairs were measured with another seed than the
    ledger's, and what `ledger.door.Door` says. Cut off, it is begun again.
    """
    spools = [directory, *sorted(each for each in (directory / "spool").glob("*") if each.is_dir())]
    has_ledger = _has_ledger(directory)
    if not has_ledger and not any(list(place.glob("*.pairs")) for place in spools if place.is_dir()):
        raise InputFileError(f"{directory}: there is no ledger and no file of waiting pairs")
    target = Ledger(into)
    before, compared, files = paired(target), paired(target, "compared"), 0
    for place in spools:
        for spool in left_behind(place, ""):
            try:
                _take_file(spool, target)
                files += 1
            finally:
                spool.close()
    if has_ledger:
        _take_ledger(Ledger(directory), target, tell)
    return Drained(paired(target) - before, paired(target, "compared") - compared, files)


def _has_ledger(directory: Path) -> bool:
    from promptguard.ledger.engines.sqlite_file import FILE_NAME

    return (directory / FILE_NAME).is_file()


def _take_file(spool: Spool, target: Ledger) -> None:
    while spool.is_waiting:
        rows, at = spool.next(CHUNK)
        if rows:
            target.write_pairs([each.row for each in rows], spool.source, [each.number for each in rows])
        spool.delivered(at)


def _take_ledger(source: Ledger, target: Ledger, tell: Tell) -> None:
    if isinstance(source.place, Database) or source.place == target.place:
        raise InputFileError(
            f"{source.place} is the ledger itself: name the directory of short-lived processes"
        )
    if source.seed != target.seed == shared_seed():
        # An empty ledger would take the other seed, and what comes with the right one could not be judged beside it.
        raise InputFileError(
            f"{source.place}: these pairs were measured without the PROMPTGUARD_SECRET that is set here, or with another "
            "one: set that of the processes that made them"
        )
    take_seed(target, source.seed, str(source.place))
    name, taken = f"drain:{source.identity.hex()}", 0
    epochs = _EpochsThen(target.occurrences_after(0))
    for rows in _chunks(source):
        found = [Numbered(row.id, _row(row, texts, epochs)) for row, texts in rows]
        target.write_pairs([each.row for each in found], name, [each.number for each in found])
        _forget(source, found[-1].number)
        taken += len(found)
        tell(taken)


def _chunks(source: Ledger) -> Iterator[list[tuple[StoredRow, StoredRow | None]]]:
    last, content = _forgotten(source), schema.content
    while rows := source.pairs_after(last, CHUNK):
        with source.reading() as connection:
            some = select(content).where(content.c.pair_id.between(rows[0].id, rows[-1].id))
            texts = {row.pair_id: row for row in connection.execute(some)}
        last = rows[-1].id
        yield [(row, texts.get(row.id)) for row in rows]


def _row(row: StoredRow, texts: StoredRow | None, epochs: _EpochsThen) -> PairRow:
    found: dict[str, Any] = {**row._mapping, "epoch": epochs.of(row.stream, row.group, row.at)}
    del found["id"]
    if texts is not None:
        found["content"] = {name: value for name, value in texts._mapping.items() if name != "pair_id"}
    return found  # type: ignore[return-value]


class _EpochsThen:
    """Which epoch a pair belongs to in the ledger that it comes to: that of when it was made, not of when it came."""

    def __init__(self, noted: Sequence[dict[str, Any]]) -> None:
        self._noted = sorted(noted, key=lambda each: (each["at"], each["id"]))
        self._epochs, self._next, self._at = Epochs(), 0, 0.0

    def of(self, stream: str, group: str, at: float) -> int:
        """Return the epoch; pairs come about in the order of their times, and any older one begins anew."""
        if at < self._at:
            self._epochs, self._next = Epochs(), 0
        self._at = at
        while self._next < len(self._noted) and self._noted[self._next]["at"] <= at:
            self._epochs.apply(self._noted[self._next])
            self._next += 1
        return self._epochs.of(stream, group)


def _forget(source: Ledger, last: int) -> None:
    """Delete what was taken, but the last one: numbers of a table that is emptied begin anew."""
    pair, content = schema.pair, schema.content
    with source.transaction() as connection:
        connection.execute(delete(content).where(content.c.pair_id < last))
        connection.execute(delete(pair).where(pair.c.id < last))
        # another ledger that is drained into later does not know of the one that is left
        statement = words(connection).upsert(schema.meta).values(name=_DRAINED, value=b"%d" % last)
        connection.execute(
            statement.on_conflict_do_update(index_elements=["name"], set_={"value": b"%d" % last})
        )


def _forgotten(source: Ledger) -> int:
    """Return the number of the last pair that some ledger has; 0 where none was taken, or numbers have begun anew."""
    meta, pair = schema.meta, schema.pair
    with source.reading() as connection:
        noted = connection.execute(select(meta.c.value).where(meta.c.name == _DRAINED)).scalar_one_or_none()
        newest = connection.execute(select(func.max(pair.c.id))).scalar_one()
    last = int(noted or 0)
    return last if newest is not None and newest >= last else 0


def paired(ledger: Ledger, outcome: str = "") -> int:
    """Return how many pairs a ledger has counted, of one outcome or whatever became of them."""
    query = select(func.coalesce(func.sum(schema.tally.c.pairs), 0))
    with ledger.reading() as connection:
        return int(
            connection.execute(
                query.where(schema.tally.c.outcome == outcome) if outcome else query
            ).scalar_one()
        )
