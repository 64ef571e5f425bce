"""Every case is a function of a client; it is run bare and wrapped in several ways, and nothing may differ."""

from __future__ import annotations

import pytest

import promptguard
from promptguard.testing import FakeProvider, Served

VARIANTS = ("plain", "memory", "shadow")


def answer(question):
    if "tool" in question.text:
        call = {
            "id": "call_1",
            "type": "function",
            "function": {"name": "weather", "arguments": '{"city": "Kiel"}'},
        }
        return Served("", finish_reason="tool_calls", tool_calls=(call,))
    return Served(f"You asked: {question.text}. Ünïcödé \u2028 and more words to make several chunks.")


class Provider(FakeProvider):
    """Gives the n-th answer the n-th id again after `rewind`, so that two runs can be compared byte for byte."""

    def __init__(self):
        super().__init__({"gpt-4": answer, "gpt-4-other": answer})
        self.begin = 0

    def next_id(self):
        return "chatcmpl-fixed"

    def asked_of(self, model):
        """What arrived for `model`, less what is new for every call."""
        volatile = {"host", "x-stainless-retry-count", "idempotency-key", "x-stainless-read-timeout"}
        return [
            (r.path, {k: v for k, v in r.headers.items() if k not in volatile}, r.raw)
            for r in self.received
            if r.model == model
        ]


def http_family():
    """The HTTP library of the installed openai: httpx or httpx2."""
    from openai import OpenAI

    from promptguard.http.family import family_of

    with OpenAI(base_url="http://x/v1", api_key="k") as client:
        return family_of(client._client)


@pytest.fixture
def provider():
    with Provider() as running:
        yield running


def wrapped(client, variant, ledger):
    if variant == "plain":
        return promptguard.wrap(client, ledger=ledger)
    if variant == "memory":
        return promptguard.wrap(client, ledger=ledger, cache="memory")
    return promptguard.wrap(
        client,
        ledger=ledger,
        shadow=promptguard.Shadow(model="gpt-4-other", sample=1.0, repeat=0.0),
        replay=promptguard.Replay(share=1.0),
    )
