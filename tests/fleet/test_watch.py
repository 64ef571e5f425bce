"""`promptguard watch` on a database: it judges what wrapped processes leave to it, and another one takes over."""

from __future__ import annotations

import signal
import time

import pytest
from openai import OpenAI

import promptguard
from promptguard.report.overview import read_overview
from tests.fleet.waiting import until
from tests.watch.conftest import Watch

pytestmark = [pytest.mark.sdk, pytest.mark.once]


@pytest.fixture
def watch(database, tmp_path):
    """Start watches of the database, each with a directory of its own, as on another host."""
    started = []

    def start():
        started.append(Watch(database, PROMPTGUARD_LOCAL=str(tmp_path / f"local{len(started)}")))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.end(signal.SIGKILL)


def pairs(provider, database, monkeypatch, tmp_path, numbers):
    monkeypatch.setenv("PROMPTGUARD_LOCAL", str(tmp_path / "local"))
    provider.models["n"] = lambda question: f"No, {question.text} is not so."
    budget = promptguard.Budget(calls_per_minute=None)
    client = promptguard.wrap(
        OpenAI(base_url=provider.url, api_key="k"),
        ledger=database,
        shadow=promptguard.Shadow("n", sample=1.0, repeat=0.0, budget=budget),
        drift=promptguard.Drift(evaluate="never"),
    )
    for number in numbers:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": f"ask {number}"}])
    background = client._client._transport._promptguard_ports.background
    assert background.worker.flush(60.0)
    assert background.writer.flush(60.0)
    client.close()


def statuses(database):
    return {(row.status, row.pairs) for row in read_overview(database).rows if row.stream == "candidate"}


def test_it_judges_a_database(provider, database, watch, monkeypatch, tmp_path):
    pairs(provider, database, monkeypatch, tmp_path, range(60))
    assert statuses(database) == set()
    running = watch()
    assert running.started["watch"].count("***") == 1
    assert running.state() == "active"
    until(lambda: statuses(database) == {("drift", 60)})
    assert running.get("/readyz")[0] == 200
    assert running.end()[0] == 0


@pytest.mark.slow
def test_another_one_takes_over_after_a_kill_and_counts_no_pair_twice(
    provider, database, watch, monkeypatch, tmp_path
):
    pairs(provider, database, monkeypatch, tmp_path, range(40))
    first = watch()
    assert first.state() == "active"
    second = watch()
    assert second.state() == "standby"
    until(lambda: statuses(database) == {("drift", 40)})
    first.end(signal.SIGKILL)
    began = time.monotonic()
    assert second.state() == "active"
    assert time.monotonic() - began < 30.0
    pairs(provider, database, monkeypatch, tmp_path, range(40, 60))
    until(lambda: statuses(database) == {("drift", 60)})
    assert second.end()[0] == 0
