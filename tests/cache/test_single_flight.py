"""Single flight, below the flow: who leads, who waits, and what becomes of those who wait."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from replies import reply, until

from promptguard.cache.single_flight import SingleFlight
from promptguard.core.effects import ALONE

KEYS = ("a",)


def waiting(single_flight, count, keys=KEYS, seconds=20.0):
    """Start threads that join; return them and what they were told."""
    told = []
    threads = [
        threading.Thread(target=lambda: told.append(single_flight.join(keys, seconds))) for _ in range(count)
    ]
    [thread.start() for thread in threads]
    return threads, told


def settled(single_flight, followers, key="a"):
    """Wait until so many threads wait for the leader of a key; return what they wait for."""
    until(
        lambda: (
            key in single_flight._calls and len(single_flight._calls[key].event._cond._waiters) == followers
        )
    )
    return single_flight._calls[key]


def test_one_leads_and_the_others_get_its_answer():
    single_flight = SingleFlight()
    lead = single_flight.join(KEYS, 1.0)
    assert (lead.key, lead.reply) == ("a", None)
    threads, told = waiting(single_flight, 20)
    settled(single_flight, 20)
    single_flight.complete(lead.leader, reply(), "saved")
    [thread.join(5) for thread in threads]
    assert [each.reply for each in told] == [reply()] * 20
    assert len(single_flight) == 0


def left_behind(single_flight):
    """Return the loop of a leader that was begun and is not run any more, and what it has."""
    loop = asyncio.new_event_loop()
    return loop, loop.run_until_complete(single_flight.join_async(KEYS, 60.0))


def test_a_leader_whose_loop_nobody_runs_is_followed_by_a_thread():
    single_flight = SingleFlight()
    loop, lead = left_behind(single_flight)
    before = time.monotonic()
    assert single_flight.join(KEYS, 30.0).key == "a"
    assert time.monotonic() - before < 15.0
    single_flight.complete(lead.leader, reply(), "saved")  # it went on after all
    loop.close()


def test_a_leader_whose_loop_nobody_runs_is_followed_by_a_task():
    single_flight = SingleFlight()
    loop, _ = left_behind(single_flight)
    loop.close()
    before = time.monotonic()
    assert asyncio.run(single_flight.join_async(KEYS, 30.0)).key == "a"
    assert time.monotonic() - before < 15.0


def test_a_leader_whose_loop_is_run_now_and_then_is_waited_for():
    """As beside a window's own loop: stopped nearly always, and going on."""
    single_flight = SingleFlight()
    loop, lead = left_behind(single_flight)
    followers, told = waiting(single_flight, 6)  # which look at nearly the same moment
    until_moment = time.monotonic() + 4.0
    while time.monotonic() < until_moment:
        loop.call_soon(loop.stop)
        loop.run_forever()
        time.sleep(0.02)
    assert not told
    single_flight.complete(lead.leader, reply(), "saved")
    [follower.join(10.0) for follower in followers]
    assert [each.reply for each in told] == [reply()] * 6
    loop.close()


def test_a_leader_whose_loop_runs_is_waited_for():
    async def play():
        single_flight = SingleFlight()
        lead = await asyncio.create_task(single_flight.join_async(KEYS, 30.0))
        following = asyncio.create_task(single_flight.join_async(KEYS, 30.0))
        await asyncio.sleep(1.0)  # looked for twice
        assert not following.done()
        single_flight.complete(lead.leader, reply(), "saved")
        return await following

    assert asyncio.run(play()).reply == reply()


@pytest.mark.parametrize("outcome", ["failed", "gone"])
def test_one_takes_over_from_a_leader_without_an_answer(outcome):
    single_flight = SingleFlight()
    first = single_flight.join(KEYS, 1.0)
    threads, told = waiting(single_flight, 10)
    settled(single_flight, 10)
    single_flight.complete(first.leader, None, outcome)
    until(lambda: len(told) == 1)
    assert told[0].key == "a"
    assert settled(single_flight, 9) is told[0].leader
    single_flight.complete(told[0].leader, reply(), "saved")
    [thread.join(5) for thread in threads]
    assert [each.reply for each in told[1:]] == [reply()] * 9


@pytest.mark.parametrize(("outcome", "leaders"), [("failed", 2), ("gone", 6)])
def test_after_two_failures_everybody_is_let_go_and_any_number_may_go(outcome, leaders):
    single_flight = SingleFlight()
    leader = single_flight.join(KEYS, 1.0).leader
    threads, told = waiting(single_flight, leaders)
    settled(single_flight, leaders)

    def led():
        return [each.leader for each in told if each.key]

    for number in range(1, leaders):
        single_flight.complete(leader, None, outcome)
        until(lambda number=number: len(led()) == number)
        leader = led()[-1]
        assert settled(single_flight, leaders - number) is leader
    single_flight.complete(leader, None, outcome)
    [thread.join(5) for thread in threads]
    if outcome == "failed":
        assert told[1:] == [ALONE]
    else:
        assert len(led()) == leaders  # each had its turn
        single_flight.complete(led()[-1], None, outcome)
    assert len(single_flight) == 0


def test_an_answer_that_may_not_be_shared_lets_everybody_go():
    single_flight = SingleFlight()
    lead = single_flight.join(KEYS, 1.0)
    threads, told = waiting(single_flight, 5)
    settled(single_flight, 5)
    single_flight.complete(lead.leader, None, "unsaved")
    [thread.join(5) for thread in threads]
    assert told == [ALONE] * 5


def test_nobody_waits_longer_than_its_own_timeout():
    single_flight = SingleFlight()
    single_flight.join(KEYS, 1.0)
    began = time.monotonic()
    threads, told = waiting(single_flight, 3, seconds=0.2)
    [thread.join(5) for thread in threads]
    assert told == [ALONE] * 3
    assert 0.15 < time.monotonic() - began < 2.0


def test_who_leads_does_not_wait_for_itself():
    single_flight = SingleFlight()
    single_flight.join(KEYS, 1.0)
    began = time.monotonic()
    assert single_flight.join(KEYS, 5.0) is ALONE
    assert time.monotonic() - began < 4.0  # the five seconds of a wait


def test_a_leader_whose_answer_was_dropped_unread_is_noticed():
    dropped = []
    single_flight = SingleFlight(tidy=lambda: [dropped.pop()() for _ in list(dropped)])
    lead = single_flight.join(KEYS, 1.0)
    threads, told = waiting(single_flight, 1)
    settled(single_flight, 1)
    dropped.append(lambda: single_flight.complete(lead.leader, None, "gone"))
    threads[0].join(5)
    assert told[0].key == "a"


def test_a_second_landing_changes_nothing():
    single_flight = SingleFlight()
    lead = single_flight.join(KEYS, 1.0)
    single_flight.complete(lead.leader, reply(), "saved")
    next_lead = single_flight.join(KEYS, 1.0)
    single_flight.complete(lead.leader, None, "failed")
    assert settled(single_flight, 0) is next_lead.leader
    assert lead.leader.reply == reply()


def test_of_several_keys_each_has_its_leader():
    single_flight = SingleFlight()
    keys = ("a", "b", "c")
    found = []
    for _ in keys:  # on threads of their own: a leader does not wait for itself
        thread = threading.Thread(target=lambda: found.append(single_flight.join(keys, 5.0)))
        thread.start(), thread.join()
    assert [each.key for each in found] == ["a", "b", "c"]
    threads, told = waiting(single_flight, 2, keys)
    settled(single_flight, 2, "c")
    single_flight.complete(found[2].leader, reply(), "saved")
    [thread.join(5) for thread in threads]
    assert [each.reply for each in told] == [reply()] * 2


async def test_tasks_wait_without_blocking_their_loop():
    single_flight = SingleFlight()
    lead = await asyncio.create_task(single_flight.join_async(KEYS, 1.0))
    tasks = [asyncio.create_task(single_flight.join_async(KEYS, 10.0)) for _ in range(50)]
    gaps, last = [], time.perf_counter()
    for _ in range(20):
        await asyncio.sleep(0.005)
        gaps.append(time.perf_counter() - last)
        last = time.perf_counter()
    assert max(gaps) < 2.0  # to wait without the loop would take ten seconds
    single_flight.complete(lead.leader, reply(), "saved")
    assert [each.reply for each in await asyncio.gather(*tasks)] == [reply()] * 50


async def test_tasks_notice_a_leader_whose_answer_was_dropped_unread():
    dropped = []
    single_flight = SingleFlight(tidy=lambda: [dropped.pop()() for _ in list(dropped)])
    lead = await asyncio.create_task(single_flight.join_async(KEYS, 1.0))
    task = asyncio.create_task(single_flight.join_async(KEYS, 20.0))
    await asyncio.sleep(0.4)  # after the first look
    dropped.append(lambda: single_flight.complete(lead.leader, None, "gone"))
    assert (await asyncio.wait_for(task, 5)).key == "a"


async def test_a_task_waits_no_longer_than_its_own_timeout():
    single_flight = SingleFlight()
    await asyncio.create_task(single_flight.join_async(KEYS, 1.0))
    began = time.monotonic()
    assert await single_flight.join_async(KEYS, 0.2) is ALONE
    assert 0.15 < time.monotonic() - began < 2.0


async def test_waking_many_leaves_the_loop_to_others():
    single_flight = SingleFlight()
    lead = await asyncio.create_task(single_flight.join_async(KEYS, 1.0))
    order = []

    async def follower():
        await single_flight.join_async(KEYS, 10.0)
        order.append("woken")

    tasks = [asyncio.create_task(follower()) for _ in range(1_000)]
    await asyncio.sleep(0.05)
    single_flight.complete(lead.leader, reply(), "saved")
    while len(order) < 1_000:
        order.append("other")
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert order.count("other") >= 10
    assert order.index("other", 1) < 200


async def test_tasks_that_are_cancelled_disturb_nobody():
    single_flight = SingleFlight()
    lead = await asyncio.create_task(single_flight.join_async(KEYS, 1.0))
    tasks = [asyncio.create_task(single_flight.join_async(KEYS, 10.0)) for _ in range(10)]
    await asyncio.sleep(0.01)
    [task.cancel() for task in tasks[:5]]
    single_flight.complete(lead.leader, None, "gone")
    told = await asyncio.gather(*tasks[:5], return_exceptions=True)
    assert [type(each) for each in told] == [asyncio.CancelledError] * 5
    done, _ = await asyncio.wait(tasks[5:], return_when=asyncio.FIRST_COMPLETED)
    (second,) = [task.result() for task in done]
    single_flight.complete(second.leader, reply(), "saved")
    rest = await asyncio.gather(*tasks[5:])
    assert sum(each.reply == reply() for each in rest) == 4


async def test_threads_and_tasks_wait_for_each_other():
    single_flight = SingleFlight()
    threads, told = waiting(single_flight, 1)
    while not told:
        await asyncio.sleep(0.005)
    task = asyncio.create_task(single_flight.join_async(KEYS, 10.0))
    await asyncio.sleep(0.05)
    single_flight.complete(told[0].leader, reply(), "saved")
    assert (await task).reply == reply()
    threads[0].join(5)


async def test_a_synchronous_call_on_a_loops_thread_never_waits():
    single_flight = SingleFlight()
    lead = await asyncio.create_task(single_flight.join_async(KEYS, 1.0))
    began = time.monotonic()
    assert single_flight.join(KEYS, 5.0) is ALONE
    assert time.monotonic() - began < 4.0  # the five seconds of a wait
    single_flight.complete(lead.leader, None, "gone")


def test_a_loop_that_is_gone_is_no_fault():
    single_flight = SingleFlight()
    lead = single_flight.join(KEYS, 1.0)

    async def wait_a_little():
        task = asyncio.create_task(single_flight.join_async(KEYS, 10.0))
        await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(wait_a_little())
    single_flight.complete(lead.leader, reply(), "saved")
    assert len(single_flight) == 0
