"""Days that differ: a wobble is told as one, a change that lasts or is sudden rings."""

from __future__ import annotations

import json
import math

import pytest
from benchmarks.days import Borders

from promptguard.drift import Answer, PairMonitor, SetMonitor, Verdict, vectorise
from promptguard.drift.betting.days import FEWEST, WANTED, Days

BAR = 12.4


def quiet(days: Days, until: int, pairs: int = 50) -> None:
    for day in range(until):
        for _ in range(pairs):
            days.pay(day, -0.01)


def rings(days: Days, day: int, payoff: float, pairs: int) -> int | None:
    """Return with which pair of a day an alarm would be allowed, the evidence having reached the bar with the first."""
    for number in range(1, pairs + 1):
        days.pay(day, payoff)
        if days.allows(BAR):
            return number
    return None


def test_on_the_first_day_there_is_nothing_to_tell_a_change_from():
    days = Days("gate", BAR)
    assert rings(days, 0, 0.1, 1) == 1


def test_a_wobble_of_one_day_does_not_ring_and_is_told():
    days = Days("gate", BAR)
    quiet(days, 10)
    assert rings(days, 10, 0.15, 200) is None
    assert days.told().unstable == ()  # it may last
    quiet_day = rings(days, 11, -0.01, 200)
    assert quiet_day is None
    [wobble] = days.told().unstable
    assert (wobble.day, wobble.date) == (10, "1970-01-11")
    assert wobble.log10_evidence == pytest.approx(0.15 * 200 / 2.302585, rel=1e-6)
    assert "unstable on 1970-01-11, and came back" in days.told().sentence()


def test_what_lasts_rings_on_its_second_day_and_is_no_reference_of_itself():
    days = Days("gate", BAR)
    quiet(days, 10)
    assert rings(days, 10, 0.15, 100) is None
    assert rings(days, 11, 0.15, 100) is not None
    slow = Days("gate", BAR)
    quiet(slow, 10)
    found = [rings(slow, day, 0.06, 50) for day in range(10, 20)]
    assert any(number is not None for number in found[3:6])


def test_a_sudden_change_rings_at_once():
    days = Days("gate", BAR)
    quiet(days, 3)
    assert rings(days, 3, 0.6, 100) == FEWEST


def test_what_days_usually_differ_by_is_charged():
    days = Days("gate", BAR)
    for day in range(30):
        for number in range(200):
            days.pay(day, 0.1 if number % 2 == day % 2 else -0.105)
    assert days.growth == 0.0
    for day in range(30, 40):
        for _ in range(200):
            days.pay(day, 0.05 if day % 2 else -0.05)
    assert days.growth == pytest.approx((10.0 - 2.0) / 200)
    assert rings(days, 40, 0.06, 200) is None
    assert rings(days, 41, 0.06, 200) is None


def test_a_monitor_that_has_watched_long_does_not_ring_for_one_day_either():
    days = Days("monitor", math.log(100))
    for day in range(20):
        for _ in range(50):
            days.pay(day, 0.0)
    assert days.charged > 6.0, "starts without number"
    assert rings(days, 20, 0.1, 100) is None
    assert rings(days, 21, 0.1, 100) is None
    assert rings(days, 22, 0.1, 100) is not None


def test_warming_up_is_told_and_only_what_is_sudden_rings():
    days = Days("monitor", BAR)
    quiet(days, 4)
    days.pay(4, 0.0)
    assert days.told().reference == 3
    assert days.told().sentence().startswith(f"3 of {WANTED} reference days")
    assert all(rings(days, day, 0.2, 60) is None for day in range(4, 7))


def test_it_goes_on_after_a_restart_bit_for_bit():
    same = vectorise(Answer("yes, of course"), Answer("no, never"))
    other = vectorise(Answer("no, never"), Answer("yes, of course"))
    live = PairMonitor(mode="monitor", horizon=1000)
    resumed = PairMonitor(mode="monitor", horizon=1000)
    for number in range(300):
        for monitor in (live, resumed):
            monitor.fold(same if number % 3 else other, "ab"[number % 2], day=number // 20)
        if number % 50 == 0:
            resumed = PairMonitor.from_state(json.loads(json.dumps(resumed.state_dict())))
    assert resumed.state_dict() == live.state_dict()
    told = live.brief()
    assert told.days is not None
    assert Verdict.from_dict(json.loads(json.dumps(live.explain().to_dict()))).days == told.days


def test_a_group_that_is_new_knows_the_days_of_the_others():
    same, changed = (vectorise(Answer("yes"), Answer(text)) for text in ("yes", "no, not at all, never"))
    monitor = PairMonitor()
    for number in range(400):
        monitor.fold(same, "old", day=number // 40)
    for _ in range(FEWEST - 1):
        monitor.fold(changed, "new", day=10)
    assert monitor.brief().log10_evidence > 2.0
    assert monitor.brief().status == "no_drift"
    assert monitor.brief("new").status == "no_drift"


def played(seed: int, *, days: bool, change: int | None = None) -> int | None:
    """Return the day of the alarm on an endpoint of one-word prompts, its answers banked over five days."""
    endpoint = Borders(seed, outlier=9 if change is None else None, change=change)
    monitor = SetMonitor()
    bank = {prompt: [endpoint.answer(prompt, n % 5) for n in range(75)] for prompt in endpoint.prompts}
    for day in range(5, 17):
        for prompt in endpoint.prompts:
            stored = [Answer(bank[prompt].pop()) for _ in range(5)]
            live = [Answer(endpoint.answer(prompt, day)) for _ in range(5)]
            if monitor.update(stored, live, day=day if days else None).status == "drift":
                return day
    return None


def test_an_endpoint_that_wobbles_is_not_drift_and_a_change_of_it_is():
    found = [played(seed, days=False) for seed in (0, 2)]
    assert any(found), "the wobble would have rung"
    assert [played(seed, days=True) for seed in (0, 2)] == [None, None]
    assert played(1, days=True, change=14) in {14, 15}


def test_a_tolerance_holds_for_rounds_of_sets():
    found = {}
    for tolerance in (None, 0.3):
        monitor = SetMonitor(tolerance=tolerance)
        for number in range(60):
            live = [Answer("No, it is not so." if (number + n) % 5 else "```\nIs it?\n```") for n in range(5)]
            monitor.update([Answer("No, it is not so.")] * 5, live)
        found[tolerance] = monitor.verdict().status
        resumed = SetMonitor.from_state(json.loads(json.dumps(monitor.state_dict())))
        assert resumed.brief() == monitor.brief()
    assert found == {None: "drift", 0.3: "no_drift"}
    beyond = SetMonitor(tolerance=0.3)
    for _ in range(40):
        beyond.update([Answer("No, it is not so.")] * 5, [Answer("```\nIs it?\n```")] * 5)
    assert beyond.verdict().status == "drift"


def test_the_next_epoch_knows_the_days_of_the_one_before():
    same = vectorise(Answer("yes"), Answer("yes"))
    monitor = PairMonitor(mode="monitor", horizon=1000)
    for number in range(300):
        monitor.fold(same, day=number // 30)
    following = PairMonitor(mode="monitor", horizon=1000)
    following.follow(monitor)
    monitor.acknowledge()
    for each in (monitor, following):
        each.fold(same, day=10)
        days = each.brief().days
        assert days is not None
        assert days.reference == WANTED


def test_pairs_that_come_late_around_midnight_are_no_new_days():
    days = Days("gate", BAR)
    for number in range(40):
        days.pay(5 + number % 2, -0.01)
    assert days.references <= 1
    assert len(days.finished) <= 1
