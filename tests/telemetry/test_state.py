"""Gauges of state: the ledger's own figures from the first collection on, from one process, whatever the ledger does."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time

import pytest
from openai import OpenAI
from opentelemetry import metrics

import promptguard
from promptguard.background import engine, state_source
from promptguard.core.ledger_state import BudgetLeft
from promptguard.ledger.store import Ledger
from promptguard.report import state as read_model
from promptguard.report.full import full_report
from promptguard.telemetry import semconv as name
from promptguard.testing import FakeClock, FakeProvider
from tests.cache.replies import until
from tests.conftest import close_backgrounds
from tests.report.conftest import recorded_once
from tests.telemetry.points import points, values

pytestmark = pytest.mark.sdk


@pytest.fixture(scope="module")
def drifted(tmp_path_factory):
    return recorded_once(tmp_path_factory, "gauges", switch=31, calls=90)


@pytest.fixture
def ledger(drifted, tmp_path):
    """A copy of a ledger in which a prompt has drifted, for one test."""
    yield shutil.copytree(drifted.path, tmp_path / "fleet")
    _kept.clear()
    close_backgrounds()


_kept = []


@pytest.fixture(autouse=True)
def _every_time(monkeypatch):
    monkeypatch.setattr(state_source, "REFRESH_SECONDS", -1.0)


def watched(ledger, clock, **options):
    """Return a client that shadows with this ledger; the evaluator has the lease."""
    budget = promptguard.Budget(usd_per_day=2.0, calls_per_day=1000)
    shadow = promptguard.Shadow(model="gpt-4-0314", sample=1.0, repeat=0.0, budget=budget)
    client = promptguard.wrap(
        OpenAI(base_url="http://127.0.0.1:9", api_key="k", max_retries=0), ledger=ledger, cache="memory",
        shadow=shadow, clock=clock, **options
    )  # fmt: skip
    assert promptguard.flush(60.0)
    _kept.append(client)  # one that is collected takes its background work with it, after a few seconds
    return client


def test_a_restarted_process_shows_what_the_ledger_knows_at_its_first_collection(recorded, ledger, drifted):
    _, reader = recorded
    clock = FakeClock()
    clock.advance(drifted.calls * 60 + 3600)
    watched(ledger, clock)
    report = full_report(ledger)
    alarmed = report.streams[0].groups[0]

    status = values(reader, name.DRIFT_STATUS, name.STREAM, name.STATUS)
    assert {state for (stream, state), value in status.items() if stream == "candidate" and value} == {
        "drift"
    }
    assert sum(status.values()) == len({stream for stream, _ in status})
    evidence = values(reader, name.EVIDENCE, name.STREAM)
    assert evidence["candidate"] == pytest.approx(alarmed.verdict.log10_evidence)
    assert values(reader, name.THRESHOLD, name.STREAM)["candidate"] == pytest.approx(
        alarmed.verdict.log10_threshold
    )
    assert evidence["candidate"] > values(reader, name.THRESHOLD, name.STREAM)["candidate"]
    alarms = sum(noted.kind == "alarm" for noted in report.actions)
    assert alarms > 0
    assert values(reader, name.ALARMS, name.STREAM) == {"candidate": alarms, "repeat": 0}
    age = values(reader, name.LAST_PAIR_AGE, name.STREAM)["candidate"]
    assert age == pytest.approx(clock() - alarmed.last.at)
    assert values(reader, name.COST, name.ROLE) == pytest.approx(
        {each.stream: each.usd for each in report.spent}
    )
    assert values(reader, name.CACHE_SAVED, name.REQUEST_MODEL) == {
        "gpt-4": pytest.approx(report.cache.saved_usd)
    }
    assert values(reader, name.EVALUATOR_AGE, name.LEDGER)["fleet"] < 60
    assert values(reader, name.QUEUE_SIZE, name.LEDGER) == {"fleet": 0}
    assert not engine.open_backgrounds()[0].faults.counts


def test_pairs_of_the_last_day_are_counted_without_those_before(recorded, ledger, drifted):
    _, reader = recorded
    clock = FakeClock()
    clock.advance(drifted.calls * 60)
    watched(ledger, clock)
    pairs = {each.stream: each.pairs for each in full_report(ledger).streams if each.epoch == 1}
    total = _compared(ledger)
    assert values(reader, name.STRADDLING_PAIRS, name.STREAM) == total
    assert total["candidate"] >= pairs["candidate"]
    clock.advance(read_model.DAY - 30 * 60)
    first = clock() - read_model.DAY
    left = values(reader, name.STRADDLING_PAIRS, name.STREAM)["candidate"]
    exact = _compared(ledger, since=first)["candidate"]
    assert (
        exact <= left <= _compared(ledger, since=first - read_model.BUCKET)["candidate"] < total["candidate"]
    )
    clock.advance(read_model.DAY)
    assert set(values(reader, name.STRADDLING_PAIRS, name.STREAM).values()) == {0}


def _compared(ledger, since=0.0):
    connection = sqlite3.connect(ledger / "ledger.sqlite3")
    try:
        query = "select stream, count(*) from pair where outcome='compared' and at >= ? group by stream"
        return dict(connection.execute(query, [since]).fetchall())
    finally:
        connection.close()


def test_bisection_finds_the_last_pair_of_before(ledger, drifted, monkeypatch):
    """Whatever the ids' gaps: retention deletes the oldest."""
    connection = sqlite3.connect(ledger / "ledger.sqlite3")
    connection.executescript("delete from content; delete from pair where id <= 20 or id % 7 = 0")
    times = [at for (at,) in connection.execute("select at from pair order by id")]
    connection.close()
    with Ledger(ledger).reading() as connection:
        for since in (times[0] - 1, times[len(times) // 2], times[-1] + 1):
            recent = read_model.RecentPairs()
            found = sum(recent.count(connection, since + read_model.DAY).values())
            compared = sum(_compared(ledger, since).values())
            assert compared <= found <= sum(_compared(ledger, since - read_model.BUCKET).values())


def test_a_lost_pair_a_spent_budget_and_an_acknowledgement_show(recorded, ledger, drifted):
    _, reader = recorded
    clock = FakeClock()
    clock.advance(drifted.calls * 60)
    client = watched(ledger, clock)
    assert values(reader, name.BUDGET_LEFT, name.PURPOSE)["shadow"] <= 2.0
    before = values(reader, name.BUDGET_CALLS_LEFT, name.PURPOSE)["shadow"]
    with FakeProvider({"gpt-4": lambda _: "a"}) as provider:  # the other model is not there
        asking = client.with_options(base_url=provider.url)
        gone = promptguard.Shadow(model="gone", sample=1.0, repeat=0.0)
        promptguard.wrap(asking, ledger=ledger, shadow=gone, clock=clock)
        asking.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "one more"}])
        assert promptguard.flush(60.0)
        lost = values(reader, name.LOSSES, name.STREAM, name.PAIR_OUTCOME, name.SKIPPED_REASON)
        assert any(outcome == "candidate_error" and count for (_, outcome, _), count in lost.items()), lost
        assert values(reader, name.BUDGET_CALLS_LEFT, name.PURPOSE)["shadow"] == before - 1
    group = full_report(ledger).streams[0].groups[0].group
    promptguard.acknowledge(ledger, group=group)
    status = values(reader, name.DRIFT_STATUS, name.STREAM, name.STATUS)
    assert (status["candidate", "drift"], status["candidate", "acknowledged"]) == (0, 1)


def test_only_the_holder_of_the_lease_tells_the_ledgers_state(recorded, ledger, drifted):
    _, reader = recorded
    other = Ledger(ledger)
    assert other.take_lease("evaluator", "another process", time.time(), 29.0)
    clock = FakeClock()
    client = OpenAI(base_url="http://127.0.0.1:9", api_key="k")
    shadow = promptguard.Shadow(model="gpt-4-0314", sample=1.0, repeat=0.0)
    _kept.append(promptguard.wrap(client, ledger=ledger, clock=clock, shadow=shadow))
    (background,) = engine.open_backgrounds()
    assert background.wait_open(10)
    assert points(reader, name.DRIFT_STATUS) == {}
    assert points(reader, name.EVALUATOR_AGE) == {}
    assert values(reader, name.QUEUE_SIZE, name.LEDGER) == {"fleet": 0}  # of each process its own
    other.drop_lease("evaluator", "another process")
    until(lambda: points(reader, name.DRIFT_STATUS))
    background.close(2.0)
    assert points(reader, name.DRIFT_STATUS) == {}
    assert points(reader, name.QUEUE_SIZE) == {}


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_that_inherits_a_source_tells_nothing(recorded, ledger):
    watched(ledger, FakeClock())
    (background,) = engine.open_backgrounds()
    assert background.state_source.is_open
    child = os.fork()
    if child == 0:
        os._exit(3 if background.state_source.is_open else 0)
    assert os.waitpid(child, 0)[1] == 0


def test_a_locked_ledger_holds_up_no_collection(recorded, ledger, monkeypatch):
    _, reader = recorded
    watched(ledger, FakeClock())
    assert points(reader, name.DRIFT_STATUS)
    (background,) = engine.open_backgrounds()
    background.stop()
    background.join(time.monotonic() + 5.0)
    background.state_source._closed = False
    connection = sqlite3.connect(ledger / "ledger.sqlite3", isolation_level=None)
    try:
        connection.execute("pragma journal_mode=delete")
        connection.execute("begin exclusive")
        started = time.monotonic()
        assert background.state_source.state() is not None  # the last reading
        assert time.monotonic() - started < 10 * read_model.WAIT
        assert any(kind.startswith("state gauges") for kind in background.faults.counts)
        monkeypatch.setattr(state_source, "KEPT_SECONDS", -1.0)
        assert background.state_source.state() is None
    finally:
        connection.close()


def test_one_collection_reads_once(recorded, ledger, monkeypatch):
    monkeypatch.setattr(state_source, "REFRESH_SECONDS", 2.0)
    _, reader = recorded
    reads = []
    original = read_model.StateReader.read
    monkeypatch.setattr(read_model.StateReader, "read", lambda *args: reads.append(1) or original(*args))
    watched(ledger, FakeClock())
    for _ in range(3):
        reader.get_metrics_data()
    assert len(reads) == 1


def test_series_are_bounded(recorded, ledger, monkeypatch):
    _, reader = recorded
    monkeypatch.setattr(read_model, "MOST_PROMPTS", 1)
    watched(ledger, FakeClock())
    status = values(reader, name.DRIFT_STATUS, name.STREAM, name.STATUS)
    assert {stream for stream, _ in status} == {"candidate"}  # what drifted comes first
    from promptguard.telemetry.state import MOST_REASONS, StateGauges

    gauges = StateGauges(metrics.get_meter("test"))
    labels = [gauges._label(f"reason {number}") for number in range(MOST_REASONS + 5)]
    assert labels[-5:] == ["_other"] * 5
    assert gauges._label("reason 3") == "reason 3"


def test_the_caps_that_are_reached_first_count():
    assert read_model.least([BudgetLeft(5.0, None), BudgetLeft(2.0, 10)]) == BudgetLeft(2.0, 10)
    assert read_model.least([BudgetLeft(None, None)]) == BudgetLeft(None, None)
