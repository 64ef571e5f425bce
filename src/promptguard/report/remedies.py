"""What to do where a ledger says nothing: a line for each reason why pairs are missing. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from promptguard.core.epochs import EVERY_GROUP
from promptguard.directories import ledger_option
from promptguard.report.overview import Overview, Row
from promptguard.verdict.reasons import PROCESS_ENDED, TOO_MANY_LOST

Accepted = Mapping[tuple[str, str], str]
"""The model that pairs were compared with when a change was accepted, by (stream, group)"""
_SETTINGS = {
    "rate": "raise Budget(calls_per_minute=...), or lower Shadow(sample=...): the cap on calls a minute leaves no room",
    "budget spent": "raise Budget(usd_per_day=...) or Budget(calls_per_day=...), or lower Shadow(sample=...)",
    "price unknown": "give Budget(price=promptguard.Price(input, output)): a cap in USD needs the model's price",
    PROCESS_ENDED: (
        "call promptguard.flush(30) before the process ends or its last client is closed: what is no pair by then is lost"
    ),
}
_NEW_SNAPSHOT = (
    "name a snapshot of today in Shadow(model=...): the change was accepted, and {} is of before it"
)


def remedies(overview: Overview, accepted: Accepted) -> tuple[str, ...]:
    """Return what to do next about an unmeasured ledger, the commonest reason first, each once."""
    where = ledger_option(overview.ledger)
    if overview.judged_at is None and overview.pairs:
        return (f"promptguard watch {where}  (nothing has judged these pairs yet)",)
    plan = f"promptguard plan {where}  (how many more pairs it takes)"
    found: dict[str, int] = {}
    for row in overview.rows:
        if row.judging:
            for said in _of_row(row, accepted, plan, where):
                found[said] = found.get(said, 0) + 1
    return tuple(sorted(found, key=lambda said: -found[said])) or (plan,)


def _of_row(row: Row, accepted: Accepted, plan: str, where: str) -> Iterator[str]:
    if row.status == "drift":
        compared = accepted.get((row.stream, row.group)) or accepted.get((row.stream, EVERY_GROUP))
        if row.stream == "candidate" and row.acknowledged and compared == row.candidate:
            yield _NEW_SNAPSHOT.format(row.candidate)
        return
    if row.status != "unmeasured":
        return
    reason = row.reason or ""
    if reason in _SETTINGS:
        yield _SETTINGS[reason]
    elif reason.startswith("accepted: "):
        yield _NEW_SNAPSHOT.format(row.candidate or "the one that is asked")
    elif reason.startswith("candidate errors: status_404"):
        yield _no_such_model(row)
    elif reason == TOO_MANY_LOST:
        yield (
            f"promptguard doctor {where}  (why answers are lost is counted above; of "
            f'"{PROCESS_ENDED}": call promptguard.flush(30) first)'
        )
    elif " errors: " in reason:
        yield f"promptguard doctor {where}  ({reason})"
    else:
        yield plan


def _no_such_model(row: Row) -> str:
    named = f" {row.candidate!r}" if row.candidate else ""
    if row.stream == "candidate":
        return f"check the name in Shadow(model=...): the provider knows no model{named} (status 404)"
    return f"check the model's name: the provider knows no model{named} any more (status 404)"
