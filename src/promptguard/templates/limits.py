"""How much a template may ask for, and the purse it pays from.

A jinja2 sandbox stops escapes, not resource bombs: of 41 payloads tried against
ImmutableSandboxedEnvironment, 9 ran past four seconds and 4 took about a gigabyte. So every value a template
makes is measured when it is made, nothing above `Limits.value` exists, and everything is paid from one purse
per render. A thread has no reliable wall-clock limit; the counts are the limit, and the clock is only a
second net under them.
"""

from __future__ import annotations

import time
from collections.abc import Collection, ItemsView, KeysView, ValuesView
from dataclasses import dataclass
from typing import Any, cast

from jinja2 import Undefined
from jinja2.utils import Namespace

from promptguard.errors import RenderLimit


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one render. Sizes are in units: a character of text, or 1/16 of any other value."""

    source: int = 200_000
    """characters of a template's source"""
    nodes: int = 20_000
    """syntax nodes of a template, a loop's variables and tests included"""
    value: int = 4_000_000
    """units of one value: a variable, an intermediate result"""
    work: int = 8_000_000
    """units of everything made or looked through in one render"""
    output: int = 4_000_000
    """characters of the rendered text"""
    steps: int = 500_000
    """syntax nodes evaluated inside loops"""
    seconds: float = 0.8
    """wall-clock time; looked at whenever something is paid"""


DEFAULT = Limits()


class Purse:
    """What is left of the limits in one render."""

    __slots__ = ("_deadline", "_limits", "_look_below", "_most", "_steps", "_work")

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self._limits = limits
        self._most = limits.value
        self._work = self._look_below = limits.work
        self._steps = limits.steps
        self._deadline = time.monotonic() + limits.seconds

    def pay(self, units: int) -> None:
        """Pay for making or looking through `units`; raises RenderLimit when too much was asked."""
        if units > self._most:
            raise RenderLimit(f"a value of more than {self._most} units was asked for")
        self._work -= units
        if self._work < self._look_below:
            self._look()

    def step(self, steps: int) -> None:
        """Pay for `steps` syntax nodes that a loop is about to evaluate."""
        self._steps -= steps
        if self._steps < 0:
            raise RenderLimit(f"loops of more than {self._limits.steps} steps were asked for")
        self._look()

    def pay_for(self, value: Any) -> None:
        """Pay for a value by its deep size, counting a part once for every place it stands in."""
        kind = type(value)
        if kind is str:
            self.pay(len(value) + 1)
        elif kind is bool or value is None:
            self.pay(1)
        else:
            self.pay(measure(value, self._most))

    def _look(self) -> None:
        """Look at the clock and at what is left; done once per 10,000 units, since looking costs time too."""
        if self._work < 0:
            raise RenderLimit(f"more than {self._limits.work} units of work were asked for")
        if time.monotonic() > self._deadline:
            raise RenderLimit(f"rendering took longer than {self._limits.seconds} s")
        self._look_below = max(self._work - 10_000, 0)


_VIEWS = (KeysView, ValuesView, ItemsView)


def measure(value: Any, limit: int) -> int:
    """Return the deep size of a plain value in units, stopping just above `limit`.

    Raises RenderLimit for values that are not plain (an iterator may be endless, an object may print
    anything) and jinja2's UndefinedError for an undefined value inside a container, which would print as
    `[Undefined]`.
    """
    if isinstance(value, Undefined):
        return 1
    total, pending = 0, [value]
    while pending and total <= limit:
        item = pending.pop()
        kind = type(item)
        if kind is str:
            total += 16 + len(item)
        elif kind is int:
            total += 16 + (item.bit_length() >> 3)
        elif item is None or kind is float or kind is bool:
            total += 16
        else:
            parts = _parts(item)
            total += 16 + 8 * len(parts)
            pending.extend(parts)
    return total


def _parts(item: Any) -> Collection[Any]:
    kind = type(item)
    if kind is list or kind is tuple or kind is range or isinstance(item, _VIEWS):
        return cast("Collection[Any]", item)  # a view of items gives pairs
    if kind is dict:
        return [*item.keys(), *item.values()]
    if isinstance(item, Undefined):
        str(item)  # raises UndefinedError, naming the variable
    raise RenderLimit(_not_plain(item))


def _not_plain(item: Any) -> str:
    if isinstance(item, Namespace):
        return "a namespace cannot be printed or passed on; use one of its attributes"
    kind = type(item).__name__
    return f"a value of type {kind} cannot be used here; only text, numbers, lists and mappings can"
