"""Recorded answers as vectors, measured once a process, and the streams that are drawn from them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

from promptguard.demo.recordings import FAMILIES, Recordings
from promptguard.drift import Answer, AnswerVector, PairVector, vectorise_answer
from promptguard.drift.betting.experts import Difference, difference
from promptguard.drift.betting.partitions import paired
from promptguard.drift.features.catalogue import COUNT, SCALE
from promptguard.drift.features.hashing import DIMENSIONS

DATA = Path(__file__).parents[1] / "data"
RECORDED = tuple((task, family) for task in ("prime", "sensitive", "leetcode") for family in FAMILIES)
CHANGES = ("ft_style_20", "serv_maxtok24", "quant_q8_0", "ft_style_8_s0.25", "serv_top_p0.5")

Pools = dict[str, list[AnswerVector]]
Pairs = list[tuple[AnswerVector, AnswerVector]]
BothWays = list[tuple[Difference, Difference]]


@cache
def pools(version: str) -> Pools:
    """All sampled answers of one version of the small model, by prompt."""
    found: Pools = {}
    for line in gzip.decompress((DATA / f"{version}.jsonl.gz").read_bytes()).splitlines():
        row = json.loads(line)
        if row["temperature"]:
            answer = Answer(row["text"], finish_reason=row["finish_reason"])
            found.setdefault(row["prompt_id"], []).append(vectorise_answer(answer))
    return found


@cache
def same_model() -> Pools:
    """Fifty answers a prompt of one unchanged model."""
    return {prompt: [*answers, *pools("base_B")[prompt]] for prompt, answers in pools("base_A").items()}


@cache
def recorded(task: str, family: str) -> Pairs:
    """The answers of both snapshots to every question."""
    recordings, (_, before, after) = Recordings(task), FAMILIES[family]
    return [
        (
            vectorise_answer(Answer(recordings.answer(question, before).text)),
            vectorise_answer(Answer(recordings.answer(question, after).text)),
        )
        for question in recordings.questions
    ]


@cache
def changed(version: str) -> Pairs:
    """One fixed pairing of the small model before and after a change."""
    after = pools(version)
    return [
        pair for prompt, before in pools("base_A").items() for pair in zip(before, after[prompt], strict=True)
    ]


def pairs_of(corpus: tuple[str, ...]) -> Pairs:
    """`(task, family)` or `(version,)`."""
    return recorded(*corpus) if len(corpus) == 2 else changed(*corpus)


@cache
def both_ways(corpus: tuple[str, ...]) -> BothWays:
    """Every pair's difference, and that of the pair with its sides exchanged."""
    vectors = [paired(*pair) for pair in pairs_of(corpus)]
    return [(difference(vector), difference(vector.swapped())) for vector in vectors]


def in_order(corpus: tuple[str, ...], rng: np.random.Generator) -> list[Difference]:
    """A random order of the changed pairs."""
    found = both_ways(corpus)
    return [found[place][0] for place in rng.permutation(len(found))]


def differences_of_change(version: str, rng: np.random.Generator) -> list[Difference]:
    """A random order of the small model's pairs before and after a change."""
    return in_order((version,), rng)


def swapped(corpus: tuple[str, ...], rng: np.random.Generator) -> Iterator[Difference]:
    """The null by construction: real pairs, sides exchanged by a fair coin; without end, a new order each pass."""
    found = both_ways(corpus)
    while True:
        for place in rng.permutation(len(found)):
            yield found[place][rng.integers(2)]


def same_model_vectors(rng: np.random.Generator) -> list[tuple[str, PairVector]]:
    """1,000 (prompt, pair) of two draws of one model; every answer is used once, prompts in random order."""
    found = []
    for prompt, answers in same_model().items():
        order = rng.permutation(len(answers))
        found += [
            (prompt, paired(answers[first], answers[second]))
            for first, second in zip(order[::2], order[1::2], strict=True)
        ]
    return [found[place] for place in rng.permutation(len(found))]


def made(control: np.ndarray, candidate: np.ndarray) -> Difference:
    """A pair with these leading features, shape (k,), all others alike."""
    values = np.zeros((2, COUNT), dtype=np.uint16)
    values[0, : len(control)] = np.rint(control * SCALE)
    values[1, : len(candidate)] = np.rint(candidate * SCALE)
    nothing = np.zeros(DIMENSIONS, dtype=np.int8)
    counts = ((0, 0, 0), (0, 0, 0))
    return difference(PairVector(values[0], values[1], nothing, 0.0, counts))


def rounds(
    banked: Pools, live: Pools, rng: np.random.Generator, size: int = 5
) -> Iterator[tuple[str, list[AnswerVector], list[AnswerVector]]]:
    """Passes over all prompts, each in a new order; every answer is used once."""
    orders = {
        prompt: (
            [answers[i] for i in rng.permutation(len(answers))],
            [live[prompt][i] for i in rng.permutation(len(live[prompt]))],
        )
        for prompt, answers in banked.items()
    }
    prompts = list(orders)
    for first in range(0, min(len(side) for pair in orders.values() for side in pair) - size + 1, size):
        for place in rng.permutation(len(prompts)):
            before, after = orders[prompts[place]]
            yield prompts[place], before[first : first + size], after[first : first + size]


def halves(of: Pools, rng: np.random.Generator) -> tuple[Pools, Pools]:
    """Each prompt's answers shuffled and split in two: exchangeable whatever they are."""
    first: Pools = {}
    second: Pools = {}
    for prompt, answers in of.items():
        order = [answers[i] for i in rng.permutation(len(answers))]
        first[prompt], second[prompt] = order[::2], order[1::2]
    return first, second
