"""Charts as inline SVG, drawn on the server: no script, and colours from the page's own style.

Every chart is drawn twice, wide and narrow, and the style shows one: a scaled chart would have
unreadable text on a telephone. Colour never carries meaning alone: sides differ in shape, lines in
dashes and labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup, escape

from promptguard.report.model import Point, StreamReport
from promptguard.verdict import Change

WIDE, NARROW = 860, 340
_MOST_POINTS = 600
_Scale = Callable[[float], float]


def both(draw: Callable[[int], Markup]) -> Markup:
    """Return a chart in both widths."""
    parts = (
        _drawn('<div class="{}">{}</div>', name, draw(width))
        for name, width in (("wide", WIDE), ("narrow", NARROW))
    )
    return Markup("").join(parts)


def evidence_curve(stream: StreamReport, width: int, true_switch: int | None = None) -> Markup:
    """Return log10 evidence against the pair number, with alarm line, alarm, onset and true switch."""
    points, height, left, right, top, bottom = stream.curve, 250, 40, 14, 30, 38
    threshold = stream.verdict.log10_threshold
    levels = [point.log10_evidence for point in points]
    y_ticks = _ticks(min(0.0, *levels), max(threshold * 1.1, *levels), 5)
    x_ticks = [
        tick
        for tick in _ticks(1, points[-1].pair, 6 if width > NARROW else 4)
        if 1 <= tick <= points[-1].pair
    ]
    span = max(1, points[-1].pair - 1)

    def x(pair: float) -> float:
        return left + (pair - 1) / span * (width - left - right)

    def y(level: float) -> float:
        return height - bottom - (level - y_ticks[0]) / (y_ticks[-1] - y_ticks[0]) * (height - top - bottom)

    parts = [
        _line(left, y(tick), width - right, y(tick), "grid")
        + _text(left - 6, y(tick) + 4, f"{tick:g}", "end")
        for tick in y_ticks
    ]
    parts += [_text(x(tick), height - bottom + 16, f"{tick:g}", "middle") for tick in x_ticks]
    parts += [
        _text(left, 14, "log10 evidence", "start"),
        _text((left + width - right) / 2, height - 4, "pair number", "middle"),
    ]
    parts.append(_line(left, y(threshold), width - right, y(threshold), "threshold"))
    parts.append(_text(left + 6, y(threshold) - 6, f"alarm line: evidence 10^{threshold:.1f}", "start"))
    parts.append(_path([(x(point.pair), y(point.log10_evidence)) for point in _thinned(points)]))
    parts += _marks(stream, true_switch, (x, y), (top, height - bottom))
    now = f"10^{levels[-1]:.1f} after {points[-1].pair} pairs"
    name = f"Evidence of the {stream.stream} pairs: {now}, alarm line at 10^{threshold:.1f}"
    return _svg(width, height, name, parts)


def _marks(
    stream: StreamReport,
    true_switch: int | None,
    scales: tuple[_Scale, _Scale],
    edges: tuple[float, float],
) -> list[Markup]:
    """Return the marks; most of their words are under the chart, where they cannot overlap."""
    (x, y), (top, bottom) = scales, edges
    parts: list[Markup] = []
    onset, alarm_at = stream.verdict.onset, stream.verdict.alarm_at
    if onset is not None:
        low, high = x(onset.low), x(onset.high)
        box = '<rect class="onset-span" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
        parts.append(_drawn(box, low - 1, top, high - low + 2, bottom - top))
        parts.append(_line(x(onset.pair), top, x(onset.pair), bottom, "onset"))
        parts.append(
            _text(
                x(onset.pair) - 4,
                top - 4,
                "onset ▾",
                "end" if x(onset.pair) > 200 else "start",
            )
        )
    level = next((p.log10_evidence for p in stream.curve if alarm_at and p.pair >= alarm_at), None)
    if alarm_at and level is not None:
        place = '<circle class="alarm" cx="{:.1f}" cy="{:.1f}" r="5"/>'
        parts.append(_drawn(place, x(alarm_at), y(level)))
        parts.append(_text(x(alarm_at) - 9, y(level) + 22, "alarm", "end"))
    switched = next((p.pair for p in stream.curve if true_switch is not None and p.call >= true_switch), None)
    if switched is not None:
        parts.append(_line(x(switched), top, x(switched), bottom, "switch"))
    return parts


def changes_chart(changes: Sequence[Change], names: tuple[str, str], width: int) -> Markup:
    """Return a row a change: both sides as dots with 95 % intervals, on the feature's own scale."""
    row, top, left = 46, 26, 8
    right, height = width - 8, 26 + 46 * len(changes) + 18

    def x(rate: float) -> float:
        return left + rate * (right - left)

    parts = [_line(x(tick), top, x(tick), height - 18, "grid") for tick in (0.0, 0.25, 0.5, 0.75, 1.0)]
    parts += [
        _text(x(tick), height - 4, f"{tick:g}", place)
        for tick, place in ((0.0, "start"), (0.5, "middle"), (1.0, "end"))
    ]
    parts.append(Markup('<circle class="control" cx="14" cy="10" r="5"/>') + _text(24, 14, names[0], "start"))
    second = 24 + 7.2 * len(names[0]) + 22
    parts.append(_diamond(second, 10) + _text(second + 10, 14, names[1], "start"))
    for number, change in enumerate(changes):
        base = top + row * number
        parts.append(_text(left, base + 15, change.phrase, "start", "label"))
        for offset, side, rate, (low, high) in (
            (26, "control", change.control, change.control_interval),
            (36, "candidate", change.candidate, change.candidate_interval),
        ):
            parts.append(_line(x(low), base + offset, x(high), base + offset, f"{side}-bar"))
            here = x(rate)
            dot = _drawn('<circle class="control" cx="{:.1f}" cy="{:.1f}" r="5"/>', here, base + offset)
            parts.append(dot if side == "control" else _diamond(here, base + offset))
    return _svg(width, height, f"What changed: {names[0]} against {names[1]}, figures in the table", parts)


def _svg(width: int, height: float, name: str, parts: Sequence[Markup]) -> Markup:
    head = '<svg viewBox="0 0 {} {:.0f}" width="{}" role="img" aria-label="{}">{}</svg>'
    return _drawn(head, width, height, width, name, Markup("").join(parts))


def _drawn(pattern: str, *values: object) -> Markup:
    """Fill in one element; what is filled in is escaped, the pattern is always written in this file."""
    return Markup(pattern).format(*values)


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    line = '<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>'
    return _drawn(line, kind, x1, y1, x2, y2)


def _text(x: float, y: float, text: str, anchor: str, kind: str = "tick") -> Markup:
    return _drawn(
        '<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>', kind, x, y, anchor, escape(text)
    )


def _diamond(x: float, y: float) -> Markup:
    place = '<path class="candidate" d="M{:.1f} {:.1f}l6 6l-6 6l-6 -6z"/>'
    return _drawn(place, x, y - 6)


def _path(places: Sequence[tuple[float, float]]) -> Markup:
    drawn = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    return _drawn('<path class="curve" d="M{}"/>', drawn)


def _thinned(points: Sequence[Point]) -> list[Point]:
    step = max(1, len(points) // _MOST_POINTS)
    return [point for place, point in enumerate(points) if place % step == 0 or place == len(points) - 1]


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Return round ticks from at most `low` to at least `high`."""
    raw = max(high - low, 1e-9) / most
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * times for times in (1, 2, 5, 10) if size * times >= raw)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(number * step, 9) for number in range(first, max(last, first + 1) + 1)]
