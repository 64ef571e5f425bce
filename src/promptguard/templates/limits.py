"""How much a template may ask for, and the budget that one render is charged against.

A jinja2 sandbox stops escapes, not resource bombs: of 41 payloads tried against
ImmutableSandboxedEnvironment, 9 ran past four seconds and 4 took about a gigabyte. So every value a template
makes is measured when it is made, nothing above `Limits.value` exists, and everything is charged against one
budget per render. A thread has no reliable wall-clock limit; the counts are the limit, and the clock is only a
second net under them.

Measuring must be cheap, since every filter measures what it is given: a list or mapping is walked once per render
and its size remembered. It cannot change: a template has nothing that changes a value.
"""

from __future__ import annotations

import time
from collections.abc import Collection, ItemsView, Iterator, KeysView, ValuesView
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
    """wall-clock time; looked at once per loop and per 10,000 units"""


DEFAULT = Limits()


Sizes = dict[int, tuple[object, int]]
"""id of a list or mapping → the thing itself, kept so that no other takes its id, and its deep size"""

CONTAINER_UNITS = SCALAR_UNITS = 16
PART_UNITS = 8
"""A list of n numbers has CONTAINER_UNITS + n * (PART_UNITS + SCALAR_UNITS); a text one unit a character more."""

SMALL_UNITS = 256
"""Smaller values are measured again: remembering them takes as long."""

_UNITS_PER_LOOK = 10_000
"""The clock is looked at once per so many units, since looking costs time too."""

_COMPARED = 4
"""Comparing is 2^4 times as quick as making: `x in text` scans some gigabytes a second."""

_REMEMBERED = frozenset((list, dict, tuple))
"""What is walked once per render. Views of mappings are made anew at every use."""

_SETTLED = _REMEMBERED | {int, float, bool, type(None), range}


class RenderBudget:
    """What is left of the limits in one render."""

    __slots__ = ("_deadline", "_given", "_limits", "_look_below", "_most", "_sizes", "_steps", "_work")

    def __init__(self, limits: Limits = DEFAULT, given: Sizes | None = None) -> None:
        self._limits = limits
        self._most = limits.value
        self._work = limits.work
        self._look_below = max(limits.work - _UNITS_PER_LOOK, 0)
        self._steps = limits.steps
        self._deadline = time.monotonic() + limits.seconds
        self._given: Sizes = {} if given is None else given
        self._sizes: Sizes = {}

    @property
    def most_parts(self) -> int:
        """How many texts a list may have."""
        return self._most // (PART_UNITS + SCALAR_UNITS)

    def charge_characters(self, text: str) -> None:
        """Charge for the list of a text's characters before it is made: it takes ten times the text's memory and more."""
        self.charge((PART_UNITS + SCALAR_UNITS + 1) * len(text))

    def charge(self, units: int) -> None:
        """Charge for making or looking through one value of `units`; raises RenderLimit when too much was asked."""
        if units > self._most:
            raise RenderLimit(f"a value of more than {self._most} units was asked for")
        self._work -= units
        if self._work < self._look_below:
            self._look()

    def charge_texts(self, taken: int, made: int) -> None:
        """Charge for what was looked through and for the text that is made of it, in units and characters."""
        if taken > self._most or made > self._most:
            raise RenderLimit(f"a value of more than {self._most} units was asked for")
        self._work -= taken + made + 2
        if self._work < self._look_below:
            self._look()

    def charge_printed(self, characters: int) -> None:
        """Charge for several values at once that were printed; each of them was within its bound."""
        self._work -= characters
        self._look()

    def charge_steps(self, steps: int) -> None:
        """Charge for `steps` syntax nodes that a loop is about to evaluate."""
        self._steps -= steps
        if self._steps < 0:
            raise RenderLimit(f"loops of more than {self._limits.steps} steps were asked for")
        self._look()

    def charge_value(self, value: object) -> None:
        """Charge for a value by its deep size, counting a part once for every place it stands in."""
        self.charge(self._size(value))

    def charge_compared(self, value: object) -> None:
        """Charge for looking through a value that is compared with another or searched."""
        self.charge((self._size(value) >> _COMPARED) + 1)

    def settle(self, value: Any) -> Any:
        """Turn iterators into lists, so that nothing unmeasured travels through a template, and charge."""
        kind = type(value)
        if kind is str:
            units = len(value) + 1
        elif kind is int:
            units = SCALAR_UNITS + (value.bit_length() >> 3)
        elif (known := self._given.get(id(value))) is not None:
            units = known[1]
        else:
            if kind not in _SETTLED and isinstance(value, Iterator):
                value = list(value)
            units = self._size(value)
        # As charge() does: a call less for what is called most.
        if units > self._most:
            raise RenderLimit(f"a value of more than {self._most} units was asked for")
        self._work -= units
        if self._work < self._look_below:
            self._look()
        return value

    def _size(self, value: Any) -> int:
        kind = type(value)
        if kind is str:
            return len(value) + 1
        if kind is bool or value is None:
            return 1
        if kind not in _REMEMBERED:
            return scalar_units(value) or measure(value, self._most)
        known = self._given.get(id(value)) or self._sizes.get(id(value))
        if known is not None:
            return known[1]
        size = measure(value, self._most)
        if SMALL_UNITS < size <= self._most:
            self._sizes[id(value)] = value, size
        return size

    def _look(self) -> None:
        """Look at the clock and at what is left."""
        if self._work < 0:
            raise RenderLimit(f"more than {self._limits.work} units of work were asked for")
        if time.monotonic() > self._deadline:
            raise RenderLimit(f"rendering took longer than {self._limits.seconds} s")
        self._look_below = max(self._work - _UNITS_PER_LOOK, 0)


_VIEWS = (KeysView, ValuesView, ItemsView)
_TEXTS_ALONE = {str}


def measure(value: object, limit: int) -> int:
    """Return the deep size of a plain value in units, stopping soon above `limit`.

    Raises RenderLimit for values that are not plain (an iterator may be endless, an object may print
    anything) and jinja2's UndefinedError for an undefined value inside a container, which would print as
    `[Undefined]`.
    """
    if isinstance(value, Undefined):
        return 1
    total = 0
    pending: list[Collection[Any]] = [(value,)]
    while pending and total <= limit:
        parts = pending.pop()
        if set(map(type, parts)) == _TEXTS_ALONE:  # keys, lists of names: without a step for each
            total += SCALAR_UNITS * len(parts) + sum(map(len, parts))
            continue
        for item in parts:
            units = scalar_units(item)
            if units is not None:
                total += units
                continue
            for inner in (item, item.values()) if type(item) is dict else (_parts(item),):
                total += PART_UNITS * len(inner)
                pending.append(inner)
            total += CONTAINER_UNITS
            if total > limit:
                break
    return total


def scalar_units(value: Any) -> int | None:
    """Return the size of a text, number, truth value or None within a container; None for a container."""
    kind = type(value)
    if kind is str:
        return SCALAR_UNITS + len(value)
    if kind is int:
        bits: int = value.bit_length()
        return SCALAR_UNITS + (bits >> 3)
    return SCALAR_UNITS if value is None or kind is bool or kind is float else None


def _parts(item: object) -> Collection[object]:
    kind = type(item)
    if kind is list or kind is tuple or kind is range or isinstance(item, _VIEWS):
        return cast("Collection[object]", item)  # a view of items gives pairs
    if isinstance(item, Undefined):
        str(item)  # raises UndefinedError, naming the variable
    raise RenderLimit(_not_plain(item))


def _not_plain(item: object) -> str:
    if isinstance(item, Namespace):
        return "a namespace cannot be printed or passed on; use one of its attributes"
    kind = type(item).__name__
    return f"a value of type {kind} cannot be used here; only text, numbers, lists and mappings can"
