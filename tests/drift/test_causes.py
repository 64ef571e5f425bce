"""Planted causes on real answers are found, dated and named: a small run of benchmarks/detector_causes.py."""

import importlib.util
import statistics
import sys

import numpy as np
import pytest

from promptguard.drift import Answer, PairMonitor
from promptguard.drift.history.history import NO_EDGE
from promptguard.drift.history.onset import find_onset
from promptguard.drift.history.rows import PLAIN, WIDTH, Rows
from tests.drift.recorded import ROOT, pairs

pytestmark = pytest.mark.statistical


@pytest.fixture(scope="module")
def rows():
    path = ROOT / "benchmarks/detector_causes.py"
    spec = importlib.util.spec_from_file_location("detector_causes", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["detector_causes"] = module
    spec.loader.exec_module(module)
    yield module.run(4, 500)
    del sys.modules["detector_causes"]


def test_planted_causes_are_named_and_dated(rows):
    judged = [row for row in rows if row["found"] >= 0.5]
    assert len(judged) >= 48
    plain = [row for row in judged if (row["edit"], row["share"], row["noise"]) != ("length", 0.3, True)]
    assert statistics.mean(row["top1"] for row in plain) >= 0.95
    assert statistics.mean(row["top3"] for row in plain) >= 0.97
    assert statistics.mean(row["covered"] for row in judged) >= 0.93
    near = [row for row in judged if row["onset_error"] <= 2]
    assert len(near) >= len(judged) - 8  # four streams a cell


def test_without_noise_the_onset_is_exact_and_every_cause_first(rows):
    for row in rows:
        if not row["noise"] and row["share"] == 1.0:
            assert (row["found"], row["top1"], row["onset_error"]) == (1.0, 1.0, 0), row["edit"]


def prose(text):
    return " ".join(text.split()).replace("*", "")


def test_longer_answers_are_told_as_length_not_as_what_comes_with_it():
    """Recorded gpt-3.5 answers with another explanation before them: reasoning words and digits come along."""
    texts = [prose(first["answer"]) for first, _ in pairs("prime", "gpt-3.5")]
    monitor = PairMonitor()
    for number in range(60):
        more = texts[number + 200]
        monitor.update(Answer(texts[number]), Answer(f"{more[: len(more) // 2]}: {texts[number]}"))
    assert monitor.explain().changes[0].feature == "length"


def test_a_flag_that_comes_with_more_text_is_not_put_behind_it():
    texts = [prose(first["answer"]) for first, _ in pairs("prime", "gpt-3.5")]
    monitor = PairMonitor()
    for number in range(60):
        monitor.update(
            Answer(texts[number]), Answer(f"{texts[number]} More is at https://example.org/{number}")
        )
    assert "url" in {change.feature for change in monitor.explain().changes[:2]}


def test_onset_of_bets_that_paid_needs_no_named_feature():
    raw = np.zeros((200, WIDTH), dtype=np.uint8)
    rng = np.random.default_rng(3)
    edges = rng.choice([-40, 40], 200)
    edges[120:] = 60
    edges[::7] = NO_EDGE
    raw[:, PLAIN - 1] = edges.astype(np.int8).view(np.uint8)
    onset = find_onset(Rows(np.arange(1, 201), raw))
    assert abs(onset.pair - 121) <= 3
    assert onset.low <= 121 <= onset.high
    assert find_onset(Rows(np.arange(0), raw[:0])) is None
