"""Headers of the openai clients with everything set that adds one. All SDKs: tests/conformance/test_fields.py."""

from __future__ import annotations

import pytest
from openai import AsyncOpenAI, AzureOpenAI, OpenAI

import promptguard
from promptguard.core.key import EXCLUDED_HEADERS, EXCLUDED_PREFIXES, MEANINGFUL_HEADERS
from tests.cache.replies import until

pytestmark = pytest.mark.sdk

ASK = [{"role": "user", "content": "hi"}]


def sent_headers(provider):
    return {name for each in provider.received for name in each.headers}


@pytest.mark.parametrize("kind", [OpenAI, AzureOpenAI])
def test_every_header_of_the_sdk_is_classified(provider, kind):
    where = (
        {"azure_endpoint": provider.url[:-3], "api_version": "v"}
        if kind is AzureOpenAI
        else {"base_url": provider.url}
    )
    client = kind(
        api_key="k", **where, **({} if kind is AzureOpenAI else {"organization": "o", "project": "p"})
    )
    create = client.chat.completions.create
    create(model="gpt-4", messages=ASK)
    list(create(model="gpt-4", messages=ASK, stream=True))
    client.chat.completions.with_raw_response.create(model="gpt-4", messages=ASK, timeout=3)
    with client.chat.completions.with_streaming_response.create(model="gpt-4", messages=ASK) as response:
        response.read()
    client.close()
    known = set(EXCLUDED_HEADERS) | set(MEANINGFUL_HEADERS)
    unknown = {
        name for name in sent_headers(provider) - known if not name.startswith(tuple(EXCLUDED_PREFIXES))
    }
    assert not unknown, f"say in core/key.py what these headers mean for the cache: {sorted(unknown)}"
    assert sent_headers(provider) & {"authorization", "api-key"}


async def test_synchronous_and_asynchronous_clients_share_keys(provider, guarded):
    """Two kinds of client differ in headers that must not matter: else one warm cache would be cold for the other."""
    sync = promptguard.wrap(OpenAI(base_url=provider.url, api_key="k"), ledger=guarded, cache="disk")
    ports = sync._client._transport._promptguard_ports
    sync.chat.completions.create(model="gpt-4", messages=ASK)
    assert ports.cache.flush(60.0)
    other = promptguard.wrap(AsyncOpenAI(base_url=provider.url, api_key="k"), ledger=guarded, cache="disk")
    theirs = other._client._transport._promptguard_ports
    until(lambda: theirs.cache._reading is not None)  # opened in the background
    await other.chat.completions.create(model="gpt-4", messages=ASK)
    assert provider.asked("gpt-4") == 1
    for each in (ports, theirs):
        each.cache.close(), each.counting.close()
    sync.close(), await other.close()
