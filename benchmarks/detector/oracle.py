"""Permutation tests of the maximum mean discrepancy (as in Gao, Liang, Guestrin, arXiv 2410.20247) at a fixed n.

They are oracles: n is known beforehand, and there is one look. Three kernels: Hamming on words (the paper's, here called
MET), cosine of n-grams, RBF on the features. The best of them is known only in hindsight: the hardest comparison.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from promptguard.drift import AnswerVector
from promptguard.drift.betting.partitions import _hamming
from promptguard.drift.features.catalogue import SCALE

KERNELS = ("Hamming", "n-grams", "features")
DRAWS = 199
LEVEL = 0.01


def kernels(answers: Sequence[AnswerVector]) -> np.ndarray:
    """Similarities between all answers, shape (3, n, n)."""
    features = np.array([answer.values for answer in answers]) / SCALE
    spread = features.std(axis=0)
    scaled = np.divide(features, spread, out=np.zeros_like(features), where=spread > 0)
    length = (scaled * scaled).sum(axis=1)
    squares = np.maximum(length[:, None] + length[None] - 2 * scaled @ scaled.T, 0.0)
    typical = float(np.median(squares[np.triu_indices(len(squares), 1)])) or 1.0
    hashed = np.array([answer.hashed for answer in answers])
    return np.stack([1.0 - hamming(answers), hashed @ hashed.T, np.exp(-squares / typical)])


def hamming(answers: Sequence[AnswerVector]) -> np.ndarray:
    return _hamming([answer.words for answer in answers])


def paired_kernels(pairs: Sequence[tuple[AnswerVector, AnswerVector]]) -> np.ndarray:
    """Inner products of the pairs' differences in each kernel's space, shape (3, n, n)."""
    count = len(pairs)
    grams = kernels([first for first, _ in pairs] + [second for _, second in pairs])
    return (
        grams[:, count:, count:]
        - grams[:, count:, :count]
        - grams[:, :count, count:]
        + grams[:, :count, :count]
    )


def rejects_pairs(grams: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Whether each kernel's test, by exchanging the sides of pairs, rejects; shape (3,)."""
    signs = np.where(rng.random((DRAWS + 1, grams.shape[1])) < 0.5, -1.0, 1.0)
    signs[0] = 1.0
    return _rejects(np.stack([((signs @ gram) * signs).sum(axis=1) for gram in grams]))


def within_prompts(grams: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """As above, permuting the labels within each prompt; each of `grams` has shape (3, 2m, 2m), banked first."""
    total = np.zeros((len(KERNELS), DRAWS + 1))
    for gram in grams:
        half = gram.shape[1] // 2
        truth = np.repeat([1.0, -1.0], half)
        signs = np.vstack([truth, rng.permuted(np.tile(truth, (DRAWS, 1)), axis=1)])
        total += np.stack([((signs @ one) * signs).sum(axis=1) for one in gram]) / half
    return _rejects(total)


def _rejects(statistics: np.ndarray) -> np.ndarray:
    reached = (statistics[:, 1:] >= statistics[:, :1] - 1e-12).sum(axis=1)
    return (reached + 1) / (DRAWS + 1) <= LEVEL


def reaching(power: dict[int, list[float]], share: float) -> list[float]:
    """The smallest n at which each kernel's power reaches `share`, there and at the next n tried; inf if none."""
    sizes = sorted(power)
    found = []
    for kernel in range(len(KERNELS)):
        good = [power[size][kernel] >= share for size in sizes] + [True]
        found.append(next((float(n) for i, n in enumerate(sizes) if good[i] and good[i + 1]), math.inf))
    return found
