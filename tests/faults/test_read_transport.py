"""A transport of the application's own may read the answer before we see it."""

from __future__ import annotations

import pytest
from openai import OpenAI

import promptguard
from promptguard.testing import FakeProvider

pytestmark = pytest.mark.sdk


def test_an_answer_that_the_transport_has_read_is_passed_on_cached_and_paired(guarded):
    with FakeProvider({"m": lambda _: "fine"}) as provider:
        client = OpenAI(base_url=provider.url, api_key="k")
        stock = type(client._client._transport)

        class Logging(stock):
            def handle_request(self, request):
                response = super().handle_request(request)
                response.read()
                return response

        client._client._transport.__class__ = Logging
        promptguard.wrap(
            client,
            ledger=guarded,
            cache="memory",
            shadow=promptguard.Shadow(
                model="m", sample=1.0, repeat=0.0, client=lambda: OpenAI(base_url=provider.url, api_key="k")
            ),
        )
        ask = [{"role": "user", "content": "hi"}]
        for _ in range(2):
            answer = client.with_options(timeout=3.0).chat.completions.create(
                model="m", temperature=0, messages=ask
            )
            assert answer.choices[0].message.content == "fine"
        assert promptguard.flush(60.0)
        assert len(provider.received) == 2  # the call and its background call; the second answer was kept
        client.close()
