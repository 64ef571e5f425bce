"""A verdict is told with its age, and taken away when it is too old, with the reason."""

from __future__ import annotations

import json
import logging
import time
from types import SimpleNamespace

import pytest
from openai import OpenAI

import promptguard
from promptguard.background.aging import Aging
from promptguard.background.engine import open_backgrounds
from promptguard.background.folding import Fold
from promptguard.cli import main
from promptguard.drift import Answer, vectorise
from promptguard.report.freshness import Clock, as_of, measured
from promptguard.report.overview import read_overview
from promptguard.report.read import read_report
from promptguard.report.state import StateReader
from promptguard.testing import FakeClock, FakeProvider
from tests.conftest import close_backgrounds
from tests.files import asked_of

UNLIMITED = promptguard.Budget(calls_per_minute=None)
pytestmark = pytest.mark.sdk


def watched(ledger, *, calls=40, clock=time.time, models=("m", "snap"), group=None, **settings):
    """Make calls in a process of its own kind; both models answer alike."""
    with FakeProvider({name: lambda q: f"Yes {q.text}" for name in models}) as provider:
        client = OpenAI(base_url=provider.url, api_key="k", max_retries=0)
        settings.setdefault(
            "shadow", promptguard.Shadow(model="snap", sample=1.0, repeat=0.0, budget=UNLIMITED)
        )
        promptguard.wrap(client, ledger=ledger, clock=clock, seed=1, **settings)
        for number in range(calls):
            with promptguard.group(group(number) if group else "g"):
                client.chat.completions.create(
                    model="m", messages=[{"role": "user", "content": f"q{number}"}]
                )
        assert promptguard.flush(100.0)
        yield client
        client.close()
    close_backgrounds()


def once(*args, **settings):
    for _ in watched(*args, **settings):
        pass


def told(ledger, capsys, *, code):
    with pytest.raises(SystemExit) as ended:
        main(["status", "--ledger", str(ledger), "--json"])
    assert ended.value.code == code
    return json.loads(capsys.readouterr().out)


def next_of(ledger, capsys):
    with pytest.raises(SystemExit):
        main(["status", "--ledger", str(ledger)])
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("next: ")]
    return line


def test_a_verdict_grows_old(guarded, capsys):
    clock = FakeClock(time.time() - 90 * 86400.0)
    once(guarded, clock=clock)
    at = clock()
    [row] = read_overview(guarded, now=at + 60.0).rows
    assert row.status == "no_drift"
    report = read_report(guarded, now=at + 60.0)
    window = report.streams[0].verdict.window
    assert window is not None
    assert (window.first_at, window.last_at, window.stale_after) == (at, at, 3600.0)
    assert [each.pairs for each in window.since] == [40] * 4
    assert "could hide" in report.streams[0].verdict.sentence()
    status = told(guarded, capsys, code=3)
    assert (status["status"], status["rows"][0]["reason"]) == ("unmeasured", "stale")
    assert status["groups"] == {"measured": 0, "of": 1}
    assert [each["pairs"] for each in status["rows"][0]["window"]["since"]] == [0] * 4
    [row] = read_overview(guarded, now=at + 3601.0).rows
    assert (row.status, row.reason) == ("unmeasured", "stale")
    assert row.sentence() == "Not measured: stale (40 pairs)."
    assert {v.reason for v in promptguard.verdicts(guarded)} == {"stale"}
    assert {v.status for v in promptguard.verdicts(guarded, clock=clock)} == {"no_drift"}


def test_how_old_is_a_setting_that_every_reader_finds(guarded):
    clock = FakeClock()
    once(guarded, clock=clock, drift=promptguard.Drift(stale_after="2d"))
    assert read_report(guarded, now=clock() + 47 * 3600.0).status == "no_drift"
    assert read_report(guarded, now=clock() + 49 * 3600.0).status == "unmeasured"
    once(guarded, calls=0, clock=clock, drift=promptguard.Drift(stale_after="3d"))
    assert read_report(guarded, now=clock() + 49 * 3600.0).status == "no_drift"


def test_a_drift_stays_a_drift_however_old():
    found = {"status": "drift", "reason": None, "moments": {"last": {"at": 0.0}}}
    as_of(found, Clock(1e9))
    assert found["status"] == "drift"


@pytest.mark.parametrize(
    ("reason", "counts", "told_as"),
    [
        ("too few pairs", {"dropped: process ended": 4}, "process ended"),
        ("too few pairs", {"candidate_error: process ended": 4}, "process ended"),
        ("too many losses", {"dropped: process ended": 4}, "too many losses"),
        ("too many losses", {"dropped: not_asked: budget": 4}, "too many losses"),
        ("too many losses", {"dropped: rate": 9, "candidate_error: status_404": 3}, "candidate errors: status_404"),
        ("too many losses", {"candidate_error: status_404": 2}, "too many losses"),
        ("asymmetric loss", {"candidate_error: process ended": 3}, "process ended"),
    ],
)  # fmt: skip
def test_losses_are_explained_by_errors_alone(reason, counts, told_as):
    found = {
        "status": "unmeasured", "reason": reason, "stream": "candidate", "pairs": 100, "skipped": {"candidate_error": 50},
        "moments": {"last": {"at": 0.0}}, "pace": {"missing": {"counts": counts, "at": 1.0}},
    }  # fmt: skip
    as_of(found, Clock(2.0, refused={"candidate": ("not_asked: rate", 1.5)}))
    assert found["reason"] == told_as


def test_one_thin_group_takes_nothing_away(guarded, capsys):
    once(guarded, calls=62, group=lambda n: "thin" if n == 0 else f"group {n % 2}")
    status = told(guarded, capsys, code=0)
    assert status["status"] == "no_drift"
    assert status["groups"] == {"measured": 2, "of": 3}
    with pytest.raises(SystemExit):
        main(["status", "--ledger", str(guarded)])
    assert "2 of 3 groups measured" in capsys.readouterr().out


def test_a_model_without_a_price_is_the_reason(guarded, capsys):
    shadow = promptguard.Shadow(
        model="unknown", sample=1.0, repeat=0.0, budget=promptguard.Budget(usd_per_day=5.0)
    )
    once(guarded, shadow=shadow, models=("m", "unknown"), calls=6)
    status = told(guarded, capsys, code=3)
    assert [row["reason"] for row in status["rows"]] == ["price unknown"]
    assert next_of(guarded, capsys).startswith("next: give Budget(price=")


def test_a_mistyped_model_is_the_reason(guarded, capsys):
    shadow = promptguard.Shadow(model="snapp", sample=1.0, repeat=0.0, budget=UNLIMITED)
    once(guarded, shadow=shadow)
    status = told(guarded, capsys, code=3)
    assert [row["reason"] for row in status["rows"]] == ["candidate errors: status_404"]
    assert next_of(guarded, capsys).startswith("next: check the name in Shadow(model=...)")
    with pytest.raises(SystemExit):
        main(["status", "--ledger", str(guarded)])
    assert "40 pairs not made: " in capsys.readouterr().out


def test_a_spent_budget_is_the_reason_once_the_pairs_are_old(guarded):
    clock = FakeClock()
    shadow = promptguard.Shadow(
        model="snap",
        sample=1.0,
        repeat=0.0,
        budget=promptguard.Budget(calls_per_day=30, calls_per_minute=None),
    )
    for client in watched(guarded, shadow=shadow, clock=clock, calls=30):
        clock.advance(3000.0)
        for number in range(5):
            with promptguard.group("g"):
                client.chat.completions.create(
                    model="m", messages=[{"role": "user", "content": f"more {number}"}]
                )
        assert promptguard.flush(100.0)
    assert {row.status for row in read_overview(guarded, now=clock()).rows} == {"no_drift"}
    assert {row.reason for row in read_overview(guarded, now=clock() + 1000.0).rows} == {"budget spent"}
    # a day later nobody knows any more whether the budget is why
    assert {row.reason for row in read_overview(guarded, now=clock() + 90_000.0).rows} == {"stale"}


def test_gauges_and_the_log_tell_it_with_the_reason(guarded, caplog):
    clock = FakeClock()
    for _ in watched(guarded, clock=clock):
        background = open_backgrounds()[0]
        evaluator = background.evaluator
        clock.advance(7200.0)
        holder = evaluator._lease[1]
        [prompt] = StateReader(guarded, holder).read(clock(), {}).prompts
        assert (prompt.standing, prompt.reason, prompt.hidden_shift) == ("unmeasured", "stale", None)
        events = []
        aging = Aging(events.append)
        aging._look_at = 0.0
        with caplog.at_level(logging.WARNING, "promptguard"):
            places = list(aging.look(evaluator._fold, lambda stream, group: 1, Clock(clock())))
        assert places == [("candidate", 1, ""), ("candidate", 1, "g")]
        assert "the candidate stream is not measured any more: stale" in caplog.text
        assert [(event.status, event.sentence) for event in events] == [
            ("unmeasured", "Not measured: stale (40 pairs).")
        ]
        aging._look_at = 0.0
        assert not list(aging.look(evaluator._fold, lambda stream, group: 1, Clock(clock())))  # said once


def test_ages_and_reasons_outlive_the_process(guarded):
    once(guarded)
    before = _pace(guarded)
    once(guarded, calls=0)
    assert _pace(guarded) == before
    assert before["ages"]["pairs"] == 40


def _pace(ledger):
    ((document, *_), *_) = asked_of(ledger / "ledger.sqlite3", "select document from verdict")
    return json.loads(document)["pace"]


def test_groups_that_drifted_count_as_measured():
    assert measured(
        [
            {"stream": "candidate", "group": "a", "status": "drift"},
            {"stream": "candidate", "group": "b", "status": "unmeasured"},
            {"stream": "replay", "group": "b", "status": "no_drift"},
            {"stream": "repeat", "group": "c", "status": "no_drift"},
        ]
    ) == (2, 2)


def test_replays_of_before_that_was_noted_take_nothing_from_those_that_came_after():
    fold = Fold(promptguard.Drift())
    vector = vectorise(Answer("yes"), Answer("yes")).to_bytes()

    def take(number, at, banked_at):
        row = SimpleNamespace(
            id=number, stream="replay", epoch=1, group="g", at=at, banked_at=banked_at, call=number, banked_call=None,
            outcome="compared", reason="", asked="m", control_model="m", candidate_model="m", vector=vector,
        )  # fmt: skip
        fold.take(row)

    for number in range(100):
        take(number, 1_000_000.0 + number, None)
    for number in range(100, 140):
        take(number, 1_200_000.0 + number, 1_100_000.0)
    assert fold.stream("replay", 1).age("g").straddling(1_150_000.0) == 40
