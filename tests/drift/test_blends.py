"""Bets that add up: exactly fair whatever was learned, sooner than any one record, and finite for ever."""

import copy
import json
import math

import numpy as np
import pytest
from benchmarks.detector.corpora import in_order
from hypothesis import given, settings
from hypothesis import strategies as st

from promptguard.drift import Answer, PairMonitor, PairVector, vectorise
from promptguard.drift.betting.experts import SwapBet, difference
from tests.drift.recorded import vectors

FEW = 40
WORDS = (
    "so",
    "it",
    "is",
    "that",
    "the",
    "one",
    "we",
    "saw",
    "was",
    "not",
    "what",
    "they",
    "had",
    "been",
    "told",
)


def drawn(rng, drift):
    """A pair of two texts, the candidate's changed in length, marks and words in a share `drift` of the pairs."""
    first, second = (" ".join(rng.choice(WORDS, rng.integers(1, 30))) for _ in range(2))
    if rng.random() < drift:
        second = f"**Well:** {second.upper()}!" + "\n- more of this" * 3
    return vectorise(Answer(first), Answer(second))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 120), st.floats(0.0, 1.0), st.booleans())
def test_a_pair_and_its_reverse_pay_two_whatever_was_learned(seed, learned, drift, resumed):
    rng, learner = np.random.default_rng(seed), SwapBet()
    for _ in range(learned):
        learner.score_then_learn(difference(drawn(rng, drift)))
    if resumed:
        learner = SwapBet.from_state(copy.deepcopy(learner.state_dict()))
    pair = drawn(rng, drift)
    paid = [
        math.exp(copy.deepcopy(learner).score_then_learn(difference(each))) for each in (pair, pair.swapped())
    ]
    assert sum(paid) == pytest.approx(2.0, abs=1e-9)


def pairs_to_alarm(stream):
    learner, log = SwapBet(), 0.0
    for count, seen in enumerate(stream, 1):
        log += learner.score_then_learn(seen)
        if log >= math.log(100):
            return count
    return math.inf


@pytest.mark.parametrize(
    ("corpus", "half", "late"), [(("sensitive", "gpt-3.5"), 12, 17), (("leetcode", "gpt-4"), 14, 17)]
)
def test_a_change_of_many_things_is_found_before_any_one_of_them_could_say_it(corpus, half, late):
    rng = np.random.default_rng(2)
    found = sorted(pairs_to_alarm(in_order(corpus, rng)) for _ in range(FEW))
    assert found[FEW // 2] <= half
    assert found[math.ceil(0.95 * FEW) - 1] <= late


def test_a_tiny_change_of_everything_is_found_sooner_than_by_the_single_records():
    """A quarter of a fine-tuning: single records with a mixture of learners took a median of 136 pairs."""
    found = sorted(
        pairs_to_alarm(in_order(("ft_style_8_s0.25",), np.random.default_rng(n))) for n in range(15)
    )
    assert found[7] <= 128


def test_inputs_that_never_come_leave_every_number_finite():
    learner, rng = SwapBet(), np.random.default_rng(4)
    pairs = [difference(vectorise(Answer("[Yes]"), Answer(word))) for word in ("[No]", "[Maybe]")]
    for _ in range(25_000):
        learner.score_then_learn(pairs[rng.integers(2)])
    assert np.isfinite(learner.learned).all()
    assert learner.squares.min() == pytest.approx(0.08, rel=0.01)
    late = [drawn(rng, 1.0) for _ in range(30)]
    assert all(math.isfinite(learner.score_then_learn(difference(pair))) for pair in late)
    assert math.isfinite(learner.log_least)


def test_a_state_of_the_older_learner_is_refused_and_its_vectors_are_folded_anew():
    whole = PairMonitor()
    stored = [pair.to_bytes() for pair in vectors("prime", "gpt-4")[:12]]
    for data in stored:
        whole.observe(PairVector.from_bytes(data))
    state = json.loads(json.dumps(whole.state_dict()))
    with pytest.raises(ValueError, match="replay the pairs"):
        PairMonitor.from_state({**state, "state": 3})
    again = PairMonitor()
    for data in stored:
        again.observe(PairVector.from_bytes(data))
    assert again.state_dict() == whole.state_dict()
