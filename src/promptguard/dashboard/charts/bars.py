"""Bars: what days cost, and how many calls came how far."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from promptguard.dashboard.charts.svg import LETTER, NARROW, box, line, svg, text, ticks
from promptguard.report.model import Day
from promptguard.report.unmeasured import Stage

_HEIGHT, _LEFT, _TOP, _BOTTOM = 212, 56, 30, 24


def days_chart(days: Sequence[Day], forecast: float | None, width: int) -> Markup:
    """Return USD a day; of today what is spent, with the forecast of its end as an outline."""
    shown = days[-30:] if width > NARROW else days[-14:]
    highest = max(*(day.usd for day in shown), forecast or 0.0, 0.01)
    levels = ticks(0.0, highest, 3)
    inner = _HEIGHT - _TOP - _BOTTOM

    def y(usd: float) -> float:
        return _TOP + inner - usd / levels[-1] * inner

    parts = [text(0, 10, "USD a day (UTC)")]
    for level in levels:
        parts.append(line(_LEFT, y(level), width, y(level), "grid"))
        parts.append(text(_LEFT - 7, y(level) + 4, _money(level, levels[-1]), "end"))
    step = (width - _LEFT) / len(shown)
    wide = min(step * 0.72, 34.0)
    if forecast is not None:
        at = _LEFT + step * (len(shown) - 1) + (step - wide) / 2
        parts.append(box(at, y(forecast), wide, y(0) - y(forecast), "bar-forecast", 2))
    for number, day in enumerate(shown):
        at = _LEFT + step * number + (step - wide) / 2
        parts.append(box(at, y(day.usd), wide, y(0) - y(day.usd), "bar", 2))
    every = max(1, round(LETTER * 9 / step))
    for number in range(len(shown) - 1, -1, -every):
        middle = _LEFT + step * (number + 0.5)
        parts.append(text(min(middle, width - LETTER * 2.5), _HEIGHT - 6, shown[number].day[5:], "middle"))
    total = sum(day.usd for day in shown)
    return svg(width, _HEIGHT, f"Cost of background calls: ${total:,.2f} in {len(shown)} days", parts)


def _money(usd: float, most: float) -> str:
    return f"${usd:,.0f}" if most >= 10 else f"${usd:,.2f}" if most >= 0.1 else f"${usd:.3f}"


def funnel(stages: Sequence[Stage], width: int) -> Markup:
    """Return one bar a stage, each as long as the share of the first that came so far."""
    first = max(1, stages[0].count) if stages else 1
    parts, row = [], 52
    for number, stage in enumerate(stages):
        top = row * number
        share = min(1.0, stage.count / first)
        words = f"{stage.count:,} {stage.words}" + (f" ({100 * share:.1f} %)" if number else "")
        parts.append(text(0, top + 14, words, "start", "label"))
        parts.append(box(0, top + 21, width, 16, "bar-ground", 3))
        parts.append(box(0, top + 21, max(2.0 if stage.count else 0.0, width * share), 16, "bar", 3))
    return svg(width, row * len(stages), "From calls drawn for a pair to pairs judged", parts)
