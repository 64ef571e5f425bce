"""What processes that share a store tell each other, over a store of the test's own."""

from __future__ import annotations

import asyncio
import threading

import pytest
from replies import SECRET, reply, until
from test_tiered import Clock, Connection, Shelf

from promptguard.cache.across import AcrossProcesses
from promptguard.cache.contract import Meeting
from promptguard.cache.meeting import CLAIM_S, LONGEST_CLAIM_S
from promptguard.cache.tiered import Tiered
from promptguard.core.effects import ALONE


class Table(Shelf):
    """A shelf where processes meet; `now` is its own clock."""

    meets = many_readers = True
    rhythm_s = 0.02

    def __init__(self):
        super().__init__()
        self.claims, self.found, self.told, self.now = {}, {}, {}, 0.0

    def open(self, *, check, on_event):
        super().open(check=check, on_event=on_event)
        return Seat(self), Seat(self)


class Seat(Connection):
    def claim(self, key, token, seconds):
        self._entries()
        found, until_ = self._shelf.claims.get(key, ("", 0.0))
        if not found or until_ <= self._shelf.now:
            self._shelf.claims[key] = (found := token), self._shelf.now + seconds
        return found

    def renew(self, key, token, seconds):
        if self._shelf.claims.get(key, ("",))[0] == token:
            self._shelf.claims[key] = token, self._shelf.now + seconds

    def release(self, key, token, left, seconds):
        if self._shelf.claims.get(key, ("",))[0] == token:
            del self._shelf.claims[key]
            if left:
                self._shelf.claims[key] = left, self._shelf.now + seconds

    def epochs(self):
        self._entries()
        return dict(self._shelf.found)

    def tell_epochs(self, source, epochs):
        for place, count in epochs.items():
            before = self._shelf.told.get((source, place), 0)
            self._shelf.told[source, place] = max(before, count)
            self._shelf.found[place] = self._shelf.found.get(place, 0) + max(0, count - before)


@pytest.fixture
def table():
    return Table()


@pytest.fixture
def make(table):
    made = []

    def make(**options):
        cache = Tiered(table, SECRET, **{"memory_bytes": 0, **options})
        made.append(cache)
        until(lambda: cache._reading is not None)
        return cache

    yield make
    for cache in made:
        cache.close()


def test_the_store_of_these_tests_is_a_meeting(table):
    assert all(isinstance(each, Meeting) for each in table.open(check=False, on_event=print))
    assert not isinstance(Connection(table), Meeting)


def in_thread(call):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(call()), daemon=True)
    thread.start()
    return thread, answers


def test_one_of_two_processes_leads_and_the_other_waits_until_the_answer_is_kept(make):
    one, other = make(), make()
    here, there = AcrossProcesses(one), AcrossProcesses(other)
    led = here.join(("key",), 60)
    thread, answers = in_thread(lambda: there.join(("key",), 60))
    until(lambda: len(there) == 1)
    assert thread.is_alive()
    one.put("key", reply())
    here.complete(led.leader, reply(), "saved")
    thread.join(60)
    assert (
        answers[0].leader is not None
    )  # it looks once more, and finds what was kept before the claim was given up
    assert other.get("key") == reply()
    there.complete(answers[0].leader, reply(), "saved")
    until(lambda: not one._backend.claims)


def test_a_task_waits_for_another_process_without_blocking_its_loop(make):
    one, other = make(), make()
    here, there = AcrossProcesses(one), AcrossProcesses(other)
    led = here.join(("key",), 60)

    async def ask():
        waiting = asyncio.create_task(there.join_async(("key",), 60))
        await asyncio.sleep(0.05)  # the loop goes on
        assert not waiting.done()
        here.complete(led.leader, None, "failed")
        assert (await waiting).key == "key"
        cancelled = asyncio.create_task(AcrossProcesses(one).join_async(("key",), 60))
        await asyncio.sleep(0.02)
        cancelled.cancel()
        await asyncio.wait((cancelled,))
        assert cancelled.cancelled()

    asyncio.run(ask())


def test_a_process_that_dies_stops_nobody(make, table):
    dead, other = make(), make()
    dead.close()
    table.open(check=False, on_event=print)[0].claim("key", "of a dead process", CLAIM_S)
    thread, answers = in_thread(lambda: AcrossProcesses(other).join(("key",), 60))
    thread.join(0.05)
    assert thread.is_alive()
    table.now += CLAIM_S
    thread.join(60)
    assert answers[0].key == "key"


def test_a_claim_is_held_while_its_process_lives_but_not_for_ever(make, table):
    one = make(clock=(clock := Clock()))
    assert one.claim("key")[0]
    table.now += CLAIM_S / 2
    until(lambda: table.claims["key"][1] == table.now + CLAIM_S)
    clock.now += LONGEST_CLAIM_S + 1
    until(lambda: not one._claims._held)


def test_nobody_waits_for_an_answer_that_may_not_be_shared(make, table):
    one, other = make(), make()
    here = AcrossProcesses(one)
    here.complete(here.join(("key",), 60).leader, None, "unsaved")
    until(lambda: table.claims["key"][0] == "-")
    joined = AcrossProcesses(other).join(("key",), 60)
    assert joined.leader is not None  # at once, without a claim
    assert table.claims["key"][0] == "-"


def test_after_failures_of_others_a_process_goes_on_alone(make, table):
    store = table.open(check=False, on_event=print)[0]
    for number in range(5):
        store.claim("key", f"token{number}", 1e9)
        if number == 0:
            thread, answers = in_thread(lambda: AcrossProcesses(make()).join(("key",), 1e9))
        thread.join(0.3)
        store.release("key", f"token{number}", "", 0)
    thread.join(60)
    assert answers[0].key == "key"


def test_waiting_ends_with_the_calls_own_time(make, table):
    table.open(check=False, on_event=print)[0].claim("key", "of another", 1e9)
    assert AcrossProcesses(make()).join(("key",), 0.05).key == "key"


def test_where_nobody_can_be_asked_each_process_goes_on_alone(make, table):
    one = make()
    table.broken = OSError("no route")
    flight = AcrossProcesses(one)
    assert [flight.join((f"key{n}",), 60).key for n in range(5)] == [f"key{n}" for n in range(5)]
    assert one.stats.errors >= 3
    assert not one._circuit.closed


def test_a_call_on_a_loops_thread_that_cannot_wait_is_alone(make):
    async def ask():
        return AcrossProcesses(make()).join(("key",), 60)

    assert asyncio.run(ask()) == ALONE


def test_what_one_ledger_finds_changed_is_known_to_all(make, table):
    one, other = make(), make()
    epochs = {("prime@1", "gpt-4"): 1}
    one.follow("here", lambda: (b"id", epochs))
    until(lambda: other.epoch("prime@1", "gpt-4") == 1)
    assert other.epoch("prime@1", "gpt-5") == other.epoch("other@1", "gpt-4") == 0
    epochs = {("prime@1", "gpt-4"): 2}
    until(lambda: other.epoch("prime@1", "gpt-4") == 2)
    make().follow("the same ledger, elsewhere", lambda: (b"id", {("prime@1", "gpt-4"): 2}))
    make().follow("another ledger", lambda: (b"other id", {("prime@1", "gpt-4"): 1}))
    until(lambda: one.epoch("prime@1", "gpt-4") == 3)
    assert table.found == {one._epochs._digest("prime@1", "gpt-4"): 3}


def test_a_store_that_was_emptied_is_told_once_more_and_nothing_is_forgotten(make, table):
    one = make()
    epochs = {("prime@1", "gpt-4"): 2}
    one.follow("here", lambda: (b"id", epochs))
    until(lambda: one.epoch("prime@1", "gpt-4") == 2)
    table.found, table.told = {}, {}
    late = make()
    until(lambda: late.epoch("prime@1", "gpt-4") == 2)
    assert one.epoch("prime@1", "gpt-4") == 2


def test_a_ledger_that_is_not_open_yet_tells_nothing(make, table):
    one, read = make(), []
    one.follow("here", lambda: (read.append(1), (b"", {("g", "m"): 1}))[1])
    until(lambda: len(read) > 2)
    assert not table.told
