"""Single flight, below the flow: who leads, who waits, and what becomes of those who wait."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from replies import reply, until

from promptguard.cache.flights import Flights
from promptguard.core.effects import ALONE

KEYS = ("a",)


def waiting(flights, count, keys=KEYS, seconds=20.0):
    """Start threads that join; return them and what they were told."""
    told = []
    threads = [
        threading.Thread(target=lambda: told.append(flights.join(keys, seconds))) for _ in range(count)
    ]
    [thread.start() for thread in threads]
    return threads, told


def settled(flights, followers, key="a"):
    """Wait until so many threads wait for the leader of a key; return what they wait for."""
    until(lambda: key in flights._flights and len(flights._flights[key].event._cond._waiters) == followers)
    return flights._flights[key]


def test_one_leads_and_the_others_get_its_answer():
    flights = Flights()
    lead = flights.join(KEYS, 1.0)
    assert (lead.key, lead.reply) == ("a", None)
    threads, told = waiting(flights, 20)
    settled(flights, 20)
    flights.land(lead.seat, reply(), "saved")
    [thread.join(5) for thread in threads]
    assert [each.reply for each in told] == [reply()] * 20
    assert len(flights) == 0


@pytest.mark.parametrize("outcome", ["failed", "gone"])
def test_one_takes_over_from_a_leader_without_an_answer(outcome):
    flights = Flights()
    first = flights.join(KEYS, 1.0)
    threads, told = waiting(flights, 10)
    settled(flights, 10)
    flights.land(first.seat, None, outcome)
    until(lambda: len(told) == 1)
    assert told[0].key == "a"
    assert settled(flights, 9) is told[0].seat
    flights.land(told[0].seat, reply(), "saved")
    [thread.join(5) for thread in threads]
    assert [each.reply for each in told[1:]] == [reply()] * 9


@pytest.mark.parametrize(("outcome", "leaders"), [("failed", 2), ("gone", 6)])
def test_after_two_failures_everybody_is_let_go_and_any_number_may_go(outcome, leaders):
    flights = Flights()
    seat = flights.join(KEYS, 1.0).seat
    threads, told = waiting(flights, leaders)
    settled(flights, leaders)

    def led():
        return [each.seat for each in told if each.key]

    for number in range(1, leaders):
        flights.land(seat, None, outcome)
        until(lambda number=number: len(led()) == number)
        seat = led()[-1]
        assert settled(flights, leaders - number) is seat
    flights.land(seat, None, outcome)
    [thread.join(5) for thread in threads]
    if outcome == "failed":
        assert told[1:] == [ALONE]
    else:
        assert len(led()) == leaders  # each had its turn
        flights.land(led()[-1], None, outcome)
    assert len(flights) == 0


def test_an_answer_that_may_not_be_shared_lets_everybody_go():
    flights = Flights()
    lead = flights.join(KEYS, 1.0)
    threads, told = waiting(flights, 5)
    settled(flights, 5)
    flights.land(lead.seat, None, "unsaved")
    [thread.join(5) for thread in threads]
    assert told == [ALONE] * 5


def test_nobody_waits_longer_than_its_own_timeout():
    flights = Flights()
    flights.join(KEYS, 1.0)
    began = time.monotonic()
    threads, told = waiting(flights, 3, seconds=0.2)
    [thread.join(5) for thread in threads]
    assert told == [ALONE] * 3
    assert 0.15 < time.monotonic() - began < 2.0


def test_who_leads_does_not_wait_for_itself():
    flights = Flights()
    flights.join(KEYS, 1.0)
    began = time.monotonic()
    assert flights.join(KEYS, 5.0) is ALONE
    assert time.monotonic() - began < 1.0


def test_a_leader_whose_answer_was_dropped_unread_is_noticed():
    dropped = []
    flights = Flights(tidy=lambda: [dropped.pop()() for _ in list(dropped)])
    lead = flights.join(KEYS, 1.0)
    threads, told = waiting(flights, 1)
    settled(flights, 1)
    dropped.append(lambda: flights.land(lead.seat, None, "gone"))
    threads[0].join(5)
    assert told[0].key == "a"


def test_a_second_landing_changes_nothing():
    flights = Flights()
    lead = flights.join(KEYS, 1.0)
    flights.land(lead.seat, reply(), "saved")
    next_lead = flights.join(KEYS, 1.0)
    flights.land(lead.seat, None, "failed")
    assert settled(flights, 0) is next_lead.seat
    assert lead.seat.reply == reply()


def test_of_several_keys_each_has_its_leader():
    flights = Flights()
    keys = ("a", "b", "c")
    found = []
    for _ in keys:  # on threads of their own: a leader does not wait for itself
        thread = threading.Thread(target=lambda: found.append(flights.join(keys, 5.0)))
        thread.start(), thread.join()
    assert [each.key for each in found] == ["a", "b", "c"]
    threads, told = waiting(flights, 2, keys)
    settled(flights, 2, "c")
    flights.land(found[2].seat, reply(), "saved")
    [thread.join(5) for thread in threads]
    assert [each.reply for each in told] == [reply()] * 2


async def test_tasks_wait_without_blocking_their_loop():
    flights = Flights()
    lead = await asyncio.create_task(flights.join_async(KEYS, 1.0))
    tasks = [asyncio.create_task(flights.join_async(KEYS, 10.0)) for _ in range(50)]
    gaps, last = [], time.perf_counter()
    for _ in range(20):
        await asyncio.sleep(0.005)
        gaps.append(time.perf_counter() - last)
        last = time.perf_counter()
    assert max(gaps) < 2.0  # to wait without the loop would take ten seconds
    flights.land(lead.seat, reply(), "saved")
    assert [each.reply for each in await asyncio.gather(*tasks)] == [reply()] * 50


async def test_tasks_notice_a_leader_whose_answer_was_dropped_unread():
    dropped = []
    flights = Flights(tidy=lambda: [dropped.pop()() for _ in list(dropped)])
    lead = await asyncio.create_task(flights.join_async(KEYS, 1.0))
    task = asyncio.create_task(flights.join_async(KEYS, 20.0))
    await asyncio.sleep(0.4)  # after the first look
    dropped.append(lambda: flights.land(lead.seat, None, "gone"))
    assert (await asyncio.wait_for(task, 5)).key == "a"


async def test_a_task_waits_no_longer_than_its_own_timeout():
    flights = Flights()
    await asyncio.create_task(flights.join_async(KEYS, 1.0))
    began = time.monotonic()
    assert await flights.join_async(KEYS, 0.2) is ALONE
    assert 0.15 < time.monotonic() - began < 2.0


async def test_waking_many_leaves_the_loop_to_others():
    flights = Flights()
    lead = await asyncio.create_task(flights.join_async(KEYS, 1.0))
    order = []

    async def follower():
        await flights.join_async(KEYS, 10.0)
        order.append("woken")

    tasks = [asyncio.create_task(follower()) for _ in range(1_000)]
    await asyncio.sleep(0.05)
    flights.land(lead.seat, reply(), "saved")
    while len(order) < 1_000:
        order.append("other")
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert order.count("other") >= 10
    assert order.index("other", 1) < 200


async def test_tasks_that_are_cancelled_disturb_nobody():
    flights = Flights()
    lead = await asyncio.create_task(flights.join_async(KEYS, 1.0))
    tasks = [asyncio.create_task(flights.join_async(KEYS, 10.0)) for _ in range(10)]
    await asyncio.sleep(0.01)
    [task.cancel() for task in tasks[:5]]
    flights.land(lead.seat, None, "gone")
    told = await asyncio.gather(*tasks[:5], return_exceptions=True)
    assert [type(each) for each in told] == [asyncio.CancelledError] * 5
    done, _ = await asyncio.wait(tasks[5:], return_when=asyncio.FIRST_COMPLETED)
    (second,) = [task.result() for task in done]
    flights.land(second.seat, reply(), "saved")
    rest = await asyncio.gather(*tasks[5:])
    assert sum(each.reply == reply() for each in rest) == 4


async def test_threads_and_tasks_wait_for_each_other():
    flights = Flights()
    threads, told = waiting(flights, 1)
    while not told:
        await asyncio.sleep(0.005)
    task = asyncio.create_task(flights.join_async(KEYS, 10.0))
    await asyncio.sleep(0.05)
    flights.land(told[0].seat, reply(), "saved")
    assert (await task).reply == reply()
    threads[0].join(5)


async def test_a_synchronous_call_on_a_loops_thread_never_waits():
    flights = Flights()
    lead = await asyncio.create_task(flights.join_async(KEYS, 1.0))
    began = time.monotonic()
    assert flights.join(KEYS, 5.0) is ALONE
    assert time.monotonic() - began < 1.0
    flights.land(lead.seat, None, "gone")


def test_a_loop_that_is_gone_is_no_fault():
    flights = Flights()
    lead = flights.join(KEYS, 1.0)

    async def wait_a_little():
        task = asyncio.create_task(flights.join_async(KEYS, 10.0))
        await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(wait_a_little())
    flights.land(lead.seat, reply(), "saved")
    assert len(flights) == 0
