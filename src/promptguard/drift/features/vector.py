"""A pair as the ledger keeps it: quantised features of both sides and a hashed difference, no text.

Everything the detector ever learns of a pair is in here, so that a verdict is a fold over stored vectors:
replaying them gives the same evidence bit for bit.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from promptguard.drift.features.answer import Answer
from promptguard.drift.features.catalogue import COUNT, SCHEMA
from promptguard.drift.features.facts import NO_FACTS, Facts, MayTell, Side, facts_of
from promptguard.drift.features.hashing import DIMENSIONS, hash_text, quantise
from promptguard.drift.features.labels import Labeller, check_labeller, free_slot, tidy
from promptguard.drift.features.measure import Measured, measure
from promptguard.drift.features.schema import asked_schema
from promptguard.drift.features.third import Third, third_of

_HEADER = struct.Struct("<3sBHHf6I3B")
_MAGIC = b"PGV"
_LENGTHS = struct.Struct("<II")
_ABSENT = 255
_WITH_FACTS = 3
"""the first schema whose vectors end with facts"""


@dataclass(frozen=True, slots=True, eq=False)
class PairVector:
    """One pair, quantised. About 0.75 KB as bytes.

    `control`, `candidate`: uint16, shape (COUNT,), features times 65,535. `hashed`: int8, shape (512,), the
    difference candidate - control in units of `scale` / 127. `counts`: (characters, lines, words) of each
    side. `labels`: of each side, or None. `facts`: what the sides say by place. `third`: a second answer of the
    control's model, where there is one.
    """

    control: NDArray[np.uint16]
    candidate: NDArray[np.uint16]
    hashed: NDArray[np.int8]
    scale: float
    counts: tuple[tuple[int, int, int], tuple[int, int, int]]
    labels: tuple[str | None, str | None] = (None, None)
    reference: str | None = None
    facts: Facts = NO_FACTS
    third: Third | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PairVector) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def swapped(self) -> PairVector:
        """Return the pair with its sides exchanged, without a second control; differences are negated exactly."""
        return replace(
            self,
            control=self.candidate,
            candidate=self.control,
            hashed=-self.hashed,
            counts=(self.counts[1], self.counts[0]),
            labels=(self.labels[1], self.labels[0]),
            facts=self.facts.swapped(),
            third=None,
        )

    def features_only(self) -> PairVector:
        """Return the pair without the hash of its wording, what its sides say by place, and a second control."""
        return replace(
            self, hashed=np.zeros(DIMENSIONS, dtype=np.int8), scale=0.0, facts=NO_FACTS, third=None
        )

    def to_bytes(self) -> bytes:
        """Return a compact versioned form; `from_bytes` reads it back exactly."""
        names = [None if name is None else name.encode() for name in (*self.labels, self.reference)]
        lengths = [_ABSENT if name is None else len(name) for name in names]
        header = _HEADER.pack(
            _MAGIC, SCHEMA, COUNT, DIMENSIONS, self.scale, *self.counts[0], *self.counts[1], *lengths
        )
        arrays = (
            self.control.astype("<u2").tobytes()
            + self.candidate.astype("<u2").tobytes()
            + self.hashed.tobytes()
        )
        return header + arrays + b"".join(name or b"" for name in names) + self._rest()

    def _rest(self) -> bytes:
        """Return facts and second control behind their lengths; nothing where there are neither."""
        facts = self.facts.to_bytes()
        third = b"" if self.third is None else self.third.to_bytes()
        return _LENGTHS.pack(len(facts), len(third)) + facts + third if facts or third else b""

    @classmethod
    def from_bytes(cls, data: bytes) -> PairVector:
        """Read `to_bytes()` back.

        One of an older schema is read too: features that were not known then are absent on both sides. ValueError for
        anything else: a newer version, wrong size, impossible values.
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise ValueError(f"data must be bytes, not {type(data).__name__}")
        raw = bytes(data)
        if len(raw) < _HEADER.size:
            raise ValueError("data is too short to be a pair vector")
        magic, schema, count, dimensions, scale, *told = _HEADER.unpack_from(raw)
        if magic != _MAGIC:
            raise ValueError("data is no pair vector")
        if schema > SCHEMA or not 0 < count <= COUNT or dimensions != DIMENSIONS:
            raise ValueError(f"data is a pair vector of schema {schema}; this version reads up to {SCHEMA}")
        lengths = [None if length == _ABSENT else length for length in told[6:]]
        arrays_end = _HEADER.size + 4 * count + DIMENSIONS
        names_end = arrays_end + sum(length or 0 for length in lengths)
        if len(raw) < names_end or (schema < _WITH_FACTS and len(raw) > names_end):
            raise ValueError("data is a pair vector of the wrong size")
        values = np.frombuffer(raw, dtype="<u2", count=2 * count, offset=_HEADER.size).astype(np.uint16)
        hashed = np.frombuffer(raw, dtype=np.int8, count=DIMENSIONS, offset=_HEADER.size + 4 * count)
        # a search of bytes: a minimum of so short an array takes numpy thirty times as long
        impossible = raw.find(b"\x80", arrays_end - DIMENSIONS, arrays_end) >= 0
        if not math.isfinite(scale) or not 0.0 <= scale <= 2.0 or impossible:
            raise ValueError("data is a pair vector with impossible values")
        names: list[str | None] = []
        place = arrays_end
        for length in lengths:
            # UnicodeDecodeError is a ValueError
            names.append(None if length is None else raw[place : place + length].decode())
            place += length or 0
        first, second = (told[0], told[1], told[2]), (told[3], told[4], told[5])
        sides = _padded(values[:count]), _padded(values[count:])
        rest = _split(raw[names_end:])
        return cls(*sides, hashed, scale, (first, second), (names[0], names[1]), names[2], *rest)


def _split(rest: bytes) -> tuple[Facts, Third | None]:
    """Read what follows the names. ValueError for damaged bytes."""
    if not rest:
        return NO_FACTS, None
    if len(rest) < _LENGTHS.size:
        raise ValueError("data is a pair vector of the wrong size")
    facts, third = _LENGTHS.unpack_from(rest)
    start, middle = _LENGTHS.size, _LENGTHS.size + facts
    if len(rest) != middle + third:
        raise ValueError("data is a pair vector of the wrong size")
    return Facts.from_bytes(rest[start:middle]), Third.from_bytes(rest[middle:]) if third else None


def _padded(values: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return one side's features with those that its schema did not know as 0: the catalogue only grows at its end."""
    if len(values) == COUNT:
        return values
    return np.concatenate([values, np.zeros(COUNT - len(values), dtype=np.uint16)])


def vectorise(
    control: Answer,
    candidate: Answer,
    *,
    prompt: str | None = None,
    reference: str | None = None,
    seed: bytes = b"",
    labels: Labeller | None = None,
    response_format: Mapping[str, object] | None = None,
    may_tell: MayTell | None = None,
    repeat: Answer | None = None,
) -> PairVector:
    """Return the quantised pair; each side goes through the same code, which is not told the side.

    `prompt` is accepted for features that look at the request (none does yet) and is never kept. `seed` keys
    the hash: the same for every pair of a stream. `labels` reads a label off answers that carry none.
    `response_format` is the request's own; JSON answers are held against its schema (`schema.py` says how far).
    `may_tell(place, value)` says whether the vector may hold that value, or with None that path, in clear; the default is
    all of them.
    `repeat` is a second answer of the control's model, made as the candidate's was; one with `error` is left out.
    ValueError names a wrong argument; a missing answer (`error`) belongs to `PairMonitor.update` or `.skip`,
    not here.
    """
    _check(control, candidate, repeat)
    _check_circumstances(prompt, reference, seed, response_format)
    check_labeller(labels)
    schema = asked_schema(response_format)
    wanted = tidy(reference) or None
    again = None if repeat is None or repeat.error is not None else repeat
    if again is None and control == candidate:  # frequent at temperature 0: measure once
        label, measured = _side(control, labels, schema)
        zeros = np.zeros(DIMENSIONS, dtype=np.int8)
        counts = (measured.counts, measured.counts)
        side = Side(control, measured.document, label)
        facts = facts_of(side, side, seed, reference, may_tell)
        return PairVector(measured.values, measured.values, zeros, 0.0, counts, (label, label), wanted, facts)
    first_label, first = _side(control, labels, schema)
    second_label, second = _side(candidate, labels, schema)
    one, other = hash_text(first.data, seed), hash_text(second.data, seed)
    hashed, scale = quantise(one, other)
    names, counts = (first_label, second_label), (first.counts, second.counts)
    sides = Side(control, first.document, first_label), Side(candidate, second.document, second_label)
    facts = facts_of(*sides, seed, reference, may_tell)
    third = None
    if again is not None:
        _, more = _side(again, labels, schema)
        data = first.data, more.data, second.data
        third = third_of(more.values, [one, hash_text(more.data, seed), other], data)
    return PairVector(first.values, second.values, hashed, scale, counts, names, wanted, facts, third)


def _check(control: object, candidate: object, repeat: object) -> None:
    if repeat is not None and not isinstance(repeat, Answer):
        raise ValueError(f"repeat must be an Answer or None, not {type(repeat).__name__}")
    for name, answer in (("control", control), ("candidate", candidate)):
        if not isinstance(answer, Answer):
            raise ValueError(f"{name} must be an Answer, not {type(answer).__name__}")
        if answer.error is not None:
            raise ValueError(f"{name} is missing ({answer.error!r}); count it with skip() instead")


def _check_circumstances(prompt: object, reference: object, seed: object, response_format: object) -> None:
    for name, value in (("prompt", prompt), ("reference", reference)):
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{name} must be a string or None, not {type(value).__name__}")
    if not isinstance(seed, bytes):
        raise ValueError(f"seed must be bytes, not {type(seed).__name__}")
    if response_format is not None and not isinstance(response_format, Mapping):
        raise ValueError(f"response_format must be an object or None, not {type(response_format).__name__}")


def _side(
    answer: Answer, labels: Labeller | None, schema: Mapping[str, object] | None
) -> tuple[str | None, Measured]:
    label = answer.label if answer.label is not None or labels is None else labels.label(answer.text)
    label = tidy(label)
    if not label:
        return None, measure(answer, None, schema)
    return label, measure(answer, free_slot(label) if labels is None else labels.slot(label), schema)
