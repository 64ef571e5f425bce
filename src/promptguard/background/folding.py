"""The fold itself: rows of the ledger in, monitors and what readers need of them out. No ledger, no clock, no threads.

A row changes one stream's monitor and marks one group as changed. What is told of a group is explained anew when it is
written out (`told`), a few groups at a time: a verdict's status and evidence cost microseconds, its explanation
milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from promptguard.core.options import Drift
from promptguard.core.streams import SELF_TESTS
from promptguard.drift import PairMonitor, PairVector, epoch_alpha
from promptguard.verdict import Mode, Verdict
from promptguard.verdict.ages import DAY, Ages

WHOLE = ""
"""In place of a group's name: all pairs of the stream."""
MOST_POINTS = 1024
"""Points of the evidence curve of all pairs; beyond it every second one is dropped, again and again."""
GROUP_POINTS = 128
"""The same for the curve of one group: there may be hundreds of them."""
EXPLAIN_AGAIN = 1.02
"""A change that stands is explained anew when there are so many times the pairs it was last explained with."""

LEADER_PAIRS = 100
"""How long all pairs together wait for a group that holds nearly all of the evidence and is about to ring by itself."""

MOST_REASONS = 16
"""Reasons for missing pairs that are told apart at a time; further ones are counted together."""

_RE_ASKED = frozenset(("replay", "placebo"))
_LOST = frozenset(("control_error", "candidate_error"))

Place = tuple[int, float, int | None]
"""(call, seconds since the Unix epoch, the call whose stored answer a replay compares with)"""


class Row(Protocol):
    """A row of the ledger's `pair` table, as far as the fold reads it."""

    id: int
    stream: str
    epoch: int
    group: str
    at: float
    call: int
    banked_call: int | None
    banked_at: float | None
    outcome: str
    reason: str
    asked: str
    control_model: str
    candidate_model: str
    vector: bytes


@dataclass(slots=True)
class Seen:
    """Where the first, the last and the alarming pair of a group lie, and who was asked for its two sides."""

    control: str
    candidate: str
    first: Place
    last: Place
    alarm: Place | None = None
    mark: tuple[int, int] | None = None
    """(pairs counted, row) when the alarm was noted: rows near it are found from there, however long ago that was"""


@dataclass(slots=True)
class Curve:
    """Evidence over pairs and time, thinned as it grows: after every pair at first, then after every so manieth."""

    most: int
    pairs: int = 0
    stride: int = 1
    points: list[tuple[int, int, float, float | None]] = field(default_factory=list)
    """(pairs, call, log10 of the evidence, seconds since the Unix epoch); the last is None in older snapshots"""

    def counts(self) -> bool:
        """Count a pair; returns whether its point is due."""
        self.pairs += 1
        return not self.pairs % self.stride

    def draw(self, row: Row, log10_evidence: float) -> None:
        """Add the point of the pair that was counted last."""
        self.points.append((self.pairs, row.call, round(log10_evidence, 4), row.at))
        if len(self.points) > self.most:
            self.stride *= 2
            self.points = [point for point in self.points if not point[0] % self.stride]


@dataclass(slots=True)
class Missing:
    """What became of pairs since the last one that was compared: (outcome: reason) → how many, and when last."""

    counts: dict[str, int] = field(default_factory=dict)
    at: float = 0.0

    def count(self, row: Row) -> None:
        """Count a pair that was not compared."""
        said = f"{row.outcome}: {row.reason}"
        if said not in self.counts and len(self.counts) >= MOST_REASONS:
            said = f"{row.outcome}: (other)"
        self.counts[said] = self.counts.get(said, 0) + 1
        self.at = max(self.at, row.at)


@dataclass(slots=True)
class StreamFold:
    """One stream's epoch: its monitor, what changed since it was written out, and since it was saved."""

    monitor: PairMonitor
    seen: dict[str, Seen] = field(default_factory=dict)
    changed: dict[str, None] = field(default_factory=dict)
    unsaved: set[str] = field(default_factory=set)
    curves: dict[str, Curve] = field(default_factory=dict)
    explained: dict[str, Verdict] = field(default_factory=dict)
    onsets: dict[str, dict[str, object]] = field(default_factory=dict)
    """where the onset of each group's change lies, as looked up when it was explained"""
    examples: list[list[int]] | None = None
    """the same of the example pairs"""
    ages: dict[str, Ages] = field(default_factory=dict)
    missing: dict[str, Missing] = field(default_factory=dict)
    has_rung: bool = False
    """some alarm of this epoch was told since the process began"""

    def take(self, row: Row) -> str | None:
        """Take in one row; returns whose alarm rings with it, None for nobody's: the row's group, or WHOLE.

        All pairs together ring where no group has alarmed by itself: a change that every prompt shows a little of.

        Raises ValueError for a vector that cannot be read, which changes nothing.
        """
        if row.outcome != "compared":
            self._lose(row)
            return None
        # Pairs of a replay compare two days; both sides of any other pair are of one moment.
        day = None if row.banked_at is None else int(row.at // DAY)
        alarmed = self.monitor.fold(PairVector.from_bytes(row.vector), row.group, day)
        self._mark(row.group)
        place = (row.call, row.at, row.banked_call)
        # Of replays from before that was noted it is not known what they could have shown: nothing, to be safe.
        re_asks = row.stream in _RE_ASKED
        for name in (WHOLE, row.group):
            known = self.seen.get(name)
            if known is None:
                self.seen[name] = Seen(row.control_model, row.candidate_model, place, place)
            else:
                known.last = place
            self.missing.pop(name, None)
            self.age(name).add(row.at, row.banked_at if row.banked_at is not None or not re_asks else row.at)
        self._draw(row)
        return self._rings(row.group, place, row.id) if alarmed else None

    def _lose(self, row: Row) -> None:
        """Take in a pair that was not compared: a lost answer is judged, anything else is only told."""
        if row.outcome in _LOST:
            self.monitor.skip(row.outcome, row.group)
            self._mark(row.group)
        self.changed[WHOLE] = None
        self.unsaved.add(WHOLE)
        names = (WHOLE, row.group) if row.group in self.seen or row.outcome in _LOST else (WHOLE,)
        for name in names:
            self.missing.setdefault(name, Missing()).count(row)
            self.changed[name] = None

    def age(self, name: str) -> Ages:
        """Return how old the pairs of a group are, or those of all groups."""
        known = self.ages.get(name)
        if known is None:
            known = self.ages[name] = Ages()
        return known

    def _mark(self, group: str) -> None:
        for name in (WHOLE, group):
            self.changed[name] = None
            self.unsaved.add(name)

    def _rings(self, group: str, place: Place, row: int) -> str | None:
        whole, own = self.seen[WHOLE], self.seen[group]
        if whole.alarm is None:
            whole.alarm, whole.mark = place, (self.monitor.pairs, row)
        if own.alarm is None and self.monitor.has_alarmed(group):
            brief = self.monitor.brief(group)
            if brief.status == "drift":  # else too many answers were lost to tell
                own.alarm, own.mark = place, (brief.pairs, row)
                self.has_rung = True
                return group
        if self.has_rung or not self._rings_together():
            return None
        self.has_rung = True
        alone = any(seen.alarm is not None for name, seen in self.seen.items() if name != WHOLE)
        return None if alone else WHOLE

    def _rings_together(self) -> bool:
        """Whether all pairs together stand at an alarm that is no single group's."""
        whole = self.seen[WHOLE].mark
        waited = self.monitor.pairs - (whole[0] if whole else 0)
        return self.monitor.brief().status == "drift" and (
            waited >= LEADER_PAIRS or not self.monitor.has_leader()
        )

    def model_with_most_evidence(self, otherwise: str) -> str:
        """Return the model asked whose groups have the most evidence of their own: prompts may ask several models."""
        found: dict[str, float] = {}
        for name in self.monitor.groups:
            seen = self.seen.get(name)
            if seen is not None and seen.control:
                evidence = max(0.0, self.monitor.log10_evidence(name))
                found[seen.control] = found.get(seen.control, 0.0) + evidence
        return max(found, key=lambda model: found[model]) if len(found) > 1 else otherwise

    def _draw(self, row: Row) -> None:
        """Add a point to the evidence curves of all pairs and of the row's group."""
        whole, own = self.curve(WHOLE), self.curve(row.group)
        if whole.counts():
            whole.draw(row, self.monitor.log10_evidence())
        if own.counts():
            own.draw(row, self.monitor.log10_evidence(row.group))

    def curve(self, name: str) -> Curve:
        """Return the evidence curve of a group, or of all pairs."""
        known = self.curves.get(name)
        if known is None:
            known = self.curves[name] = Curve(MOST_POINTS if name == WHOLE else GROUP_POINTS)
        return known

    def told(self, name: str, *, fully: bool, effect_from: int | None) -> tuple[Verdict, bool]:
        """Return the verdict of a group, or of all pairs, and whether it was explained anew.

        Unless `fully`, a change that stands is not explained again for every pair: its figures of the moment are put
        into what was explained last.
        """
        brief = self.monitor.brief(None if name == WHOLE else name)
        before = self.explained.get(name)
        if before is not None and not fully and _holds(before, brief):
            return replace(
                before,
                pairs=brief.pairs,
                skipped=brief.skipped,
                log10_evidence=brief.log10_evidence,
                log10_threshold=brief.log10_threshold,
            ), False
        monitor = self.monitor
        told = monitor.explain_whole(effect_from) if name == WHOLE else monitor.explain_group(name)
        self.explained[name] = told
        return told, True


def _holds(before: Verdict, now: Verdict) -> bool:
    """Whether what was explained last may stand for a while: same status, hardly more pairs."""
    same = (before.status, before.reason, before.alarm_at) == (now.status, now.reason, now.alarm_at)
    return same and now.pairs <= before.pairs * EXPLAIN_AGAIN


class Fold:
    """Monitors of all streams and epochs, and the last row they have seen."""

    def __init__(self, drift: Drift) -> None:
        self.drift = drift
        self.last_id = 0
        self.streams: dict[tuple[str, int], StreamFold] = {}

    def take(self, row: Row) -> str | None:
        """Take in one row; as `StreamFold.take`. It is counted as seen whatever becomes of it."""
        self.last_id = row.id
        return self.stream(row.stream, row.epoch).take(row)

    def stream(self, stream: str, epoch: int) -> StreamFold:
        """Return the fold of one stream's epoch."""
        place = (stream, epoch)
        if place not in self.streams:
            self.streams[place] = StreamFold(self.monitor(stream, epoch))
            earlier = max(
                (known for name, known in self.streams if name == stream and known < epoch), default=None
            )
            if earlier is not None:  # numbers may be passed over
                self.streams[place].monitor.follow(self.streams[stream, earlier].monitor)
        return self.streams[place]

    def monitor(self, stream: str, epoch: int) -> PairMonitor:
        """Return a new monitor with the settings of a stream's epoch."""
        # A self-test only gates, and is judged once over everything it has seen.
        drift = self.drift
        mode: Mode = "gate" if stream in SELF_TESTS else drift.mode
        alpha = drift.alpha_of(stream)
        return PairMonitor(
            alpha=epoch_alpha(alpha, epoch) if drift.lifetime else alpha,
            mode=mode,
            horizon=drift.horizon if mode == "monitor" else None,
            stream=stream,
            tolerance=None if stream in SELF_TESTS else drift.tolerance,
            cause_error=drift.cause_error,
        )

    @property
    def changed(self) -> bool:
        """Whether something was taken in that is not written out yet."""
        return any(stream.changed for stream in self.streams.values())

    @property
    def unsaved(self) -> int:
        """How many groups have changed since the last snapshot."""
        return sum(len(stream.unsaved) for stream in self.streams.values())

    def failed_tests(self, epochs: Mapping[str, int]) -> set[str]:
        """Return the self-tests that have alarmed in the epoch that holds for each."""
        found = set()
        for test in SELF_TESTS:
            known = self.streams.get((test, epochs[test]))
            if known is not None and known.monitor.brief().status == "drift":
                found.add(test)
        return found

    def each_changed(self) -> Iterator[tuple[str, int, StreamFold]]:
        """Yield (stream, epoch, fold) of what changed, in a fixed order."""
        for (stream, epoch), known in sorted(self.streams.items()):
            if known.changed:
                yield stream, epoch, known
