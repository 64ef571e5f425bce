"""Which sampled calls there is room for, and numbers that a fork does not give out twice."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref

import pytest
from openai import AsyncOpenAI

import promptguard
from promptguard.background.engine import open_backgrounds
from promptguard.shadow.admission import Admission
from promptguard.shadow.reorder import ReorderBuffer
from promptguard.testing import FakeProvider


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


@pytest.fixture
def provider():
    with FakeProvider({"m": lambda _: "fine"}) as running:
        yield running


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
