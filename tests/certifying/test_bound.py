"""The bound on shifts: how many pairs it takes, and that it is wrong as seldom as it says, however often one looks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from promptguard.drift import Answer, vectorise
from promptguard.drift.betting.bound import RIGHT, ShiftBound, quiet_pairs
from promptguard.drift.features.catalogue import COUNT, INDEX, SCALE
from tests.drift.test_promises import most_alarms

SAME = vectorise(Answer("[Yes]"), Answer("[Yes]"))


def pair_with(shifts: dict[str, float]):
    """A pair whose features differ by so much, from the middle."""
    from dataclasses import replace

    control, candidate = np.full(COUNT, SCALE // 2, np.uint16), np.full(COUNT, SCALE // 2, np.uint16)
    for name, shift in shifts.items():
        low, high = (0, SCALE) if shift > 0 else (SCALE, 0)
        if abs(shift) == 1.0:
            control[INDEX[name]], candidate[INDEX[name]] = low, high
        else:
            candidate[INDEX[name]] += round(shift * SCALE)
    return replace(SAME, control=control, candidate=candidate)


@pytest.mark.parametrize(
    ("tolerance", "alpha", "pairs"), [(0.1, 0.05, 42), (0.05, 0.05, 87), (0.2, 0.01, 28)]
)
def test_where_nothing_differs_it_takes_as_many_pairs_as_is_said(tolerance, alpha, pairs):
    assert quiet_pairs(tolerance, alpha) == pairs
    bound = ShiftBound(tolerance, alpha)
    proven = [bound.take(SAME) for _ in range(pairs)]
    assert proven == [False] * (pairs - 1) + [True]
    assert bound.proven_at == pairs
    assert bound.bound() == pytest.approx(tolerance, abs=0.003)


def test_one_feature_that_shifts_keeps_the_claim_from_being_made():
    bound = ShiftBound(0.1, 0.05)
    for number in range(400):
        bound.take(pair_with({"code_fence": 1.0} if number % 5 == 0 else {}))
    assert not bound.is_proven
    assert bound.largest == ("a code fence", pytest.approx(0.2, abs=0.01))
    assert bound.bound() > 0.2


def test_either_direction_counts():
    bound = ShiftBound(0.1, 0.05)
    for _ in range(100):
        bound.take(pair_with({"refusal": -1.0}))
    assert not bound.is_proven
    assert bound.bound() == 1.0


def test_a_lost_answer_counts_as_the_worst_it_could_have_been():
    bound = ShiftBound(0.1, 0.05)
    for _ in range(3):
        bound.lose()
    for _ in range(quiet_pairs(0.1, 0.05)):
        bound.take(SAME)
    assert not bound.is_proven
    for _ in range(120):
        bound.take(SAME)
    assert bound.is_proven


def test_right_answers_are_one_more_feature():
    bound = ShiftBound(0.1, 0.05, with_right=True)
    for _ in range(100):
        bound.take(SAME, (True, False))
    assert not bound.is_proven
    assert bound.largest == (RIGHT, -1.0)


@pytest.mark.statistical
@pytest.mark.parametrize("kind", ["flag", "noise", "skewed"])
def test_it_is_wrongly_proven_as_seldom_as_it_says_with_a_look_after_every_pair(kind):
    """The true shift lies just at the tolerance: the worst case. Any proof within 600 pairs is a mistake."""
    streams, alpha, tolerance, wrong = 1_000, 0.05, 0.1, 0
    random = np.random.default_rng(7)
    from promptguard.drift.betting.bound import BETS

    bets = (BETS / (1.0 - tolerance))[:, None]
    for _ in range(streams):
        if kind == "flag":
            shifts = random.random(600) < tolerance
        elif kind == "noise":
            up, down = random.random(600) < 0.3, random.random(600) < 0.2
            shifts = up.astype(float) - down
        else:  # seldom, and then much: (1 with .19) - (.1 else)
            shifts = np.where(random.random(600) < 2.0 / 11.0, 1.0, -0.1)
        logs = np.cumsum(np.log1p(bets * (tolerance - shifts.astype(float))), axis=1)
        capital = np.logaddexp.reduce(logs, axis=0) - math.log(len(BETS))
        wrong += bool(capital.max() >= -math.log(alpha))
    assert wrong <= most_alarms(streams, alpha)


def test_the_simulated_capital_is_the_one_of_the_class():
    bound = ShiftBound(0.1, 0.05)
    for number in range(30):
        bound.take(pair_with({"bold": 1.0} if number % 4 == 0 else {}))
    from promptguard.drift.betting.bound import BETS

    shifts = np.array([1.0 if number % 4 == 0 else 0.0 for number in range(30)])
    logs = np.log1p((BETS / 0.9)[:, None] * (0.1 - shifts)).sum(axis=1)
    assert bound.log_evidence == pytest.approx(np.logaddexp.reduce(logs) - math.log(len(BETS)))
