"""Clients closed, wrapped twice, unwrapped, dropped; asynchronous ones; with an HTTP client of the application's own."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from openai import AsyncOpenAI, OpenAI

import promptguard
from promptguard.testing import Served
from tests.sdk.conftest import VARIANTS, http_family, wrapped

pytestmark = pytest.mark.sdk

ASK = [{"role": "user", "content": "hello"}]


def ask(client, **more):
    return client.chat.completions.create(model="gpt-4", messages=ASK, **more)


@pytest.mark.parametrize("variant", [None, *VARIANTS])
def test_a_closed_client_fails_alike(variant, provider, guarded):
    client = OpenAI(base_url=provider.url, api_key="k", max_retries=0)
    if variant:
        wrapped(client, variant, guarded)
    ask(client)
    assert not client.is_closed()
    client.close()
    assert client.is_closed()
    with pytest.raises(Exception, match=r"closed|Connection error") as raised:
        ask(client, user="another")
    assert isinstance(raised.value.__cause__ or raised.value, RuntimeError)


def test_15_closing_the_http_client_that_was_given_closes_the_guarded_one(provider, guarded):
    http = http_family().Client()
    client = promptguard.wrap(OpenAI(base_url=provider.url, api_key="k", http_client=http), ledger=guarded)
    http.close()
    assert client.is_closed()


def test_wrapping_twice_guards_once_and_unwrap_gives_the_first_back(provider, guarded):
    client = OpenAI(base_url=provider.url, api_key="k")
    bare = client._client
    promptguard.wrap(promptguard.wrap(client, ledger=guarded, cache="memory"), ledger=guarded, cache="memory")
    ask(client), ask(client)
    assert provider.asked("gpt-4") == 1
    assert promptguard.is_wrapped(client)
    assert promptguard.unwrap(client) is client
    assert client._client is bare
    assert not promptguard.is_wrapped(client)
    gc.collect()
    assert ask(client).choices
    client.close()


def test_15_closing_the_sdks_client_closes_the_http_client_that_was_given(provider, guarded):
    http = http_family().Client()
    client = promptguard.wrap(OpenAI(base_url=provider.url, api_key="k", http_client=http), ledger=guarded)
    ask(client)
    assert not http.is_closed
    client.close()
    assert http.is_closed


def test_8_the_http_client_of_the_sdks_own_lives_as_long_as_the_guard(provider, guarded):
    """Nobody else holds it, and it would close the connections that both share when collected."""
    client = OpenAI(base_url=provider.url, api_key="k")
    bare = weakref.ref(client._client)
    promptguard.wrap(client, ledger=guarded)
    gc.collect()
    assert bare() is not None
    assert ask(client).choices
    assert not client.is_closed()
    client.close()


def test_27_a_stream_survives_unwrap_and_collection(provider, guarded):
    client = promptguard.wrap(OpenAI(base_url=provider.url, api_key="k"), ledger=guarded, cache="memory")
    stream = ask(client, stream=True)
    next(iter(stream))
    promptguard.unwrap(client)
    gc.collect()
    assert list(stream)
    assert ask(client).choices
    client.close()


def test_27_a_transport_that_closes_itself_when_collected_outlives_the_guard(provider, guarded):
    family = http_family()
    closed = []

    class Own(family.HTTPTransport):
        def close(self):
            closed.append(1)
            super().close()

        def __del__(self):
            self.close()

    client = OpenAI(base_url=provider.url, api_key="k", http_client=family.Client(transport=Own()))
    promptguard.wrap(client, ledger=guarded)
    ask(client)
    promptguard.unwrap(client)
    gc.collect()
    assert not closed
    promptguard.wrap(client, ledger=guarded).close()
    assert closed == [1]


def test_hooks_and_a_transport_of_the_applications_own_are_called_as_before(provider, guarded):
    family = http_family()
    seen = []

    class Own(family.HTTPTransport):
        def handle_request(self, request):
            seen.append("transport")
            return super().handle_request(request)

    hooks = {"request": [lambda _: seen.append("request")], "response": [lambda _: seen.append("response")]}
    for variant in (None, "memory"):
        http = family.Client(transport=Own(), event_hooks=hooks)
        client = OpenAI(base_url=provider.url, api_key="k", http_client=http)
        if variant:
            wrapped(client, variant, guarded)
        ask(client)
        client.close()
    assert seen == ["request", "transport", "response"] * 2


def test_answers_of_a_transport_in_memory_are_cached_as_well(guarded):
    family = http_family()
    asked = []
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}

    def answer(request):
        asked.append(request)
        body = {"id": "x", "object": "chat.completion", "created": 1, "model": "gpt-4", "choices": [choice]}
        return family.Response(200, json=body)

    http = family.Client(transport=family.MockTransport(answer))
    client = promptguard.wrap(
        OpenAI(base_url="http://x/v1", api_key="k", http_client=http), ledger=guarded, cache="memory"
    )
    assert ask(client).model_dump() == ask(client).model_dump()
    assert len(asked) == 1
    client.close()


@pytest.mark.parametrize("variant", VARIANTS)
async def test_asynchronous_calls_and_streams_do_not_differ(variant, provider, guarded):
    found = []
    for each in (None, variant):
        client = AsyncOpenAI(base_url=provider.url, api_key="k")
        if each:
            wrapped(client, each, guarded)
        assert type(client) is AsyncOpenAI
        plain = (await ask(client)).choices[0].message.content
        chunks = [c.choices[0].delta.content async for c in await ask(client, stream=True)]
        async with client.chat.completions.stream(model="gpt-4", messages=ASK) as stream:
            events = [event.type async for event in stream]
        early = await ask(client, stream=True)
        await early.__anext__()
        await early.close()
        raw = await client.chat.completions.with_raw_response.create(model="gpt-4", messages=ASK)
        try:
            await client.chat.completions.create(model="none", messages=ASK)
        except Exception as error:
            failure = type(error), str(error)
        found.append((plain, chunks, events, raw.status_code, failure))
        await client.close()
        assert client.is_closed()
    assert found[0] == found[1]
    assert await asyncio.to_thread(promptguard.flush, 5.0)


@pytest.mark.parametrize("variant", VARIANTS)
async def test_4_cancellation_amid_a_stream_arrives_and_nothing_is_kept(variant, provider, guarded):
    provider.models["gpt-4"] = lambda _: Served("many words " * 50, chunk_delay=0.02)
    client = wrapped(AsyncOpenAI(base_url=provider.url, api_key="k"), variant, guarded)
    got = []

    async def read():
        async for chunk in await ask(client, stream=True):
            got.append(chunk)

    task = asyncio.create_task(read())
    while not got:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    provider.models["gpt-4"] = lambda _: "whole"
    text = [c.choices[0].delta.content or "" async for c in await ask(client, stream=True)]
    assert "".join(text) == "whole"
    await client.close()


def test_one_client_on_two_event_loops(provider, guarded):
    client = wrapped(AsyncOpenAI(base_url=provider.url, api_key="k"), "shadow", guarded)

    async def once(user):
        answer = await ask(client, user=user)
        if user == "b":
            await client.close()
        return answer.choices[0].message.content

    # The pool itself belongs to a loop, as without PromptGuard: its connections are let go in between.
    async def first():
        answer = await once("a")
        await client._client._transport._pool.aclose()
        return answer

    assert asyncio.run(first()) == asyncio.run(once("b"))
    assert promptguard.flush(60.0)
    assert provider.asked("gpt-4-other") == 2
