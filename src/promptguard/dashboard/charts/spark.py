"""A curve of a few letters' width, with the alarm line."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

WIDTH, HEIGHT = 104, 26


def sparkline(points: Sequence[tuple[int, float]], threshold: float) -> Markup:
    """Return evidence over pairs, for the row of a table: decoration beside figures, so hidden from readers' voices."""
    if len(points) < 2:
        return Markup("")
    low = min(0.0, *(level for _, level in points))
    high = max(threshold * 1.15, *(level for _, level in points)) or 1.0
    first, last = points[0][0], points[-1][0]

    def x(pair: float) -> float:
        return 1 + (pair - first) / max(1, last - first) * (WIDTH - 5)

    def y(level: float) -> float:
        return HEIGHT - 2 - (level - low) / ((high - low) or 1.0) * (HEIGHT - 4)

    shape = "L".join(f"{x(pair):.0f} {y(level):.0f}" for pair, level in points)
    # Numbers alone are put in: there is nothing to escape, and a page holds a hundred of them.
    return Markup(  # noqa: S704
        f'<svg class="spark" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" aria-hidden="true">'
        f'<path class="threshold" d="M0 {y(threshold):.0f}h{WIDTH}"/><path class="curve" d="M{shape}"/>'
        f'<circle class="curve-end" cx="{x(last):.0f}" cy="{y(points[-1][1]):.0f}" r="2.5"/></svg>'
    )
