"""A background call goes where the application's call went, in the name of who asked it."""

from __future__ import annotations

import pytest
from openai import OpenAI

import promptguard
from promptguard.testing import FakeProvider

pytestmark = pytest.mark.sdk
ASK = [{"role": "user", "content": "hi"}]


def test_the_key_of_one_server_is_never_sent_to_another(guarded):
    with FakeProvider({"m": lambda _: "fine"}) as own, FakeProvider({"m": lambda _: "fine"}) as other:
        client = OpenAI(base_url=own.url, api_key="ours")
        promptguard.wrap(
            client,
            ledger=guarded,
            shadow=promptguard.Shadow(model="m", sample=1.0, repeat=0.0),
        )
        theirs = client.with_options(base_url=other.url, api_key="theirs")
        theirs.chat.completions.create(model="m", messages=ASK)
        assert promptguard.flush(60.0)
        keys = [call.headers["authorization"] for call in other.received]
        assert keys == ["Bearer theirs"] * 2
        assert not own.received
        client.close()
