"""Remembered pairs as a matrix of bytes, and blocks of them, compressed.

A row is: features of the control, of the candidate (square roots in 255ths), label codes of control,
candidate and reference (-1 none, -2 unlisted), correctness bits, the edge of the text hash, what was said by
place (`register.py`).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptguard.drift.features.catalogue import COUNT, INDEX, LENGTH_CAP, LINES_CAP
from promptguard.drift.history.register import CELL, PLACES, ROW

PLAIN = 2 * COUNT + 5
WIDTH = PLAIN + ROW
BLOCK = 24
"""rows that wait as plain bytes before they are compressed"""
MERGED = 4 * BLOCK
"""rows compressed together in the end: an eighth smaller, and fewer objects"""
UNIT = 255 * 255
"""a remembered value of 1, squared: the scale of tallies"""
_TEXT_PLACES = [INDEX[name] for name in ("length", "lines", "words_per_line")]


@dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive remembered pairs; `raw` has shape (rows, WIDTH)."""

    numbers: NDArray[np.int64]
    raw: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.raw)

    @classmethod
    def joined(cls, parts: Iterable[Rows]) -> Rows:
        """Return several stretches as one."""
        found = list(parts)
        return cls(
            np.concatenate([part.numbers for part in found]), np.concatenate([part.raw for part in found])
        )

    def since(self, number: int) -> Rows:
        """Return the rows of this and later numbers."""
        start = int(np.searchsorted(self.numbers, number))
        return Rows(self.numbers[start:], self.raw[start:])

    def until(self, number: int) -> Rows:
        """Return the rows up to and with this number."""
        end = int(np.searchsorted(self.numbers, number, side="right"))
        return Rows(self.numbers[:end], self.raw[:end])

    @property
    def roots(self) -> NDArray[np.uint8]:
        """Features of both sides as remembered, shape (rows, 2, COUNT)."""
        return self.raw[:, : 2 * COUNT].reshape(len(self.raw), 2, COUNT)

    def values(self, side: int, place: int) -> NDArray[np.float64]:
        """Return one side's values of one feature, in [0, 1]."""
        return (self.raw[:, side * COUNT + place] / 255.0) ** 2

    def signs(self, least: int = 1) -> NDArray[np.int8]:
        """Return the sign of candidate - control, shape (rows, COUNT); 0 below `least` 255ths (of roots)."""
        moved = self.roots[:, 1].astype(np.int16) - self.roots[:, 0]
        return (moved >= least).astype(np.int8) - (moved <= -least)

    @property
    def codes(self) -> NDArray[np.int8]:
        """Label codes of control, candidate and reference, shape (rows, 3)."""
        return self.raw[:, 2 * COUNT : 2 * COUNT + 3].view(np.int8)

    @property
    def correct(self) -> NDArray[np.uint8]:
        """Correctness bits: 1 a reference, 2 control right, 4 candidate right."""
        return self.raw[:, 2 * COUNT + 3]

    @property
    def edges(self) -> NDArray[np.int8]:
        """What the text hash bet on the truth, in 127ths; -128 where both sides read the same."""
        return self.raw[:, 2 * COUNT + 4].view(np.int8)

    @property
    def cells(self) -> NDArray[np.uint8]:
        """What was said by place, shape (rows, PLACES, CELL); zeros where nothing was."""
        return self.raw[:, PLAIN:].reshape(len(self.raw), PLACES, CELL)

    def shared_out(self, counts: Sequence[int], part: Rows) -> list[int]:
        """Return the share of `counts` (characters, lines, words of each side) that falls to `part`."""
        if len(part) == len(self):
            return list(counts)
        whole, some = _sizes(self), _sizes(part)
        return [
            round(count * ours / all_of_it) if all_of_it else 0
            for count, ours, all_of_it in zip(counts, some.tolist(), whole.tolist(), strict=True)
        ]


def _sizes(rows: Rows) -> NDArray[np.float64]:
    """Return characters, lines and words of each side as the features tell them."""
    scales = np.log1p([LENGTH_CAP, LINES_CAP, LINES_CAP])
    shares = (rows.roots[:, :, _TEXT_PLACES] / 255.0) ** 2
    sizes = np.expm1(shares * scales)
    sizes[:, :, 2] *= sizes[:, :, 1]
    total: NDArray[np.float64] = sizes.sum(axis=0).reshape(6)
    return total


def widened(raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return rows of prose, which end before what is said by place, as rows of WIDTH."""
    lacking = WIDTH - raw.shape[1]
    return np.pad(raw, ((0, 0), (0, lacking))) if lacking else raw


@dataclass(frozen=True, slots=True)
class Block:
    """Some consecutive pairs: number of the first, exact text counts, and the rows, packed or plain."""

    first: int
    size: int
    counts: tuple[int, ...]
    data: bytes | NDArray[np.uint8]

    @classmethod
    def plain(cls, first: int, raw: NDArray[np.uint8], counts: Sequence[int]) -> Block:
        """Return a block that borrows `raw`, where that is wide enough."""
        return cls(first, len(raw), tuple(counts), widened(raw))

    @classmethod
    def sealed(
        cls, first: int, raw: NDArray[np.uint8], counts: Sequence[int], *, quick: bool = False
    ) -> Block:
        """Return a block of its own, compressed feature by feature: a column resembles itself most."""
        packed = zlib.compress(widened(raw).T.tobytes(), 1 if quick else 6, -15)
        return cls(first, len(raw), tuple(counts), packed)

    @classmethod
    def merged(cls, blocks: Sequence[Block]) -> Block:
        """Return consecutive blocks as one."""
        counts = [sum(each) for each in zip(*(block.counts for block in blocks), strict=True)]
        return cls.sealed(blocks[0].first, Rows.joined(block.rows() for block in blocks).raw, counts)

    def rows(self) -> Rows:
        """Return the rows. ValueError for damaged data."""
        numbers = np.arange(self.first, self.first + self.size, dtype=np.int64)
        if not isinstance(self.data, bytes):
            return Rows(numbers, self.data)
        raw = np.frombuffer(_inflated(self.data, self.size * WIDTH), dtype=np.uint8)
        return Rows(numbers, np.ascontiguousarray(raw.reshape(WIDTH, self.size).T))

    def state(self) -> list[Any]:
        """Return the block as JSON values and bytes."""
        return [self.first, self.size, list(self.counts), self.data]

    @classmethod
    def from_state(cls, state: list[Any]) -> Block:
        """Rebuild a sealed block. ValueError for damaged data."""
        first, size, counts, data = state
        if not 0 <= size <= MERGED or len(counts) != 6:
            raise ValueError("state holds rows of the wrong size")
        block = cls(int(first), int(size), tuple(counts), bytes(data))
        block.rows()
        return block


def _inflated(data: bytes, size: int) -> bytes:
    opened = zlib.decompressobj(-15)
    try:
        found = opened.decompress(data, size + 1)
    except zlib.error as error:
        raise ValueError(f"state holds rows that cannot be read: {error}") from None
    if len(found) != size:
        raise ValueError("state holds rows of the wrong size")
    return found
