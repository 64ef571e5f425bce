"""`promptguard.guard(http_client)`: for every SDK that takes an httpx or httpx2 client."""

from __future__ import annotations

import asyncio

import pytest
from openai import AsyncOpenAI, OpenAI

import promptguard
from promptguard.testing import FakeProvider
from tests.sdk.conftest import Provider, http_family

pytestmark = pytest.mark.sdk
ASK = [{"role": "user", "content": "hi"}]


def test_a_guarded_client_answers_from_the_cache(provider: Provider):
    bare = http_family().Client()
    http = promptguard.guard(bare, cache="memory")
    assert type(http).__mro__[1] is type(bare)
    assert promptguard.is_wrapped(http)
    assert not promptguard.is_wrapped(bare)
    client = OpenAI(base_url=provider.url, api_key="k", http_client=http)
    first, second = (client.chat.completions.create(model="gpt-4", messages=ASK) for _ in range(2))
    assert first == second
    assert provider.asked("gpt-4") == 1
    client.close()


def test_what_is_sent_is_byte_for_byte_what_the_bare_client_sends(provider: Provider):
    for http in (http_family().Client(), promptguard.guard(http_family().Client())):
        client = OpenAI(base_url=provider.url, api_key="k", http_client=http)
        client.chat.completions.create(model="gpt-4", messages=ASK, temperature=0.3)
        client.close()
    first, second = provider.asked_of("gpt-4")
    assert first == second


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_background_calls_carry_the_same_credentials(guarded, kind):
    with FakeProvider({"m": lambda _: "fine", "n": lambda _: "fine"}) as provider:
        family = http_family()
        bare = family.Client() if kind == "sync" else family.AsyncClient()
        http = promptguard.guard(
            bare, ledger=guarded, shadow=promptguard.Shadow(model="n", sample=1.0, repeat=0.0)
        )
        options = {
            "base_url": provider.url, "api_key": "theirs", "http_client": http, "default_headers": {"x-team": "search"}
        }  # fmt: skip
        if kind == "sync":
            with OpenAI(**options) as client:
                client.chat.completions.create(model="m", messages=ASK)
        else:

            async def ask():
                async with AsyncOpenAI(**options) as client:
                    await client.chat.completions.create(model="m", messages=ASK)

            asyncio.run(ask())
        assert promptguard.flush(60.0)
        shadow = next(call for call in provider.received if call.model == "n")
        assert shadow.headers["authorization"] == "Bearer theirs"
        assert shadow.headers["x-team"] == "search"
        from promptguard.background.engine import open_backgrounds

        assert [row.outcome for row in open_backgrounds()[0].ledger.pairs_after(0)] == ["compared"]


def test_other_traffic_passes_untouched(provider: Provider):
    http = promptguard.guard(http_family().Client(), cache="memory")
    for _ in range(2):
        assert http.get(provider.url.removesuffix("/v1") + "/health").status_code == 501
    http.close()


def test_wrong_use_is_told():
    with pytest.raises(promptguard.ConfigurationError, match="of httpx or httpx2, not an object"):
        promptguard.guard(object())
    closed = http_family().Client()
    closed.close()
    with pytest.raises(promptguard.ConfigurationError, match="closed already"):
        promptguard.guard(closed)
