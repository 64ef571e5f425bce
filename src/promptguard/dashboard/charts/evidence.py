"""Evidence over time: the curve, the alarm line, when the change began, and what happened meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from promptguard.dashboard.charts.clock import time_ticks
from promptguard.dashboard.charts.svg import (
    LETTER,
    NARROW,
    box,
    drawn,
    line,
    path,
    power,
    svg,
    text,
    ticks,
)
from promptguard.report.model import Moment, Point, StreamReport

HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 260, 44, 16, 40, 40
_MOST_POINTS = 400
_MOST_MARKS = 12
_Scale = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened: a letter on the chart, and its words beneath it."""

    at: float
    kind: str
    """`release`, `identity`, `action` or `acknowledge`: each has a shape of its own"""
    words: str


@dataclass(frozen=True, slots=True)
class _Frame:
    """A chart's scales. `over_time` says whether x is a time or a pair number."""

    width: int
    over_time: bool
    first: float
    last: float
    levels: list[float]

    def x(self, value: float) -> float:
        span = self.last - self.first or 1.0
        inner = self.width - LEFT - RIGHT
        return LEFT + min(1.0, max(0.0, (value - self.first) / span)) * inner

    def y(self, level: float) -> float:
        span = self.levels[-1] - self.levels[0]
        return HEIGHT - BOTTOM - (level - self.levels[0]) / span * (HEIGHT - TOP - BOTTOM)

    def place(self, moment: Moment | Point) -> float:
        if self.over_time and moment.at is not None:
            return moment.at
        return float(moment.pair)


def evidence_chart(
    stream: StreamReport, width: int, marks: Sequence[Mark] = (), true_switch: int | None = None
) -> Markup:
    """Return log10 evidence against clock time, or the pair number where older curves have no times."""
    points = stream.curve
    frame = _frame(stream, width)
    parts = [*_axes(frame), *_band(stream, frame)]
    threshold = stream.verdict.log10_threshold
    parts.append(line(LEFT, frame.y(threshold), width - RIGHT, frame.y(threshold), "threshold"))
    label = f"alarm line {power(round(threshold, 1))}"
    parts.append(text(LEFT + 6, frame.y(threshold) - 6, label, "start", "tick threshold-label"))
    places = [(frame.x(frame.place(point)), frame.y(point.log10_evidence)) for point in _thinned(points)]
    floor = frame.y(max(frame.levels[0], min(0.0, frame.levels[-1])))
    area = [(places[0][0], floor), *places, (places[-1][0], floor)]
    parts += [path(area, "area", close="Z"), path(places, "curve")]
    parts += _alarm(stream, frame)
    parts += _marks(marks, frame)
    switched = next((p for p in points if true_switch is not None and p.call >= true_switch), None)
    if switched is not None:
        at = frame.x(frame.place(switched))
        parts.append(line(at, TOP, at, HEIGHT - BOTTOM, "switch"))
    now = f"{power(round(points[-1].log10_evidence, 1))} after {points[-1].pair:,} pairs"
    return svg(width, HEIGHT, f"Evidence of the {stream.stream} pairs: {now}; {label}", parts)


def numbered(marks: Sequence[Mark]) -> list[tuple[str, Mark]]:
    """Return the marks that a chart shows, the newest of too many, each with the letter it has there."""
    kept = sorted(marks, key=lambda mark: mark.at)[-_MOST_MARKS:]
    return [(chr(ord("a") + place), mark) for place, mark in enumerate(kept)]


def _frame(stream: StreamReport, width: int) -> _Frame:
    points = stream.curve
    times = [point.at for point in points if point.at is not None]
    over_time = len(times) == len(points) and times[-1] > times[0]
    first, last = (times[0], times[-1]) if over_time else (float(points[0].pair), float(points[-1].pair))
    levels = [point.log10_evidence for point in points]
    threshold = stream.verdict.log10_threshold
    return _Frame(width, over_time, first, last, ticks(min(0.0, *levels), max(1.12 * threshold, *levels), 5))


def _axes(frame: _Frame) -> list[Markup]:
    width = frame.width
    parts = []
    for level in frame.levels:
        parts.append(line(LEFT, frame.y(level), width - RIGHT, frame.y(level), "grid"))
        parts.append(text(LEFT - 7, frame.y(level) + 4, power(level), "end"))
    most = 8 if width > NARROW else 3
    if frame.over_time:
        along = time_ticks(frame.first, frame.last, most)
    else:
        along = [(tick, f"{tick:,.0f}") for tick in ticks(frame.first, frame.last, most)]
    reached = -1e9
    for value, words in along:
        if not frame.first <= value <= frame.last:
            continue
        at, half = frame.x(value), LETTER * len(words) / 2
        parts.append(line(at, HEIGHT - BOTTOM, at, HEIGHT - BOTTOM + 4, "grid"))
        if at - half > reached + 8 and at + half < width:
            parts.append(text(at, HEIGHT - BOTTOM + 18, words, "middle"))
            reached = at + half
    name = "time (UTC)" if frame.over_time else "pair number"
    parts.append(text(width - RIGHT, HEIGHT - 4, name, "end"))
    parts.append(text(0, 12, "evidence against “nothing changed”"))
    return parts


def _band(stream: StreamReport, frame: _Frame) -> list[Markup]:
    """Return the onset with its 90 % band, behind the curve."""
    if stream.onset is None:
        return []
    low = frame.x(frame.place(stream.onset_low or stream.onset))
    high = frame.x(frame.place(stream.onset_high or stream.onset))
    at = frame.x(frame.place(stream.onset))
    parts = [
        box(low - 1, TOP, high - low + 2, HEIGHT - TOP - BOTTOM, "onset-span"),
        line(at, TOP, at, HEIGHT - BOTTOM, "onset"),
    ]
    near_end = at > frame.width * 0.6
    words = "change began"
    parts.append(text(at + (-5 if near_end else 5), TOP - 6, words, "end" if near_end else "start", "label"))
    return parts


def _alarm(stream: StreamReport, frame: _Frame) -> list[Markup]:
    if stream.alarm is None:
        return []
    alarm_at = stream.alarm
    level = next((p.log10_evidence for p in stream.curve if p.pair >= alarm_at.pair), None)
    if level is None:
        return []
    x, y = frame.x(frame.place(alarm_at)), frame.y(max(level, stream.verdict.log10_threshold))
    near_end = x > frame.width * 0.7
    return [
        drawn('<path class="alarm" d="M{:.1f} {:.1f}l6 11h-12z"/>', x, y - 7),
        text(x + (-10 if near_end else 10), y + 16, "alarm", "end" if near_end else "start", "label"),
    ]


_SHAPES: dict[str, str] = {
    "release": '<path class="mark" d="M{:.1f} {:.1f}m-5 -5h10v10h-10z"/>',
    "identity": '<path class="mark" d="M{:.1f} {:.1f}m0 -6l6 6l-6 6l-6 -6z"/>',
    "action": '<path class="mark" d="M{:.1f} {:.1f}m-5 -6l11 6l-11 6z"/>',
    "acknowledge": '<path class="mark" d="M{:.1f} {:.1f}m-5.5 0a5.5 5.5 0 1 0 11 0a5.5 5.5 0 1 0 -11 0z"/>',
}


def _marks(marks: Sequence[Mark], frame: _Frame) -> list[Markup]:
    if not frame.over_time:
        return []
    parts = []
    by_place: dict[int, list[tuple[str, Mark]]] = {}
    for letter, mark in numbered(marks):
        if frame.first <= mark.at <= frame.last:
            by_place.setdefault(round(frame.x(mark.at) / 9), []).append((letter, mark))
    for some in by_place.values():
        at = frame.x(some[0][1].at)
        letters = "".join(letter for letter, _ in some)
        parts += [
            line(at, TOP, at, HEIGHT - BOTTOM, "mark-line"),
            drawn(_SHAPES.get(some[0][1].kind, _SHAPES["action"]), at, HEIGHT - BOTTOM),
            text(at + 4, TOP + 11, letters, "start", "label"),
        ]
    return parts


def _thinned(points: Sequence[Point]) -> list[Point]:
    step = max(1, len(points) // _MOST_POINTS)
    return [point for place, point in enumerate(points) if place % step == 0 or place == len(points) - 1]
