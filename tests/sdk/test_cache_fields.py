"""Every field and header an SDK sends has been looked at: a new one fails here until somebody says what it means.

Nothing breaks before that: what nobody has classified is part of the cache key. But it may make an answer stateful
(then it must be in `wire`'s list), or be new for every call (then there would never be a hit).
"""

from __future__ import annotations

import json
from typing import get_type_hints

import pytest
from benchmarks.cache.keys import key_of
from openai import AsyncOpenAI, AzureOpenAI, OpenAI

import promptguard
from promptguard.core.key import EXCLUDED_HEADERS, EXCLUDED_PREFIXES, MEANINGFUL_HEADERS
from promptguard.core.model import Request

pytestmark = pytest.mark.sdk

IN_THE_KEY = frozenset({
    "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs", "max_completion_tokens",
    "max_tokens", "messages", "metadata", "modalities", "model", "moderation", "n", "parallel_tool_calls", "prediction",
    "presence_penalty", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning_effort",
    "response_format", "safety_identifier", "seed", "service_tier", "stop", "stream", "stream_options", "temperature",
    "tool_choice", "tools", "top_logprobs", "top_p", "user", "verbosity",
})  # fmt: skip
NEVER_CACHED = {"store": True, "web_search_options": {}}
"""Fields whose calls leave something at the provider or read what changes there."""
ASK = [{"role": "user", "content": "hi"}]


def fields():
    from openai.types.chat import completion_create_params as params

    both = (params.CompletionCreateParamsNonStreaming, params.CompletionCreateParamsStreaming)
    return {name for each in both for name in get_type_hints(each, include_extras=True)}


def test_every_field_of_the_sdk_is_classified():
    unknown = fields() - IN_THE_KEY - set(NEVER_CACHED)
    assert not unknown, f"say in this file what these fields mean for the cache: {sorted(unknown)}"


def asked(body, headers=()):
    return Request(
        "POST", "https://x", "/v1/chat/completions", headers, json.dumps({"model": "m", "messages": ASK, **body}).encode()
    )  # fmt: skip


def test_each_is_treated_as_classified():
    plain = key_of(asked({}))
    for name in IN_THE_KEY - {"messages", "model"}:
        assert key_of(asked({name: [1]})) not in {plain, None}, name
    for name, value in NEVER_CACHED.items():
        assert key_of(asked({name: value})) is None, name


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
    assert ports.cache.flush(10)
    other = promptguard.wrap(AsyncOpenAI(base_url=provider.url, api_key="k"), ledger=guarded, cache="disk")
    theirs = other._client._transport._promptguard_ports
    assert theirs.cache.flush(10)
    await other.chat.completions.create(model="gpt-4", messages=ASK)
    assert provider.asked("gpt-4") == 1
    for each in (ports, theirs):
        each.cache.close(), each.counting.close()
    sync.close(), await other.close()
