"""Counts by time: as exact as their buckets, bounded, and the same after a restart."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptguard.verdict import power
from promptguard.verdict.ages import DAY, HOUR, Ages
from promptguard.verdict.window import MOMENTS, Power, stale_after, window_of

NOW = 1_800_000_000.0
POWER = Power(log_bar=12.0 + 4.0, noise=0.01)


def counted(pairs):
    ages = Ages()
    for at, stored in sorted(pairs):
        ages.add(at, stored)
    return ages


@pytest.mark.parametrize("seconds", MOMENTS)
@pytest.mark.parametrize("wait", [6 * HOUR, 3 * DAY])
def test_pairs_that_straddle_a_moment_are_counted_from_sums(seconds, wait):
    pairs = [(NOW - 20 * DAY + 600 * n, NOW - 20 * DAY + 600 * n - wait) for n in range(144 * 20)]
    moment = NOW - seconds
    exact = sum(stored < moment <= at for at, stored in pairs)
    assert counted(pairs).straddling(moment) == pytest.approx(exact, abs=2)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 30 * DAY), min_size=1, max_size=300), st.sampled_from(MOMENTS))
def test_no_more_pairs_are_claimed_than_there_are(times, seconds):
    pairs = [(NOW - age, None) for age in times]
    moment = NOW - seconds
    width = 3 * HOUR
    low = sum(at >= moment + width for at, _ in pairs)
    high = sum(at >= moment - width for at, _ in pairs)
    assert low <= counted(pairs).since(moment) <= high


def test_it_is_of_bounded_size_and_goes_on_after_a_restart():
    ages, other = Ages(), Ages()
    for n in range(60_000):
        at = NOW + 60.0 * n
        stored = at - (n % 14) * DAY
        ages.add(at, stored)
        other.add(at, stored)
        if n % 5000 == 0:
            other = Ages.from_dict(json.loads(json.dumps(other.to_dict())))
    assert ages.to_dict() == other.to_dict()
    assert len(json.dumps(ages.to_dict())) < 10_000


def test_the_usual_gap_forgets_a_pause():
    ages = counted([(NOW + 300 * n, None) for n in range(100)])
    assert ages.gap == pytest.approx(300)
    ages.add(NOW + 300 * 99 + 40 * DAY, None)
    for n in range(200):
        ages.add(NOW + 300 * 99 + 40 * DAY + 300 * n, None)
    assert ages.gap == pytest.approx(300, rel=0.2)


def test_stale_after_is_three_gaps_within_an_hour_and_a_day():
    assert [stale_after(gap) for gap in (1.0, 2 * HOUR, 2 * DAY)] == [HOUR, 6 * HOUR, DAY]
    assert stale_after(1.0, 5.0) == 5.0


def test_a_window_says_what_could_hide_since_then():
    replayed = counted([(NOW - 600 * n, NOW - 600 * n - 6 * HOUR) for n in range(2000)])
    window = window_of(replayed, POWER, NOW, stored=True)
    assert window is not None
    # of a change a day ago the 36 pairs that straddled it came in its first six hours, and none since
    assert [each.pairs for each in window.since] == pytest.approx([6, 36, 36, 36], abs=1)
    assert window.since[0].hidden == 1.0
    assert window.since[2].hidden == pytest.approx(power.could_hide(36, 0.01, 16.0), abs=0.05)
    compared = counted([(NOW - 600 * n, None) for n in range(2000)])
    since = window_of(compared, POWER, NOW, stored=False)
    assert since is not None
    assert [each.pairs for each in since.since] == pytest.approx([6, 36, 144, 1008], abs=1)
    hidden = [each.hidden for each in since.since]
    assert hidden == sorted(hidden, reverse=True)


def test_pairs_of_new_with_new_dilute_what_the_others_show():
    assert POWER.hides(100, 0.5) > POWER.hides(100)
    assert POWER.hides(0) == 1.0
