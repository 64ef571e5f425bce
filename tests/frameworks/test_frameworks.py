"""Frameworks above the SDKs: a wrapped client inside them is cached and paired, and they notice nothing.

Each way of asking is run bare and wrapped: equal results, and equal bytes at the server. Each framework needs its
package; without it the test says so. `make frameworks` runs them all.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

import promptguard
from promptguard.testing import FakeProvider, Question
from promptguard.testing.provider import Served

pytestmark = [
    pytest.mark.packages,
    # what a framework leaves open is its own: a wrapped client closes as the bare one does (tests/sdk)
    pytest.mark.filterwarnings("ignore"),
]
ASK = "what is it?"
LOOP = asyncio.new_event_loop()
"""One for all: langchain-openai shares an HTTP client between models, whose connections belong to one loop."""


class Weather(BaseModel):
    """The weather in a city."""

    city: str
    degrees: int


PARIS = {"city": "Paris", "degrees": 20}


def answered(question: Question) -> str | Served:
    """Call the tool that is offered, once; say JSON where that is wanted; else repeat the question."""
    tools = question.body.get("tools") or []
    roles = [message["role"] for message in question.messages]
    if tools and "tool" not in roles:
        function = {"name": tools[0]["function"]["name"], "arguments": json.dumps(PARIS)}
        call = {"id": "call_1", "type": "function", "function": function}
        return Served("", finish_reason="tool_calls", tool_calls=(call,))
    if question.body.get("response_format"):
        return json.dumps(PARIS)
    return f"it is {question.text}"


@pytest.fixture
def provider():
    with FakeProvider({"m": answered, "n": lambda _: "it is another"}) as running:
        yield running


def shadowed(client: Any, ledger: Any, cache: str | None = None) -> Any:
    shadow = promptguard.Shadow(model="n", sample=1.0, repeat=0.0)
    return promptguard.wrap(client, ledger=ledger, cache=cache, shadow=shadow)


def sent(provider: FakeProvider, since: int = 0) -> list[tuple[str, bytes]]:
    return [(call.path, call.raw) for call in provider.received[since:] if call.model == "m"]


def outcomes() -> set[str]:
    from promptguard.background.engine import open_backgrounds

    assert promptguard.flush(60.0)
    return {row.outcome for row in open_backgrounds()[0].ledger.pairs_after(0)}


def compared(provider: FakeProvider, way: Callable[[Callable[[Any], Any]], Any], ledger: Any) -> None:
    """Run `way` with the client as it is and with it wrapped: nothing may differ, and every call is paired."""
    bare = way(lambda client: client)
    first = sent(provider)
    since = len(provider.received)
    wrapped = way(lambda client: shadowed(client, ledger))
    assert wrapped == bare
    assert outcomes() == {"compared"}
    assert sent(provider, since) == first
    assert first


# langchain-openai


def chat_model(provider: FakeProvider) -> Any:
    langchain_openai = pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")
    return langchain_openai.ChatOpenAI(model="m", base_url=provider.url, api_key="k", max_retries=0)


LANGCHAIN = {
    "invoke": lambda model: model.invoke(ASK).content,
    "ainvoke": lambda model: LOOP.run_until_complete(model.ainvoke(ASK)).content,
    "stream": lambda model: [chunk.content for chunk in model.stream(ASK)],
    "batch": lambda model: [
        answer.content for answer in model.batch([ASK, "and this?"], {"max_concurrency": 1})
    ],
    "tools": lambda model: model.bind_tools([Weather]).invoke(ASK).tool_calls[0]["args"],
    "structured output": lambda model: model.with_structured_output(Weather).invoke(ASK),
}


@pytest.mark.parametrize("way", LANGCHAIN)
def test_langchain_openai(provider, guarded, way):
    compared(provider, lambda guard: LANGCHAIN[way](guard(chat_model(provider))), guarded)


def test_langchain_openai_shares_no_guard_and_is_cached(provider, guarded):
    bare, wrapped = chat_model(provider), chat_model(provider)
    assert shadowed(wrapped, guarded, "memory") is wrapped
    assert promptguard.is_wrapped(wrapped)
    assert not promptguard.is_wrapped(bare), "its HTTP client is shared between models; the guard is not"
    assert wrapped.invoke(ASK).content == wrapped.invoke(ASK).content == f"it is {ASK}"
    assert LOOP.run_until_complete(wrapped.ainvoke(ASK)).content == f"it is {ASK}"
    assert len(sent(provider)) == 1, "the repeated question was answered from the cache"
    promptguard.unwrap(wrapped)
    assert not promptguard.is_wrapped(wrapped)


# pydantic-ai


def agent(provider: FakeProvider, guard: Callable[[Any], Any], **settings: Any) -> Any:
    pytest.importorskip("pydantic_ai", reason="pydantic-ai is not installed")
    from openai import AsyncOpenAI
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    client = guard(AsyncOpenAI(base_url=provider.url, api_key="k", max_retries=0))
    return Agent(OpenAIChatModel("m", provider=OpenAIProvider(openai_client=client)), **settings)


def with_a_tool(provider: FakeProvider, guard: Callable[[Any], Any]) -> str:
    asking = agent(provider, guard)
    told = []

    @asking.tool_plain
    def weather(city: str, degrees: int) -> str:
        told.append((city, degrees))
        return "sunny"

    return f"{asking.run_sync(ASK).output} {told}"


async def in_pieces(asking: Any) -> list[str]:
    async with asking.run_stream(ASK) as answer:
        return [piece async for piece in answer.stream_text(delta=True, debounce_by=None)]


PYDANTIC_AI = {
    "run": lambda provider, guard: agent(provider, guard).run_sync(ASK).output,
    "stream": lambda provider, guard: LOOP.run_until_complete(in_pieces(agent(provider, guard))),
    "structured output": lambda provider, guard: (
        agent(provider, guard, output_type=Weather).run_sync(ASK).output
    ),
}


@pytest.mark.parametrize("way", PYDANTIC_AI)
def test_pydantic_ai(provider, guarded, way):
    compared(provider, lambda guard: PYDANTIC_AI[way](provider, guard), guarded)


def test_pydantic_ai_tools(provider, guarded):
    """The second call repeats the first one's tool call id, which is new for every answer: only results can be equal."""
    bare = with_a_tool(provider, lambda client: client)
    assert with_a_tool(provider, lambda client: shadowed(client, guarded)) == bare
    assert "('Paris', 20)" in bare
    assert outcomes() == {"compared"}
    assert len(sent(provider)) == 4


# litellm


def asked(provider: FakeProvider, **settings: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": ASK}]
    return {"model": "openai/m", "messages": messages, "api_base": provider.url, "api_key": "k", **settings}


TOOL = {"type": "function", "function": {"name": "weather", "parameters": Weather.model_json_schema()}}


def litellm_ways(litellm: Any, provider: FakeProvider, guard: Callable[[Any], Any]) -> dict[str, Any]:
    from openai import AsyncOpenAI, OpenAI

    def sync(**settings: Any) -> Any:
        client = guard(OpenAI(base_url=provider.url, api_key="k", max_retries=0))
        return litellm.completion(**asked(provider, client=client, **settings))

    async def concurrent(**settings: Any) -> Any:
        client = guard(AsyncOpenAI(base_url=provider.url, api_key="k", max_retries=0))
        return await litellm.acompletion(**asked(provider, client=client, **settings))

    return {
        "completion": lambda: sync().choices[0].message.content,
        "acompletion": lambda: LOOP.run_until_complete(concurrent()).choices[0].message.content,
        "stream": lambda: "".join(chunk.choices[0].delta.content or "" for chunk in sync(stream=True)),
        "tools": lambda: sync(tools=[TOOL]).choices[0].message.tool_calls[0].function.arguments,
    }


@pytest.mark.parametrize("way", ["completion", "acompletion", "stream", "tools"])
def test_litellm(provider, guarded, way):
    litellm = pytest.importorskip("litellm", reason="litellm is not installed")
    compared(provider, lambda guard: litellm_ways(litellm, provider, guard)[way](), guarded)
