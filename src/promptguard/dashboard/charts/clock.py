"""An axis of clock time, UTC: round ticks, and how they are written."""

from __future__ import annotations

from datetime import UTC, datetime

_STEPS = (
    1, 5, 15, 30, 60, 300, 900, 1800, 3600, 2 * 3600, 6 * 3600, 12 * 3600, 86_400, 2 * 86_400, 7 * 86_400, 14 * 86_400,
    30 * 86_400, 90 * 86_400, 365 * 86_400,
)  # fmt: skip
"""Seconds between ticks."""
_DAY = 86_400


def time_ticks(first: float, last: float, most: int) -> list[tuple[float, str]]:
    """Return (moment, words) at round times between two moments (Unix seconds), at most about `most`."""
    span = max(last - first, 1.0)
    step = next((step for step in _STEPS if span / step <= most), _STEPS[-1])
    begin = -(-first // step) * step
    count = int((last - begin) // step) + 1
    found, day = [], ""
    for number in range(max(0, min(count, most + 2))):
        at = begin + number * step
        when = datetime.fromtimestamp(at, UTC)
        date = when.strftime("%-d %b")
        if step >= _DAY:
            found.append((at, date))
            continue
        clock = when.strftime("%H:%M:%S" if step < 60 else "%H:%M")
        found.append((at, clock if date == day else f"{date}, {clock}"))
        day = date
    return found
