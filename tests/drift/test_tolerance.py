"""A candidate that is known to differ: alarms beyond the tolerance only, and says so; alpha shared over a lifetime."""

import math
import random

import pytest

from promptguard.drift import Answer, PairMonitor, epoch_alpha

pytestmark = pytest.mark.statistical

PLAIN, FENCED = "The answer is 4.", "```\nThe answer is 4.\n```"


def watched(share, pairs, *, tolerance=0.2, seed=1, alpha=0.01, flips=0.1, start=1):
    """Pairs in which `share` of the candidate's answers are fenced from `start` on, and `flips` of the control's."""
    rng = random.Random(seed)
    monitor = PairMonitor(alpha, tolerance=tolerance)
    for number in range(1, pairs + 1):
        fenced = share if number >= start else flips
        control = FENCED if rng.random() < flips else PLAIN
        candidate = FENCED if rng.random() < fenced else PLAIN
        monitor.update(Answer(control), Answer(candidate))
    return monitor


def test_a_difference_within_the_tolerance_is_no_alarm_in_fifty_streams():
    alarms = sum(watched(0.3, 400, seed=seed).brief().status == "drift" for seed in range(50))
    assert alarms <= 1  # the null's very edge: .3 - .1 = .2; 3 or more in 50 at .01 have a chance of .014


def test_a_difference_beyond_it_is_found_and_named():
    told = watched(0.9, 200).verdict()
    assert told.status == "drift"
    assert told.tolerance == 0.2
    assert "code_fence" in {told.changes[0].feature, *told.changes[0].related}
    assert all(abs(change.difference) > 0.2 for change in told.changes)
    assert "beyond the tolerance of 20 %" in told.sentence()


def test_the_onset_of_an_excess_is_dated():
    misses = []
    for seed in range(12):
        told = watched(1.0, 200, seed=seed, start=120, flips=0.0).verdict()
        assert told.status == "drift"
        misses.append(abs(told.onset.pair - 120))
        assert told.onset.low <= 120 <= told.onset.high
    assert sorted(misses)[6] <= 2


def test_the_same_stream_alarms_without_a_tolerance():
    assert PairMonitor(0.01).tolerance is None
    rng = random.Random(1)
    monitor = PairMonitor(0.01)
    for _ in range(400):
        monitor.update(Answer(PLAIN), Answer(FENCED if rng.random() < 0.2 else PLAIN))
    assert monitor.brief().status == "drift"


def test_what_could_hide_is_above_the_tolerance_and_shrinks():
    few, many = (watched(0.1, pairs).verdict().largest_hidden_drift for pairs in (100, 1000))
    assert 0.2 < many < few <= 1.0


def test_state_continues_bit_for_bit():
    monitor = watched(0.5, 60)
    again = PairMonitor.from_state(monitor.state_dict())
    for _ in range(20):
        first = monitor.update(Answer(PLAIN), Answer(FENCED))
        second = again.update(Answer(PLAIN), Answer(FENCED))
        assert first.to_dict() == second.to_dict()


@pytest.mark.parametrize("tolerance", [0, 1, -0.1, True, "much", float("nan")])
def test_a_tolerance_is_a_share(tolerance):
    with pytest.raises(ValueError, match="tolerance"):
        PairMonitor(0.01, tolerance=tolerance)


def test_a_lifetime_spends_alpha_once():
    monitor = PairMonitor(0.01, "monitor", horizon=100, lifetime=True)
    spent = []
    for _ in range(200):
        spent.append(monitor.alpha)
        monitor.acknowledge()
    assert spent[0] == pytest.approx(0.01 * 6 / math.pi**2)
    assert sum(spent) < 0.01
    assert sum(epoch_alpha(0.01, epoch) for epoch in range(1, 100_000)) == pytest.approx(0.01, rel=1e-4)
    again = PairMonitor.from_state(monitor.state_dict())
    assert again.alpha == monitor.alpha
    assert again.brief().log10_threshold == monitor.brief().log10_threshold
    assert monitor.brief().log10_threshold > PairMonitor(0.01, "monitor", horizon=100).brief().log10_threshold


def test_without_it_every_epoch_has_alpha_anew():
    monitor = PairMonitor(0.01)
    monitor.acknowledge()
    assert monitor.alpha == 0.01


def test_the_largest_shift_of_all_features_is_told():
    monitor = PairMonitor(0.01, "gate")
    for number in range(60):
        monitor.update(
            control=Answer(f"Yes, {number}."), candidate=Answer(f"I think **{number}** is right. " * 6)
        )
    assert monitor.explain().largest_shift == 1.0
