"""Elements of charts. What is filled in is escaped; the patterns are all written here.

A chart is drawn twice, wide and narrow, and the style sheet shows one: a scaled chart would have unreadable text on a
telephone. Colour never carries meaning alone: sides differ in shape, lines in dashes and labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup, escape

WIDE, NARROW = 1024, 326
LETTER = 6.6
"""Width of a letter of a label, about, in units of the drawing."""


def both(draw: Callable[[int], Markup]) -> Markup:
    """Return a chart in both widths."""
    parts = (
        drawn('<div class="{}">{}</div>', name, draw(width))
        for name, width in (("wide", WIDE), ("narrow", NARROW))
    )
    return Markup("").join(parts)


def svg(width: int, height: float, name: str, parts: Sequence[Markup]) -> Markup:
    """Return a drawing; `name` says in words what it shows."""
    head = '<svg viewBox="0 0 {} {:.0f}" width="{}" height="{:.0f}" role="img" aria-label="{}">{}</svg>'
    return drawn(head, width, height, width, height, name, Markup("").join(parts))


def drawn(pattern: str, *values: object) -> Markup:
    """Fill in one element; what is filled in is escaped, the pattern is always written in this room."""
    return Markup(pattern).format(*values)


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """Return a line."""
    pattern = '<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>'
    return drawn(pattern, kind, x1, y1, x2, y2)


def text(x: float, y: float, words: str, anchor: str = "start", kind: str = "tick") -> Markup:
    """Return a line of text."""
    pattern = '<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>'
    return drawn(pattern, kind, x, y, anchor, escape(words))


def box(x: float, y: float, width: float, height: float, kind: str, radius: float = 0) -> Markup:
    """Return a rectangle."""
    pattern = '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="{:g}"/>'
    return drawn(pattern, kind, x, y, max(0.0, width), max(0.0, height), radius)


def circle(x: float, y: float, radius: float, kind: str) -> Markup:
    """Return a circle."""
    return drawn('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{:g}"/>', kind, x, y, radius)


def diamond(x: float, y: float, kind: str, size: float = 6) -> Markup:
    """Return a square on its tip."""
    pattern = '<path class="{}" d="M{:.1f} {:.1f}l{:g} {:g}l-{:g} {:g}l-{:g} -{:g}z"/>'
    return drawn(pattern, kind, x, y - size, *[size] * 6)


def path(places: Sequence[tuple[float, float]], kind: str, *, close: str = "") -> Markup:
    """Return a line through places; `close` is put at the end."""
    return drawn('<path class="{}" d="M{}{}"/>', kind, "L".join(f"{x:.1f} {y:.1f}" for x, y in places), close)


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return round ticks from at most `low` to at least `high`."""
    raw = max(high - low, 1e-9) / most
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * times for times in (1, 2, 5, 10) if size * times >= raw)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(number * step, 9) for number in range(first, max(last, first + 1) + 1)]


_SUPERSCRIPT = str.maketrans("-0123456789.", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹·")


def power(exponent: float) -> str:
    """Return a power of ten as people write it.

    >>> power(0), power(4), power(-1.5)
    ('1', '10⁴', '10⁻¹·⁵')
    """
    return "1" if exponent == 0 else f"10{f'{exponent:g}'.translate(_SUPERSCRIPT)}"
