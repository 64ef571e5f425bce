"""How old the pairs of a verdict are: counts by time, coarser the older they are, of bounded size.

A replay pair straddles a moment if its answer was stored before it and asked again after it: only such pairs can show a
change that began then. How many there are is a difference of two counts, stored before less asked before, so that no pair
needs to be kept.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import Any

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
LEVELS = ((MINUTE, 2 * HOUR), (15 * MINUTE, 30 * HOUR), (3 * HOUR, 16 * DAY))
"""(width of a bucket, until what age), in seconds"""
_MEMORY = 32
"""Pairs over which the usual gap between pairs is averaged."""
_LONGEST_GAP = DAY
"""Seconds; a longer pause tells nothing of the usual gap."""
_COMPACT_PAIRS = 16
"""Old counts are moved after so many pairs at the earliest: a group with a pair an hour would move some for each."""

Sums = tuple[list[int], tuple[list[int], list[int]]]
"""buckets in order, and what lies before each of them and before the end: stored, asked"""
Counts = tuple[int, int]
"""(answers stored, answers asked again) in a bucket; of pairs whose sides are asked at one moment, (0, pairs)"""


class Ages:
    """Counts of one group's pairs by time; a fold: the same pairs in the same order give the same counts.

    Times are seconds since the Unix epoch; `gap` is the usual time between two pairs, `longest` the longest that a stored
    answer has waited.
    """

    __slots__ = ("_compact_at", "_levels", "_older", "_sums", "first", "gap", "last", "longest", "pairs")

    def __init__(self) -> None:
        self.pairs = 0
        self.first: float | None = None
        self.last: float | None = None
        self.gap = 0.0
        self.longest = 0.0
        self._older = 0
        """stored less asked again, before everything in `_levels`"""
        self._levels: tuple[dict[int, Counts], ...] = tuple({} for _ in LEVELS)
        self._compact_at = 0.0
        self._sums: list[Sums] | None = None
        """the counts added up, for who asks; None since the last pair"""

    def add(self, at: float, stored: float | None) -> None:
        """Count a pair made at `at`, whose control's answer was stored at `stored`, None where both were asked then."""
        self.pairs += 1
        self._sums = None
        if self.last is None or self.first is None:
            self.first = self.last = at
        else:
            # comparisons, not min() and max(): this runs twice a pair
            gap = at - self.last
            if gap >= 0.0:
                self.last = at
            gap = 0.0 if gap < 0.0 else min(_LONGEST_GAP, gap)
            self.gap += (gap - self.gap) / (self.pairs - 1 if self.pairs <= _MEMORY else _MEMORY)
        if at == self.last:  # as good as always: the newest pair of all
            counts, bucket = self._levels[0], int(at // MINUTE)
            known = counts.get(bucket)
            counts[bucket] = (0, 1) if known is None else (known[0], known[1] + 1)
        else:
            self._count(at, 0, 1)
        if stored is not None:
            self.longest = max(self.longest, at - stored)
            self._count(stored, 1, 0)
        if self.last >= self._compact_at and not self.pairs % _COMPACT_PAIRS:
            self._compact()

    def _count(self, at: float, stored: int, asked: int) -> None:
        age = (self.last or at) - at
        for counts, (width, until) in zip(self._levels, LEVELS, strict=True):
            if age <= until:
                bucket = int(at // width)
                known = counts.get(bucket, (0, 0))
                counts[bucket] = known[0] + stored, known[1] + asked
                return
        self._older += stored - asked

    def _compact(self) -> None:
        """Move what has grown old to the next coarser level."""
        now = self.last or 0.0
        self._compact_at = now + 15 * MINUTE
        for counts, (width, until) in zip(self._levels, LEVELS, strict=True):
            # They came in order of time but for a few, which wait behind a newer one: a look at all costs as much as a bet.
            while counts and now - (bucket := next(iter(counts))) * width > until:
                self._count(bucket * width, *counts.pop(bucket))

    def since(self, moment: float) -> int:
        """Return how many pairs were made since a moment."""
        return int(self._sum(1, since=moment) + 1e-6)

    def straddling(self, moment: float) -> int:
        """Return how many pairs have one answer from before a moment and the other from after it."""
        before = self._older + self._sum(0, until=moment) - self._sum(1, until=moment)
        return max(0, int(before + 1e-6))

    def between(self, start: float, end: float) -> int:
        """Return how many pairs were made from `start` to `end`."""
        return max(0, int(self._sum(1, since=start) - self._sum(1, since=end) + 1e-6))

    def _sum(self, which: int, *, since: float | None = None, until: float | None = None) -> float:
        """Add up one count since or until a moment; of the bucket that it lies in, the share before or after it."""
        moment = since if since is not None else until or 0.0
        if self._sums is None:
            self._sums = [_summed(counts) for counts in self._levels]
        total = 0.0
        for (buckets, before), (width, _) in zip(self._sums, LEVELS, strict=True):
            where = moment / width
            place = bisect_right(
                buckets, where
            )  # the bucket before it is the one that the moment lies in, or past
            past: float = before[which][place]
            if place:
                own = past - before[which][place - 1]
                past -= own * max(0.0, 1.0 - (where - buckets[place - 1]))
            total += past if since is None else before[which][-1] - past
        return total

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON values."""
        return {
            "pairs": self.pairs,
            "first": self.first,
            "last": self.last,
            "gap": self.gap,
            "longest": self.longest,
            "older": self._older,
            "compact_at": self._compact_at,
            "levels": [_packed(counts) for counts in self._levels],
        }

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> Ages:
        """Rebuild from `to_dict()`; it continues bit for bit."""
        ages = cls()
        ages.pairs, ages.first, ages.last = int(told["pairs"]), told["first"], told["last"]
        ages.gap, ages.longest = float(told["gap"]), float(told["longest"])
        ages._older, ages._compact_at = int(told["older"]), float(told["compact_at"])
        levels = [_unpacked(text) for text in told["levels"]]
        if len(levels) != len(LEVELS):
            raise ValueError("counts of another version")
        ages._levels = tuple(levels)
        return ages


def _summed(counts: dict[int, Counts]) -> Sums:
    buckets = sorted(counts)
    stored = accumulate((counts[bucket][0] for bucket in buckets), initial=0)
    asked = accumulate((counts[bucket][1] for bucket in buckets), initial=0)
    return buckets, (list(stored), list(asked))


def _packed(counts: dict[int, Counts]) -> str:
    """Write counts as one text: who reads hundreds of documents looks into few."""
    return " ".join(f"{bucket} {stored} {asked}" for bucket, (stored, asked) in counts.items())


def _unpacked(text: str) -> dict[int, Counts]:
    numbers = [int(each) for each in text.split()]
    return {
        bucket: (stored, asked)
        for bucket, stored, asked in zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True)
    }
