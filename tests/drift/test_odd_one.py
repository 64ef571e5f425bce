"""The odd one of three: exactly fair whatever was learned, sooner than pairs, and in one process with them."""

import copy
import itertools
import json
import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptguard.core.options import Shadow
from promptguard.core.repeats import RepeatShare
from promptguard.drift import Answer, PairMonitor, PairVector, vectorise
from promptguard.drift.betting.experts import difference
from promptguard.drift.betting.group import Group
from promptguard.drift.betting.oddbet import OddBet
from tests.drift import structured_stream as stream
from tests.drift.recorded import smollm2


def placed(vector, order):
    """The same three answers with others in the places of control, second control and candidate."""
    third = vector.third
    values = [vector.control, third.values, vector.candidate]
    pairs = {frozenset(pair): place for place, pair in enumerate([(0, 1), (0, 2), (1, 2)])}
    turned = [pairs[frozenset((order[one], order[other]))] for one, other in ((0, 1), (0, 2), (1, 2))]
    return replace(
        vector,
        control=values[order[0]],
        candidate=values[order[2]],
        third=replace(
            third,
            values=values[order[1]],
            hashed=third.hashed[list(order)],
            likeness=third.likeness[:, turned],
        ),
    )


def answers(rng):
    words = [
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
        "of",
    ]
    return [Answer(" ".join(rng.choices(words, k=rng.randint(1, 20)))) for _ in range(3)]


def triples(seed, count, same=0.0):
    rng = random.Random(seed)
    for _ in range(count):
        control, again, candidate = answers(rng)
        if rng.random() < same:
            again = control
        yield vectorise(control, candidate, repeat=again)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 40), st.sampled_from([0.0, 0.5, 1.0]))
def test_the_three_placements_pay_three_whatever_was_learned(seed, before, same):
    *past, last = triples(seed, before + 1, same)
    paid = []
    for order in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        learner = OddBet()
        for vector in past:
            learner.score_then_learn(vector)
        paid.append(learner.score_then_learn(placed(last, order)))
    assert sum(paid) == pytest.approx(3.0, abs=1e-9)
    assert min(paid) > 0.0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 30))
def test_both_games_together_pay_one_on_average_over_all_orders_of_the_three(seed, before):
    rng = random.Random(seed)
    past = [
        vectorise(one, other, repeat=again) for one, again, other in (answers(rng) for _ in range(before))
    ]
    last = answers(rng)
    paid = []
    for control, again, candidate in itertools.permutations(last):
        group = Group("gate")
        for vector in past:
            group.bet(difference(vector))
        paid.append(math.exp(group.bet(difference(vectorise(control, candidate, repeat=again)))))
    assert sum(paid) == pytest.approx(6.0, abs=1e-6)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 25), st.sampled_from([0.0, 0.5, 1.0]))
def test_a_share_that_follows_the_past_keeps_the_game_fair(seed, before, same):
    """Drawn for a second control or not, by a share made of the past: over all orders the next pair pays one."""
    coin, share = random.Random(seed), RepeatShare(Shadow("m", repeat="auto"), lambda: 0.0)
    past, group = list(triples(seed, before, same)), Group("gate")
    for vector in past:
        drawn = coin.random() < share.share
        share.paid(group.bet(difference(vector if drawn else replace(vector, third=None))))
    last = answers(coin)
    for drawn in (True, False):
        paid = []
        for control, again, candidate in itertools.permutations(last):
            vector = vectorise(control, candidate, repeat=again if drawn else None)
            paid.append(math.exp(copy.deepcopy(group).bet(difference(vector))))
        assert sum(paid) == pytest.approx(6.0, abs=1e-6)


def test_what_vectors_keep_of_three_answers_knows_no_order():
    rng = random.Random(4)
    for _ in range(20):
        three = answers(rng)
        whole = vectorise(three[0], three[2], repeat=three[1])
        for order in itertools.permutations(range(3)):
            found = vectorise(three[order[0]], three[order[2]], repeat=three[order[1]]).third
            expected = placed(whole, order).third
            assert (found.hashed == expected.hashed).all()
            assert (found.likeness == expected.likeness).all()
            assert found.scale == expected.scale


def test_vectors_with_a_second_control_are_read_back():
    vector = next(triples(1, 1))
    assert PairVector.from_bytes(vector.to_bytes()) == vector
    assert vector.swapped().third is None
    raw = vector.to_bytes()
    for damaged in (raw[:-1], raw[:-600], raw + b"x"):
        with pytest.raises(ValueError, match="pair vector"):
            PairVector.from_bytes(damaged)
    with pytest.raises(ValueError, match="repeat"):
        vectorise(Answer("a"), Answer("b"), repeat="c")
    assert vectorise(Answer("a"), Answer("b"), repeat=Answer(error="cut")).third is None


def test_state_goes_on_bit_for_bit():
    all_triples = list(triples(2, 60))
    whole, half = PairMonitor(), PairMonitor()
    for place, vector in enumerate(all_triples):
        told = vector if place % 3 else replace(vector, third=None)
        whole.observe(told)
        half.observe(told)
        if place == 30:
            half = PairMonitor.from_state(json.loads(json.dumps(half.state_dict())))
    assert whole.state_dict() == half.state_dict()


def test_no_triple_pays_less_than_what_a_lost_one_is_charged():
    group = Group("gate")
    for pair in stream.pairs("odd least", 60, stream.dearer):
        vector = vectorise(*pair, repeat=pair[0])
        for other in (
            vector,
            replace(vector, third=None),
            placed(vector, (2, 1, 0)),
            placed(vector, (0, 2, 1)),
        ):
            trial = copy.deepcopy(group)
            assert trial.bet(difference(other)) >= group.log_least - 1e-9
        group.bet(difference(vector))


def three_draws(version, seed):
    """(control, second control, candidate): two draws of one model, one of another, prompts in random order."""
    rng = np.random.default_rng(seed)
    one, other, changed = (smollm2(name) for name in ("base_A", "base_B", version))
    found = []
    for prompt, texts in one.items():
        orders = [rng.permutation(len(texts)) for _ in range(3)]
        found += [(texts[i], other[prompt][j], changed[prompt][k]) for i, j, k in zip(*orders, strict=True)]
    return [found[place] for place in rng.permutation(len(found))]


def alarm(three, *, with_repeat):
    monitor = PairMonitor()
    for number, (control, again, candidate) in enumerate(three, 1):
        if monitor.fold(vectorise(control, candidate, repeat=again if with_repeat else None)):
            return number
    return len(three) + 1


@pytest.mark.parametrize(("version", "within"), [("ft_style_20", 11), ("quant_q8_0", 110)])
def test_three_answers_tell_sooner_than_two(version, within):
    told = [three_draws(version, seed) for seed in range(3)]
    odd = [alarm(three, with_repeat=True) for three in told]
    assert sorted(odd)[1] <= within
    assert sum(odd) < sum(alarm(three, with_repeat=False) for three in told)


def test_three_draws_of_one_model_are_quiet():
    rng, false = random.Random(0), 0
    for seed in range(6):
        three = [rng.sample(each, 3) for each in three_draws("quant_q8_0", seed)[:150]]
        false += alarm(three, with_repeat=True) <= len(three)
    assert false <= 1
