"""More sampled calls at once than may wait: which of them are paired must not depend on how long their answers are."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import threading

import pytest
from openai import AsyncOpenAI, OpenAI

import promptguard
from promptguard.background.engine import open_backgrounds
from promptguard.testing import FakeProvider
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


def wrap(client, ledger):
    return promptguard.wrap(
        client,
        ledger=ledger,
        record_content=True,
        shadow=promptguard.Shadow(
            model="other",
            sample=1.0,
            repeat=0.0,
            queue=QUEUE,
            workers=WORKERS,
            budget=promptguard.Budget(calls_per_minute=None),
        ),
    )


def rows(ledger):
    with contextlib.closing(sqlite3.connect(ledger / "ledger.sqlite3")) as file:
        return file.execute(
            "SELECT outcome, reason, question FROM pair LEFT JOIN content ON pair.id = pair_id ORDER BY pair.id"
        ).fetchall()


async def test_those_sampled_first_are_paired_though_the_others_are_answered_before_them(
    provider, go, answered, guarded
):
    client = wrap(AsyncOpenAI(base_url=provider.url, api_key="k"), guarded)
    asked = []
    for number in range(CALLS):
        question = [{"role": "user", "content": str(number)}]
        asked.append(asyncio.create_task(client.chat.completions.create(model="m", messages=question)))
        await asyncio.to_thread(until, lambda number=number: provider.asked("m") > number)
    for number in reversed(range(CALLS)):
        answered[number].set()
        await asked[number]
    go.set()
    await client.close()
    assert await asyncio.to_thread(promptguard.flush, 100.0)
    found = rows(guarded)
    taken = [json.loads(question)[-1]["content"] for outcome, _, question in found if outcome == "compared"]
    assert taken == [str(number) for number in range(QUEUE + WORKERS)]
    refused = [(outcome, reason) for outcome, reason, _ in found if outcome != "compared"]
    assert refused == [("dropped", "queue_full")] * (CALLS - QUEUE - WORKERS)


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
    for number, reason in enumerate(("queue_bytes", "closed")):
        monkeypatch.setattr(background.worker, "offer", lambda *_, reason=reason, **__: reason)
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": str(number)}])
    promptguard.flush(100.0)
    assert [row[:2] for row in rows(guarded)] == [
        ("candidate_error", "queue_bytes"),
        ("candidate_error", "process ended"),
    ]
    client.close()
