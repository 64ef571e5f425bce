"""Every field that an SDK declares does what our table says; what is new is listed at the end of the run.

Nothing breaks before somebody has looked at it: a new field passes calls through untouched, a new header is in the key.
"""

from __future__ import annotations

import asyncio
import json

import pytest
from benchmarks.cache.keys import key_of

from promptguard import wire
from promptguard.core.key import EXCLUDED_HEADERS, EXCLUDED_PREFIXES, MEANINGFUL_HEADERS
from promptguard.core.model import Request
from tests.conformance.fields import FIELDS, declared, unclassified

pytestmark = [
    pytest.mark.conformance,
    # Several SDKs leave sockets to the garbage collector, bare as well.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings"),
]


def asked(fields, body):
    return Request("POST", "https://x", fields.path, (), json.dumps({**fields.base, **body}).encode())


@pytest.mark.upstream
def test_every_field_is_classified(adapter):
    """Calls with a field that an SDK has added since pass through untouched, until somebody says what it does."""
    assert not unclassified(adapter), "say in promptguard/wire/known what these do"


def test_each_field_is_treated_as_classified(adapter):
    fields = FIELDS[adapter.name]
    plain = key_of(asked(fields, {}), any_field=False)
    assert plain is not None
    for name in declared(adapter) - fields.not_sent - {"messages", "model", "input", "contents"}:
        value = [] if name in fields.table.body.within else [1]
        key = key_of(asked(fields, fields.placed(name, value)), any_field=False)
        if fields.effect(name) == "none":
            assert key not in {plain, None}, name
        else:
            assert key is None, name


@pytest.mark.upstream
def test_every_header_is_classified(adapter, provider, monkeypatch):
    if adapter.name == "google-genai":
        monkeypatch.setattr("google.genai._api_client.has_aiohttp", False)
    client = adapter.client(provider.origin)
    adapter.chat(client)
    list(adapter.stream(client))
    adapter.tools(client)
    adapter.structured(client)
    for name in ("raw", "with_options"):
        if name not in adapter.lacks:
            getattr(adapter, name)(client)
    adapter.close(client)
    if "retries" not in adapter.lacks:
        again = adapter.retrying(provider.origin)
        adapter.chat(again, "busy")
        adapter.close(again)
    if "asynchronous" not in adapter.lacks:
        asyncio.run(_asynchronous(adapter, provider))
    sent = {name for each in provider.received for name in each.headers}
    known = set(EXCLUDED_HEADERS) | set(MEANINGFUL_HEADERS)
    unknown = {name for name in sent - known if not name.startswith(tuple(EXCLUDED_PREFIXES))} - {"x-b"}
    assert not unknown, f"say in core/key.py what these headers mean for the cache: {sorted(unknown)}"
    assert len(provider.received) >= 6


@pytest.mark.upstream
def test_what_an_sdk_sends_by_itself_is_known(adapter, provider, monkeypatch):
    """Chats, streams, tools and structured answers of every SDK are cached and paired, with what it adds of its own."""
    if adapter.name == "google-genai":
        monkeypatch.setattr("google.genai._api_client.has_aiohttp", False)
    client = adapter.client(provider.origin)
    adapter.chat(client)
    list(adapter.stream(client))
    adapter.tools(client)
    adapter.structured(client)
    adapter.close(client)
    assert len(provider.received) >= 4
    for each in provider.received:
        headers = tuple((name.encode(), value.encode("latin-1")) for name, value in each.headers.items())
        request = Request("POST", "http://x", each.path, headers, each.raw)
        facts = wire.recognise(request).read_request(request)
        assert [finding.reason for finding in facts.findings] == []


async def _asynchronous(adapter, provider):
    client = adapter.async_client(provider.origin)
    await adapter.achat(client)
    _ = [chunk async for chunk in await adapter.astream(client)]
    await adapter.aclose(client)
