"""What an end does with answers that wait to be stored, or were just taken to be asked again."""

from __future__ import annotations

import threading
import time

import pytest

import promptguard
from promptguard.ledger.store import Ledger
from promptguard.lifetime.shared import Shared
from tests.faults.storing import ASK, ask, counted, slowly, storing
from tests.servers import until


@pytest.mark.sdk
@pytest.mark.parametrize("seconds", [0.05, 0.5])
def test_what_is_not_stored_as_the_process_ends_is_counted(seconds, guarded, provider, monkeypatch):
    client, background = storing(provider, guarded)
    slowly(monkeypatch, seconds)
    for _ in range(5):
        client.chat.completions.create(model="m", messages=ASK)
    client.close()
    background.close(1.5)
    stored, rows = counted(guarded)
    assert stored + len(rows) in ({5} if seconds < 0.1 else {4, 5}), "one may be amid its transaction"
    assert set(rows) <= {("replay", "control_error", "process ended")}
    assert bool(rows) == (seconds > 0.1)


@pytest.mark.sdk
@pytest.mark.parametrize("raises", [False, True])
def test_an_end_stores_what_waits_behind_a_stream_and_leaves_no_thread(
    raises, guarded, provider, monkeypatch
):
    client, background = storing(provider, guarded)
    read = client.chat.completions.create(model="m", messages=ASK, stream=True)
    for _ in range(3):
        client.chat.completions.create(model="m", messages=ASK)
    assert counted(guarded)[0] == 0
    if raises:
        monkeypatch.setattr(background.pairing.places.order("candidate"), "end", lambda *_: 1 / 0)
    client.close()
    background.close(3.0)
    background._end_pairs(lambda: 0.0)
    assert counted(guarded) == (3, [("replay", "control_error", "process ended")])
    until(lambda: not any(thread.is_alive() for thread in background.storing._worker._started))
    read.close()


@pytest.mark.sdk
def test_an_end_stores_no_longer_than_is_said_once_it_has_begun(guarded, provider, monkeypatch):
    """Whoever ends a process has everything begin to end, and says only then how long that may take."""
    client, background = storing(provider, guarded)
    read = client.chat.completions.create(model="m", messages=ASK, stream=True)
    for _ in range(40):
        ask(client)
    slowly(monkeypatch, 0.1)
    background.stop()
    until(lambda: background.storing._worker.waiting)
    background.join(time.monotonic() + 1.5)
    stored, rows = counted(guarded)
    assert 0 < stored < 30
    assert stored + len(rows) in {40, 41}, "one may be amid its transaction"
    assert not background.evaluator._thread.is_alive()
    client.close()
    read.close()


@pytest.mark.sdk
def test_an_end_counts_its_losses_though_another_before_it_takes_all_the_time(guarded, provider, monkeypatch):
    class Hanging:
        def stop(self, deadline):
            pass

        def join(self, deadline):
            time.sleep(max(0.0, deadline - time.monotonic()))

    client, background = storing(provider, guarded)
    read = client.chat.completions.create(model="m", messages=ASK, stream=True)
    for _ in range(40):
        ask(client)
    slowly(monkeypatch, 0.1)
    things = Shared("test", lambda *_: None, at_exit=False)
    uses = [things.acquire(0, Hanging), things.acquire(1, lambda: background)]
    things.close_all(time.monotonic() + 1.5)
    stored, rows = counted(guarded)
    assert 0 < stored < 30
    assert stored + len(rows) in {40, 41}, "one may be amid its transaction"
    assert len(uses) == 2
    client.close()
    read.close()


@pytest.mark.sdk
def test_what_is_taken_from_the_bank_as_a_process_ends_is_counted(guarded, provider, monkeypatch):
    due, begin, taken = Ledger.due, threading.Event(), threading.Event()

    def slow(*args):
        if not begin.is_set():
            return []
        rows = due(*args)
        taken.set()
        until(lambda: background.worker._closed)
        return rows

    monkeypatch.setattr(Ledger, "due", slow)
    monkeypatch.setattr("promptguard.background.replaying.POLL_SECONDS", 0.05)
    client, background = storing(provider, guarded, after=0)
    for _ in range(10):
        ask(client)
    assert promptguard.flush(60.0)
    assert counted(guarded) == (10, [])
    begin.set()
    assert taken.wait(30.0)
    client.close()
    background.close(3.0)
    assert counted(guarded) == (0, [("replay", "dropped", "process ended")] * 10)
    background.replaying._look()
    assert not background.replaying._thread.is_alive()
