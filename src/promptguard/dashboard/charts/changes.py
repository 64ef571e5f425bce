"""What changed: both sides of every change as dots with 95 % intervals, each on an axis of its own, in its own units."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from promptguard.dashboard.charts.svg import LETTER, NARROW, circle, diamond, line, svg, text
from promptguard.verdict import Change
from promptguard.verdict.scales import Shown, Side, shown

_ROW, _TOP = 66, 26


def changes_chart(changes: Sequence[Change], names: tuple[str, str], width: int) -> Markup:
    """Return the chart; changes without natural units are left to the table."""
    rows = [(change, on) for change in changes if (on := shown(change)) is not None]
    if not rows:
        return Markup("")
    most = 44 if width > NARROW else 17
    first, second = (_cut(name, most) for name in names)
    parts = [circle(8, 10, 5, "control"), text(18, 14, first)]
    beside = 18 + LETTER * len(first) + 26
    parts += [diamond(beside, 10, "candidate"), text(beside + 11, 14, second)]
    for number, (change, on) in enumerate(rows):
        parts += _row(change, on, _TOP + _ROW * number, width)
    return svg(
        width,
        _TOP + _ROW * len(rows),
        f"What changed, from {names[0]} to {names[1]}; figures in the table",
        parts,
    )


def _row(change: Change, on: Shown, top: float, width: int) -> list[Markup]:
    left, right = 8.0, width - 12.0

    def x(value: float) -> float:
        return left + (value - on.low) / (on.high - on.low) * (right - left)

    base = top + 48
    parts = [text(0, top + 16, change.phrase, "start", "label"), line(left, base, right, base, "axis")]
    for end, anchor in ((on.low, "start"), (on.high, "end")):
        parts.append(line(x(end), base - 3, x(end), base + 3, "axis"))
        parts.append(text(x(end) + (-8 if anchor == "start" else 8), base + 15, on.text(end), anchor))
    parts += _side(on.first, x, base - 9, "control")
    parts += _side(on.second, x, base - 20, "candidate")
    return parts


def _side(side: Side, x: object, y: float, kind: str) -> list[Markup]:
    assert callable(x)  # noqa: S101 - the scale above
    at = x(side.value)
    parts = []
    if side.low is not None and side.high is not None:
        parts.append(line(x(side.low), y, x(side.high), y, f"{kind}-bar"))
    parts.append(circle(at, y, 4.5, "control") if kind == "control" else diamond(at, y, "candidate", 5.5))
    return parts


def _cut(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
