"""(e) Twenty groups in one monitor: rounds to alarm, and which groups are named."""

from __future__ import annotations

import math

import numpy as np
from benchmarks.detector.corpora import RECORDED, pairs_of, same_model_vectors
from benchmarks.detector.table import Row, Task, delay, mean_and_error, quantile

from promptguard.drift import PairMonitor, e_bh
from promptguard.drift.betting.partitions import paired

NAME = "groups"
GROUPS, HORIZON, ALPHA = 20, 1000, 0.01
REPORT = 50
"""rounds after which the groups are named, once, whatever happened before"""
SCENARIOS = {
    "all change": (GROUPS, 4.0),
    "five change": (5, None),
    "one changes": (1, 30.0),
    "none changes": (0, None),
}
Told = tuple[str, float, float, float]


def run(scenario: str, count: int, seed: int) -> list[Told]:
    """Return (scenario, round of the alarm, share of wrong names, recall) of each run."""
    return [_one(scenario, np.random.default_rng([seed, number])) for number in range(count)]


def _one(scenario: str, rng: np.random.Generator) -> Told:
    changing = {f"group {number}" for number in range(SCENARIOS[scenario][0])}
    still = iter([vector for _, vector in same_model_vectors(rng)])  # 1,000: enough for 50 rounds
    monitor = PairMonitor(alpha=ALPHA, mode="monitor", horizon=GROUPS * HORIZON)
    rang, first_kind = math.inf, int(rng.integers(len(RECORDED)))
    for turn in range(1, REPORT + 1):
        for number in rng.permutation(GROUPS):
            name = f"group {number}"
            if name in changing:
                # the recorded changes in turn: each group has one of its own
                pool = pairs_of(RECORDED[(first_kind + number) % len(RECORDED)])
                vector = paired(*pool[rng.integers(len(pool))])
            else:
                vector = next(still)
            verdict = monitor.observe(vector, name)
        if verdict.alarm_at is not None and math.isinf(rang):
            rang = turn
    evidence = {
        name: 10.0 ** monitor.brief(name).log10_evidence / HORIZON
        for name in (f"group {number}" for number in range(GROUPS))
    }
    named = e_bh(evidence, ALPHA)
    wrong = len(named - changing) / max(1, len(named))
    return scenario, rang, wrong, len(named & changing) / len(changing) if changing else math.nan


def tasks(scale: float, seed: int) -> list[Task]:
    count = max(10, round(90 * scale / 3))
    return [Task(run, (name, count, seed * 10 + part)) for name in SCENARIOS for part in range(3)]


def rows(results: list[list[Told]]) -> list[Row]:
    told = [one for part in results for one in part]
    found = []
    for scenario, (changing, target) in SCENARIOS.items():
        if not changing:
            continue
        rang = [at for name, at, *_ in told if name == scenario]
        met = None if target is None else quantile(rang, 0.5) <= target
        bar = "reported" if target is None else f"median <= {target:g}"
        found.append(Row(f"20 groups, {scenario}: rounds to alarm", delay(rang), bar, met, {"rounds": rang}))
        recall, error = mean_and_error([share for name, *_, share in told if name == scenario])
        found.append(
            Row(f"20 groups, {scenario}: recall", f"{recall:.3f} ± {error:.3f}", ">= .95", recall >= 0.95)
        )
    wrong, error = mean_and_error([share for _, _, share, _ in told])
    found.append(
        Row("20 groups: share of wrong names", f"{wrong:.4f} ± {error:.4f}", "<= .05", wrong <= 0.05)
    )
    return found
