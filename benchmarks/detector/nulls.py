"""(a) False alarms: streams on which nothing changed, 1,000 pairs each, a look after every pair."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
from benchmarks.detector.corpora import (
    CHANGES,
    RECORDED,
    Difference,
    halves,
    made,
    pools,
    rounds,
    same_model,
    same_model_vectors,
    swapped,
)
from benchmarks.detector.table import Row, Task, rate

from promptguard.drift import PairMonitor, SetMonitor
from promptguard.drift.betting.evidence import Process
from promptguard.drift.betting.experts import SwapBet, difference

NAME = "false-alarms"
LENGTH = 1000
LEVELS = (0.05, 0.01)
SLICE = 50
"""streams a task"""


def highest(stream: Iterable[Difference]) -> float:
    """The most evidence (log) that the pair game ever had, up to the alarm at .01."""
    learner, process, most = SwapBet(), Process("gate"), 0.0
    for seen in islice(stream, LENGTH):
        process.pay(learner.score_then_learn(seen))
        most = max(most, process.log)
        if most >= -math.log(LEVELS[-1]):
            break
    return most


def _swapped(rng: np.random.Generator, *corpus: str) -> float:
    return highest(swapped(corpus, rng))


def _same_model(rng: np.random.Generator) -> float:
    return highest(difference(vector) for _, vector in same_model_vectors(rng)[:LENGTH])


def _common_noise(rng: np.random.Generator) -> float:
    """Both sides follow one slowly moving state of the world, each with its own noise."""

    def stream() -> Iterator[Difference]:
        weights, state = rng.uniform(0.3, 2.0, 8), 0.0
        while True:
            state = 0.95 * state + rng.normal() * math.sqrt(1 - 0.95**2)
            sides = 1.0 / (
                1.0 + np.exp(-(state + rng.normal(size=(2, 1)) + rng.normal(size=(2, 8))) * weights)
            )
            yield made(sides[0], sides[1])

    return highest(stream())


def _own_noise(rng: np.random.Generator, rho: float) -> float:
    """Each side follows a state of its own: the sides are *not* exchangeable given the past (a known limit)."""

    def stream() -> Iterator[Difference]:
        states = rng.normal(size=2)
        while True:
            states = rho * states + rng.normal(size=2) * math.sqrt(1 - rho**2)
            sides = 1.0 / (1.0 + np.exp(-states))
            yield made(sides[:1], sides[1:])

    return highest(stream())


def _ties(rng: np.random.Generator, share: float) -> float:
    tie = made(np.zeros(1), np.zeros(1))
    other = swapped(RECORDED[0], rng)
    return highest(tie if rng.random() < share else next(other) for _ in range(LENGTH))


def _one_feature(rng: np.random.Generator, chance: float) -> float:
    flags = (rng.random((2, LENGTH)) < chance).astype(float)
    return highest(made(flags[0, i : i + 1], flags[1, i : i + 1]) for i in range(LENGTH))


def _groups(rng: np.random.Generator) -> float:
    """Twenty groups of two prompts each, in one monitor."""
    monitor, most = PairMonitor(alpha=LEVELS[-1]), 0.0
    numbers = {prompt: str(number % 20) for number, prompt in enumerate(same_model())}
    for prompt, vector in same_model_vectors(rng)[:LENGTH]:
        most = max(most, monitor.observe(vector, numbers[prompt]).log10_evidence)
    return most * math.log(10)


def _sets(rng: np.random.Generator, size: int, version: str | None) -> float:
    """Rounds of one unchanged model, or of answers before and after a change, shuffled."""
    if version is None:
        pooled = same_model()
    else:
        after = pools(version)
        pooled = {prompt: [*answers, *after[prompt]] for prompt, answers in pools("base_A").items()}
    monitor, most = SetMonitor(alpha=LEVELS[-1], seed=rng.bytes(8)), 0.0
    for _, banked, live in islice(rounds(*halves(pooled, rng), rng, size), LENGTH // size):
        most = max(most, monitor.observe(banked, live).log10_evidence)
    return most * math.log(10)


CONFIGURATIONS: tuple[tuple[str, int, Any, tuple[Any, ...]], ...] = (
    *((f"swap null, {task} {family}", 600, _swapped, (task, family)) for task, family in RECORDED),
    *((f"swap null, {version}", 500, _swapped, (version,)) for version in CHANGES),
    ("same model at temperature 0.7", 2500, _same_model, ()),
    ("noise common to both sides, AR .95", 800, _common_noise, ()),
    ("ties only", 100, _ties, (1.0,)),
    ("ties, 95 %", 800, _ties, (0.95,)),
    ("one feature, 50 % ones", 800, _one_feature, (0.5,)),
    ("one feature, 5 % ones", 500, _one_feature, (0.05,)),
    ("20 groups, same model", 500, _groups, ()),
    ("rounds 5 + 5, same model", 600, _sets, (5, None)),
    ("rounds 5 + 5, top_p shuffled", 300, _sets, (5, "serv_top_p0.5")),
    ("rounds 8 + 8 (drawn labelings)", 300, _sets, (8, None)),
)
"""(name, streams at scale 1, function, its arguments)"""

LIMITS = tuple((f"each side its own AR {rho}", 150, _own_noise, (rho,)) for rho in (0.3, 0.5, 0.95))


def part(index: int, count: int, seed: int) -> tuple[int, list[float]]:
    """Run `count` streams of one configuration; return its index and each stream's highest evidence."""
    _, _, function, arguments = (*CONFIGURATIONS, *LIMITS)[index]
    children = np.random.SeedSequence([seed, index]).spawn(count)
    return index, [function(np.random.default_rng(child), *arguments) for child in children]


def tasks(scale: float, seed: int) -> list[Task]:
    found = []
    for index, (_, full, *_rest) in enumerate((*CONFIGURATIONS, *LIMITS)):
        streams = max(20, round(full * scale))
        slices = max(1, round(streams / SLICE))
        found += [Task(part, (index, streams // slices, seed * 10_000 + number)) for number in range(slices)]
    return found


def rows(results: list[tuple[int, list[float]]]) -> list[Row]:
    found: dict[int, list[float]] = {}
    for index, values in results:
        found.setdefault(index, []).extend(values)
    together = [value for index, values in found.items() if index < len(CONFIGURATIONS) for value in values]
    told = [_row("false alarms at .05 / .01, all below together", together, overall=True)]
    for index, values in sorted(found.items()):
        if index < len(CONFIGURATIONS):
            told.append(_row(CONFIGURATIONS[index][0], values))
        else:
            told.append(_row(f"known limit: {LIMITS[index - len(CONFIGURATIONS)][0]}", values, judged=False))
    return told


def _row(name: str, values: list[float], *, overall: bool = False, judged: bool = True) -> Row:
    count = len(values)
    hits = [sum(value >= -math.log(level) for value in values) for level in LEVELS]
    # all together the rate itself must lie below the level; a single configuration within two standard errors
    errors = [0.0 if overall else 2 * math.sqrt(level * (1 - level) / count) for level in LEVELS]
    met = all(hit / count <= level + slack for hit, level, slack in zip(hits, LEVELS, errors, strict=True))
    figure = f"{' / '.join(rate(hit, count) for hit in hits)} ({count} streams)"
    target = "reported" if not judged else "<= .05 / .01" + ("" if overall else " + 2 s.e.")
    return Row(name, figure, target, met if judged else None, {"alarms": hits, "streams": count})
