"""More sampled calls at once than may wait: which are paired, or stored, must not depend on how long their answers are."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import threading

import pytest
from openai import APIConnectionError, APIStatusError, AsyncOpenAI, OpenAI

import promptguard
from promptguard.background.engine import open_backgrounds
from promptguard.testing import FakeProvider, Fault
from tests.servers import until

QUEUE, WORKERS, CALLS = 3, 1, 12

pytestmark = pytest.mark.sdk


@pytest.fixture
def go():
    found = threading.Event()
    yield found
    found.set()


@pytest.fixture
def answered():
    """What each call's own answer waits for."""
    found = [threading.Event() for _ in range(CALLS)]
    yield found
    for each in found:
        each.set()


@pytest.fixture
def provider(go, answered):
    def own(question):
        answered[int(question.text)].wait(60)
        return "fine"

    def second(_):
        go.wait(60)
        return "fine"

    with FakeProvider({"m": own, "other": second}) as running:
        yield running
        for each in (go, *answered):  # or closing it would wait for who asks
            each.set()


def wrap(client, ledger, *, repeat=0.0, **more):
    return promptguard.wrap(
        client,
        ledger=ledger,
        record_content=True,
        shadow=promptguard.Shadow(
            model="other",
            sample=1.0,
            repeat=repeat,
            queue=QUEUE,
            workers=WORKERS,
            budget=promptguard.Budget(calls_per_minute=None),
        ),
        **more,
    )


def only_stored(client, ledger, *, queue=QUEUE, **more):
    """Wrap with one worker and a queue of that length; all calls are drawn for replay, and for nothing else."""
    shadow = promptguard.Shadow(model="other", sample=0.0, queue=queue, workers=WORKERS)
    replay = promptguard.Replay(share=1.0, **more)
    return promptguard.wrap(client, ledger=ledger, shadow=shadow, replay=replay)


def rows(ledger):
    with contextlib.closing(sqlite3.connect(ledger / "ledger.sqlite3")) as file:
        return file.execute(
            "SELECT outcome, reason, question FROM pair LEFT JOIN content ON pair.id = pair_id ORDER BY pair.id"
        ).fetchall()


def stored(ledger):
    """The numbers of the calls that were stored, in the order in which they will be asked again."""
    with contextlib.closing(sqlite3.connect(ledger / "ledger.sqlite3")) as file:
        return [call for (call,) in file.execute("SELECT call FROM banked ORDER BY due")]


async def burst(client, provider, answered):
    """Make CALLS calls one after the other, whose answers come in the opposite order."""
    asked = []
    for number in range(CALLS):
        question = [{"role": "user", "content": str(number)}]
        asked.append(asyncio.create_task(client.chat.completions.create(model="m", messages=question)))
        await asyncio.to_thread(until, lambda number=number: provider.asked("m") > number)
    for number in reversed(range(CALLS)):
        answered[number].set()
        await asked[number]


async def test_those_sampled_first_are_paired_though_the_others_are_answered_before_them(
    provider, go, answered, guarded
):
    client = wrap(AsyncOpenAI(base_url=provider.url, api_key="k"), guarded)
    await burst(client, provider, answered)
    go.set()
    await client.close()
    assert await asyncio.to_thread(promptguard.flush, 100.0)
    found = rows(guarded)
    taken = [json.loads(question)[-1]["content"] for outcome, _, question in found if outcome == "compared"]
    assert taken == [str(number) for number in range(QUEUE + WORKERS)]
    refused = [(outcome, reason) for outcome, reason, _ in found if outcome != "compared"]
    assert refused == [("dropped", "queue_full")] * (CALLS - QUEUE - WORKERS)


async def test_those_sampled_first_are_stored_in_that_order_and_the_others_counted(
    provider, answered, guarded
):
    client = only_stored(AsyncOpenAI(base_url=provider.url, api_key="k"), guarded)
    await burst(client, provider, answered)
    assert await asyncio.to_thread(promptguard.flush, 100.0)
    assert stored(guarded) == list(range(1, QUEUE + WORKERS + 1))
    refused = [row[:2] for row in rows(guarded)]
    assert refused == [("dropped", "queue_full")] * (CALLS - QUEUE - WORKERS)
    await client.close()


async def test_both_calls_of_a_refused_one_are_refused(provider, go, answered, guarded):
    client = wrap(AsyncOpenAI(base_url=provider.url, api_key="k"), guarded, repeat=0.5)
    client._client._transport._promptguard_ports.asker.repeats.share = 1.0
    await burst(client, provider, answered)
    go.set()
    assert await asyncio.to_thread(promptguard.flush, 100.0)
    with contextlib.closing(sqlite3.connect(guarded / "ledger.sqlite3")) as file:
        counts = dict(file.execute("SELECT stream || ' ' || outcome, count(*) FROM pair GROUP BY 1"))
    taken, refused = QUEUE + WORKERS, CALLS - QUEUE - WORKERS
    assert counts == {
        "candidate compared": taken,
        "candidate dropped": refused,
        "repeat compared": taken,
        "repeat dropped": refused,
    }
    await client.close()


def test_an_answer_is_stored_before_anybody_is_asked_for_a_second_one(provider, go, guarded):
    provider.models["m"] = lambda _: "fine"
    client = wrap(OpenAI(base_url=provider.url, api_key="k"), guarded, replay=promptguard.Replay(share=1.0))
    for number in range(QUEUE):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": str(number)}])
    until(lambda: len(stored(guarded)) == QUEUE)
    assert not go.is_set()
    go.set()
    client.close()


async def test_answers_that_the_application_cuts_are_lost_to_replay_and_failures_of_the_server_are_not(
    provider, answered, guarded
):
    """A call that is given up after some time is one whose answer is long: on the stored side alone it would be missing."""
    client = only_stored(AsyncOpenAI(base_url=provider.url, api_key="k", max_retries=0), guarded, after=0)
    question = [{"role": "user", "content": "0"}]
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(client.chat.completions.create(model="m", messages=question), 0.5)
    provider.models["m"] = lambda _: Fault("cut")
    with pytest.raises(APIConnectionError):
        await client.chat.completions.create(model="m", messages=question)
    for status in (500, 429):
        provider.models["m"] = lambda _, status=status: Fault("status", status=status)
        with pytest.raises(APIStatusError):
            await client.chat.completions.create(model="m", messages=question)
    assert await asyncio.to_thread(promptguard.flush, 100.0)
    await asyncio.to_thread(until, lambda: len(rows(guarded)) == 2)
    lost = [("control_error", "CancelledError"), ("control_error", "unreadable")]
    assert [row[:2] for row in rows(guarded)] == lost
    assert stored(guarded) == []
    await client.close()


async def test_a_bank_that_is_full_keeps_the_calls_made_last_whatever_their_length(
    provider, answered, guarded
):
    client = only_stored(AsyncOpenAI(base_url=provider.url, api_key="k"), guarded, queue=CALLS, reservoir=5)
    await burst(client, provider, answered)
    assert await asyncio.to_thread(promptguard.flush, 100.0)
    assert stored(guarded) == list(range(CALLS - 4, CALLS + 1))
    await client.close()


async def test_an_answer_that_carries_a_credential_is_lost_to_replay(provider, guarded):
    provider.models["m"] = lambda _: "OPENAI_API_KEY=sk-proj-aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5bC7d"
    client = only_stored(AsyncOpenAI(base_url=provider.url, api_key="k"), guarded)
    await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "0"}])
    assert await asyncio.to_thread(promptguard.flush, 100.0)
    with contextlib.closing(sqlite3.connect(guarded / "ledger.sqlite3")) as file:
        kept = file.execute("SELECT question, answer FROM banked").fetchall()
    assert kept == [(b"{}", b'{"lost": "a credential in the answer"}')]
    await client.close()


async def test_what_waits_behind_an_answer_that_is_still_read_is_stored_in_its_turn(provider, guarded):
    provider.models["m"] = lambda _: "fine and well"
    client = only_stored(AsyncOpenAI(base_url=provider.url, api_key="k"), guarded)
    question = [{"role": "user", "content": "0"}]
    read = await client.chat.completions.create(model="m", messages=question, stream=True)
    await client.chat.completions.create(model="m", messages=question)
    assert not await asyncio.to_thread(promptguard.flush, 1.0)
    assert stored(guarded) == []
    async for _ in read:
        pass
    assert await asyncio.to_thread(promptguard.flush, 100.0)
    assert stored(guarded) == [1, 2]
    await client.close()


async def test_of_two_calls_of_a_question_none_is_made_where_the_cap_refuses_the_first(
    provider, go, answered, guarded
):
    go.set()
    client = wrap(AsyncOpenAI(base_url=provider.url, api_key="k"), guarded, repeat=0.5)
    asker = client._client._transport._promptguard_ports.asker
    asker.repeats.share = 1.0
    refusals = iter(["rate", None])
    asker.limiter.take_place = lambda: next(refusals)
    provider.models["m"] = lambda _: "fine"
    await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "0"}])
    assert await asyncio.to_thread(promptguard.flush, 100.0)
    assert rows(guarded) == []
    assert next(refusals) is None, "the second was not asked for"
    await client.close()


def test_there_is_room_again_once_there_are_answers(provider, go, guarded):
    client = wrap(OpenAI(base_url=provider.url, api_key="k"), guarded)
    go.set()
    provider.models["m"] = lambda _: "fine"
    for number in range(2 * CALLS):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": str(number)}])
        assert promptguard.flush(100.0)
    assert [outcome for outcome, _, _ in rows(guarded)] == ["compared"] * 2 * CALLS
    client.close()


def test_a_call_that_a_full_queue_refuses_once_it_is_answered_is_a_lost_answer(
    provider, guarded, monkeypatch
):
    provider.models["m"] = lambda _: "fine"
    client = wrap(OpenAI(base_url=provider.url, api_key="k"), guarded)
    (background,) = open_backgrounds()
    for number, reason in enumerate(("queue_bytes", "closed")):  # of both the call is a lost answer
        monkeypatch.setattr(background.worker, "offer", lambda *_, reason=reason, **__: reason)
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": str(number)}])
    promptguard.flush(100.0)
    assert [row[:2] for row in rows(guarded)] == [
        ("candidate_error", "queue_bytes"),
        ("candidate_error", "process ended"),
    ]
    client.close()
