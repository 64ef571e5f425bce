"""Which sampled calls there is room for, and numbers that a fork does not give out twice."""

from __future__ import annotations

import asyncio
import gc
import os
import sqlite3
import threading
import time
import weakref
from collections import Counter

import pytest
from openai import AsyncOpenAI

import promptguard
from promptguard.background.engine import open_backgrounds
from promptguard.ledger.store import Ledger
from promptguard.runtime.finishing import finish_abandoned, finish_later
from promptguard.shadow.admission import Admission
from promptguard.shadow.reorder import ReorderBuffer
from tests.faults.storing import ASK, ask, counted, slowly, storing
from tests.servers import until


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_there_is_room_for_as_many_as_may_be_and_for_one_more_once_one_leaves():
    admission = Admission(lambda: 2)
    first, second = admission.admit(), admission.admit()
    assert admission.admit() is None
    admission.answered(first)
    assert admission.admit() is None, "its background work is still to be done"
    admission.leave(first)
    admission.leave(first)
    admission.answered(first)
    assert len(admission) == 1
    assert admission.admit() > second
    assert admission.admit() is None


def test_a_call_whose_answer_never_comes_gives_its_room_back_and_work_that_waits_keeps_it():
    clock = Clock()
    admission = Admission(lambda: 3, clock)
    hanging, waiting = admission.admit(), admission.admit()
    admission.answered(waiting)
    clock.now = 200.0
    young = admission.admit()
    admission.expire(180.0)
    assert len(admission) == 2
    admission.leave(hanging)
    admission.leave(young)
    assert len(admission) == 1


@pytest.mark.parametrize(
    "made",
    [
        lambda: ReorderBuffer(lambda _: None, time.monotonic, lambda *_: None).open("g"),
        lambda: Admission(lambda: 9).admit(),
    ],
)
def test_what_was_given_out_before_is_never_given_out_by_who_begins_later(made):
    """So a stream that is begun before a fork fills no place of the child's."""
    numbers = [made() for _ in range(100)]
    assert numbers == sorted(set(numbers))


@pytest.mark.sdk
@pytest.mark.parametrize("max_queue", [10, 100_000])
def test_as_many_calls_are_taken_as_their_order_has_places_for(max_queue, guarded, provider, monkeypatch):
    monkeypatch.setattr("promptguard.background.places.MOST_SLOTS", 20)
    client = AsyncOpenAI(base_url=provider.url, api_key="k")
    shadow = promptguard.Shadow(model="other", queue=max_queue, workers=1)
    promptguard.wrap(client, ledger=guarded, shadow=shadow, replay=promptguard.Replay(share=1.0))
    (background,) = open_backgrounds()
    asker = client._client._transport._promptguard_ports.asker
    taken = [background.take_places(asker, ("stored",), "g", ()) for _ in range(30)]
    assert sum(bool(places) for places in taken) == min(max_queue + 1, 20)
    for places in taken:
        background.pairing.places.drop(places, "g", "fault")
    assert background.pairing.places.under_way == 0
    asyncio.run(client.close())


@pytest.mark.sdk
def test_a_call_that_is_read_for_minutes_gives_its_places_up(guarded, provider, monkeypatch):
    client, background = storing(provider, guarded)
    read = client.chat.completions.create(model="m", messages=ASK, stream=True)
    places = background.pairing.places
    assert places.under_way == 1
    monkeypatch.setattr("promptguard.background.places.LONGEST_CALL", -1.0)
    places.expire()
    assert places.under_way == 0
    for _ in read:
        pass
    assert promptguard.flush(60.0)
    assert counted(guarded) == (0, [("replay", "control_error", "abandoned")])
    client.close()


@pytest.mark.sdk
def test_flush_waits_for_answers_that_are_being_stored(guarded, provider, monkeypatch):
    client, _ = storing(provider, guarded)
    slowly(monkeypatch)
    for _ in range(3):
        client.chat.completions.create(model="m", messages=ASK)
    assert promptguard.flush(60.0)
    assert counted(guarded) == (3, [])
    client.close()


@pytest.mark.sdk
def test_a_call_that_is_read_for_long_is_lost_and_not_the_many_bytes_behind_it(
    guarded, provider, monkeypatch
):
    client, background = storing(provider, guarded)
    client.chat.completions.create(model="m", messages=ASK)
    assert promptguard.flush(60.0)
    monkeypatch.setattr(background.storing._worker, "_max_bytes", 4_000)
    read = client.chat.completions.create(model="m", messages=ASK, stream=True)
    for _ in range(5):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x" * 900}])
    until(lambda: background.storing.is_idle)
    for _ in read:
        pass
    assert promptguard.flush(60.0)
    assert counted(guarded) == (6, [("replay", "control_error", "abandoned")])
    assert background.storing._worker._held == 0
    client.close()


@pytest.mark.sdk
@pytest.mark.parametrize(
    ("made", "outcomes"),
    [
        (("lost", "lost", "lost", "answered"), {"control_error": 1, "not_paired": 3}),
        (("answered", "answered", "answered", "lost"), {"compared": 1, "not_paired": 3}),
    ],
)
def test_a_lost_answer_of_a_conversation_is_its_pair_where_it_comes_first(
    made, outcomes, guarded, provider, monkeypatch
):
    monkeypatch.setattr("promptguard.background.replaying.POLL_SECONDS", 1e9)
    client, background = storing(provider, guarded, after=0)
    with promptguard.cluster("a conversation"):
        for each in made:
            ask(client, is_lost=each == "lost")
    assert promptguard.flush(60.0)
    assert counted(guarded) == (4, [])
    taken = []
    with monkeypatch.context() as busy:  # every worker is, until all four are taken
        busy.setattr(background.worker, "offer", taken.append)
        background.replaying._look()
    for task in taken:
        background.worker.offer(task)
    assert promptguard.flush(60.0)
    assert Counter(outcome for _, outcome, _ in counted(guarded)[1]) == outcomes
    client.close()


@pytest.mark.sdk
def test_a_ledger_that_refuses_a_lost_answer_its_pair_costs_that_alone(guarded, provider, monkeypatch):
    monkeypatch.setattr("promptguard.background.replaying.POLL_SECONDS", 1e9)
    client, background = storing(provider, guarded, after=0)
    with promptguard.cluster("a conversation"):
        ask(client, is_lost=True)
    for _ in range(5):
        ask(client)
    assert promptguard.flush(60.0)
    claim, refused = Ledger.claim, []

    def refuse_once(*args):
        if refused:
            return claim(*args)
        refused.append(args)
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr(Ledger, "claim", refuse_once)
    background.replaying._look()
    assert promptguard.flush(60.0)
    stored, rows = counted(guarded)
    assert stored == 0
    assert Counter(outcome for _, outcome, _ in rows) == {"dropped": 1, "compared": 5}
    client.close()


@pytest.mark.sdk
def test_a_lost_answer_from_before_an_accepted_change_is_no_pair(guarded, provider, monkeypatch):
    monkeypatch.setattr("promptguard.background.replaying.POLL_SECONDS", 1e9)
    client, background = storing(provider, guarded, after=0)
    monkeypatch.setattr(background.pairing, "accepted", lambda *_: (time.time() + 60.0, None))
    ask(client, is_lost=True)
    assert promptguard.flush(60.0)
    background.replaying._look()
    assert promptguard.flush(60.0)
    assert counted(guarded)[1] == [("replay", "not_paired", "stored before the change that was accepted")]
    client.close()


@pytest.mark.sdk
def test_a_worker_that_cannot_start_costs_one_stored_answer(guarded, provider, monkeypatch):
    monkeypatch.setattr("promptguard.background.replaying.POLL_SECONDS", 1e9)
    client, background = storing(provider, guarded, after=0)
    for _ in range(5):
        ask(client)
    assert promptguard.flush(60.0)
    started, start = background.worker._started, background.worker._start
    background.worker._started = []

    def refuse_once():
        background.worker._started, background.worker._start = started, start
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(background.worker, "_start", refuse_once)
    background.replaying._look()
    assert promptguard.flush(60.0)
    assert Counter(row[1:] for row in counted(guarded)[1]) == {
        ("dropped", "fault"): 1,
        ("compared", ""): 4,
    }
    client.close()


@pytest.mark.sdk
def test_replay_goes_on_where_a_copy_of_the_client_was_unwrapped(guarded, provider):
    client, background = storing(provider, guarded)
    client.chat.completions.create(model="m", messages=ASK)
    assert promptguard.flush(60.0)
    promptguard.unwrap(client.with_options(timeout=5))
    assert promptguard.is_wrapped(client)
    client.chat.completions.create(model="m", messages=ASK)
    assert promptguard.flush(60.0)
    assert background.replaying.sources.by_asker()
    client.close()


@pytest.mark.sdk
def test_no_stored_answer_is_taken_while_the_queue_is_full(guarded, provider, monkeypatch):
    client, background = storing(provider, guarded)
    client.chat.completions.create(model="m", messages=ASK)
    assert promptguard.flush(60.0)
    told = []
    monkeypatch.setattr(background.worker, "_size", 0)
    monkeypatch.setattr(background.replaying, "_refused", lambda *args: told.append(args))
    monkeypatch.setattr(background.replaying, "_wall", lambda: time.time() + 40 * 86_400)
    background.replaying._look()
    assert counted(guarded) == (1, [])
    assert told == [], "no budget refused it"
    client.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_child_finishes_nothing_that_its_parent_finishes():
    finished = []
    finish_later(lambda: finished.append(1))
    child = os.fork()
    if not child:
        finish_abandoned()
        os._exit(len(finished))
    assert os.waitpid(child, 0)[1] == 0
    finish_abandoned()
    assert finished == [1]


@pytest.mark.sdk
@pytest.mark.parametrize("is_cycle", [False, True])
def test_a_task_that_is_collected_where_its_order_is_locked_is_told_of_later(is_cycle, guarded, provider):
    """A collection can happen within any allocation, also one made while the order of pairs is locked.

    With a transport of the application's own: anyio, beneath the stock ones, keeps such a task for ever.
    """
    client = AsyncOpenAI(base_url=provider.url, api_key="k")
    transport = client._client._transport
    asked = []

    class Hanging(type(transport)):
        async def handle_async_request(self, request):
            asked.append(request.url)
            await asyncio.Event().wait()

    transport.__class__ = Hanging
    shadow = promptguard.Shadow(
        model="m", sample=1.0, repeat=0.0, client=lambda: AsyncOpenAI(base_url=provider.url, api_key="k")
    )
    promptguard.wrap(client, ledger=guarded, shadow=shadow)
    (background,) = open_backgrounds()
    loop = asyncio.new_event_loop()
    question = [{"role": "user", "content": "hi"}]
    task = loop.create_task(client.chat.completions.create(model="m", messages=question))
    while not asked:
        loop.run_until_complete(asyncio.sleep(0.02))
    places = background.pairing.places
    assert places.under_way == 1
    loop.close()
    task._log_destroy_pending = False
    left, done = weakref.ref(task), threading.Event()
    held, last = [task], []
    if is_cycle:  # a collection ends parts of the flow before the task itself
        held.append(held)
    last.append(held)
    del client, transport, loop, task, held

    def collect():
        with places.order("candidate")._lock:
            last.clear()
            gc.collect()
        done.set()

    threading.Thread(target=collect, daemon=True).start()
    assert done.wait(30.0), "it waits for a lock that its own thread holds"
    assert left() is None
    assert promptguard.flush(60.0)
    assert (places.under_way, places.order("candidate").pending) == (0, 0)


@pytest.mark.sdk
def test_a_replay_thread_that_could_not_start_is_started_for_the_next_client(guarded, provider, monkeypatch):
    client, background = storing(provider, guarded)
    replaying = background.replaying
    monkeypatch.setattr(replaying, "_thread", None)

    def refuse(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            replaying.start()
    assert replaying.is_over
    replaying.start()
    assert not replaying.is_over
    client.close()
