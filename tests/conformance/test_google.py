"""google-genai's peculiarities: aiohttp beside httpx, one HTTP client an event loop, the model in the URL."""

from __future__ import annotations

import asyncio
import importlib.util

import pytest
from google import genai

import promptguard

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
HAS_AIOHTTP = importlib.util.find_spec("aiohttp") is not None


def client_of(provider):
    return genai.Client(api_key="k", http_options={"base_url": provider.origin})


async def ask(client, model="m"):
    return (await client.aio.models.generate_content(model=model, contents="hi")).text


def test_12_asynchronous_calls_do_not_go_around_the_guard(provider, guarded):
    async def main():
        client = client_of(provider)
        assert client._api_client._use_aiohttp() is HAS_AIOHTTP
        promptguard.wrap(client, ledger=guarded, cache="memory")
        assert client._api_client._use_aiohttp() is False
        answers = [await ask(client) for _ in range(2)]
        assert provider.asked("m") == 1
        promptguard.unwrap(client)
        assert client._api_client._use_aiohttp() is HAS_AIOHTTP
        answers.append(await ask(client))
        assert provider.asked("m") == 2
        await client.aio.aclose()
        return answers

    assert len(set(asyncio.run(main()))) == 1


@pytest.mark.skipif(
    genai.__version__.startswith("1."), reason="its httpx connections belong to one event loop"
)
def test_12_every_event_loop_has_its_own_connections_and_all_are_guarded(provider, guarded):
    client = client_of(provider)
    promptguard.wrap(client, ledger=guarded, cache="memory")
    for _ in range(3):
        asyncio.run(ask(client))
    assert provider.asked("m") == 1
    asyncio.run(ask(client, "json"))
    asyncio.run(client.aio.aclose())
    client.close()


def test_a_route_changes_the_model_in_the_url(provider, guarded):
    client = client_of(provider)
    shadow = promptguard.Shadow(model="other", sample=1.0, repeat=0.0)
    promptguard.wrap(client, ledger=guarded, shadow=shadow, on_drift=promptguard.Route(to="other"))
    guard = client._api_client._httpx_client._promptguard_ports
    guard.background.state.routes = {("(no template)", "m"): "json"}
    got = client.models.generate_content(model="m", contents="hi")
    assert (got.text, got.model_version) == ('{"city": "Kiel"}', "json")
    assert provider.asked("m") == 0
    streamed = [chunk.text for chunk in client.models.generate_content_stream(model="m", contents="hi")]
    assert "".join(streamed) == '{"city": "Kiel"}'
    assert provider.received[-1].path.endswith("models/json:streamGenerateContent?alt=sse")
    client.close()


def test_a_stream_closed_before_its_data_end_is_not_kept(provider, guarded):
    """No event marks the end of a Gemini stream: after `finishReason` more could have come."""
    client = client_of(provider)
    promptguard.wrap(client, ledger=guarded, cache="memory")
    for expected in (1, 2):
        stream = client.models.generate_content_stream(model="json", contents="hi")
        assert next(stream).candidates[0].finish_reason == "STOP"
        stream.close()
        assert provider.asked("json") == expected
    for expected in (3, 3):
        assert len(list(client.models.generate_content_stream(model="json", contents="hi"))) == 1
        assert provider.asked("json") == expected
    client.close()
