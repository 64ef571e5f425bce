"""A pair that lost an answer pays the least that any answer could have paid: valid, and no veto."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from promptguard.drift import Answer, PairMonitor, PairVector, vectorise
from promptguard.drift.betting.experts import SwapBet, difference
from promptguard.drift.betting.shift import ShiftBet

TEXTS = (
    "[Yes]", "No.", "I am sorry, but I cannot help with that.", "The answer is 42, because 6 * 7 = 42.",
    "```python\nprint('hello')\n```", '{"priority": 3, "tags": ["a"]}', "", "Ja, natürlich! https://example.org",
    "- one\n- two\n- three\n\n**Bold** and so on, at some length, to say the same again and again.",
)  # fmt: skip


def drawn(random: np.random.Generator, *, shift: float = 0.0) -> PairVector:
    first, second = (TEXTS[random.integers(len(TEXTS))] for _ in range(2))
    if random.random() < shift:
        second = TEXTS[0]
    return vectorise(Answer(first), Answer(second))


@pytest.mark.parametrize("learner", [SwapBet(), ShiftBet(0.1)], ids=["swap", "shift"])
@pytest.mark.parametrize("shift", [0.0, 0.3, 1.0])
def test_no_pair_pays_less_than_the_least(learner, shift):
    random = np.random.default_rng(7)
    bet = copy.deepcopy(learner)
    others = [difference(drawn(random)) for _ in range(60)]
    for number in range(80):
        bet.score_then_learn(difference(drawn(random, shift=shift)))
        if number % 8 == 0:
            least = bet.log_least
            assert least <= 1e-9
            paid = [copy.deepcopy(bet).score_then_learn(each) for each in others]
            assert min(paid) >= least


def test_the_least_is_reached_by_what_nothing_says_but_the_learned_side():
    bet = SwapBet()
    pair = vectorise(Answer("yes"), Answer("no, never, at all"))
    turned = vectorise(Answer("no, never, at all"), Answer("yes"))
    for _ in range(50):
        bet.score_then_learn(difference(pair))
    worst = copy.deepcopy(bet).score_then_learn(difference(turned))
    assert bet.log_least == pytest.approx(worst, abs=1.0)


def test_before_anything_is_learned_a_loss_costs_nothing():
    monitor = PairMonitor()
    for _ in range(3):
        assert monitor.skip("candidate_timeout").log10_evidence == 0.0


def test_losses_are_paid_for_and_end_nothing():
    changed = vectorise(Answer("Yes, of course it is."), Answer("No."))
    monitor = PairMonitor(mode="monitor", horizon=1000)
    for number in range(2000):
        monitor.fold(changed)
        if number % 500 == 499:
            before = monitor.brief().log10_evidence
            verdict = monitor.skip("candidate_error")
            assert before - 5.0 < verdict.log10_evidence < before
            assert verdict.status == "drift"


def test_a_quiet_stream_with_rare_errors_stays_measured_and_claims_less():
    same = vectorise(Answer("Yes."), Answer("Yes."))
    whole, holed = PairMonitor(), PairMonitor()
    for number in range(1500):
        whole.fold(same)
        holed.fold(same)
        if number % 100 == 50:
            holed.skip("candidate_error")
    assert holed.brief().status == "no_drift"
    hidden, more = (each.explain().largest_hidden_drift for each in (whole, holed))
    assert hidden is not None
    assert more is not None
    assert more > 2 * hidden


def test_groups_and_the_whole_are_charged_and_go_on_after_a_restart():
    random = np.random.default_rng(3)
    monitor = PairMonitor()
    for number in range(60):
        monitor.fold(drawn(random, shift=0.5), "ab"[number % 2])
    resumed = PairMonitor.from_state(json.loads(json.dumps(monitor.state_dict())))
    for each in (monitor, resumed):
        each.skip("control_error", "a")
        each.skip("both_error", "b")
    assert resumed.state_dict() == monitor.state_dict()
    before = monitor.brief("b").log10_evidence
    assert monitor.skip("candidate_cut", "a").log10_evidence <= monitor.brief().log10_evidence
    assert monitor.brief("b").log10_evidence == before


def alarms(streams: int, pairs: int, loss: float, alpha: float) -> int:
    """Count null streams that alarm where the candidate's longer answers are lost, the worst kind of loss."""
    found = 0
    for seed in range(streams):
        random, monitor = np.random.default_rng(seed), PairMonitor(alpha)
        for _ in range(pairs):
            first, second = (TEXTS[random.integers(len(TEXTS))] for _ in range(2))
            if len(second) > 30 and random.random() < 3 * loss:
                monitor.skip("candidate_error")
            else:
                monitor.fold(vectorise(Answer(first), Answer(second)))
        found += monitor.brief().alarm_at is not None
    return found


def test_losses_of_one_side_that_depend_on_the_answer_make_no_false_alarms():
    assert alarms(15, 200, 0.3, 0.05) <= 3


@pytest.mark.slow
@pytest.mark.parametrize("loss", [0.001, 0.01, 0.1])
def test_false_alarms_under_losses(loss):
    assert alarms(400, 300, loss, 0.05) <= 20 + 2 * (400 * 0.05 * 0.95) ** 0.5
