"""What was not measured: from the calls that were seen to the pairs that were judged, and why the rest was not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, select

from promptguard.ledger import schema
from promptguard.ledger.reading import reading
from promptguard.report.model import Loss, Notice, PassedBy
from promptguard.report.sums import losses, notices, passed_by


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the way of a call: how many came so far."""

    name: str
    words: str
    count: int


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """The way of calls, and what was lost on it."""

    stages: tuple[Stage, ...]
    by_stream: tuple[tuple[str, int, int], ...]
    """(stream, pairs compared, pairs lost)"""
    losses: tuple[Loss, ...]
    passed_by: tuple[PassedBy, ...]
    notices: tuple[Notice, ...]
    faults: tuple[tuple[str, int], ...]


def read_unmeasured(ledger: str | Path) -> Unmeasured:
    """Return it; sums alone are read. Raises InputFileError when there is no ledger, or it cannot be read."""
    with reading(ledger) as connection:
        passed = passed_by(connection)
        table = schema.tally
        sums: dict[str, list[int]] = {}
        for row in connection.execute(
            select(table.c.stream, table.c.outcome, func.sum(table.c.pairs)).group_by(
                table.c.stream, table.c.outcome
            )
        ):
            sums.setdefault(row.stream, [0, 0])[row.outcome != "compared"] += int(row[2])
        return Unmeasured(
            stages=_stages(passed, sums),
            by_stream=tuple((stream, counts[0], counts[1]) for stream, counts in sorted(sums.items())),
            losses=losses(connection),
            passed_by=passed,
            notices=notices(connection),
            faults=_faults(connection),
        )


def _stages(passed: tuple[PassedBy, ...], sums: dict[str, list[int]]) -> tuple[Stage, ...]:
    compared = sum(counts[0] for counts in sums.values())
    lost = sum(counts[1] for counts in sums.values())
    not_drawn = sum(each.calls for each in passed if each.what == "not paired")
    begun = compared + lost
    drawn = begun + max(0, not_drawn - lost)
    return (
        Stage("drawn", "calls drawn for a pair", drawn),
        Stage("begun", "pairs begun", begun),
        Stage("compared", "pairs compared and judged", compared),
    )


def _faults(connection: Connection) -> tuple[tuple[str, int], ...]:
    table = schema.counter
    query = select(table.c.label, table.c.value).where(table.c.name == "faults")
    return tuple(
        (row.label, int(row.value)) for row in connection.execute(query.order_by(table.c.value.desc()))
    )
