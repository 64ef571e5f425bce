"""Every SDK x every feature: run bare and run wrapped, with equal results and equal bytes at the server."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import time

import pytest

import promptguard
from tests.conformance import features
from tests.conformance.features import Run, plain, raised

pytestmark = [
    pytest.mark.conformance,
    # Several SDKs leave sockets to the garbage collector, bare as well.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings"),
]
VARIANTS = ("plain", "memory", "shadow")
SHADOW = promptguard.Shadow(
    model="other", sample=1.0, repeat=0.0, budget=promptguard.Budget(calls_per_minute=None)
)


@pytest.fixture(autouse=True)
def _httpx_alone(adapter, monkeypatch):
    """Compare like with like: aiohttp, which google-genai prefers, has tests of its own in test_google.py."""
    if adapter.name == "google-genai":
        monkeypatch.setattr("google.genai._api_client.has_aiohttp", False)


def options(variant, ledger):
    return {"ledger": ledger} | {"plain": {}, "memory": {"cache": "memory"}, "shadow": {"shadow": SHADOW}}[
        variant
    ]


def arrivals(provider, feature):
    """Return what arrived; a request that its client has given up may still be on its way, on a busy machine."""
    until = time.monotonic() + 30.0
    while feature is features.timeout and not provider.arrived() and time.monotonic() < until:
        time.sleep(0.01)
    return provider.arrived()


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_differs(adapter, feature, variant, provider, guarded):
    bare = feature(Run(adapter, provider.origin, lambda client: client))
    sent = arrivals(provider, feature)
    provider.prepare()
    wrapped = feature(
        Run(adapter, provider.origin, lambda client: adapter.wrap(client, **options(variant, guarded)))
    )
    assert wrapped == bare
    # A question asked again is answered by the cache; every distinct request is still there.
    distinct = {json.dumps(call, default=bytes.decode) for call in sent}
    arrived = arrivals(provider, feature)
    if variant == "memory":
        assert {json.dumps(call, default=bytes.decode) for call in arrived} == distinct
    else:
        assert arrived == sent


def test_cache_hit(adapter, provider, guarded):
    run = Run(adapter, provider.origin, lambda client: adapter.wrap(client, ledger=guarded, cache="memory"))
    first, second = run.with_client(lambda client: [adapter.chat(client) for _ in range(2)])
    assert first == second
    assert provider.asked("m") == 1


def test_stream_cache_hit(adapter, provider, guarded):
    def use(client):
        return [[plain(chunk) for chunk in adapter.stream(client)] for _ in range(2)]

    run = Run(adapter, provider.origin, lambda client: adapter.wrap(client, ledger=guarded, cache="memory"))
    first, second = run.with_client(use)
    assert first == second
    assert provider.asked("m") == 1


def test_async_cache_hit(adapter, provider, guarded):
    async def use(client):
        return [await adapter.achat(client) for _ in range(2)]

    run = Run(adapter, provider.origin, lambda client: adapter.wrap(client, ledger=guarded, cache="memory"))
    first, second = run.with_async_client(use)
    assert first == second
    assert provider.asked("m") == 1


def test_async_stream_cache_hit(adapter, provider, guarded):
    async def use(client):
        return [[plain(chunk) async for chunk in await adapter.astream(client)] for _ in range(2)]

    run = Run(adapter, provider.origin, lambda client: adapter.wrap(client, ledger=guarded, cache="memory"))
    first, second = run.with_async_client(use)
    assert first == second
    assert provider.asked("m") == 1


def credential(value):
    """What says who asks: of an AWS signature the access key, region and service, as the rest covers the body."""
    signed = re.match(r"AWS4-HMAC-SHA256 Credential=([^/]+)/\d{8}/([^,]+),", value)
    return signed.groups() if signed else value


@pytest.mark.parametrize("kind", ["sync", "stream"])
def test_shadow(adapter, provider, guarded, kind):
    """The other model is asked the very same question, with the same credentials, and paired."""

    def use(client):
        return adapter.chat(client) if kind == "sync" else list(adapter.stream(client))

    run = Run(adapter, provider.origin, lambda client: adapter.wrap(client, ledger=guarded, shadow=SHADOW))
    run.with_client(use)
    was_asked_again(adapter, provider)


def test_async_shadow(adapter, provider, guarded):
    run = Run(adapter, provider.origin, lambda client: adapter.wrap(client, ledger=guarded, shadow=SHADOW))
    run.with_async_client(adapter.achat)
    was_asked_again(adapter, provider)


def was_asked_again(adapter, provider):
    assert promptguard.flush(100.0)
    (asked,), (again,) = (
        [r for r in provider.received if r.model == "m"],
        [r for r in provider.received if r.model == "other"],
    )
    not_kept = {"stream", "stream_options", "model"}
    question, repeated = (
        {k: v for k, v in json.loads(r.raw).items() if k not in not_kept} for r in (asked, again)
    )
    assert question == repeated
    assert not again.streamed
    who = {"authorization", "api-key", "x-api-key", "x-goog-api-key", "anthropic-version"} & set(
        asked.headers
    )
    assert who or adapter.name == "ollama"
    first, second = ({k: credential(r.headers[k]) for k in who} for r in (asked, again))
    assert first == second
    from promptguard.background.engine import open_backgrounds

    assert [row.outcome for row in open_backgrounds()[0].ledger.pairs_after(0)] == ["compared"]


def test_is_type(adapter, provider, guarded):
    made = [(adapter.client, adapter.close)]
    if "asynchronous" not in adapter.lacks:
        made.append((adapter.async_client, lambda client: asyncio.run(adapter.aclose(client))))
    for make, close in made:
        client = make(provider.origin)
        kind, http = type(client), type(adapter.http(client))
        assert adapter.wrap(client, ledger=guarded) is client
        assert type(client) is kind
        assert isinstance(adapter.http(client), http)
        assert promptguard.is_wrapped(client)
        close(client)


def test_double_wrap(adapter, provider, guarded):
    client = adapter.client(provider.origin)
    first = adapter.http(client)
    for _ in range(2):
        adapter.wrap(client, ledger=guarded, cache="memory")
        adapter.chat(client)
    adapter.chat(client)
    assert (
        provider.asked("m") == 2
    )  # the second wrap has a cache of its own, and the first one's guard is gone
    promptguard.unwrap(client)
    assert adapter.http(client) is first
    adapter.close(client)


def test_unwrap(adapter, provider, guarded):
    client = adapter.client(provider.origin)
    adapter.wrap(client, ledger=guarded, cache="memory")
    stream = adapter.stream(client)
    begun = [plain(next(iter(stream)))]
    promptguard.unwrap(client)
    gc.collect()
    begun += [plain(chunk) for chunk in stream]
    assert begun == [plain(chunk) for chunk in adapter.stream(client)]
    assert not promptguard.is_wrapped(client)
    assert [adapter.chat(client) for _ in range(2)]
    assert provider.asked("m") == 4
    adapter.close(client)


def test_failing_parts_of_ours(adapter, provider, guarded, monkeypatch):
    """With every step of ours broken the caller gets what the bare client gives."""
    bare = features.sync(Run(adapter, provider.origin, lambda client: client))

    def broken(*_, **__):
        raise RuntimeError("ours")

    def wrap(client):
        client = adapter.wrap(client, ledger=guarded, cache="memory", shadow=SHADOW)
        monkeypatch.setattr("promptguard.wire.recognise", broken)
        return client

    run = Run(adapter, provider.origin, wrap)
    assert run.with_client(lambda client: raised(lambda: adapter.chat(client))) == ("answered", bare)
