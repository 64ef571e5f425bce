"""(c) Live answers to alarm when a real model changes behind its name, prompts repeated at temperature 0.7."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from benchmarks.detector import oracle
from benchmarks.detector.corpora import CHANGES, halves, pools, rounds, same_model
from benchmarks.detector.table import Row, Task, delay, mean_and_error, number, quantile

from promptguard.drift import AnswerVector, PairMonitor, SetMonitor
from promptguard.drift.betting.partitions import paired

NAME = "repeated-prompts"
SIZES = (*range(10, 101, 10), *range(120, 241, 20), *range(275, 401, 25), 450, 500, 600, 700, 800, 900, 1000)
SLACK = 1.1
RUN_LENGTH = 20
"""rounds between false alarms that the monitor of the last row promises"""


def alarms(version: str, count: int, seed: int) -> tuple[str, Any]:
    """The pair game and rounds of 5 + 5, on the same answers."""
    before, after, found = pools("base_A"), pools(version), []
    for number_ in range(count):
        rng = np.random.default_rng([seed, number_, *map(ord, version)])
        told = list(rounds(before, after, rng))
        found.append((_pair_game([paired(*pair) for _, a, b in told for pair in zip(a, b, strict=True)], rng),
                      _set_game(told)))  # fmt: skip
    return "alarms", (version, found)


def _pair_game(vectors: list[Any], rng: np.random.Generator) -> float:
    monitor = PairMonitor(alpha=oracle.LEVEL)
    for place in rng.permutation(len(vectors)):
        at = monitor.observe(vectors[place]).alarm_at
        if at is not None:
            return at
    return math.inf


def _set_game(told: list[tuple[str, list[AnswerVector], list[AnswerVector]]]) -> float:
    monitor = SetMonitor(alpha=oracle.LEVEL)
    for _, banked, live in told:
        at = monitor.observe(banked, live).alarm_at
        if at is not None:
            return at
    return math.inf


def oracle_power(version: str, count: int, seed: int) -> tuple[str, Any]:
    """Power of the within-prompt test after each number of live answers, from the same kind of streams.

    Sizes beyond the one where every kernel found the change twice running are left out.
    """
    rng = np.random.default_rng([seed, 1, *map(ord, version)])
    before, after = pools("base_A"), pools(version)
    grams = {prompt: oracle.kernels([*banked, *after[prompt]]) for prompt, banked in before.items()}
    places = {
        prompt: {id(answer): place for place, answer in enumerate([*banked, *after[prompt]])}
        for prompt, banked in before.items()
    }
    streams = [list(rounds(before, after, rng)) for _ in range(count)]
    power: dict[int, list[float]] = {}
    for size in SIZES:
        hits = np.zeros(len(oracle.KERNELS))
        for told in streams:
            seen: dict[str, tuple[list[int], list[int]]] = {}
            for prompt, banked, live in told[: size // 5]:
                sides = seen.setdefault(prompt, ([], []))
                for side, answers in zip(sides, (banked, live), strict=True):
                    side.extend(places[prompt][id(answer)] for answer in answers)
            parts = [grams[p][:, first + second][:, :, first + second] for p, (first, second) in seen.items()]
            hits += oracle.within_prompts(parts, rng)
        power[size] = (hits / count).tolist()
        if len(power) > 1 and all(min(told) >= 0.99 for told in list(power.values())[-2:]):
            break
    return "oracle", (version, power)


def run_lengths(count: int, seed: int) -> tuple[str, Any]:
    """Rounds until a monitor that should run `RUN_LENGTH` rounds on average rings with nothing changed."""
    rng, found = np.random.default_rng([seed, 2]), []
    for _ in range(count):
        monitor = SetMonitor(alpha=1 / RUN_LENGTH, mode="monitor", horizon=1)
        for _, banked, live in rounds(*halves(same_model(), rng), rng):
            monitor.observe(banked, live)
            if monitor.alarm_round is not None:
                break
        found.append(monitor.alarm_round or monitor.rounds)
    return "length", ("", found)


def tasks(scale: float, seed: int) -> list[Task]:
    streams, tests = max(40, round(300 * scale)), max(40, round(180 * scale))
    parts = max(1, round(streams / 50))
    found = [Task(oracle_power, (version, tests, seed)) for version in CHANGES]
    found.append(Task(run_lengths, (max(40, round(300 * scale)), seed)))
    return found + [
        Task(alarms, (version, streams // parts, seed * 100 + part))
        for version in CHANGES
        for part in range(parts)
    ]


def rows(results: list[tuple[str, Any]]) -> list[Row]:
    delays: dict[str, list[tuple[float, float]]] = {}
    power, lengths = {}, []
    for kind, (version, told) in results:
        if kind == "alarms":
            delays.setdefault(version, []).extend(told)
        elif kind == "oracle":
            power[version] = told
        else:
            lengths = told
    found = [row for version in CHANGES for row in _rows(version, delays[version], power[version])]
    mean, error = (value / RUN_LENGTH for value in mean_and_error(lengths))
    figure = f"{mean:.2f} ± {error:.2f} ({len(lengths)} runs)"
    met = 1.0 - 2 * error <= mean
    return [*found, Row(f"SetMonitor: average run length / {RUN_LENGTH} rounds", figure, ">= 1.0", met)]


def _rows(version: str, found: list[tuple[float, float]], power: dict[int, list[float]]) -> list[Row]:
    most = oracle.reaching(power, 0.95)
    bar = SLACK * min(most)
    by_pairs, by_sets = ([told[side] for told in found] for side in (0, 1))
    shown = ", ".join(f"{kernel} {number(n)}" for kernel, n in zip(oracle.KERNELS, most, strict=True))
    data = {"pairs": by_pairs, "sets": by_sets, "power": power}
    return [
        Row(
            f"{version}: SetMonitor",
            f"{delay(by_sets)}; MMD n95: {shown}",
            f"95th <= {bar:.0f}",
            quantile(by_sets, 0.95) <= bar,
            data,
        ),
        Row(f"{version}: PairMonitor", delay(by_pairs), "reported"),
    ]
