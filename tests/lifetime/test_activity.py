"""How background work gives way to the application's calls."""

from __future__ import annotations

from promptguard.lifetime import activity
from promptguard.lifetime.activity import PAUSE_SECONDS, SHORTEST_SECONDS, Pace


def test_pauses_grow_short_while_work_falls_behind_and_long_again_when_it_catches_up():
    pace = Pace()
    for behind in range(1000, 9000, 1000):
        pace.note(behind)
    assert pace.pause == SHORTEST_SECONDS
    for behind in range(8000, 0, -500):
        pace.note(behind)
    assert pace.pause == PAUSE_SECONDS


def test_work_pauses_only_while_the_application_makes_calls(monkeypatch):
    slept = []
    monkeypatch.setattr(activity.time, "sleep", slept.append)
    monkeypatch.setattr(activity, "_last_call", -1e9)
    monkeypatch.setattr(activity, "_gave_way", -1e9)
    activity.give_way(0.5)
    activity.call_began()
    activity.give_way(0.5)
    assert slept == [0.0, 0.5]
