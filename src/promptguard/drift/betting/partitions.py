"""Rounds of one prompt: r stored ("banked") answers against s live ones, and every way to tell them apart.

If nothing changed, the r + s answers are exchangeable, so each of the (r + s choose s) labelings "these are
the live ones" is as likely as the true one. A statistic is therefore computed for all labelings, the true one
in row 0; its rank says what a permutation test would say, and any positive function of it, divided by its
mean over the rows, is an e-value (section 2 of Ramdas & Wang, "Hypothesis testing with e-values").

Of rounds with more than `MOST` labelings so many are drawn at random. The true labeling and the drawn ones are
then exchangeable among themselves, so dividing by the mean over *all rows, row 0 included* stays valid.

Arrays have one row an answer, banked answers first; nothing here may treat them apart but through `labels`.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from promptguard.drift.betting.experts import Difference, difference
from promptguard.drift.features.answer import Answer
from promptguard.drift.features.catalogue import SCALE
from promptguard.drift.features.facts import Side, facts_of
from promptguard.drift.features.hashing import hash_text, quantise
from promptguard.drift.features.labels import Labeller, tidy
from promptguard.drift.features.schema import asked_schema
from promptguard.drift.features.vector import PairVector, _side

Floats = NDArray[np.float64]

MOST = 252
"""labelings that are enumerated, (10 choose 5); of larger rounds as many are drawn"""
_WORDS = 256
_TINY = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class AnswerVector:
    """One answer, as numbers.

    `values`: uint16, shape (COUNT,), features times 65,535. `hashed`: shape (512,), unit length. `words`:
    uint32, one checksum a word, of the first 256. `counts`: characters, lines, words.
    """

    values: NDArray[np.uint16]
    hashed: Floats
    words: NDArray[np.uint32]
    counts: tuple[int, int, int]
    label: str | None
    side: Side
    """what pairs of this answer are compared by place with; like the rest, it is not kept beyond the round"""


def vectorise_answer(
    answer: Answer,
    *,
    seed: bytes = b"",
    labels: Labeller | None = None,
    response_format: Mapping[str, object] | None = None,
) -> AnswerVector:
    """Measure one answer, by the same code whichever side it will be on; `response_format` as for `vectorise`.

    ValueError for a wrong type or a missing answer (`error`).
    """
    if not isinstance(answer, Answer):
        raise ValueError(f"answer must be an Answer, not {type(answer).__name__}")
    if answer.error is not None:
        raise ValueError(f"answer is missing ({answer.error!r}); SetMonitor.update counts it")
    label, measured = _side(answer, labels, asked_schema(response_format))
    words = np.array([zlib.crc32(word) for word in measured.data.split()[:_WORDS]], dtype=np.uint32)
    hashed = hash_text(measured.data, seed)
    side = Side(answer, measured.document, label or None)
    return AnswerVector(measured.values, hashed, words, measured.counts, label or None, side)


def paired(
    banked: AnswerVector, live: AnswerVector, reference: str | None = None, seed: bytes = b""
) -> PairVector:
    """Return the pair as `vectorise` would have made it."""
    hashed, scale = quantise(banked.hashed, live.hashed)
    counts, names = (banked.counts, live.counts), (banked.label, live.label)
    facts = facts_of(banked.side, live.side, seed, reference)
    return PairVector(
        banked.values, live.values, hashed, scale, counts, names, tidy(reference) or None, facts
    )


@dataclass(frozen=True, slots=True, eq=False)
class Round:
    """One round as the bettors see it, of n answers.

    `features`: shape (n, COUNT) in [0, 1]. `hashed`: (n, 512). `words`: (n, n), share of word positions at
    which two answers differ. `labels`: (rows, n), 1 for answers called live; row 0 is the truth. `pairs`: the
    ordinary pairs, each answer in at most one.
    """

    features: Floats
    hashed: Floats
    words: Floats
    labels: Floats
    pairs: tuple[Difference, ...]

    @property
    def log_ceiling(self) -> float:
        """Return the log of the most that a round of this size can pay, as a set or by its pairs."""
        return max(math.log(len(self.labels)), len(self.pairs) * math.log(2.0))


def make_round(
    banked: list[AnswerVector], live: list[AnswerVector], vectors: list[PairVector], draw: tuple[bytes, int]
) -> Round:
    """Return the round. `draw` is (seed, number of the round) and keys the drawn labelings of a large one."""
    answers = [*banked, *live]
    return Round(
        features=np.array([answer.values for answer in answers]) / SCALE,
        hashed=np.array([answer.hashed for answer in answers]),
        words=_hamming([answer.words for answer in answers]),
        labels=_labels(len(banked), len(live), draw),
        pairs=tuple(difference(vector) for vector in vectors),
    )


def _hamming(words: list[NDArray[np.uint32]]) -> Floats:
    longest = max(1, *(len(said) for said in words))
    table = np.full((len(words), longest), -1, dtype=np.int64)
    for row, said in zip(table, words, strict=True):
        row[: len(said)] = said
    there = table >= 0
    agree = ((table[:, None] == table[None]) & there[:, None]).sum(-1)
    union = (there[:, None] | there[None]).sum(-1)
    result: Floats = np.where(union > 0, 1.0 - agree / np.maximum(union, 1), 0.0)
    return result


def _labels(banked: int, live: int, draw: tuple[bytes, int]) -> Floats:
    if math.comb(banked + live, live) <= MOST:
        return _all_labels(banked, live)
    seed, number = draw
    # the draws must not depend on the answers, and must be new each round
    key = hashlib.blake2b(seed, digest_size=8, person=b"promptguard set").digest()
    rng = np.random.default_rng([int.from_bytes(key, "little"), number])
    truth = np.concatenate([np.zeros(banked), np.ones(live)])
    drawn = rng.permuted(np.tile(truth, (MOST - 1, 1)), axis=1)
    return np.concatenate([truth[None], drawn])


@lru_cache(maxsize=64)
def _all_labels(banked: int, live: int) -> Floats:
    size = banked + live
    # the last answers are the live ones: the reversed order of combinations puts the truth first
    chosen = list(combinations(range(size), live))[::-1]
    labels = np.zeros((len(chosen), size))
    for row, places in zip(labels, chosen, strict=True):
        row[list(places)] = 1.0
    labels.setflags(write=False)
    return labels


def standardised(statistics: Floats) -> Floats:
    """Return each column, one value a labeling, with mean 0 and variance 1; a constant one as zeros."""
    centred: Floats = statistics - statistics.mean(axis=0)
    spread = np.sqrt((centred * centred).mean(axis=0))
    result: Floats = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > _TINY)
    return result


def sums(labels: Floats, scores: Floats) -> Floats:
    """Return the sum of `scores`, shape (n, k), over the answers that each labeling calls live: (rows, k)."""
    # not BLAS: the same bits whatever the alignment, so that replay equals live
    result: Floats = np.einsum("pi,ik->pk", labels, scores)
    return result


def cohesion(labels: Floats, distances: list[Floats]) -> tuple[Floats, Floats]:
    """Return how alike answers of one side are, and how much wider the live side is spread.

    The first is the within-prompt MMD (Gretton et al. 2012) up to what is the same for all labelings; it is
    even in the sides, the second odd. Both have shape (labelings, number of distances).
    """
    others = 1.0 - labels
    live, banked = labels[0].sum(), others[0].sum()
    alike, wider = [], []
    for distance in distances:
        near = np.einsum("pi,ij,pj->p", labels, distance, labels) / (live * (live - 1.0))
        far = np.einsum("pi,ij,pj->p", others, distance, others) / (banked * (banked - 1.0))
        alike.append(-(near * live + far * banked))
        wider.append(near - far)
    return np.stack(alike, axis=1), np.stack(wider, axis=1)


def ranks(features: Floats) -> Floats:
    """Return centred mid-ranks of each feature among the answers of the round."""
    above = (features[:, None] > features[None]).sum(axis=1)
    level = (features[:, None] == features[None]).sum(axis=1)
    result: Floats = above + 0.5 * level - 0.5 * len(features)
    return result
