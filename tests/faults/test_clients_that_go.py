"""A client that is unwrapped, wrapped anew, or keeps its key in the address."""

from __future__ import annotations

import pytest
from openai import OpenAI

import promptguard
from promptguard.background.engine import open_backgrounds
from promptguard.testing import FakeProvider

pytestmark = pytest.mark.sdk
ASK = [{"role": "user", "content": "hi"}]


def wrapped(provider, ledger, now, **client):
    made = OpenAI(base_url=provider.url, api_key="k", max_retries=0, **client)
    return promptguard.wrap(
        made, ledger=ledger, replay=promptguard.Replay(share=1.0, after="1h"), clock=lambda: now[0]
    )


def test_an_unwrapped_client_is_asked_for_no_replays(guarded):
    now = [1_000_000.0]
    with FakeProvider({"m": lambda _: "fine"}) as provider:
        client = wrapped(provider, guarded, now)
        client.chat.completions.create(model="m", messages=ASK)
        assert promptguard.flush(60.0)
        background = open_backgrounds()[0]
        assert background.ledger.banked_count() == 1
        promptguard.unwrap(client)
        assert background.replaying.sources.by_asker() == []
        client.close()


def test_wrapping_anew_leaves_one_client_for_replays(guarded):
    now = [1_000_000.0]
    with FakeProvider({"m": lambda _: "fine"}) as provider:
        client = wrapped(provider, guarded, now)
        for _ in range(2):
            client.chat.completions.create(model="m", messages=ASK)
            assert promptguard.flush(60.0)
            promptguard.wrap(
                client, ledger=guarded, replay=promptguard.Replay(share=1.0), clock=lambda: now[0]
            )
        client.chat.completions.create(model="m", messages=ASK)
        assert promptguard.flush(60.0)
        assert len(open_backgrounds()[0].replaying.sources.by_asker()) == 1
        client.close()


def test_a_request_with_a_key_in_its_address_is_not_stored(guarded):
    now = [1_000_000.0]
    with FakeProvider({"m": lambda _: "fine"}) as provider:
        client = wrapped(provider, guarded, now, default_query={"subscription-key": "s3cret"})
        client.chat.completions.create(model="m", messages=ASK)
        assert promptguard.flush(60.0)
        assert open_backgrounds()[0].ledger.banked_count() == 0
        client.close()
