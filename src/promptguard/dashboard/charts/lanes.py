"""Who answered when: a lane an identity, a bar a stretch of time."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from promptguard.dashboard.charts.clock import time_ticks
from promptguard.dashboard.charts.svg import LETTER, NARROW, box, line, svg, text
from promptguard.report.who import Lane

_ROW = 40


def lanes_chart(lanes: Sequence[Lane], ends: tuple[float, float], width: int) -> Markup:
    """Return the lanes of one model asked, over clock time between `ends` (Unix seconds)."""
    first, last = ends[0], max(ends[1], ends[0] + 1.0)
    bottom = _ROW * len(lanes) + 6

    def x(at: float) -> float:
        return 2 + (at - first) / (last - first) * (width - 8)

    parts = []
    reached = -1e9
    for at, words in time_ticks(first, last, 8 if width > NARROW else 3):
        parts.append(line(x(at), 0, x(at), bottom, "grid"))
        half = LETTER * len(words) / 2
        if x(at) - half > reached + 8 and x(at) + half < width and x(at) - half > 0:
            parts.append(text(x(at), bottom + 16, words, "middle"))
            reached = x(at) + half
    most = 110 if width > NARROW else 46
    for number, lane in enumerate(lanes):
        top = _ROW * number
        name = f"{lane.name} — {lane.answers:,} answers"
        parts.append(
            text(2, top + 15, name if len(name) <= most else f"{name[: most - 1]}…", "start", "label")
        )
        for begin, end, _ in lane.stretches:
            parts.append(box(x(begin), top + 21, max(3.0, x(end) - x(begin)), 10, "bar", 2))
    names = ", ".join(lane.name for lane in lanes[:5])
    return svg(width, bottom + 22, f"Who answered when: {names}", parts)
