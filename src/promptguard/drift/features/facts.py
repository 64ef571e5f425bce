"""What a pair says by place: one record a place, of both sides, as a stored vector keeps it.

A record is the place and the values of both sides as keyed digests, what kind each side holds, which is the larger, and
which shape comes first: 14 bytes. Texts travel beside the records, and only those that may be told: in a ledger, places
and values that many different calls had in common (`spellings.py`). Swapping the sides of a pair negates every
comparison and changes nothing else.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from promptguard.drift.features.answer import Answer
from promptguard.drift.features.places import (
    ABSENT,
    ALWAYS_TOLD,
    ANSWER,
    CALLS,
    CERTAINTY,
    FALSE,
    FIRST_CERTAINTY,
    KEYS,
    MIXED,
    NULL,
    RIGHT,
    TOOL,
    TRUE,
    Places,
    Said,
    places_of_answer,
    places_of_json,
    places_of_tools,
)

MOST_PLACES = 64
"""places of JSON and arguments in one pair; of more, the deepest are left out"""
MOST_RECORDS = MOST_PLACES + 8
_EVEN = 5
"""marks of a place whose sides are alike, or cannot be compared"""
_LENGTHS = struct.Struct("<HH")
_TEXT = struct.Struct("<IB")
_LONGEST_TEXT = 120
_SIZE = 14
MayTell = Callable[[str, str | None], bool]
"""Whether a place (with None), or a value at a place, may be written down; asked once a pair for each."""


@dataclass(frozen=True, slots=True)
class Facts:
    """One record a place, ordered by digest so that the order knows no side.

    `places`: uint32, digests. `kinds`: uint8, control * 16 + candidate. `marks`: uint8, 4 * (order + 1) + shape + 1, the
    signs of candidate - control. `values`: uint32, shape (2, records), digests of both sides' values, 0 for none.
    `texts`: of places and values, by digest.
    """

    places: NDArray[np.uint32]
    kinds: NDArray[np.uint8]
    marks: NDArray[np.uint8]
    values: NDArray[np.uint32]
    texts: Mapping[int, str]

    def __len__(self) -> int:
        return len(self.places)

    def swapped(self) -> Facts:
        """Return them with the sides exchanged."""
        kinds: NDArray[np.uint8] = ((self.kinds >> 4) | (self.kinds << 4)).astype(np.uint8)
        # both signs lie around 1 in two bits: 10 - marks negates both
        marks = np.subtract(10, self.marks, dtype=np.uint8)
        return Facts(self.places, kinds, marks, self.values[::-1], self.texts)

    def to_bytes(self) -> bytes:
        """Return a compact form; empty where there are no records."""
        if not len(self):
            return b""
        texts = b"".join(
            _TEXT.pack(digest, len(raw)) + raw
            for digest, raw in sorted((digest, text.encode()) for digest, text in self.texts.items())
        )
        columns = self.places.astype("<u4"), self.values.astype("<u4"), self.kinds, self.marks
        head = _LENGTHS.pack(len(self), len(self.texts))
        return head + b"".join(column.tobytes() for column in columns) + texts

    @classmethod
    def from_bytes(cls, data: bytes) -> Facts:
        """Read `to_bytes()` back. ValueError for damaged bytes."""
        if not data:
            return NO_FACTS
        count, number = _LENGTHS.unpack_from(data) if len(data) >= _LENGTHS.size else (MOST_RECORDS + 1, 0)
        end = _LENGTHS.size + count * _SIZE
        if not 0 < count <= MOST_RECORDS or len(data) < end:
            raise ValueError("data is a pair vector with damaged records")
        digests = np.frombuffer(data, "<u4", 3 * count, _LENGTHS.size).astype(np.uint32, copy=False)
        kinds, marks = np.frombuffer(data, np.uint8, 2 * count, end - 2 * count).reshape(2, count)
        values = digests[count:].reshape(2, count)
        return cls(digests[:count], kinds, marks, values, _texts(data, end, number) if number else {})


def _texts(data: bytes, at: int, number: int) -> dict[int, str]:
    found: dict[int, str] = {}
    for _ in range(number):
        if len(data) < at + _TEXT.size:
            raise ValueError("data is a pair vector with damaged records")
        digest, length = _TEXT.unpack_from(data, at)
        at += _TEXT.size
        found[digest] = data[at : at + length].decode()
        at += length
    if at != len(data):
        raise ValueError("data is a pair vector with damaged records")
    return found


NO_FACTS = Facts(
    np.zeros(0, np.uint32), np.zeros(0, np.uint8), np.zeros(0, np.uint8), np.zeros((2, 0), np.uint32), {}
)


@lru_cache(maxsize=4096)
def digest_of(text: str, seed: bytes) -> int:
    """Return a keyed 32-bit digest, never 0."""
    raw = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4, key=seed[:64]).digest()
    return int.from_bytes(raw, "little") or 1


def compared(first: Places, second: Places, seed: bytes, may_tell: MayTell | None = None) -> Facts:
    """Return the facts of a pair from what its sides say by place; `may_tell` is None where all may be told."""
    names = first.keys() | second.keys()
    if not names:
        return NO_FACTS
    if len(names) > MOST_PLACES:
        names = set(sorted(names, key=lambda name: (name.count(".") + name.count("["), name))[:MOST_PLACES])
    texts: dict[int, tuple[str, str | None]] = {}
    rows = sorted(_record(name, first.get(name), second.get(name), seed, texts) for name in names)
    told = {
        digest: _shortened(place if value is None else value)
        for digest, (place, value) in texts.items()
        if may_tell is None or may_tell(place, value)
    }
    columns = np.array(rows, dtype=np.uint32).T
    kinds, marks = columns[1].astype(np.uint8), columns[2].astype(np.uint8)
    return Facts(columns[0].copy(), kinds, marks, columns[3:].copy(), told)


def _said(side: Side, reference: str | None) -> Places:
    return places_of_answer(side.answer, side.label, reference)


def _record(
    name: str, first: Said | None, second: Said | None, seed: bytes, texts: dict[int, tuple[str, str | None]]
) -> tuple[int, int, int, int, int]:
    place = digest_of(name, seed if name not in ALWAYS_TOLD else b"")
    texts[place] = name, None
    kinds = ((first.kind if first else ABSENT) << 4) | (second.kind if second else ABSENT)
    one = _value(name, first, seed, texts)
    if first == second:
        return place, kinds, _EVEN, one, one
    values = one, _value(name, second, seed, texts)
    if first is None or second is None or not _alike(first.kind, second.kind):
        return place, kinds, _EVEN, *values
    order = (second.size > first.size) - (second.size < first.size)
    shape = (second.shape > first.shape) - (second.shape < first.shape)
    if name == KEYS and sorted(first.shape.split(",")) != sorted(second.shape.split(",")):
        shape = 0  # other keys are told by their own places
    return place, kinds, ((order + 1) << 2) | (shape + 1), *values


def _value(name: str, said: Said | None, seed: bytes, texts: dict[int, tuple[str, str | None]]) -> int:
    """Return the digest of what is said at a place, 0 where it is not short."""
    if said is None or not said.value:
        return 0
    digest = digest_of(f"{name}\0{said.value}", seed)
    texts[digest] = name, said.value
    return digest


def _shortened(text: str) -> str:
    if len(text) <= _LONGEST_TEXT and text.isascii() and text.isprintable():
        return text
    plain = "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[:_LONGEST_TEXT]
    )
    return plain.encode("utf-8", "replace")[: 2 * _LONGEST_TEXT].decode("utf-8", "ignore")


def _alike(first: int, second: int) -> bool:
    return first == second != MIXED or {first, second} == {FALSE, TRUE}


def event_signs() -> NDArray[np.int8]:
    """Return the signs of (there, null, another type), shape (3, 256), by the byte `kinds`."""
    signs = np.zeros((3, 256), dtype=np.int8)
    for first in range(MIXED + 1):
        for second in range(MIXED + 1):
            byte = (first << 4) | second
            signs[0, byte] = (second != ABSENT) - (first != ABSENT)
            if ABSENT not in (first, second):
                signs[1, byte] = (second == NULL) - (first == NULL)
                told = NULL not in (first, second) and not _same_type(first, second)
                signs[2, byte] = told * ((second > first) - (second < first))
    return signs


def mark_signs() -> NDArray[np.int8]:
    """Return the signs (order, shape), shape (2, 16), by the byte `marks`."""
    codes = np.arange(16)
    signs: NDArray[np.int8] = np.clip(np.stack((codes >> 2, codes & 3)) - 1, -1, 1).astype(np.int8)
    return signs


def _same_type(first: int, second: int) -> bool:
    return first == second or {first, second} == {FALSE, TRUE}


RIGHT_DIGEST = digest_of(RIGHT, b"")


def correctness_of(facts: Facts) -> tuple[bool, bool] | None:
    """Return whether each side agrees with the reference; None where there was none."""
    at = np.flatnonzero(facts.places == RIGHT_DIGEST)
    if not len(at):
        return None
    kinds = int(facts.kinds[at[0]])
    return kinds >> 4 == TRUE, kinds & 15 == TRUE


class Side(NamedTuple):
    """One side of a pair, as far as facts look at it."""

    answer: Answer
    document: object
    label: str | None


def facts_of(
    first: Side, second: Side, seed: bytes, reference: str | None = None, may_tell: MayTell | None = None
) -> Facts:
    """Return the facts of a pair.

    Paths are compared where both answers are JSON, arguments where both call the same tools: elsewhere every place
    would only repeat that they do not.
    """
    sides = _said(first, reference), _said(second, reference)
    # a word here, a text there: the features of length tell that; and log-probabilities are compared with such
    for name in (ANSWER, CERTAINTY, FIRST_CERTAINTY):
        if not all(name in place for place in sides):
            for place in sides:
                place.pop(name, None)
    if isinstance(first.document, (dict, list)) and isinstance(second.document, (dict, list)):
        for place, side in zip(sides, (first, second), strict=True):
            place.pop(ANSWER, None)
            place.update(places_of_json(side.document))
    if first.answer.tool_calls or second.answer.tool_calls:
        (called, tools), (other, others) = places_of_tools(first.answer), places_of_tools(second.answer)
        for place, told in zip(sides, (called, other), strict=True):
            if tools == others and tools is not None:
                place.update(told)
                continue
            place[CALLS] = told[CALLS]
            if first.answer.tool_calls and second.answer.tool_calls:
                place[TOOL] = told[TOOL]
    return compared(*sides, seed, may_tell)
