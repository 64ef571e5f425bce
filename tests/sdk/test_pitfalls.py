"""What wrappers of SDKs get wrong, one test each, numbered as in the list that was measured before this one was written.

Those that are proved elsewhere: 4, 8, 15 and 27 in test_lifetime.py; 7 and 19 in tests/conformance; 16 to 18 in
tests/faults; 21 in tests/core/test_key.py; 22 in benchmarks/calls.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import pickle
import time

import pytest
from openai import AsyncOpenAI, OpenAI

import promptguard
from promptguard.testing import FakeProvider, Fault, Served
from tests.sdk.conftest import Provider, http_family

pytestmark = pytest.mark.sdk
ASK = [{"role": "user", "content": "hi"}]
LONG = "many words in a row " * 40


def ask(client, model="gpt-4", **more):
    return client.chat.completions.create(model=model, messages=ASK, **more)


def test_1_a_stream_is_kept_though_its_end_of_data_never_comes(provider: Provider, guarded):
    """Some SDKs close at the terminal event, some drain what follows; both kinds of answer are whole."""

    async def twice():
        async with AsyncOpenAI(base_url=provider.url, api_key="k") as client:
            promptguard.wrap(client, ledger=guarded, cache="memory")
            return [[chunk async for chunk in await ask(client, stream=True)] for _ in range(2)]

    first, second = asyncio.run(twice())
    assert first == second
    assert provider.asked("gpt-4") == 1


def test_2_chunks_arrive_as_they_are_sent(guarded):
    with (
        FakeProvider({"m": lambda _: Served(LONG, chunk_delay=0.02)}) as provider,
        OpenAI(base_url=provider.url, api_key="k") as client,
    ):
        promptguard.wrap(client, ledger=guarded, cache="memory")
        began = time.monotonic()
        moments = [time.monotonic() - began for _ in ask(client, "m", stream=True)]
    assert moments[0] < moments[-1] / 3


def test_3_a_hit_has_the_headers_and_bytes_of_the_first_answer_and_says_what_it_is(
    provider: Provider, guarded
):
    with OpenAI(base_url=provider.url, api_key="k") as client:
        promptguard.wrap(client, ledger=guarded, cache="memory")
        first, hit = (
            client.chat.completions.with_raw_response.create(model="gpt-4", messages=ASK) for _ in range(2)
        )
    assert hit.headers["x-promptguard-cache"] == "hit"
    assert "x-promptguard-cache" not in first.headers
    assert hit.content == first.content
    assert (hit.request_id, hit.status_code, hit.retries_taken) == (first.request_id, 200, 0)
    assert hit.elapsed.total_seconds() >= 0


def test_5_a_slow_stream_is_replayed_at_once_in_its_own_chunks(guarded):
    with (
        FakeProvider({"m": lambda _: Served(LONG, chunk_delay=0.01)}) as provider,
        OpenAI(base_url=provider.url, api_key="k") as client,
    ):
        promptguard.wrap(client, ledger=guarded, cache="memory")
        first = list(ask(client, "m", stream=True))
        began = time.monotonic()
        assert list(ask(client, "m", stream=True)) == first
        assert time.monotonic() - began < 0.01 * len(first) / 2


def test_6_retries_happen_above_and_one_logical_call_is_paired_once(guarded):
    busy = itertools.chain([429, 429], itertools.repeat(None))

    def answer(_):
        status = next(busy)
        return "fine" if status is None else Fault("status", status, headers={"retry-after-ms": "5"})

    with (
        FakeProvider({"m": answer, "n": lambda _: "other"}) as provider,
        OpenAI(base_url=provider.url, api_key="k", max_retries=3) as client,
    ):
        promptguard.wrap(client, ledger=guarded, shadow=promptguard.Shadow(model="n", sample=1.0, repeat=0.0))
        assert ask(client, "m").choices[0].message.content == "fine"
        assert promptguard.flush(10.0)
        assert (provider.asked("m"), provider.asked("n")) == (3, 1)


def test_9_a_client_that_shares_its_http_client_is_not_guarded_with_the_other(provider: Provider, guarded):
    with http_family().Client() as shared:
        one, other = (OpenAI(base_url=provider.url, api_key="k", http_client=shared) for _ in range(2))
        promptguard.wrap(one, ledger=guarded, cache="memory")
        for client in (one, other, one, other):
            ask(client)
        assert provider.asked("gpt-4") == 3
        assert not promptguard.is_wrapped(other)
        assert not promptguard.is_wrapped(shared)


def test_10_copies_made_after_wrap_and_methods_taken_before_are_guarded(provider: Provider, guarded):
    with OpenAI(base_url=provider.url, api_key="k") as client:
        before, create = client.with_options(timeout=9), client.chat.completions.create
        promptguard.wrap(client, ledger=guarded, cache="memory")
        create(model="gpt-4", messages=ASK)
        ask(client.with_options(max_retries=1))
        ask(client)
        assert provider.asked("gpt-4") == 1
        assert promptguard.is_wrapped(client.with_options(timeout=3))
        assert not promptguard.is_wrapped(before)  # it has the HTTP client of then


def test_11_proxies_of_the_environment_stay_and_are_guarded(monkeypatch, guarded):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "localhost")
    with OpenAI(base_url="https://api.example/v1", api_key="k", max_retries=0) as client:
        bare = client._client._mounts
        assert any(mounted is not None for mounted in bare.values())
        promptguard.wrap(client, ledger=guarded, cache="memory")
        mounts = client._client._mounts
        assert list(mounts) == list(bare)
        for pattern, mounted in mounts.items():
            assert (mounted is None) == (bare[pattern] is None)
            assert mounted is None or isinstance(mounted, type(bare[pattern]))
        with pytest.raises(Exception, match="Connection error"):
            ask(client)


def test_13_a_client_whose_http_client_is_replaced_says_that_it_is_no_longer_wrapped(
    provider: Provider, guarded
):
    with OpenAI(base_url=provider.url, api_key="k") as client, http_family().Client() as another:
        promptguard.wrap(client, ledger=guarded)
        guarded_http, client._client = client._client, another
        assert not promptguard.is_wrapped(client)
        ask(client)
        promptguard.wrap(client, ledger=guarded)
        assert promptguard.is_wrapped(client)
        promptguard.unwrap(client)
        assert client._client is another
        guarded_http.close()


def test_14_settings_pickle_and_a_wrapped_client_can_be_copied(provider: Provider, guarded):
    for value in (
        promptguard.Shadow(model="n"),
        promptguard.Replay(),
        promptguard.Budget(usd_per_day=1),
        promptguard.Drift(),
    ):
        assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301 - our own
    with OpenAI(base_url=provider.url, api_key="k") as client:
        promptguard.wrap(client, ledger=guarded, cache="memory")
        ask(copy.copy(client))
        ask(client)
        assert provider.asked("gpt-4") == 1


def test_20_concurrent_equal_calls_all_have_an_answer(provider: Provider, guarded):
    async def ten():
        async with AsyncOpenAI(base_url=provider.url, api_key="k") as client:
            promptguard.wrap(client, ledger=guarded, cache="memory")
            return await asyncio.gather(*(ask(client) for _ in range(10)))

    answers = asyncio.run(ten())
    assert len({got.choices[0].message.content for got in answers}) == 1


def test_23_a_trace_of_another_library_is_no_part_of_the_question(provider: Provider, guarded):
    with OpenAI(base_url=provider.url, api_key="k") as client:
        promptguard.wrap(client, ledger=guarded, cache="memory")
        for number in range(2):
            ask(client, extra_headers={"traceparent": f"00-{number:032x}-{number:016x}-01"})
        assert provider.asked("gpt-4") == 1


def test_24_what_is_no_model_call_passes_untouched(guarded):
    with (
        FakeProvider({}) as provider,
        OpenAI(base_url=provider.url, api_key="k", max_retries=0) as client,
    ):
        promptguard.wrap(client, ledger=guarded, cache="memory")
        for _ in range(2):
            with pytest.raises(Exception, match="400"):
                client.files.create(file=b"{}", purpose="batch")


def test_25_the_extensions_of_a_response_are_there(provider: Provider, guarded):
    with OpenAI(base_url=provider.url, api_key="k") as client:
        promptguard.wrap(client, ledger=guarded, cache="memory")
        versions = [
            client.chat.completions.with_raw_response.create(model="gpt-4", messages=ASK).http_version
            for _ in range(2)
        ]
    assert versions == ["HTTP/1.1", "HTTP/1.1"]


def test_embeddings_are_cached_and_never_paired(guarded):
    with (
        FakeProvider({"e": lambda _: "", "n": lambda _: ""}) as provider,
        OpenAI(base_url=provider.url, api_key="k") as client,
    ):
        promptguard.wrap(
            client,
            ledger=guarded,
            cache="memory",
            shadow=promptguard.Shadow(model="n", sample=1.0, repeat=0.0),
            replay=promptguard.Replay(share=1.0),
        )
        first, second = (client.embeddings.create(model="e", input=["a", "b"]) for _ in range(2))
        assert first == second
        assert promptguard.flush(10.0)
        assert (provider.asked("e"), provider.asked("n")) == (1, 0)


def test_responses_that_the_provider_keeps_are_neither_cached_nor_paired(guarded):
    with (
        FakeProvider({"m": lambda _: "fine", "n": lambda _: "other"}) as provider,
        OpenAI(base_url=provider.url, api_key="k") as client,
    ):
        promptguard.wrap(
            client,
            ledger=guarded,
            cache="memory",
            shadow=promptguard.Shadow(model="n", sample=1.0, repeat=0.0),
        )
        for _ in range(2):
            client.responses.create(model="m", input="hi")
        assert promptguard.flush(10.0)
        assert (provider.asked("m"), provider.asked("n")) == (2, 0)
        for _ in range(2):
            client.responses.create(model="m", input="hi", store=False)
        assert promptguard.flush(10.0)
        assert (provider.asked("m"), provider.asked("n")) == (3, 1)
