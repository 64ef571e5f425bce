"""Ages of stored answers: spread over a fortnight, each with its share, in a bank of one size."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from sqlalchemy import create_engine, delete, func, select

from promptguard.background.replay_pace import too_slow
from promptguard.core.ladder import AGES, DAY, FIRST, HOUR, draw, drawn, flows, ladder
from promptguard.core.options import Drift
from promptguard.drift import days_needed
from promptguard.ledger import schema
from promptguard.ledger.bank import keep
from promptguard.ledger.store import Ledger

SIX_HOURS = 6 * HOUR


def test_the_ages_begin_with_after_and_end_with_a_fortnight():
    assert [rung.age for rung in ladder(SIX_HOURS, 1000)] == list(AGES)
    assert [rung.age for rung in ladder(HOUR, 1000)] == [HOUR, *AGES]
    assert [rung.age for rung in ladder(2 * DAY, 1000)] == [2 * DAY, 7 * DAY, 14 * DAY]
    assert [rung.age for rung in ladder(20 * DAY, 9)] == [20 * DAY]
    assert [rung.age for rung in ladder(10.0, 1000)] == [10.0, 40.0, 120.0, 280.0, 560.0]


@pytest.mark.parametrize("after", [1.0, HOUR, SIX_HOURS, 3 * DAY])
def test_every_age_keeps_its_share(after):
    rungs = ladder(after, 1000)
    assert sum(rung.share for rung in rungs) == pytest.approx(1.0)
    places = Counter(drawn(rungs, draw(call)) for call in range(7, 7 + 2000))
    for place, rung in enumerate(rungs):
        assert places[place] / 2000 == pytest.approx(rung.share, abs=0.01)
    assert sum(rung.room for rung in rungs[1:]) < 1000


def test_what_the_bank_has_no_room_for_is_used_sooner():
    rungs = ladder(SIX_HOURS, 1000)
    few, many = flows(rungs, 50.0), flows(rungs, 100_000.0)
    assert sum(flow.per_day for flow in few) == pytest.approx(50.0)
    assert [flow.per_day for flow in few] == pytest.approx([50.0 * rung.share for rung in rungs])
    assert sum(flow.per_day * flow.age / DAY for flow in many) <= 1001.0
    assert all(flow.per_day > 0 for flow in many)


def stored(number, at):
    return {
        "stream": "replay", "model": "m", "group": "g", "clusters": "", "at": at, "due": at, "call": number, "source": "s",
        "question": b"q", "answer": b"a",
    }  # fmt: skip


@pytest.mark.slow
def test_a_bank_keeps_answers_of_every_age_and_uses_each_once():
    """200 stored answers a day, twice what there is room for, over 18 days."""
    engine, table = create_engine("sqlite://"), schema.banked
    schema.metadata.create_all(engine)
    rungs, used, per_day = ladder(SIX_HOURS, 80), [], 200
    with engine.begin() as connection:
        for number in range(per_day * 18):
            now = number * DAY / per_day
            keep(connection, stored(number, now), rungs, draw(number), 80, -1.0)
            due = connection.execute(delete(table).where(table.c.due <= now).returning(table)).all()
            used += [(row.call, round((row.due - row.at) / HOUR)) for row in due]
            assert connection.execute(select(func.count()).select_from(table)).scalar_one() <= 80
    assert len({call for call, _ in used}) == len(used)
    ages = Counter(age for _, age in used)
    assert set(ages) == {6, 24, 72, 168, 336}
    # the longest is used from the fifteenth day on: as many as its room lets through in four days
    assert 0.7 < ages[336] / (4 * rungs[-1].room / 14) < 1.6


def test_the_first_answers_are_asked_again_soon(tmp_path):
    ledger, rungs = Ledger(tmp_path), ladder(SIX_HOURS, 1000)
    for number in range(FIRST + 60):
        ledger.bank(stored(number, 0.0), rungs, draw(number), 1000, -1.0)
    soon = ledger.banked_count(SIX_HOURS)
    assert FIRST <= soon < FIRST + 60
    ledger.close()


def test_the_calls_made_first_give_way_though_their_answers_came_last():
    engine, table = create_engine("sqlite://"), schema.banked
    schema.metadata.create_all(engine)
    with engine.begin() as connection:
        for number in (7, 3, 9, 1, 5):
            keep(connection, stored(number, number / 7), ladder(SIX_HOURS, 3), 0.0, 3, -1.0)
        assert sorted(connection.execute(select(table.c.call)).scalars()) == [5, 7, 9]


def test_planning_knows_the_window():
    bar = 12.4
    spread = [(flow.age / DAY, flow.per_day) for flow in flows(ladder(SIX_HOURS, 1000), 50.0)]
    total, fifth = days_needed(1.0, 0.02, bar, spread), days_needed(0.2, 0.02, bar, spread)
    assert total is not None
    assert fifth is not None
    # medians of 20 runs on a simulated clock, as benchmarks/replay_window.py plays it: .76 days and 4.0 days
    assert 0.76 / 1.5 < total[0] < 0.76 * 1.5
    assert 4.0 / 1.5 < fifth[0] < 4.0 * 1.5
    # all of them used after six hours, as it was: 12 pairs straddle a change, and nothing is ever found
    assert days_needed(1.0, 0.02, bar, [(0.25, 50.0)]) is None


def test_a_change_that_is_not_sudden_takes_a_second_day_however_many_pairs_there_are():
    bar, many = math.log(1000 / 0.005), [(14.0, 5000.0)]
    assert days_needed(1.0, 0.02, bar, many)[0] < 0.1
    assert 1.5 < days_needed(0.5, 0.02, bar, many)[0] < 1.8
    few = days_needed(1.0, 0.02, bar, [(14.0, 50.0)])
    assert few[1] >= 30.0


def test_a_pace_that_can_show_nothing_is_said(tmp_path):
    ledger, now = Ledger(tmp_path), 20 * DAY
    assert too_slow(ledger, Drift(), now) == []
    for number in range(12):
        ledger.bank(stored(number, now - 3 * DAY + number * DAY / 4), ladder(SIX_HOURS, 9), 0.0, 1000, -1.0)
    [said] = too_slow(ledger, Drift(), now)
    assert "stores about 4 answers a day, which wait 0.25 days at most" in said
    assert too_slow(ledger, Drift(), now - 2.5 * DAY) == []  # too early to tell
    for number in range(600):  # fifty in six hours: a sudden change of all answers takes thirty
        ledger.bank(
            stored(number, now - 3 * DAY + number * DAY / 200), ladder(SIX_HOURS, 999), 0.0, 1000, -1.0
        )
    assert too_slow(ledger, Drift(), now) == []
    ledger.close()
