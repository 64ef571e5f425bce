"""anthropic's peculiarities: credentials that the client renews, and its clients for clouds, which sign or do not."""

from __future__ import annotations

import anthropic
import pytest

import promptguard
from promptguard.sdks import anthropic as family
from promptguard.sdks.stainless import SdkBackgroundClient
from promptguard.testing import FakeProvider, Served

pytestmark = pytest.mark.conformance
TURN = [{"role": "user", "content": "hi"}]
SHADOW = promptguard.Shadow(model="other", sample=1.0, repeat=0.0)
RENEWS = hasattr(anthropic, "AccessToken")


def test_a_client_that_renews_its_credentials_asks_again_by_itself(provider, guarded):
    class Renewed(anthropic.Anthropic):
        credentials = "whatever renews"

    client = Renewed(base_url=provider.origin, api_key="k") if not RENEWS else _renewing(provider)
    assert isinstance(family.background_client(client, client._client, dict), SdkBackgroundClient)
    promptguard.wrap(client, ledger=guarded, shadow=SHADOW)
    client.messages.create(model="m", messages=TURN, max_tokens=9)
    assert promptguard.flush(60.0)
    asked, again = (next(r for r in provider.received if r.model == name) for name in ("m", "other"))
    for name in ("authorization", "x-api-key", "anthropic-version"):
        assert again.headers.get(name) == asked.headers.get(name)
    client.close()


def _renewing(provider):
    return anthropic.Anthropic(
        base_url=provider.origin,
        credentials=lambda **_: anthropic.AccessToken(token="renewed", expires_at=None),
    )


def test_a_client_with_a_key_asks_again_over_http_alone(provider):
    client = anthropic.Anthropic(base_url=provider.origin, api_key="k")
    assert family.background_client(client, client._client, dict) is None
    client.close()


THREADS = pytest.mark.skipif(
    not hasattr(anthropic.types.beta, "BetaMessageThreadParam"), reason="threads came with anthropic 2.14"
)


@THREADS
@pytest.mark.parametrize("thread", [{"type": "create"}, {"type": "continue", "previous_message_id": "msg_1"}])
def test_threads_are_neither_cached_nor_asked_again(provider, guarded, thread):
    """Two conversations begun with equal words are two, and none of them gets a turn of ours."""
    client = anthropic.Anthropic(base_url=provider.origin, api_key="k")
    promptguard.wrap(
        client, ledger=guarded, cache="memory", shadow=SHADOW, replay=promptguard.Replay(share=1.0)
    )
    asked = {"model": "m", "messages": TURN, "max_tokens": 9, "betas": ["message-threads-2026-08-12"]}
    for _ in range(2):
        client.beta.messages.create(thread=thread, **asked)
    assert promptguard.flush(60.0)
    assert (provider.asked("m"), provider.asked("other")) == (2, 0)
    client.close()


def test_an_unknown_beta_passes_through_and_a_known_one_does_not_matter(provider, guarded):
    client = anthropic.Anthropic(base_url=provider.origin, api_key="k")
    promptguard.wrap(client, ledger=guarded, cache="memory", shadow=SHADOW)
    for beta, calls in (("context-1m-2025-08-07", 1), ("never-heard-of-2031-01-01", 2)):
        before = provider.asked("m")
        for _ in range(2):
            client.beta.messages.create(model="m", messages=TURN, max_tokens=9, betas=[beta])
        assert provider.asked("m") - before == calls
    assert promptguard.flush(60.0)
    assert provider.asked("other") == 1
    client.close()


@pytest.mark.skipif(not hasattr(anthropic, "beta_tool"), reason="the tool runner came later")
def test_the_tool_runner_ends_on_a_cached_client(guarded):
    def answer(question):
        if "tool_result" in str(question.messages):
            return "It is cold."
        call = {
            "id": "toolu_1",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"city": "Kiel"}'},
        }
        return Served("", finish_reason="tool_calls", tool_calls=(call,))

    @anthropic.beta_tool
    def weather(city: str) -> str:
        """Return the weather.

        Args:
            city: where
        """
        return f"-3 degrees in {city}"

    with FakeProvider({"m": answer}) as provider:
        client = anthropic.Anthropic(base_url=provider.origin, api_key="k", max_retries=0)
        promptguard.wrap(client, ledger=guarded, cache="memory")
        for _ in range(2):
            runner = client.beta.messages.tool_runner(model="m", max_tokens=9, messages=TURN, tools=[weather])
            turns = [message.stop_reason for message, _ in zip(runner, range(9), strict=False)]
            assert turns == ["tool_use", "end_turn"]
        client.close()


def test_tokens_are_cached_apart_as_a_cache_belongs_to_one_event_loop(provider):
    if not RENEWS:
        return
    client = _renewing(provider)
    asker = family.background_client(client, type(client._client)(), dict)
    assert client._token_cache is not None
    assert asker._client._token_cache is not client._token_cache
    assert type(asker._client._token_cache) is type(client._token_cache)
    asker.close()
    client.close()


def test_closing_a_background_client_leaves_the_credentials_open(provider):
    if not RENEWS:
        return
    closed = []

    class Credentials:
        def __call__(self, **_):
            return anthropic.AccessToken(token="t", expires_at=None)

        def close(self):
            closed.append(1)

    client = anthropic.Anthropic(base_url=provider.origin, credentials=Credentials())
    family.background_client(client, type(client._client)(), dict).close()
    assert not closed
    client.close()
