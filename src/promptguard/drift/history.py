"""What is remembered of past pairs: exact integer tallies of all, rows of the last few hundred.

Tallies are integers, so that differences of tallies ("all but what came before the onset") are exact and
replays agree bit for bit. Memory is bounded: at most 500 rows before an alarm, 1,500 after it.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptguard.drift.catalogue import COUNT
from promptguard.drift.vector import PairVector

ROW = np.dtype(
    [
        ("number", "<u8"),
        ("control", "<u2", (COUNT,)),
        ("candidate", "<u2", (COUNT,)),
        ("counts", "<u4", (2, 3)),
        ("codes", "<i2", (3,)),
        ("correct", "i1", (3,)),
    ]
)
"""One remembered pair; label `codes` of control, candidate and reference: -1 none, -2 unlisted.

`correct`: whether there is a reference, and whether each side equals it.
"""

_NUMBER, _REST = struct.Struct("<Q"), struct.Struct("<6I3h3b")
Rows = NDArray[Any]
BEFORE_ALARM = 500
ONSET_AFTER_ALARM = 100
TAIL = 900
_MOST_LABELS = 64
_MOST_REFERENCES = 32
NO_LABEL, UNLISTED = -1, -2


class Labels:
    """Label spellings by code; compared case-folded; at most 64 are told apart."""

    __slots__ = ("_codes", "names")

    def __init__(self, names: list[str] | None = None) -> None:
        self.names = list(names or ())
        self._codes = {name.casefold(): code for code, name in enumerate(self.names)}

    def code(self, name: str | None, most: int = _MOST_LABELS) -> int:
        """Return the code of `name`, learning it while fewer than `most` are known."""
        if name is None:
            return NO_LABEL
        key = name.casefold()
        code = self._codes.get(key)
        if code is None:
            if len(self.names) >= most:
                return UNLISTED
            code = self._codes[key] = len(self.names)
            self.names.append(name)
        return code


class Tally:
    """Sums over a set of pairs, as exact integers."""

    __slots__ = ("correct", "counts", "labels", "minus", "pairs", "plus", "squares", "sums")

    def __init__(self) -> None:
        self.pairs = 0
        self.sums = np.zeros((2, COUNT), dtype=np.int64)
        self.squares = np.zeros((2, COUNT), dtype=np.int64)
        self.plus = np.zeros(COUNT, dtype=np.int64)
        self.minus = np.zeros(COUNT, dtype=np.int64)
        self.counts = np.zeros((2, 3), dtype=np.int64)
        self.correct = np.zeros(3, dtype=np.int64)
        """pairs with a reference; control equal to it; candidate equal to it"""
        self.labels: dict[tuple[int, int, int], int] = {}
        """pairs by (control, candidate, reference) label codes"""

    def add(
        self, values: NDArray[np.int64], counts: object, codes: tuple[int, int, int], correct: object
    ) -> None:
        """Count one pair; `values` has shape (2, COUNT)."""
        self.pairs += 1
        self.sums += values
        self.squares += values * values
        self.plus += values[1] > values[0]
        self.minus += values[1] < values[0]
        self.counts += np.asarray(counts, dtype=np.int64)
        if codes != (NO_LABEL, NO_LABEL, NO_LABEL):
            self.correct += np.asarray(correct, dtype=np.int64)
            self.labels[codes] = self.labels.get(codes, 0) + 1

    def add_row(self, row: Any) -> None:
        """Count one remembered pair."""
        first, second, wanted = (int(code) for code in row["codes"])
        values = np.stack([row["control"], row["candidate"]]).astype(np.int64)
        self.add(values, row["counts"], (first, second, wanted), row["correct"])

    def without(self, other: Tally) -> Tally:
        """Return the tally of the pairs that are here but not in `other`, a part of this one."""
        rest = Tally()
        rest.pairs = self.pairs - other.pairs
        for name in ("sums", "squares", "plus", "minus", "counts", "correct"):
            setattr(rest, name, getattr(self, name) - getattr(other, name))
        rest.labels = {
            codes: number - other.labels.get(codes, 0)
            for codes, number in self.labels.items()
            if number > other.labels.get(codes, 0)
        }
        return rest

    def copy(self) -> Tally:
        """Return an independent copy."""
        return self.without(Tally())

    def state_dict(self) -> dict[str, Any]:
        """Return arrays, numbers and lists by name."""
        state = {name: getattr(self, name) for name in self.__slots__ if name != "labels"}
        return {**state, "labels": [[*codes, number] for codes, number in self.labels.items()]}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Tally:
        """Rebuild a tally."""
        tally = cls()
        for name in cls.__slots__:
            setattr(tally, name, state[name])
        tally.labels = {(entry[0], entry[1], entry[2]): entry[3] for entry in state["labels"]}
        return tally


class History:
    """The past of one group: `all` pairs, those `dropped` from the rows before the alarm, the rows held."""

    __slots__ = ("alarm_at", "all", "dropped", "head", "labels", "tail")

    def __init__(self) -> None:
        self.all = Tally()
        self.dropped = Tally()
        self.head: deque[bytes] = deque()
        self.tail: deque[bytes] = deque(maxlen=TAIL)
        self.labels = Labels()
        self.alarm_at: int | None = None

    def add(self, vector: PairVector) -> None:
        """Remember one pair."""
        codes = (
            self.labels.code(vector.labels[0]),
            self.labels.code(vector.labels[1]),
            # references may be free text, different each time: they leave room for labels
            self.labels.code(vector.reference, _MOST_REFERENCES),
        )
        values = np.array([vector.control, vector.candidate], dtype=np.int64)
        correct = _correct(vector)
        self.all.add(values, vector.counts, codes, correct)
        # ROW, field by field: several times faster than filling a structured array
        row = (
            _NUMBER.pack(self.all.pairs)
            + vector.control.astype("<u2", copy=False).tobytes()
            + vector.candidate.astype("<u2", copy=False).tobytes()
            + _REST.pack(*vector.counts[0], *vector.counts[1], *codes, *correct)
        )
        if self.alarm_at is None:
            self.head.append(row)
            if len(self.head) > BEFORE_ALARM:
                self.dropped.add_row(np.frombuffer(self.head.popleft(), dtype=ROW)[0])
        elif self.all.pairs <= self.alarm_at + ONSET_AFTER_ALARM:
            self.head.append(row)
        else:
            self.tail.append(row)

    def window(self) -> Rows:
        """Return the rows around the alarm, or the last ones: where the onset is looked for."""
        return _unpack(self.head)

    def rows_from(self, number: int) -> Rows:
        """Return the most recent unbroken run of rows whose pair numbers are at least `number`."""
        rows = _unpack(self.tail)
        if len(rows) < TAIL:
            rows = np.concatenate([_unpack(self.head), rows])
        return rows[rows["number"] >= number]

    def split(self, onset: int) -> tuple[Tally, Tally]:
        """Return the tallies of the pairs before `onset` and from it on."""
        before = self.dropped.copy()
        for row in self.window():
            if int(row["number"]) >= onset:
                break
            before.add_row(row)
        return before, self.all.without(before)

    def state_dict(self) -> dict[str, Any]:
        """Return the past as arrays, numbers and lists."""
        return {
            "all": self.all.state_dict(),
            "dropped": self.dropped.state_dict(),
            "head": np.frombuffer(b"".join(self.head), dtype=np.uint8),
            "tail": np.frombuffer(b"".join(self.tail), dtype=np.uint8),
            "labels": list(self.labels.names),
            "alarm_at": self.alarm_at,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> History:
        """Rebuild a past."""
        past = cls()
        past.all, past.dropped = Tally.from_state(state["all"]), Tally.from_state(state["dropped"])
        past.head.extend(_cut(state["head"].tobytes()))
        past.tail.extend(_cut(state["tail"].tobytes()))
        past.labels = Labels(state["labels"])
        past.alarm_at = state["alarm_at"]
        return past


def _correct(vector: PairVector) -> tuple[int, int, int]:
    if vector.reference is None:
        return (0, 0, 0)
    wanted = vector.reference.casefold()
    first, second = (name is not None and name.casefold() == wanted for name in vector.labels)
    return (1, int(first), int(second))


def _unpack(rows: deque[bytes]) -> Rows:
    return np.frombuffer(b"".join(rows), dtype=ROW)


def _cut(joined: bytes) -> list[bytes]:
    if len(joined) % ROW.itemsize:
        raise ValueError("state holds rows of the wrong size")
    return [joined[place : place + ROW.itemsize] for place in range(0, len(joined), ROW.itemsize)]
