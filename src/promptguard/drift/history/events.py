"""What remembered pairs say by place, as events: each is true or not of either side of a pair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptguard.drift.features import places as kinds
from promptguard.drift.history.register import ASPECTS, VALUES, Register
from promptguard.drift.history.rows import Rows

Floats = NDArray[np.float64]


_MARKS = {"order": (2, 1), "reverse": (2, -1), "shape": (0, 1), "unshape": (0, -1)}
"""by aspect: where its sign lies in a mark, and its direction"""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that may be said of a side: of `place` (a number of the register), in one aspect.

    `aspect`: `there`, `missing` (and the other side has it), `kind` (one kind of value), `order` and `reverse` (the
    larger, the smaller of the two), `shape` and `unshape` (the one whose shape comes later, earlier), `value`, `switch`
    (has the second of two values while the other side has the first). `codes` are kinds or codes of values.
    """

    aspect: str
    place: int
    codes: tuple[int, ...] = ()

    def sides(self, rows: Rows) -> tuple[Floats, Floats]:
        """Return whether it is true of the control and of the candidate, each of shape (rows,)."""
        cell = rows.cells[:, self.place]
        if self.aspect in _MARKS:
            shift, factor = _MARKS[self.aspect]
            sign = factor * (((cell[:, 1] >> shift) & 3).astype(np.int8) - 1)
            sign[cell[:, 0] == 0] = 0
            return _flags(sign < 0), _flags(sign > 0)
        packed = cell[:, 2] if self.aspect in ("value", "switch") else cell[:, 0]
        first, second = packed >> 4, packed & 15
        if self.aspect == "there":
            return _flags(first != kinds.ABSENT), _flags(second != kinds.ABSENT)
        if self.aspect == "missing":
            return _flags((first == 0) & (second > 0)), _flags((first > 0) & (second == 0))
        if self.aspect == "switch":
            one, other = self.codes
            return _flags((first == other) & (second == one)), _flags((first == one) & (second == other))
        wanted = np.zeros(16)
        wanted[list(self.codes)] = 1.0
        return wanted[first], wanted[second]


def _flags(true: NDArray[np.bool_]) -> Floats:
    return true.astype(np.float64)


def events_of(register: Register, rows: Rows) -> list[Event]:
    """Return every event that some remembered pair could show, in a fixed order."""
    found = []
    for place in range(len(register.places)):
        found += [Event(aspect, place) for aspect in ASPECTS if aspect not in ("null", "type")]
        found += [Event("kind", place, codes) for codes in _kinds_at(rows, place)]
    codes = [register.code(number) for number in range(len(register.values))]
    found += [Event("value", place, (codes[number],)) for number, place in enumerate(register.value_places)]
    for key in register.switches:
        one, other = divmod(key, VALUES)
        found.append(Event("switch", register.value_places[one], (codes[one], codes[other])))
    return found


_BOOLEANS = (kinds.FALSE, kinds.TRUE)


def _kinds_at(rows: Rows, place: int) -> list[tuple[int, ...]]:
    """Return the kinds met at a place beside its most frequent one; false and true are one kind, and each its own."""
    packed = rows.cells[:, place, 0]
    counts = np.bincount(packed >> 4, minlength=16) + np.bincount(packed & 15, minlength=16)
    counts[kinds.ABSENT] = 0
    met = [kind for kind in np.flatnonzero(counts).tolist() if kind not in _BOOLEANS]
    single: list[tuple[int, ...]] = [(kind,) for kind in met]
    if counts[list(_BOOLEANS)].any():
        if met:
            single.append(_BOOLEANS)
        single.append((kinds.TRUE,))
    return single if len(single) > 1 or single == [(kinds.TRUE,)] else []


def signs_of(register: Register, rows: Rows) -> NDArray[np.int8]:
    """Return the sign of candidate - control of every event that ever told the sides apart, shape (rows, events)."""
    columns = []
    for event in events_of(register, rows):
        first, second = event.sides(rows)
        sign = (second - first).astype(np.int8)
        if sign.any():
            columns.append(sign)
    return np.array(columns, dtype=np.int8).reshape(len(columns), len(rows)).T
