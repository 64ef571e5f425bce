"""A second control beside a pair: what the stored vector keeps of it, and how alike the three answers are."""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from promptguard.drift.features.catalogue import COUNT, SCALE
from promptguard.drift.features.hashing import DIMENSIONS

LIKENESSES = 2
"""words at the same places, and words in common"""
_WORDS = 128
_HEAD = struct.Struct("<f6H")
SIZE = _HEAD.size + 2 * COUNT + 3 * DIMENSIONS
_SAME = 1e-12
"""what roundings may leave between equal hashes"""
_PAIRS = ((0, 1), (0, 2), (1, 2))


@dataclass(frozen=True, slots=True, eq=False)
class Third:
    """A second answer of the control's model to the same request.

    `values`: uint16, shape (COUNT,), its features. `hashed`: int8, shape (3, 512), the hashes of control, second control
    and candidate around their mean in units of `scale` / 127: all three are rounded alike, so that nothing but what they
    say tells them apart. `likeness`: uint16, shape (2, 3), in 65,535ths: how alike control and second control are,
    control and candidate, second control and candidate.
    """

    values: NDArray[np.uint16]
    hashed: NDArray[np.int8]
    scale: float
    likeness: NDArray[np.uint16]

    def to_bytes(self) -> bytes:
        """Return `SIZE` bytes."""
        head = _HEAD.pack(self.scale, *self.likeness.reshape(-1).tolist())
        return head + self.values.astype("<u2").tobytes() + self.hashed.tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Third:
        """Read `to_bytes()` back. ValueError for damaged bytes."""
        if len(data) != SIZE:
            raise ValueError("data is a pair vector with a damaged second control")
        scale, *likeness = _HEAD.unpack_from(data)
        if not math.isfinite(scale) or not 0.0 <= scale <= 2.0 or b"\x80" in data[-3 * DIMENSIONS :]:
            raise ValueError("data is a pair vector with impossible values")
        values = np.frombuffer(data, "<u2", COUNT, _HEAD.size).astype(np.uint16)
        hashed = np.frombuffer(data, np.int8, 3 * DIMENSIONS, _HEAD.size + 2 * COUNT).reshape(3, DIMENSIONS)
        return cls(values, hashed, scale, np.array(likeness, dtype=np.uint16).reshape(LIKENESSES, 3))


def third_of(
    values: NDArray[np.uint16], hashed: list[NDArray[np.float64]], data: tuple[bytes, bytes, bytes]
) -> Third:
    """Return the second control's part of a vector.

    `hashed` and `data` are the hashes, and what was hashed, of control, second control and candidate.
    """
    integers, scale = _around_the_mean(np.stack(hashed))
    words = [[zlib.crc32(word) for word in each.split(None, _WORDS)[:_WORDS]] for each in data]
    bags = [frozenset(each) for each in words]
    likeness = [
        [_agreement(words[one], words[other]) for one, other in _PAIRS],
        [_overlap(bags[one], bags[other]) for one, other in _PAIRS],
    ]
    return Third(values, integers, scale, np.rint(np.array(likeness) * SCALE).astype(np.uint16))


def _around_the_mean(hashed: NDArray[np.float64]) -> tuple[NDArray[np.int8], float]:
    """Return three hashes less their mean as int8 in [-127, 127], and their common scale."""
    # sorted, so that the sum has the same bits in whatever order the answers come
    apart = hashed - np.add.reduce(np.sort(hashed, axis=0), axis=0) / 3.0
    largest = float(np.float32(np.maximum.reduce(np.abs(apart), axis=None)))
    if largest < _SAME:
        return np.zeros(hashed.shape, dtype=np.int8), 0.0
    return np.rint(apart * (127.0 / largest)).clip(-127, 127).astype(np.int8), largest


def _agreement(first: list[int], second: list[int]) -> float:
    longest = max(len(first), len(second))
    same = sum(one == other for one, other in zip(first, second, strict=False))
    return same / longest if longest else 1.0


def _overlap(first: frozenset[int], second: frozenset[int]) -> float:
    either = len(first | second)
    return len(first & second) / either if either else 1.0
