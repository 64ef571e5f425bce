"""The check of false alarms can fail: each rule that the promise rests on is broken on purpose, and the check sees it.

Every test runs the same streams twice, whole and broken.
"""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.detector import nulls
from benchmarks.detector.corpora import same_model

from promptguard.drift import Answer, PairMonitor, monitor, vectorise
from promptguard.drift.betting.experts import SwapBet, difference
from promptguard.drift.betting.partitions import paired
from promptguard.drift.betting.setbet import SetBet
from promptguard.drift.sets import SetGroup
from tests.drift.recorded import same_model_answers
from tests.drift.test_false_alarms import keeps_promise

pytestmark = pytest.mark.statistical

LENGTH = 150
STREAMS = 30


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(nulls, "LENGTH", LENGTH)


def null_streams(name, streams=STREAMS):
    index = next(i for i, configuration in enumerate(nulls.CONFIGURATIONS) if configuration[0] == name)
    return nulls.part(index, streams, seed=41)[1]


PAIRS, SETS = "same model at temperature 0.7", "rounds 5 + 5, same model"


def test_learning_before_scoring_is_seen(monkeypatch):
    def knowing(self, seen):
        scored(self, seen)
        # what it has just learned, asked about the very pair it was learned from
        return scored(copy.deepcopy(self), seen)

    assert keeps_promise(null_streams(PAIRS))
    scored = SwapBet.score_then_learn
    monkeypatch.setattr(SwapBet, "score_then_learn", knowing)
    assert not keeps_promise(null_streams(PAIRS))


@pytest.mark.slow
def test_learning_a_round_before_scoring_it_is_seen(monkeypatch):
    def knowing(self, seen, log_pairs):
        scored(self, seen, log_pairs)
        return scored(copy.deepcopy(self), seen, log_pairs)

    assert keeps_promise(null_streams(SETS))
    scored = SetBet.score_then_learn
    monkeypatch.setattr(SetBet, "score_then_learn", knowing)
    assert not keeps_promise(null_streams(SETS))


def test_stripping_one_side_is_seen(monkeypatch):
    def lopsided(control, candidate, **rest):
        return vectorise(control, replace(candidate, text=candidate.text.strip()), **rest)

    assert keeps_promise(through_monitor())
    monkeypatch.setattr(monitor, "vectorise", lopsided)
    assert not keeps_promise(through_monitor())


def through_monitor():
    """Two draws of one model, delivered with the line break that many providers leave at the end."""
    rng, found = np.random.default_rng(43), []
    prompts = list(same_model_answers().values())
    for _ in range(STREAMS):
        watch, most = PairMonitor(), 0.0
        for texts in (prompts[place] for place in rng.permutation(len(prompts))):
            first, second = (Answer(texts[i] + "\n") for i in rng.choice(len(texts), 2, replace=False))
            most = max(most, watch.update(first, second).log10_evidence)
        found.append(most * math.log(10))
    return found


def replayed(*, once):
    """Replays of six prompts: every live answer is new; the stored one is new too, or always the same."""
    rng, found = np.random.default_rng(47), []
    for _ in range(STREAMS):
        pairs = []
        prompts = list(same_model().values())
        for answers in (prompts[place] for place in rng.permutation(len(prompts))[:6]):
            order = [answers[i] for i in rng.permutation(len(answers))]
            stored, live = order[:25], order[25:]
            pairs += [(stored[i if once else 0], live[i]) for i in range(25)]
        shuffled = (pairs[place] for place in rng.permutation(len(pairs)))
        found.append(nulls.highest(difference(paired(*pair)) for pair in shuffled))
    return found


def test_reusing_a_stored_answer_is_seen():
    assert keeps_promise(replayed(once=True))
    assert not keeps_promise(replayed(once=False))


@pytest.mark.slow
def test_reading_a_round_before_its_end_is_seen(monkeypatch):
    def early(self, seen):
        """The pair game as it stood at its best moment within the round."""
        self.rounds += 1
        path = np.cumsum([self.learner.score_then_learn(pair) for pair in seen.pairs])
        payoff = self.sets.score_then_learn(seen, float(path.max()))
        self.process.pay(payoff)
        return payoff

    monkeypatch.setattr(nulls, "LENGTH", 800)  # a small advantage each round
    assert keeps_promise(null_streams(SETS, 20))
    monkeypatch.setattr(SetGroup, "bet_round", early)
    assert not keeps_promise(null_streams(SETS, 20))


def shared(*, in_pairs):
    """Pairs a1 b1, a2 b2, ... of a prompt; or, sharing, a1 b1, a2 b1, a2 b2, a3 b2, ..."""
    rng, found = np.random.default_rng(53), []
    prompts = list(same_model().values())
    for _ in range(STREAMS):
        pairs = []
        for answers in (prompts[place] for place in rng.permutation(len(prompts))[:10]):
            order = [answers[i] for i in rng.permutation(len(answers))]
            first, second = order[:25], order[25:]
            pairs += list(zip(first, second, strict=True))
            if in_pairs == 2:
                pairs += list(zip(first[1:], second[:-1], strict=True))
        shuffled = (pairs[place] for place in rng.permutation(len(pairs)))
        found.append(nulls.highest(difference(paired(*pair)) for pair in shuffled))
    return found


def test_sharing_an_answer_between_two_pairs_is_seen(monkeypatch):
    # a learner knows an answer again that it has seen on one side
    monkeypatch.setattr(nulls, "LENGTH", 500)
    assert keeps_promise(shared(in_pairs=1))
    assert not keeps_promise(shared(in_pairs=2))
