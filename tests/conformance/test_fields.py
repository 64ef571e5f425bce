"""Every field and header that an SDK sends has been looked at: a new one fails here until somebody says what it means.

Nothing breaks before that: what nobody has classified is part of the cache key. But it may make an answer stateful
(then it must be in `wire`'s list), or be new for every call (then there would never be a hit).
"""

from __future__ import annotations

import asyncio
import json

import pytest
from benchmarks.cache.keys import key_of

from promptguard.core.key import EXCLUDED_HEADERS, EXCLUDED_PREFIXES, MEANINGFUL_HEADERS
from promptguard.core.model import Request
from tests.conformance.fields import FIELDS, declared

pytestmark = [
    pytest.mark.conformance,
    # Several SDKs leave sockets to the garbage collector, bare as well.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings"),
]
VALUES = {"tools": [{"type": "function", "name": "f"}]}
"""Where any value at all would not do: an unknown tool may run at the provider."""


def camel(name):
    first, *rest = name.split("_")
    return first + "".join(part.title() for part in rest)


def asked(fields, body):
    return Request("POST", "https://x", fields.path, (), json.dumps({**fields.base, **body}).encode())


@pytest.mark.upstream
def test_every_field_is_classified(adapter):
    fields = FIELDS[adapter.name]
    unknown = declared(adapter) - fields.in_the_key - set(fields.never_cached) - fields.not_sent
    assert not unknown, f"say in tests/conformance/fields.py what these mean for the cache: {sorted(unknown)}"


def test_each_field_is_treated_as_classified(adapter):
    fields = FIELDS[adapter.name]
    plain = key_of(asked(fields, {}))
    assert plain is not None
    for name in fields.in_the_key - {"messages", "model", "input"}:
        value = VALUES.get(name, [1])
        body = {fields.within: {camel(name): value}} if fields.within else {name: value}
        assert key_of(asked(fields, body)) not in {plain, None}, name
    for name, value in fields.never_cached.items():
        body = {camel(name) if fields.within else name: value}
        assert key_of(asked(fields, body)) is None, name


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


async def _asynchronous(adapter, provider):
    client = adapter.async_client(provider.origin)
    await adapter.achat(client)
    _ = [chunk async for chunk in await adapter.astream(client)]
    await adapter.aclose(client)
