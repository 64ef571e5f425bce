"""From a fold to what readers find: one document a group, written when it changed, with everything a page needs beside it.

A reader never looks for the n-th pair nor counts rows: where the onset and the examples of a change lie is looked up here,
once, when the change is explained.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict, dataclass

from promptguard.background.folding import WHOLE, Place, StreamFold
from promptguard.ledger.folds import Folds, NthPair, Told
from promptguard.verdict import Verdict

EXPLAIN_SECONDS = 0.02
"""What explaining may take at a time; groups that had no turn come first the next time."""
MOST_EXAMPLES = 2
EpochPlace = tuple[str, int]
"""(stream, epoch)"""


class Teller:
    """Makes the documents of what changed."""

    def __init__(self, folds: Folds) -> None:
        self._folds = folds

    def tell(
        self, known: StreamFold, place: EpochPlace, *, until: int, fully: bool, effect_from: int | None
    ) -> list[Told]:
        """Return what is to be written of one stream's epoch, and note it as written; `until` is the last row it has seen.

        Unless `fully`, what there is no time for is told as changed again the next time.
        """
        found: list[Told] = []
        waiting = deque(known.changed)
        enough = time.monotonic() + EXPLAIN_SECONDS
        rows = Lookup(self._folds, *place, until)
        while waiting and (fully or not found or time.monotonic() < enough):
            name = waiting.popleft()
            found.append(Told(*place, name, _document(known, rows, name, fully, effect_from)))
        known.changed = dict.fromkeys(waiting)
        return found


@dataclass(frozen=True, slots=True)
class Lookup:
    """Where the pairs of one stream's epoch lie in the ledger, up to the last row that was folded."""

    folds: Folds
    stream: str
    epoch: int
    until: int

    def pair(self, known: StreamFold, name: str, number: int) -> NthPair | None:
        """Return the n-th pair of a group, or of the stream, as its monitor counted them; None where it is forgotten."""
        last = (known.monitor.brief(None if name == WHOLE else name).pairs, self.until)
        seen = known.seen.get(name)
        if seen is not None and seen.mark is not None and number <= seen.mark[0]:
            last = seen.mark
        if not 0 < number <= last[0]:
            return None
        return self.folds.pair_before(self.stream, self.epoch, name, last[0] - number, last[1])


def _document(
    known: StreamFold, rows: Lookup, name: str, fully: bool, effect_from: int | None
) -> dict[str, object]:
    verdict, anew = known.told(name, fully=fully, effect_from=effect_from if name == WHOLE else None)
    document = verdict.to_dict()
    document["epoch"] = rows.epoch
    seen = known.seen.get(name)
    if anew or name not in known.onsets:
        known.onsets[name] = _change(known, rows, name, verdict)
    if seen is not None:
        document["control_model"], document["candidate_model"] = seen.control, seen.candidate
        document["moments"] = {
            "first": _moment(1, seen.first),
            "last": _moment(verdict.pairs, seen.last),
            **known.onsets[name],
        }
    document["curve"] = known.curve(name).points
    document["pace"] = _pace(known, name)
    if name == WHOLE:
        if anew or known.examples is None:
            known.examples = _examples(known, rows, verdict)
        document["example_pairs"] = known.examples
    return document


def _change(known: StreamFold, rows: Lookup, name: str, verdict: Verdict) -> dict[str, object]:
    """Return where alarm, onset and the ends of its interval lie."""
    if verdict.alarm_at is None or verdict.onset is None:
        return {}
    numbers = {
        "alarm": verdict.alarm_at,
        "onset": verdict.onset.pair,
        "onset_low": verdict.onset.low,
        "onset_high": verdict.onset.high,
    }
    if verdict.course is not None and verdict.course.kind == "taken_back":
        numbers["ended"] = verdict.course.pair
    found: dict[str, object] = {}
    for what, number in numbers.items():
        row = rows.pair(known, name, number)
        found[what] = None if row is None else _moment(number, (row.call, row.at, row.banked_call))
    return found


def _examples(known: StreamFold, rows: Lookup, verdict: Verdict) -> list[list[int]]:
    """Return (pair number, row) of the example pairs."""
    group = verdict.speaks_of or WHOLE
    found = ((number, rows.pair(known, group, number)) for number in verdict.examples[:MOST_EXAMPLES])
    return [[number, row.id] for number, row in found if row is not None]


def _pace(known: StreamFold, name: str) -> dict[str, object]:
    """Return what a reader needs to tell how old a verdict is, what it could have shown, and why no pairs come."""
    ages, missing = known.ages.get(name), known.missing.get(name)
    power = known.monitor.power(None if name == WHOLE else name) if known.monitor.pairs else None
    return {
        "ages": None if ages is None else ages.to_dict(),
        "power": None if power is None else asdict(power),
        "missing": None if missing is None else asdict(missing),
    }


def _moment(number: int, place: Place) -> dict[str, object]:
    call, at, banked_call = place
    return {"pair": number, "call": call, "at": at, "banked_call": banked_call}
