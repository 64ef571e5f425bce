"""What wrappers of SDKs get wrong, numbered as in the list that was measured before this one was written.

Each has at least one test whose name begins with `test_<number>_`; the last test here looks whether that is so.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import itertools
import json
import pickle
import re
import threading
import time
from pathlib import Path

import pytest
from openai import AsyncOpenAI, OpenAI

import promptguard
from promptguard.background.engine import open_backgrounds
from promptguard.testing import FakeProvider, Fault, Served, dialects
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
        assert promptguard.flush(60.0)
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


def test_4_a_stream_closed_early_stops_the_server_and_is_not_kept(guarded, monkeypatch):
    sent = []
    streamed = dialects.openai.streamed

    def counted(answer):
        for event in streamed(answer):
            sent.append(event)
            yield event

    monkeypatch.setattr(dialects.openai, "streamed", counted)
    with (
        FakeProvider({"m": lambda _: Served(LONG, chunk_delay=0.02)}) as provider,
        OpenAI(base_url=provider.url, api_key="k") as client,
    ):
        promptguard.wrap(client, ledger=guarded, cache="memory")
        stream = ask(client, "m", stream=True)
        next(stream), stream.close()
        time.sleep(0.3)
        assert len(sent) < 10 < LONG.count(" ") / 4
        assert len(list(ask(client, "m", stream=True))) > 20
        assert provider.asked("m") == 2


def test_16_a_pair_outlives_the_event_loop_of_its_call(guarded):
    with FakeProvider({"m": lambda _: "fine", "n": lambda _: Served("other", delay=0.3)}) as provider:

        async def once():
            async with AsyncOpenAI(base_url=provider.url, api_key="k") as client:
                promptguard.wrap(
                    client, ledger=guarded, shadow=promptguard.Shadow(model="n", sample=1.0, repeat=0.0)
                )
                await ask(client, "m")

        asyncio.run(once())  # over before the other model has answered
        assert promptguard.flush(60.0)
        assert [row.outcome for row in open_backgrounds()[0].ledger.pairs_after(0)] == ["compared"]


def test_16_flush_is_bounded_whatever_hangs(guarded):
    with (
        FakeProvider({"m": lambda _: "fine", "n": lambda _: Fault("hang", seconds=30)}) as provider,
        OpenAI(base_url=provider.url, api_key="k") as client,
    ):
        promptguard.wrap(client, ledger=guarded, shadow=promptguard.Shadow(model="n", sample=1.0, repeat=0.0))
        ask(client, "m")
        began = time.monotonic()
        assert promptguard.flush(0.2) is False
        assert time.monotonic() - began < 2.0


def test_19_what_surrounds_a_call_is_taken_when_it_begins(guarded):
    """A web framework reads a stream in another context than the one that asked for it."""
    with (
        FakeProvider({"m": lambda _: LONG}) as provider,
        OpenAI(base_url=provider.url, api_key="k") as client,
    ):
        promptguard.wrap(client, ledger=guarded, cache="memory")
        with promptguard.cache_tags("customer-42"):
            tagged = ask(client, "m", stream=True)
        with promptguard.bypass():
            passed_by = ask(client, "m", stream=True, user="another")
        assert contextvars.Context().run(lambda: list(tagged))
        assert contextvars.Context().run(lambda: list(passed_by))
        list(ask(client, "m", stream=True, user="another"))
        assert provider.asked("m") == 3  # the bypassed one was not kept
        list(ask(client, "m", stream=True))
        assert provider.asked("m") == 3
        promptguard.clear_cache(client, "customer-42")
        list(ask(client, "m", stream=True))
        assert provider.asked("m") == 4


def test_22_a_call_that_is_not_sampled_costs_nothing_but_a_draw(provider: Provider, guarded, monkeypatch):
    """What it costs in time is measured by `make bench`; here, what it must not do: read, write or start anything."""
    touched = []
    for target in (
        "promptguard.http.transport._to_ours", "promptguard.http.transport.Recorder", "promptguard.wire.recognise",
        "promptguard.guarding.attempt", "promptguard.guarding.CallContext",
    ):  # fmt: skip
        monkeypatch.setattr(target, lambda *_, target=target, **__: touched.append(target))
    with OpenAI(base_url=provider.url, api_key="k") as client:
        ask(client)
        before = set(threading.enumerate())
        promptguard.wrap(client, ledger=guarded)
        for _ in range(3):
            ask(client), list(ask(client, stream=True))
        threads = {each.name for each in set(threading.enumerate()) - before}
    assert touched == []
    assert not [name for name in threads if name.startswith("promptguard")]
    assert not guarded.exists()


def test_22_nor_does_one_that_a_shadow_passed_over(provider: Provider, guarded, monkeypatch):
    with OpenAI(base_url=provider.url, api_key="k") as client:
        promptguard.wrap(client, ledger=guarded, shadow=promptguard.Shadow(model="n", sample=1e-12), seed=1)
        read = []
        monkeypatch.setattr("promptguard.http.transport._to_ours", read.append)
        for _ in range(3):
            ask(client)
    assert read == []


def test_26_a_cassette_below_records_and_replays(provider: Provider, guarded, tmp_path):
    """vcrpy sits on the HTTP library's own connections, so that what it replays is guarded as well."""
    vcr = pytest.importorskip("vcr")
    recorder = vcr.VCR(
        match_on=("method", "uri", "body")
    )  # or a stream would be answered with the plain answer
    cassette = str(tmp_path / "cassette.yaml")
    told = []

    def use(cache=None):
        with OpenAI(base_url=provider.url, api_key="k", max_retries=0) as client:
            promptguard.wrap(client, ledger=guarded, cache=cache)
            return ask(client).model_dump(), [chunk.model_dump() for chunk in ask(client, stream=True)]

    async def use_async():
        async with AsyncOpenAI(base_url=provider.url, api_key="k", max_retries=0) as client:
            promptguard.wrap(client, ledger=guarded, cache="memory")
            for _ in range(2):
                plain = await ask(client)
                told.append(
                    (
                        plain.model_dump(),
                        [chunk.model_dump() async for chunk in await ask(client, stream=True)],
                    )
                )

    with recorder.use_cassette(cassette, record_mode="once"):
        told.append(use())
    assert provider.asked("gpt-4") == 2
    with recorder.use_cassette(cassette, record_mode="none", allow_playback_repeats=True) as played:
        told.append(use("memory"))
        asyncio.run(use_async())
        assert played.play_count == 4  # the second asynchronous round came from the cache
    assert provider.asked("gpt-4") == 2
    assert told[1:] == told[:1] * 3


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
        assert promptguard.flush(60.0)
        assert (provider.asked("e"), provider.asked("n")) == (1, 0)


def test_responses_at_their_default_are_cached_and_paired_and_kept_ones_only_paired(guarded):
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
        assert promptguard.flush(60.0)
        assert (provider.asked("m"), provider.asked("n")) == (1, 1)
        for _ in range(2):
            client.responses.create(model="m", input="hi", store=False)
        assert promptguard.flush(60.0)
        assert (provider.asked("m"), provider.asked("n")) == (2, 2)
        for _ in range(2):
            client.responses.create(model="m", input="hi", store=True)
        assert promptguard.flush(60.0)
        assert (provider.asked("m"), provider.asked("n")) == (4, 4)
        for _ in range(2):
            client.responses.create(model="m", input="hi", previous_response_id="resp_1")
        assert promptguard.flush(60.0)
        assert (provider.asked("m"), provider.asked("n")) == (6, 4)
        assert {json.loads(each.raw)["store"] for each in provider.received if each.model == "n"} == {False}


def test_every_number_of_the_list_has_a_test_that_names_it():
    tests = Path(__file__).parents[1].rglob("test_*.py")
    named = {
        int(n)
        for path in tests
        for n in re.findall(r"^(?:async )?def test_(\d+)_", path.read_text("utf-8"), re.MULTILINE)
    }
    assert named == set(range(1, 28))
