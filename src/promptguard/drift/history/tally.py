"""Sums over a set of pairs, as exact integers: a part can be taken out of the whole again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from promptguard.drift.features.catalogue import COUNT
from promptguard.drift.history.rows import Rows

NO_LABEL, UNLISTED = -1, -2
_ARRAYS = ("sums", "squares", "plus", "minus", "counts", "correct")


class Tally:
    """Sums over a set of pairs. `sums` are in units of 1 / `rows.UNIT`, `squares` (of both sides) of its square."""

    __slots__ = ("correct", "counts", "labels", "minus", "pairs", "plus", "squares", "sums")

    def __init__(self) -> None:
        self.pairs = 0
        self.sums = np.zeros((2, COUNT), dtype=np.int64)
        self.squares = np.zeros(COUNT, dtype=np.int64)
        self.plus = np.zeros(COUNT, dtype=np.int32)
        self.minus = np.zeros(COUNT, dtype=np.int32)
        self.counts = np.zeros((2, 3), dtype=np.int64)
        """characters, lines, words of each side"""
        self.correct = np.zeros(3, dtype=np.int64)
        """pairs with a reference; control equal to it; candidate equal to it"""
        self.labels: dict[tuple[int, int, int], int] = {}
        """pairs by (control, candidate, reference) label codes"""

    def add(self, rows: Rows, counts: Sequence[int]) -> None:
        """Count some remembered pairs; `counts` are their characters, lines and words, side by side."""
        if not len(rows):
            return
        self.pairs += len(rows)
        roots = rows.roots
        values = np.square(roots, dtype=np.int64)
        self.sums += values.sum(axis=0)
        self.squares += np.square(values).sum(axis=(0, 1))
        self.plus += (roots[:, 1] > roots[:, 0]).sum(axis=0, dtype=np.int32)
        self.minus += (roots[:, 1] < roots[:, 0]).sum(axis=0, dtype=np.int32)
        self.counts += np.array(counts, dtype=np.int64).reshape(2, 3)
        if (rows.codes != NO_LABEL).any():
            self.correct += [int(np.count_nonzero(rows.correct & bit)) for bit in (1, 2, 4)]
            for first, second, wanted in rows.codes.tolist():
                codes = (first, second, wanted)
                if codes != (NO_LABEL, NO_LABEL, NO_LABEL):
                    self.labels[codes] = self.labels.get(codes, 0) + 1

    def without(self, other: Tally) -> Tally:
        """Return the tally of the pairs that are here but not in `other`, a part of this one."""
        rest = Tally()
        rest.pairs = self.pairs - other.pairs
        for name in _ARRAYS:
            setattr(rest, name, getattr(self, name) - getattr(other, name))
        rest.labels = {
            codes: number - other.labels.get(codes, 0)
            for codes, number in self.labels.items()
            if number > other.labels.get(codes, 0)
        }
        return rest

    def joined(self, other: Tally) -> Tally:
        """Return the tally of the pairs of both, which share none."""
        both = Tally()
        both.pairs = self.pairs + other.pairs
        for name in _ARRAYS:
            setattr(both, name, getattr(self, name) + getattr(other, name))
        cells = self.labels.keys() | other.labels.keys()
        both.labels = {
            codes: self.labels.get(codes, 0) + other.labels.get(codes, 0) for codes in sorted(cells)
        }
        return both

    def copy(self) -> Tally:
        """Return an independent copy."""
        return self.without(Tally())

    @property
    def characters(self) -> tuple[float, float]:
        """The mean length of answers on both sides."""
        control, candidate = (float(total) / max(1, self.pairs) for total in self.counts[:, 0])
        return control, candidate

    def state_dict(self) -> dict[str, object]:
        """Return arrays, numbers and lists by name."""
        state = {name: getattr(self, name) for name in (*_ARRAYS, "pairs")}
        return {**state, "labels": [[*codes, number] for codes, number in self.labels.items()]}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Tally:
        """Rebuild a tally. ValueError for arrays of another shape."""
        tally = cls()
        tally.pairs = int(state["pairs"])
        for name in _ARRAYS:
            expected = getattr(tally, name)
            found = np.asarray(state[name])
            if found.shape != expected.shape or found.dtype != expected.dtype:
                raise ValueError(f"state holds {name} of the wrong shape")
            setattr(tally, name, found.copy())
        tally.labels = {(entry[0], entry[1], entry[2]): entry[3] for entry in state["labels"]}
        return tally
