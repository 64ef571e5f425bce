"""Frameworks above the SDKs: a wrapped client inside them is cached and paired, and they notice nothing.

Each needs its package; without it the test says so. `make frameworks` runs them all.
"""

from __future__ import annotations

import asyncio

import pytest

import promptguard
from promptguard.testing import FakeProvider

pytestmark = [
    pytest.mark.packages,
    # what a framework leaves open is its own: a wrapped client closes as the bare one does (tests/sdk)
    pytest.mark.filterwarnings("ignore"),
]
ASK = "what is it?"
WAYS = ("bare", "wrapped")


@pytest.fixture
def provider():
    with FakeProvider(
        {"m": lambda question: f"it is {question.text}", "n": lambda _: "it is another"}
    ) as running:
        yield running


def shadowed(client, ledger):
    return promptguard.wrap(
        client,
        ledger=ledger,
        cache="memory",
        shadow=promptguard.Shadow(model="n", sample=1.0, repeat=0.0),
    )


def sent(provider):
    return [(call.path, call.raw) for call in provider.received if call.model == "m"]


def outcomes():
    from promptguard.background.engine import open_backgrounds

    assert promptguard.flush(10.0)
    return [row.outcome for row in open_backgrounds()[0].ledger.pairs_after(0)]


def test_langchain_openai(provider, guarded):
    langchain_openai = pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")

    def model():
        return langchain_openai.ChatOpenAI(model="m", base_url=provider.url, api_key="k", max_retries=0)

    bare, wrapped = model(), model()
    assert shadowed(wrapped, guarded) is wrapped
    assert promptguard.is_wrapped(wrapped)
    assert not promptguard.is_wrapped(bare), "its HTTP client is shared between models; the guard is not"
    said = [each.invoke(ASK).content for each in (bare, wrapped)]
    assert said[0] == said[1] == f"it is {ASK}"
    first, second = sent(provider)
    assert first == second
    assert wrapped.invoke(ASK).content == said[0]
    assert len(sent(provider)) == 2, "the repeated question was answered from the cache"
    assert asyncio.run(wrapped.ainvoke(ASK)).content == said[0]
    assert "".join(chunk.content for chunk in wrapped.stream("another")) == "it is another"
    assert set(outcomes()) == {"compared"}
    promptguard.unwrap(wrapped)
    assert not promptguard.is_wrapped(wrapped)


def test_pydantic_ai(provider, guarded):
    pytest.importorskip("pydantic_ai", reason="pydantic-ai is not installed")
    from openai import AsyncOpenAI
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    said = []
    for way in WAYS:
        client = AsyncOpenAI(base_url=provider.url, api_key="k", max_retries=0)
        if way == "wrapped":
            shadowed(client, guarded)
        agent = Agent(OpenAIChatModel("m", provider=OpenAIProvider(openai_client=client)))
        said.append(agent.run_sync(ASK).output)
    assert said == [f"it is {ASK}"] * 2
    first, second = sent(provider)
    assert first == second
    assert outcomes() == ["compared"]


def test_litellm(provider, guarded):
    litellm = pytest.importorskip("litellm", reason="litellm is not installed")
    from openai import OpenAI

    said = []
    for way in WAYS:
        client = OpenAI(base_url=provider.url, api_key="k", max_retries=0)
        if way == "wrapped":
            shadowed(client, guarded)
        messages = [{"role": "user", "content": ASK}]
        told = litellm.completion(model="openai/m", messages=messages, client=client)
        said.append(told.choices[0].message.content)
        client.close()
    assert said == [f"it is {ASK}"] * 2
    first, second = sent(provider)
    assert first == second
    assert outcomes() == ["compared"]
