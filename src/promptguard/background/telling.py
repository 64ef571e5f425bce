"""From a fold to what readers find: one document a group, written when it changed, with everything a page needs beside it.

A reader never looks for the n-th pair nor counts rows: where the onset and the examples of a change lie is looked up here,
once, when the change is explained.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict

from promptguard.background.folding import WHOLE, Place, StreamFold
from promptguard.ledger.folds import Folds, Told
from promptguard.verdict import Verdict

EXPLAIN_SECONDS = 0.02
"""What explaining may take at a time; groups that had no turn come first the next time."""
MOST_EXAMPLES = 2


class Teller:
    """Makes the documents of what changed."""

    def __init__(self, folds: Folds) -> None:
        self._folds = folds

    def tell(
        self, known: StreamFold, stream: str, epoch: int, *, fully: bool, effect_from: int | None
    ) -> list[Told]:
        """Return what is to be written of one stream's epoch, and note it as written.

        Unless `fully`, what there is no time for is told as changed again the next time.
        """
        found: list[Told] = []
        waiting = deque(known.changed)
        until = time.monotonic() + EXPLAIN_SECONDS
        while waiting and (fully or not found or time.monotonic() < until):
            name = waiting.popleft()
            told = self._document(known, stream, epoch, name, fully=fully, effect_from=effect_from)
            if told is not None:
                found.append(Told(stream, epoch, name, told))
        known.changed = dict.fromkeys(waiting)
        return found

    def _document(
        self, known: StreamFold, stream: str, epoch: int, name: str, *, fully: bool, effect_from: int | None
    ) -> dict[str, object] | None:
        verdict, anew = known.told(name, fully=fully, effect_from=effect_from if name == WHOLE else None)
        document = verdict.to_dict()
        document["epoch"] = epoch
        seen = known.seen.get(name)
        if seen is not None:
            document["control_model"], document["candidate_model"] = seen.control, seen.candidate
            document["moments"] = {
                "first": _moment(1, seen.first),
                "last": _moment(verdict.pairs, seen.last),
                **self._change(known, stream, epoch, name, verdict, anew=anew),
            }
        document["curve"] = known.curve(name).points
        document["pace"] = _pace(known, name)
        if name == WHOLE:
            document["example_pairs"] = self._examples(stream, epoch, verdict)
        return document

    def _change(
        self, known: StreamFold, stream: str, epoch: int, name: str, verdict: Verdict, *, anew: bool
    ) -> dict[str, object]:
        """Return where alarm, onset and the ends of its interval lie; looked up when the change was explained anew."""
        if verdict.alarm_at is None or verdict.onset is None:
            known.onsets.pop(name, None)
            return {}
        if anew or name not in known.onsets:
            numbers = {
                "alarm": verdict.alarm_at,
                "onset": verdict.onset.pair,
                "onset_low": verdict.onset.low,
                "onset_high": verdict.onset.high,
            }
            if verdict.course is not None and verdict.course.kind == "taken_back":
                numbers["ended"] = verdict.course.pair
            known.onsets[name] = {
                what: self._looked_up(stream, epoch, name, number) for what, number in numbers.items()
            }
        return known.onsets[name]

    def _looked_up(self, stream: str, epoch: int, name: str, number: int) -> dict[str, object] | None:
        row = self._folds.nth_pair(stream, epoch, name, number)
        return None if row is None else _moment(number, (row.call, row.at, row.banked_call))

    def _examples(self, stream: str, epoch: int, verdict: Verdict) -> list[list[int]]:
        """Return (pair number, row) of the example pairs."""
        rows = (
            (number, self._folds.nth_pair(stream, epoch, verdict.speaks_of or WHOLE, number))
            for number in verdict.examples[:MOST_EXAMPLES]
        )
        return [[number, row.id] for number, row in rows if row is not None]


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
