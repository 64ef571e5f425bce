"""Figures that no false alarm would betray: what is lost when a share, a level or a number of groups is forgotten."""

import math
import random

import numpy as np
import pytest
from benchmarks.detector.corpora import differences_of_change, same_model_vectors

from promptguard.drift import Answer, PairMonitor, betting_interval
from promptguard.drift.betting.experts import SwapBet, difference
from promptguard.drift.betting.factbet import FactBet
from promptguard.drift.features.vector import vectorise
from promptguard.drift.history.history import NO_EDGE
from promptguard.drift.history.onset import find_onset
from promptguard.drift.history.rows import PLAIN, WIDTH, Rows
from tests.drift import structured_stream as stream

QUIET = 3_000


def quiet_then_changed(seed):
    """The most evidence gathered from the change on, after a long stretch without one, pair by pair."""
    rng = np.random.default_rng(seed)
    quiet = [difference(vector) for _, vector in same_model_vectors(rng)]
    learner = SwapBet()
    for number in range(QUIET):
        learner.score_then_learn(quiet[number % len(quiet)])
    log = 0.0
    for count, seen in enumerate(differences_of_change("ft_style_20", rng), 1):
        log += learner.score_then_learn(seen)
        if log >= math.log(100):
            return count
    return 10_000


@pytest.mark.statistical
def test_a_change_after_a_long_quiet_stretch_is_found_soon():
    assert sorted(quiet_then_changed(seed) for seed in range(5))[2] <= 30


def test_places_are_found_soon_after_a_long_quiet_stretch():
    learner = FactBet()
    pairs = list(stream.pairs("long quiet", 300))
    vectors = [vectorise(*pair) for pair in pairs]
    rng = random.Random(1)
    for _ in range(QUIET):
        vector = rng.choice(vectors)
        learner.score_then_learn((vector if rng.random() < 0.5 else vector.swapped()).facts)
    paid = [
        math.log(learner.score_then_learn(vectorise(*pair).facts))
        for pair in stream.pairs("then dearer", 24, stream.dearer)
    ]
    assert sum(paid) >= math.log(100)


def hedged_capital(differences, mean):
    """The larger capital of the two bettors of arXiv 2010.09686, against a mean difference: written down anew."""
    x, m = (np.asarray(differences) + 1.0) / 2.0, (mean + 1.0) / 2.0
    fractions = np.geomspace(0.01, 0.9, 12)
    up = np.exp(np.log1p(np.outer(x - m, fractions / m)).sum(axis=0)).mean()
    down = np.exp(np.log1p(np.outer(x - m, -fractions / (1.0 - m))).sum(axis=0)).mean()
    return max(up, down)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_an_interval_ends_where_ninety_five_per_cent_do(share):
    rng = np.random.default_rng(3)
    differences = (rng.random(120) < share).astype(float)
    low, high = betting_interval(differences)
    for end in (low, high):
        assert hedged_capital(differences, end) == pytest.approx(
            40.0, rel=0.35
        )  # 2 / (1 - .95); the grid is .5 % wide


def planted(rng, onset, length):
    """Rows of flags that flip either way by chance, and one that also rises in some pairs from `onset` on."""
    raw = np.zeros((length, WIDTH), dtype=np.uint8)
    raw[:, PLAIN - 1] = np.int8(NO_EDGE).view(np.uint8)
    width = (PLAIN - 5) // 2
    for feature in range(6):
        for side in (0, width):
            raw[:, side + feature] = 255 * (rng.random(length) < 0.2)
    risen = rng.random(length) < 0.35
    risen[: onset - 1] = False
    raw[:, width] = np.where(risen, 255, raw[:, width])
    return Rows(np.arange(1, length + 1), raw)


@pytest.mark.statistical
def test_the_set_of_onsets_covers_what_it_says():
    rng, covered, wide = np.random.default_rng(5), 0, []
    for _ in range(120):
        onset = int(rng.integers(60, 140))
        found = find_onset(planted(rng, onset, 240))
        covered += found.low <= onset <= found.high
        wide.append(found.high - found.low)
    assert covered >= 0.87 * 120
    assert np.median(wide) < 120


def test_a_group_needs_evidence_for_as_many_groups_as_there_are():
    monitor, groups = PairMonitor(alpha=0.01), 8
    for number in range(40 * groups):
        group = str(number % groups)
        second = "no, not at all, never" if group == "0" else "yes, indeed"
        verdict = monitor.update(Answer("yes, indeed"), Answer(second), group)
        own = monitor._groups[group]
        needed = math.log(groups / 0.01) if len(monitor._groups) == groups else 0.0
        if own.history.alarm_at == own.pairs and len(monitor._groups) == groups:
            assert own.process.log >= needed - 1e-9
    assert verdict.status == "drift"
    assert monitor.brief("0").status == "drift"
    assert monitor.brief("0").log10_threshold == pytest.approx(math.log10(groups / 0.01))
