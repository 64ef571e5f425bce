"""False alarms of what is bet on by place, and of three answers: 500 pairs a stream, a look after every pair.

*Exchanged*: pairs of a model that did change, their sides exchanged by a fair coin (of three answers, one of the three
placements at random): exchangeable by construction, while every learner has something to learn. *Unchanged*: two or three
draws of one model.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
from benchmarks.detector import tickets
from benchmarks.detector.nulls import LEVELS, SLICE, _row
from benchmarks.detector.table import Row, Task
from benchmarks.detector.triples import texts

from promptguard.drift import vectorise
from promptguard.drift.betting.experts import Difference, difference
from promptguard.drift.betting.group import Group

NAME = "by-place"
LENGTH = 500
POOL = 1200
MAKERS: dict[str, Any] = {
    "JSON": partial(tickets.pair, form=tickets.as_json),
    "tool calls": partial(tickets.pair, form=tickets.as_tool),
    "right and wrong": tickets.exam,
    "labels": tickets.label,
    "log-probabilities": tickets.certain,
}


@cache
def pool(kind: str, drifted: bool) -> list[tuple[Difference, Difference]]:
    """Pairs of one kind, as they are and with their sides exchanged."""
    rng, found = random.Random(f"{kind} {drifted}"), []
    for _ in range(POOL):
        first, second, *reference = MAKERS[kind](rng, drifted=drifted)
        vector = vectorise(first, second, reference=reference[0] if reference else None)
        found.append((difference(vector), difference(vector.swapped())))
    return found


@cache
def threes(version: str) -> list[tuple[Difference, ...]]:
    """Triples (two draws of one model, one of `version`), in each of the three placements."""
    rng = np.random.default_rng(3)
    found = []
    for prompt, first in texts("base_A").items():
        others = [texts(name)[prompt] for name in ("base_B", version)]
        orders = [rng.permutation(len(first)) for _ in range(3)]
        for one, other, last in zip(*orders, strict=True):
            three = first[one], others[0][other], others[1][last]
            ways = ((0, 1, 2), (1, 2, 0), (2, 0, 1))
            found.append(
                tuple(difference(vectorise(three[a], three[c], repeat=three[b])) for a, b, c in ways)
            )
    return found


def highest(stream: Iterable[Difference]) -> float:
    """The most evidence (log) that both games together ever had, up to the alarm at .01."""
    group, most = Group("gate"), 0.0
    for seen in stream:
        group.bet(seen)
        most = max(most, group.process.log)
        if most >= -math.log(LEVELS[-1]):
            break
    return most


def _of_kind(rng: np.random.Generator, kind: str, drifted: bool) -> float:
    found = pool(kind, drifted)
    return highest(found[place][rng.integers(2)] for place in rng.permutation(len(found))[:LENGTH])


def _of_threes(rng: np.random.Generator, version: str, share: float) -> float:
    """A share of the pairs has a second control; the others' is taken away."""
    found = threes(version)
    return highest(
        _without(found[place][rng.integers(3)], rng, share) for place in rng.permutation(len(found))[:LENGTH]
    )


def _without(seen: Difference, rng: np.random.Generator, share: float) -> Difference:
    return seen if rng.random() < share else replace(seen, triple=None)


CONFIGURATIONS: tuple[tuple[str, int, Any, tuple[Any, ...]], ...] = (
    *((f"{kind}, exchanged", 1000, _of_kind, (kind, True)) for kind in MAKERS),
    *((f"{kind}, unchanged", 700, _of_kind, (kind, False)) for kind in MAKERS),
    ("three answers, quant_q8_0, placed at random", 600, _of_threes, ("quant_q8_0", 1.0)),
    ("three answers, ft_style_20, placed at random", 600, _of_threes, ("ft_style_20", 1.0)),
    ("three answers, top_p, placed at random", 600, _of_threes, ("serv_top_p0.5", 1.0)),
    ("a tenth of three answers, ft_style_8_s0.25", 600, _of_threes, ("ft_style_8_s0.25", 0.1)),
)


def part(index: int, count: int, seed: int) -> tuple[int, list[float]]:
    """Run `count` streams of one configuration; return its index and each stream's highest evidence."""
    _, _, function, arguments = CONFIGURATIONS[index]
    children = np.random.SeedSequence([seed, index]).spawn(count)
    return index, [function(np.random.default_rng(child), *arguments) for child in children]


def tasks(scale: float, seed: int) -> list[Task]:
    found = []
    for index, (_, full, *_rest) in enumerate(CONFIGURATIONS):
        streams = max(20, round(full * scale))
        slices = max(1, round(streams / SLICE))
        found += [Task(part, (index, streams // slices, seed * 10_000 + number)) for number in range(slices)]
    return found


def rows(results: list[tuple[int, list[float]]]) -> list[Row]:
    found: dict[int, list[float]] = {}
    for index, values in results:
        found.setdefault(index, []).extend(values)
    together = [value for values in found.values() for value in values]
    told = [_row("false alarms at .05 / .01, all below together", together, overall=True)]
    return told + [_row(CONFIGURATIONS[index][0], values) for index, values in sorted(found.items())]
