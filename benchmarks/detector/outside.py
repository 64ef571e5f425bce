"""Onset and cause (benchmarks/detector_causes.py), and what the detector costs."""

from __future__ import annotations

import json
import time
from importlib import util
from statistics import mean, median
from typing import Any

import numpy as np
from benchmarks.detector.corpora import same_model_vectors
from benchmarks.detector.table import Row, Task

from promptguard.demo.recordings import Recordings
from promptguard.drift import Answer, PairMonitor, SetMonitor, vectorise, vectorise_answer
from promptguard.drift.betting.experts import SwapBet, difference
from promptguard.drift.betting.group import Group

NAME = "cause-and-cost"
CAUSES = "benchmarks.detector_causes"
CELLS = (("onset_error", "onset, median error in pairs", 2.0), ("covered", "onset, 90 % set covers", 0.9),
         ("top1", "cause, top-1", 0.9), ("top3", "cause, top-3", 0.98))  # fmt: skip


def causes(streams: int, seed: int) -> tuple[str, Any]:
    """Planted edits, if that benchmark is there."""
    if util.find_spec(CAUSES) is None:
        return "causes", None
    from importlib import import_module

    return "causes", import_module(CAUSES).run(streams, seed)


def costs(seed: int) -> tuple[str, Any]:
    """CPU time of this process, the least disturbed of several blocks."""
    vectors = [vector for _, vector in same_model_vectors(np.random.default_rng(seed))]
    seen = [difference(vector) for vector in vectors]
    learner = SwapBet()
    pair = _each(lambda: [learner.score_then_learn(one) for one in seen[:200]], 200)
    monitor = PairMonitor()
    whole = _each(lambda: [monitor.observe(vector) for vector in vectors[:200]], 200)
    recordings = Recordings("leetcode")
    texts = [recordings.answer(question, "gpt-4-0314").text for question in recordings.questions]
    size = sum(len(text.encode()) for text in texts) / 1024
    pairs = list(zip(texts[::2], texts[1::2], strict=True))
    measured = _each(lambda: [vectorise(Answer(one), Answer(other)) for one, other in pairs], 1) / size
    answers = [vectorise_answer(Answer(text)) for text in texts[:10]]
    sets = SetMonitor()
    rounds = _each(lambda: [sets.observe(answers[:5], answers[5:]) for _ in range(20)], 20)
    group = Group("gate")
    for one in seen[:500]:
        group.bet(one)
    learned = sum(value.nbytes for value in group.learner.state_dict().values() if hasattr(value, "nbytes"))
    state = len(json.dumps(monitor.state_dict()))
    return "costs", {
        "pair": pair,
        "observe": whole,
        "kb": measured,
        "round": rounds,
        "bytes": learned,
        "state": state,
    }


def _each(work: Any, count: int) -> float:
    """Seconds a piece of work."""
    found = []
    for _ in range(7):
        began = time.process_time()
        work()
        found.append((time.process_time() - began) / count)
    return min(found)


def tasks(scale: float, seed: int) -> list[Task]:
    return [Task(causes, (max(3, round(24 * scale)), seed)), Task(costs, (seed,))]


def rows(results: list[tuple[str, Any]]) -> list[Row]:
    told = dict(results)
    return [*_cause_rows(told["causes"]), *_cost_rows(told["costs"])]


def _cause_rows(cells: list[dict[str, Any]] | None) -> list[Row]:
    if cells is None:
        return [Row("onset and cause", "benchmarks/detector_causes.py is not there", "", None)]
    judged = [cell for cell in cells if cell["found"] >= 0.5]
    found = []
    for name, title, target in CELLS:
        values = [cell[name] for cell in judged if cell[name] is not None]
        low = name == "onset_error"
        value = median(values) if low else mean(values)
        met = value <= target if low else value >= target
        cells_met = sum(one <= target if low else one >= target for one in values)
        figure = f"{value:.3g} ({cells_met} of {len(values)} cells meet it)"
        found.append(Row(title, figure, f"{'<=' if low else '>='} {target:g}", met, {"cells": cells}))
    return found


def _cost_rows(cost: dict[str, float]) -> list[Row]:
    micro = 1e6
    return [
        Row("cost: bets on a pair", f"{cost['pair'] * micro:.0f} us", "<= 60 us", cost["pair"] * micro <= 60),
        Row("cost: PairMonitor.observe", f"{cost['observe'] * micro:.0f} us", "reported"),
        Row("cost: a KB of answer", f"{cost['kb'] * micro:.0f} us", "<= 150 us", cost["kb"] * micro <= 150),
        Row("cost: a round of 5 + 5", f"{cost['round'] * micro:.0f} us", "reported"),
        Row(
            "cost: learner of a group",
            f"{cost['bytes'] / 1024:.1f} KB",
            "<= 32 KB",
            cost["bytes"] <= 32 * 1024,
        ),
        Row("cost: state of a monitor as JSON", f"{cost['state'] / 1024:.0f} KB", "reported"),
    ]
