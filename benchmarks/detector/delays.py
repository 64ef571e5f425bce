"""(b, d) Pairs to alarm on the recorded changes of gpt-4 and gpt-3.5, in a gate and in a monitor; average run lengths."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import median
from typing import Any

import numpy as np
from benchmarks.detector import oracle
from benchmarks.detector.corpora import CHANGES, RECORDED, Difference, in_order, recorded, swapped
from benchmarks.detector.table import Row, Task, delay, mean_and_error, number, quantile

from promptguard.drift.betting.evidence import Mode, Process
from promptguard.drift.betting.experts import SwapBet

NAME = "delay"
GATE = math.log(100)
MONITOR = math.log(1e5)
SIZES = (*range(6, 20), *range(20, 51, 2), *range(55, 101, 5), *range(110, 201, 10))
WORST_GATE, MEDIAN_GATE, MEDIAN_MONITOR = 42, 12, 22
STRONG = RECORDED[:4]
"""gpt-4 and gpt-3.5 on primes and sensitive questions: nearly every answer changed"""
RUN_LENGTHS = (100, 1000)


def until(stream: Iterable[Difference], mode: Mode, bar: float) -> float:
    """Pairs until the evidence reaches `bar`; infinity if it does not."""
    learner, process = SwapBet(), Process(mode)
    for count, seen in enumerate(stream, 1):
        process.pay(learner.score_then_learn(seen))
        if process.log >= bar:
            return count
    return math.inf


def alarms(corpus: tuple[str, str], count: int, seed: int) -> tuple[str, Any]:
    """Random orders of one recorded change; gate and monitor see the same."""
    rng = np.random.default_rng([seed, *map(ord, "".join(corpus))])
    orders = [in_order(corpus, rng)[:300] for _ in range(count)]
    gate = [until(order, "gate", GATE) for order in orders]
    return "alarms", (corpus, gate, [until(order, "monitor", MONITOR) for order in orders])


def oracle_power(corpus: tuple[str, str], count: int, seed: int) -> tuple[str, Any]:
    """Power of the fixed-n test at each n, by kernel."""
    rng = np.random.default_rng([seed, 1, *map(ord, "".join(corpus))])
    pairs = recorded(*corpus)[: 4 * SIZES[-1]]
    grams, power = oracle.paired_kernels(pairs), {}
    for size in SIZES:
        if size > len(pairs):
            break
        hits = np.zeros(len(oracle.KERNELS))
        for _ in range(count):
            chosen = rng.choice(len(pairs), size, replace=False)
            hits += oracle.rejects_pairs(grams[:, chosen][:, :, chosen], rng)
        power[size] = (hits / count).tolist()
    return "oracle", (corpus, power)


def run_lengths(target: int, count: int, seed: int) -> tuple[str, Any]:
    """Pairs until a monitor that should run `target` pairs on average rings with nothing changed."""
    rng = np.random.default_rng([seed, target])
    corpora = [*((version,) for version in CHANGES), *RECORDED]
    lengths = [
        until(swapped(corpora[number % len(corpora)], rng), "monitor", math.log(target))
        for number in range(count)
    ]
    return "length", (target, lengths)


def tasks(scale: float, seed: int) -> list[Task]:
    orders, tests = max(50, round(300 * scale)), max(40, round(300 * scale))
    found = [Task(alarms, (corpus, orders, seed)) for corpus in RECORDED]
    found += [Task(oracle_power, (corpus, tests, seed)) for corpus in RECORDED]
    for target, runs in zip(RUN_LENGTHS, (1500, 600), strict=True):
        parts = 4
        each = max(20, round(runs * scale / parts))
        found += [Task(run_lengths, (target, each, seed * 100 + number)) for number in range(parts)]
    return found


def rows(results: list[tuple[str, Any]]) -> list[Row]:
    seen = [told for kind, told in results if kind == "alarms"]
    power = {corpus: oracles for kind, told in results if kind == "oracle" for corpus, oracles in [told]}
    lengths: dict[int, list[float]] = {}
    for kind, told in results:
        if kind == "length":
            lengths.setdefault(told[0], []).extend(told[1])
    found = [_gate(corpus, gate, power[corpus]) for corpus, gate, _ in seen]
    middle = median(quantile(gate, 0.5) for _, gate, _ in seen)
    worst = max(quantile(gate, 0.95) for _, gate, _ in seen)
    found += [
        Row("gate: median over configurations", number(middle), f"<= {MEDIAN_GATE}", middle <= MEDIAN_GATE),
        Row("gate: worst 95th percentile", number(worst), f"<= {WORST_GATE}", worst <= WORST_GATE),
    ]
    for corpus, _, monitor in seen:
        strong = corpus in STRONG
        met = quantile(monitor, 0.5) <= MEDIAN_MONITOR if strong else None
        target = f"median <= {MEDIAN_MONITOR}" if strong else "reported"
        found.append(Row(f"monitor at 1e5, {' '.join(corpus)}", delay(monitor), target, met))
    return found + [_length(target, values) for target, values in sorted(lengths.items())]


def _gate(corpus: tuple[str, str], gate: list[float], power: dict[int, list[float]]) -> Row:
    """The target is set by MET (the first kernel) wherever it reaches its power within the set."""
    half, most = oracle.reaching(power, 0.5), oracle.reaching(power, 0.95)
    met = None if math.isinf(most[0]) else quantile(gate, 0.95) <= most[0] + 4
    target = f"95th <= {number(most[0] + 4)}"
    shown = ", ".join(
        f"{kernel} {number(n50)}/{number(n95)}"
        for kernel, n50, n95 in zip(oracle.KERNELS, half, most, strict=True)
    )
    figure = f"{delay(gate)}; MMD n50/n95: {shown}"
    return Row(f"gate, {' '.join(corpus)}", figure, target, met, {"delays": gate, "power": power})


def _length(target: int, values: list[float]) -> Row:
    mean, error = mean_and_error(values)
    ratio = mean / target
    met = 1.0 - 2 * error / target <= ratio <= 1.5
    figure = f"{ratio:.2f} ± {error / target:.2f} ({len(values)} runs)"
    return Row(f"average run length / {target}", figure, "1.0-1.5", met, {"mean": mean})
