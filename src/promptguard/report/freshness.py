"""What a verdict's age makes of it: who reads a ledger long after its last pair is not told that nothing changed.

A fold knows no clock, so this is done when a document is read: `as_of` takes away what is too old, and gives the reason why
no pairs come where one is known.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select

from promptguard.core.streams import SELF_TESTS
from promptguard.ledger import schema
from promptguard.verdict.ages import Ages
from promptguard.verdict.reasons import NO_PAIRS, NONE_STRADDLE, STALE, TOO_FEW, why_missing
from promptguard.verdict.sentence import not_measured
from promptguard.verdict.window import Power, Window, shows_nothing, stale_after, window_of

Document = dict[str, Any]
IN_A_ROW = 3
"""Pairs that came to nothing since the last one that was compared, from which on that is told as the reason."""
OLDER_CONTROL = frozenset(("replay", "canary", "placebo"))
"""Streams whose control answered earlier: only pairs that straddle the beginning of a change can show it."""


@dataclass(frozen=True, slots=True)
class Clock:
    """A reader's moment, in Unix seconds, with what the ledger notes beside its pairs.

    `stale_after` is what `Drift(stale_after=...)` said, None for the default; `refused` are calls that were not even
    prepared, by stream: why, and when last.
    """

    now: float
    stale_after: float | None = None
    refused: Mapping[str, tuple[str, float]] = field(default_factory=dict)


def clock_of(connection: Connection, now: float) -> Clock:
    """Return a reader's moment."""
    table = schema.meta
    rows = connection.execute(
        select(table).where((table.c.name == schema.STALE_AFTER) | table.c.name.startswith(schema.REFUSED))
    )
    given: float | None = None
    refused: dict[str, tuple[str, float]] = {}
    for row in rows:
        told = json.loads(row.value)
        if row.name == schema.STALE_AFTER:
            given = None if told is None else float(told)
        else:
            refused[row.name.removeprefix(schema.REFUSED)] = str(told["reason"]), float(told["at"])
    return Clock(now, given, refused)


def as_of(told: Document, clock: Clock) -> None:
    """Say in a verdict's document what holds at a moment: `unmeasured` where it is too old, with the reason."""
    if told["status"] == "drift":
        return
    if told["status"] == "unmeasured":
        # Only errors are losses: a spent budget explains that pairs are few, and no loss.
        cause = _cause(told, clock, losses_alone=told["reason"] != TOO_FEW)
        if cause is not None and told["reason"] in NO_PAIRS:
            _take_away(told, cause[0])
        return
    last, cause = _last(told), _cause(told, clock)
    limit = stale_after(_gap(told), clock.stale_after)
    if last is not None and clock.now - last > limit:
        recent = cause is not None and clock.now - cause[1] <= limit
        _take_away(told, cause[0] if cause is not None and recent else STALE)
    elif told["stream"] in OLDER_CONTROL and _shows_nothing(told, clock):
        _take_away(told, NONE_STRADDLE)


def window(told: Document, clock: Clock) -> Window | None:
    """Return what a verdict's pairs could have shown at a moment; None of documents of older versions."""
    found = _ages_and_power(told)
    if found is None:
        return None
    stored = told["stream"] in OLDER_CONTROL
    return window_of(*found, clock.now, stored=stored, given=clock.stale_after)


def _shows_nothing(told: Document, clock: Clock) -> bool:
    """Whether no change of the last week could have been seen, as too few answers from before it were left to ask again."""
    found = _ages_and_power(told)
    return found is not None and shows_nothing(*found, clock.now)


def _ages_and_power(told: Document) -> tuple[Ages, Power] | None:
    pace = told.get("pace") or {}
    ages, power = pace.get("ages"), pace.get("power")
    if not ages or not power or "levels" not in ages:
        return None
    return Ages.from_dict(ages), Power(**{**power, "bets": tuple(power["bets"])})


def measured(documents: Sequence[Document]) -> tuple[int, int]:
    """Return how many groups of those that judge are measured, and how many there are: drifted ones count as measured."""
    found: dict[str, bool] = {}
    for told in documents:
        name = told.get("group")
        if name and told["stream"] not in SELF_TESTS:
            found[name] = found.get(name, False) or told["status"] != "unmeasured"
    return sum(found.values()), len(found)


def _take_away(told: Document, reason: str) -> None:
    lost = sum(told["skipped"].values())
    told.update(status="unmeasured", reason=reason, sentence=not_measured(reason, told["pairs"], lost))


def _last(told: Document) -> float | None:
    last = told.get("moments", {}).get("last")
    return None if last is None else float(last["at"])


def _gap(told: Document) -> float:
    ages = (told.get("pace") or {}).get("ages")
    return 0.0 if ages is None else float(ages["gap"])


def _cause(told: Document, clock: Clock, *, losses_alone: bool = False) -> tuple[str, float] | None:
    """Return why no pairs come, and when that was last so; None where nothing is known. `losses_alone`: of errors alone."""
    last = _last(told)
    missing = (told.get("pace") or {}).get("missing") or {"counts": {}}
    counts: Counter[str] = Counter()
    for said, number in missing["counts"].items():
        if not losses_alone or said.partition(": ")[0].endswith("_error"):
            counts[why_missing(said)] += number
    if counts.total() >= IN_A_ROW:
        return max(counts, key=lambda why: (counts[why], why)), float(missing["at"])
    refused = None if losses_alone else clock.refused.get(told["stream"])
    if refused is not None and (last is None or refused[1] > last):
        return why_missing(f"dropped: {refused[0]}"), refused[1]
    return None
