"""Prompts that differ, and a second control: pairs alone, with one more answer of the control's model, and the oracle.

Streams of recorded changes, in random order. *Mixture*: the questions of every recorded task as one stream. Where several
answers to a prompt were recorded, each pair has a second control; its background calls are two. The oracle is the fixed n
at which a permutation test of the paired MMD has 95 % power, for the best of three kernels, chosen in hindsight.
"""

from __future__ import annotations

import gzip
import json
import math
from functools import cache
from typing import Any

import numpy as np
from benchmarks.detector import oracle
from benchmarks.detector.corpora import CHANGES, DATA, RECORDED, changed, recorded
from benchmarks.detector.table import Row, Task, number, quantile

from promptguard.demo.recordings import FAMILIES
from promptguard.drift import Answer, vectorise
from promptguard.drift.betting.experts import Difference, difference
from promptguard.drift.betting.group import Group
from promptguard.drift.betting.partitions import paired

NAME = "power"
BAR = math.log(100)
SIZES = (
    *range(6, 20),
    *range(20, 51, 2),
    *range(55, 101, 5),
    *range(110, 201, 10),
    *range(225, 401, 25),
    450,
    500,
    600,
)
MIXTURE = "mixture"


@cache
def texts(version: str) -> dict[str, list[Answer]]:
    """All sampled answers of one version of the small model, by prompt."""
    found: dict[str, list[Answer]] = {}
    for line in gzip.decompress((DATA / f"{version}.jsonl.gz").read_bytes()).splitlines():
        row = json.loads(line)
        if row["temperature"]:
            answer = Answer(row["text"], finish_reason=row["finish_reason"])
            found.setdefault(row["prompt_id"], []).append(answer)
    return found


def pairs_of(corpus: tuple[str, ...]) -> list[Any]:
    """The recorded pairs of a task, of all tasks together, or of a change of the small model."""
    if corpus[0] == MIXTURE:
        tasks = [task for task, family in RECORDED if family == corpus[1] and task != "prime"]
        # as many primes as all else: a thousand of one template would be the whole stream
        found = [pair for task in tasks for pair in recorded(task, corpus[1])]
        return found + recorded("prime", corpus[1])[: len(found)]
    return recorded(*corpus) if len(corpus) == 2 else changed(*corpus)


@cache
def differences(corpus: tuple[str, ...]) -> list[Difference]:
    return [difference(paired(*pair)) for pair in pairs_of(corpus)]


@cache
def triples(version: str) -> list[Difference]:
    """The changed pairs with another answer of the unchanged model beside each."""
    others, after = texts("base_B"), texts(version)
    return [
        difference(vectorise(control, candidate, repeat=again))
        for prompt, before in texts("base_A").items()
        for control, again, candidate in zip(before, others[prompt], after[prompt], strict=True)
    ]


def until(stream: list[Difference]) -> float:
    """Pairs until the alarm at .01; infinity if there is none."""
    group = Group("gate")
    for count, seen in enumerate(stream, 1):
        group.bet(seen)
        if group.process.log >= BAR:
            return count
    return math.inf


def delays(corpus: tuple[str, ...], count: int, seed: int) -> tuple[str, Any]:
    """Pairs to the alarm in random orders, of pairs and, where there are some, of triples in the same orders."""
    rng = np.random.default_rng([seed, *map(ord, "".join(corpus))])
    alone = differences(corpus)
    three = triples(corpus[0]) if len(corpus) == 1 else None
    told: list[tuple[float, float | None]] = []
    for _ in range(count):
        order = rng.permutation(len(alone))
        told.append(
            (until([alone[i] for i in order]), None if three is None else until([three[i] for i in order]))
        )
    return "delays", (corpus, told)


def oracle_power(corpus: tuple[str, ...], count: int, seed: int) -> tuple[str, Any]:
    """Power of the fixed-n test at each n, by kernel."""
    rng = np.random.default_rng([seed, 1, *map(ord, "".join(corpus))])
    found = pairs_of(corpus)
    found = [found[place] for place in rng.permutation(len(found))[:800]]
    grams, power = oracle.paired_kernels(found), {}
    for size in SIZES:
        if size > len(found):
            break
        hits = np.zeros(len(oracle.KERNELS))
        for _ in range(count):
            chosen = rng.choice(len(found), size, replace=False)
            hits += oracle.rejects_pairs(grams[:, chosen][:, :, chosen], rng)
        power[size] = (hits / count).tolist()
        if size > 20 and (hits / count).max() >= 0.995:
            break
    return "oracle", (corpus, power)


CORPORA = (
    *((task, family) for task, family in RECORDED if task != "prime"),
    *((MIXTURE, family) for family in FAMILIES),
    *((version,) for version in CHANGES),
)


def tasks(scale: float, seed: int) -> list[Task]:
    orders, tests = max(40, round(200 * scale)), max(40, round(120 * scale))
    found = [Task(delays, (corpus, orders, seed)) for corpus in CORPORA]
    return found + [Task(oracle_power, (corpus, tests, seed)) for corpus in CORPORA]


def rows(results: list[tuple[str, Any]]) -> list[Row]:
    told = dict(data for kind, data in results if kind == "delays")
    power = dict(data for kind, data in results if kind == "oracle")
    return [row for corpus in CORPORA for row in _rows(corpus, told[corpus], power[corpus])]


def _rows(corpus: tuple[str, ...], told: list[Any], power: dict[int, list[float]]) -> list[Row]:
    best = min(oracle.reaching(power, 0.95))
    beside = f"; best MMD n95 {number(best)}"
    alone = [first for first, _ in told]
    found = [_row(f"{' '.join(corpus)}: pairs", alone, 1, best, beside)]
    if told[0][1] is not None:
        found.append(
            _row(f"{' '.join(corpus)}: with a second control", [three for _, three in told], 2, best, beside)
        )
    return found


def _row(name: str, delays: list[float], calls: int, best: float, beside: str) -> Row:
    half, late = quantile(delays, 0.5), quantile(delays, 0.95)
    asked = f"{number(half * calls)} / {number(late * calls)} background calls"
    figure = f"{number(half)} / {number(late)} pairs, {asked}{beside}"
    return Row(name, figure, "95th <= 1.2 n95", late <= 1.2 * best, {"delays": delays, "best": best})
