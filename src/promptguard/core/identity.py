"""From what answers said of who served them to facts: resolved, rewritten, changed, a mixture, not reported.

Facts, not verdicts: a provider may change a model and say nothing, or rename one that stays, so none of this is
evidence of drift (docs/decisions/0017-identity-facts.md). Pure: rows in, facts out.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, islice, pairwise
from math import lgamma
from typing import Literal

from promptguard.core.model import Identity

ATTRIBUTES = ("model", "fingerprint", "service_tier", "region", "backend")

SURE = 13.8
"""-ln(1e-6). A value was away where a constant mixture would have left it out of so many answers with at most that
probability; otherwise it was in rotation all the while."""
SHORTEST = 10
"""Answers of others in a row below which nobody was away: as many as move a name for the cache (`core/turns.py`)."""
COMPARABLE = 3
RETURNS = 2
"""Answers of one value come in bursts (a connection, a region, a day), which counting them one by one takes for proof.
So a value that was away for as long, or a third of that, more often than RETURNS times was in rotation as well."""
FEW = 3.0
SMALL_PART = 0.1
"""Fewer answers than FEW, and less than this part of either side: calls in flight at a switch, not a mixture."""

Kind = Literal["resolved", "rewritten", "changed", "mixture", "not_reported"]


@dataclass(frozen=True, slots=True)
class IdentityObservation:
    """Answers to one name that said the same of who served them, within one hour; "" where they said nothing."""

    origin: str
    """scheme and host of the server asked; "" in ledgers that did not keep it"""
    asked: str
    model: str
    fingerprint: str
    service_tier: str
    region: str
    backend: str
    first_at: float
    last_at: float
    calls: int


@dataclass(frozen=True, slots=True)
class IdentityFact:
    """One fact about who answered to a name; times are seconds since the Unix epoch.

    - `resolved`: `value` is the name asked for, or a dated form of it.
    - `rewritten`: `value` is another name: a deployment's or a router's model, or one that was put in its place.
    - `changed`: from the values of `before` to those of `after`, at some time between `since` and `until`.
    - `mixture`: the values of `shares` answered side by side from `since` until `until`.
    - `not_reported`: `answers` answers said nothing.
    """

    kind: Kind
    origin: str
    asked: str
    attribute: str
    since: float
    until: float
    answers: int
    value: str = ""
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    shares: Mapping[str, float] = field(default_factory=dict)
    """value → its part of the answers, counted in whole hours"""
    ongoing: bool = False
    """it reached to the newest answer"""


LONGEST_NAME = 200
"""Characters of a name that are kept: a server may say anything."""


def who_of(origin: str, asked: str, identity: Identity) -> tuple[str, ...]:
    """Return who answered as a sighting names it, in the order of its fields."""
    said = (getattr(identity, name) or "" for name in ATTRIBUTES)
    return tuple(name[:LONGEST_NAME] for name in (origin, asked, *said))


def identity_facts(sightings: Iterable[IdentityObservation]) -> tuple[IdentityFact, ...]:
    """Return the facts by server and name asked for, each attribute apart, in order of time."""
    places: dict[tuple[str, str], list[IdentityObservation]] = {}
    for seen in sightings:
        places.setdefault((seen.origin, seen.asked), []).append(seen)
    return tuple(
        fact
        for place in sorted(places)
        for attribute in ATTRIBUTES
        for fact in _Attribute(*place, attribute, places[place]).facts()
    )


@dataclass(frozen=True, slots=True)
class _Run:
    """A time in which a value was among those that answered."""

    value: str
    first: float
    last: float
    calls: int


@dataclass(slots=True)
class _Segment:
    """A time in which the same values answered."""

    since: float
    until: float
    runs: frozenset[_Run]

    @property
    def values(self) -> frozenset[str]:
        return frozenset(run.value for run in self.runs)


class _Attribute:
    """One attribute of the answers to one name."""

    def __init__(self, origin: str, asked: str, name: str, rows: Sequence[IdentityObservation]) -> None:
        self.origin = origin
        self.asked = asked
        self.name = name
        self.spans: dict[str, list[IdentityObservation]] = {}
        for row in sorted(rows, key=lambda row: (row.first_at, row.last_at)):
            self.spans.setdefault(getattr(row, name), []).append(row)
        self.silent = self.spans.pop("", [])
        told = [row for spans in self.spans.values() for row in spans]
        self.oldest = min((row.first_at for row in told), default=0.0)
        self.newest = max((row.last_at for row in told), default=0.0)
        by_middle = sorted((0.5 * (row.first_at + row.last_at), row.calls) for row in told)
        self._middles = [middle for middle, _ in by_middle]
        self._sums = [0, *accumulate(calls for _, calls in by_middle)]

    def facts(self) -> list[IdentityFact]:
        segments = _segments(self._runs())
        timed = sorted((*self._mixtures(segments), *self._changes(segments)), key=lambda fact: fact.since)
        return [*(self._names() if self.name == "model" else ()), *timed, *self._silence()]

    def _fact(self, kind: Kind, since: float, until: float, answers: int, **more: object) -> IdentityFact:
        place = (self.origin, self.asked, self.name)
        return IdentityFact(kind, *place, since, until, answers, ongoing=until >= self.newest, **more)  # type: ignore[arg-type]

    def _names(self) -> list[IdentityFact]:
        found = []
        for value, spans in self.spans.items():
            kind: Kind = "resolved" if is_form_of(self.asked, value) else "rewritten"
            last, calls = max(row.last_at for row in spans), sum(row.calls for row in spans)
            found.append(self._fact(kind, spans[0].first_at, last, calls, value=value))
        return found

    def _silence(self) -> list[IdentityFact]:
        if not self.silent:
            return []
        last, calls = max(row.last_at for row in self.silent), sum(row.calls for row in self.silent)
        return [self._fact("not_reported", self.silent[0].first_at, last, calls)]

    def _answers_within(self, low: float, high: float) -> int:
        """Return how many answers lie between two moments, each hour's by its middle."""
        return self._sums[bisect_right(self._middles, high)] - self._sums[bisect_left(self._middles, low)]

    def _runs(self) -> list[_Run]:
        """Return when each value was among those that answered."""
        apart = {value: self._apart(value) for value in self.spans}
        runs = [run for found, _ in apart.values() for run in found]
        begins, ends = sorted({run.first for run in runs}), sorted({run.last for run in runs})
        for found, gaps in apart.values():
            # In a mixture somebody answers first, and somebody last: a value begins and ends with others where it may.
            found[0] = replace(found[0], first=self._begin(found[0], begins, gaps))
            found[-1] = replace(found[-1], last=self._end(found[-1], ends, gaps))
        return [run for found, _ in apart.values() for run in found]

    def _apart(self, value: str) -> tuple[list[_Run], list[int]]:
        """Return a value's runs, and how many others answered each time it was away."""
        spans = _merged(value, self.spans[value])
        gaps = [self._answers_within(one.last, other.first) for one, other in pairwise(spans)]
        calls = [0, *accumulate(run.calls for run in spans)]
        # By its share until then: a rollout's grows, and what is most of the answers later on leaves gaps early.
        away = [
            _was_away(calls[number], self._answers_within(spans[0].first, spans[number].first), gap)
            and _is_rare(gap, gaps)
            for number, gap in enumerate(gaps, start=1)
        ]
        cuts = [0, *(number for number, gone in enumerate(away, start=1) if gone), len(spans)]
        runs = [
            _Run(value, spans[low].first, spans[high - 1].last, sum(run.calls for run in spans[low:high]))
            for low, high in pairwise(cuts)
        ]
        return runs, gaps

    def _begin(self, run: _Run, begins: Sequence[float], gaps: Sequence[int]) -> float:
        def may_have(begin: float) -> bool:
            late = self._answers_within(begin, run.first)
            return not (
                _was_away(run.calls, self._answers_within(begin, run.last), late) and _is_rare(late, gaps)
            )

        return begins[bisect_left(begins, True, hi=bisect_left(begins, run.first), key=may_have)]

    def _end(self, run: _Run, ends: Sequence[float], gaps: Sequence[int]) -> float:
        def may_not_have(end: float) -> bool:
            early = self._answers_within(run.last, end)
            return _was_away(run.calls, self._answers_within(run.first, end), early) and _is_rare(early, gaps)

        return ends[bisect_left(ends, True, lo=bisect_right(ends, run.last), key=may_not_have) - 1]

    def _mixtures(self, segments: Sequence[_Segment]) -> list[IdentityFact]:
        windows: list[_Segment] = []
        for segment in segments:
            if len(segment.values) < 2:
                continue
            if windows and windows[-1].until == segment.since:
                windows[-1] = _Segment(windows[-1].since, segment.until, windows[-1].runs | segment.runs)
            else:
                windows.append(segment)
        joined: list[_Segment] = []
        for window in windows:
            if _is_handover(window):
                continue
            if joined and self._is_one(joined[-1], window):
                joined[-1] = _Segment(joined[-1].since, window.until, joined[-1].runs | window.runs)
            else:
                joined.append(window)
        return [self._mixture(window) for window in joined]

    def _is_one(self, one: _Segment, other: _Segment) -> bool:
        """Whether two mixtures of the same values are one: a rollout begins and ends with a few answers far apart."""
        longer = max(self._answers_within(each.since, each.until) for each in (one, other))
        return one.values == other.values and self._answers_within(one.until, other.since) <= longer

    def _mixture(self, window: _Segment) -> IdentityFact:
        answers = {
            value: sum(
                row.calls
                for row in self.spans[value]
                if row.last_at >= window.since and row.first_at <= window.until
            )
            for value in window.values
        }
        total = sum(answers.values())
        ordered = sorted(answers, key=lambda value: (-answers[value], value))
        shares = {value: answers[value] / total for value in ordered}
        return self._fact("mixture", window.since, window.until, total, shares=shares)

    def _changes(self, segments: Sequence[_Segment]) -> list[IdentityFact]:
        """Return each time at which none of those that answered before answered any more."""
        begins = [0] if segments else []
        for number, segment in enumerate(segments):
            if not segments[begins[-1]].values & segment.values:
                begins.append(number)
        periods = [
            frozenset().union(*(segment.values for segment in segments[low:high]))
            for low, high in pairwise([*begins, len(segments)])
        ]
        found = []
        for number, (low, high) in enumerate(pairwise(begins), start=1):
            old, new = segments[low], segments[high]
            later = periods[number + 1] if number + 1 < len(periods) else frozenset()
            # Not only the first to answer in its time, but no one either who came there to follow or to stay.
            before = old.values | (periods[number - 1] - periods[number])
            after = new.values | (periods[number] - periods[number - 1] - later)
            gone = max(run.last for run in old.runs if run.last <= new.since)
            since, until = sorted((gone, min(run.first for run in new.runs)))
            answers = sum(run.calls for run in new.runs)
            told = {"before": tuple(sorted(before)), "after": tuple(sorted(after))}
            found.append(self._fact("changed", since, until, answers, **told))
        return found


def _was_away(calls: int, answers: int, others: int) -> bool:
    """Whether `calls` of `answers` would by chance leave a stretch of `others` out less often than once in a million."""
    if others < SHORTEST:
        return False
    left = answers - others
    if left < calls:  # hours are counted by their middle, so that the stretch may seem to hold a few too many
        left = calls
        answers = calls + others
    return _log_choose(answers, calls) - _log_choose(left, calls) > SURE


def _is_rare(gap: int, gaps: Sequence[int]) -> bool:
    """Whether a value was seldom away for so long: one that comes and goes, for minutes or days, is in rotation."""
    as_long = (1 for other in gaps if COMPARABLE * other >= gap)
    return sum(islice(as_long, RETURNS + 1)) <= RETURNS


def _merged(value: str, rows: Sequence[IdentityObservation]) -> list[_Run]:
    """Return the times of one value's rows, those that overlap put together."""
    found: list[_Run] = []
    first, last, calls = rows[0].first_at, rows[0].last_at, 0
    for row in rows:
        if row.first_at > last:
            found.append(_Run(value, first, last, calls))
            first, last, calls = row.first_at, row.last_at, 0
        last, calls = max(last, row.last_at), calls + row.calls
    return [*found, _Run(value, first, last, calls)]


def _log_choose(of: int, some: int) -> float:
    return lgamma(of + 1) - lgamma(some + 1) - lgamma(of - some + 1)


def _segments(runs: Sequence[_Run]) -> list[_Segment]:
    """Cut time where a run begins or ends; moments at which nothing else happens are segments without length."""
    moments = sorted({moment for run in runs for moment in (run.first, run.last)})
    cuts = [(low, high) for low, high in pairwise(moments)]
    points = [(moment, moment) for moment in moments]
    found: list[_Segment] = []
    for low, high in sorted([*cuts, *points]):
        active = frozenset(run for run in runs if run.first <= low and run.last >= high)
        if not active:
            continue
        if found and found[-1].runs == active and found[-1].until == low:
            found[-1].until = high
        else:
            found.append(_Segment(low, high, active))
    return found


def _is_handover(window: _Segment) -> bool:
    """Whether one value took over from another at once, a few calls being on their way at that moment."""
    if len(window.runs) != 2:
        return False
    old, new = sorted(window.runs, key=lambda run: (run.first, run.last))
    if new.last <= old.last:
        return False  # it came and went while the other one answered
    seconds = window.until - window.since
    both = [run.calls * seconds / (run.last - run.first or 1.0) for run in (old, new)]
    part = max(answers / run.calls for answers, run in zip(both, (old, new), strict=True))
    return max(both) < FEW and part < SMALL_PART


_DATED = re.compile(
    r"[-@:._](latest|preview|default|\d{3,8}|\d{2,4}-\d{2}(-\d{2,4})?|v\d+(\.\d+)*(:\d+)?|(preview|exp)-\d.*)"
)


def is_form_of(asked: str, served: str) -> bool:
    """Whether `served` is the name asked for, or a dated, numbered or tagged form of it: `gpt-4` → `gpt-4-0613`.

    `gpt-4` → `gpt-4o` is not: that is another model. Prefixes of a publisher or a folder are left out.

    >>> is_form_of("claude-3-5-sonnet-latest", "claude-3-5-sonnet-20241022"), is_form_of("gpt-4", "gpt-4-turbo")
    (True, False)
    """
    short, full = _bare(asked), _bare(served)
    short = short.removesuffix("-latest").removesuffix(":latest")
    return short == full or (full.startswith(short) and _DATED.fullmatch(full[len(short) :]) is not None)


def _bare(name: str) -> str:
    return name.lower().rpartition("/")[2]
