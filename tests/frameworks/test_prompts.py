"""A rendered prompt that goes through a framework: its name and version lie on the pair, with no further code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import promptguard
from promptguard.templates.library import open_library
from promptguard.templates.prompt import Prompt
from promptguard.testing import FakeProvider
from tests.frameworks.test_frameworks import LOOP, PARIS, Weather, answered, outcomes, shadowed

pytestmark = [pytest.mark.packages, pytest.mark.filterwarnings("ignore")]
TRIAGE = "---\nname: triage\n---\nsystem:\nYou sort tickets.\n\nuser:\nTicket: {{ t }}\n"


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    models = {"gpt-4": answered, "n": lambda _: "it is another"}
    with FakeProvider(models) as running:
        yield running


@pytest.fixture
def prompt(tmp_path: Path) -> Prompt:
    place = tmp_path / "prompts" / "triage" / "7.prompty"
    place.parent.mkdir(parents=True)
    place.write_text(TRIAGE, "utf-8")
    return open_library(tmp_path / "prompts").get("triage")


def groups() -> list[str]:
    """Return under what each pair is counted."""
    from promptguard.background.engine import open_backgrounds

    assert promptguard.flush(60.0)
    return [row.group for row in open_backgrounds()[0].ledger.pairs_after(0)]


def client_of(provider: FakeProvider, ledger: Path) -> Any:
    from openai import OpenAI

    return shadowed(OpenAI(base_url=provider.url, api_key="k", max_retries=0), ledger)


def async_client_of(provider: FakeProvider, ledger: Path) -> Any:
    from openai import AsyncOpenAI

    return shadowed(AsyncOpenAI(base_url=provider.url, api_key="k", max_retries=0), ledger)


Ask = Callable[[FakeProvider, Path, list[dict[str, Any]]], Any]


# langchain-openai


def langchain_model(provider: FakeProvider, ledger: Path) -> Any:
    found = pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")
    return shadowed(
        found.ChatOpenAI(model="gpt-4", base_url=provider.url, api_key="k", max_retries=0), ledger
    )


def langchain_in_an_agent(provider: FakeProvider, ledger: Path, messages: list[dict[str, Any]]) -> int:
    """Ask, bring what the tool says, ask again: as an agent does."""
    model = langchain_model(provider, ledger).bind_tools([Weather])
    from langchain_core.messages import ToolMessage

    first = model.invoke(messages)
    model.invoke([*messages, first, ToolMessage("sunny", tool_call_id=first.tool_calls[0]["id"])])
    return 2


LANGCHAIN: dict[str, Ask] = {
    "messages": lambda provider, ledger, messages: langchain_model(provider, ledger).invoke(messages) and 1,
    "stream": lambda provider, ledger, messages: (
        list(langchain_model(provider, ledger).stream(messages)) and 1
    ),
    "an agent's turns": langchain_in_an_agent,
}


@pytest.mark.parametrize("way", LANGCHAIN)
def test_langchain(provider: FakeProvider, guarded: Path, prompt: Prompt, way: str) -> None:
    calls = LANGCHAIN[way](provider, guarded, prompt.render(t="it burns").messages)
    assert groups() == ["triage@7"] * calls
    assert outcomes() == {"compared"}


# llama-index


def llama_index(provider: FakeProvider, ledger: Path) -> Any:
    found = pytest.importorskip("llama_index.llms.openai", reason="llama-index-llms-openai is not installed")
    return found.OpenAI(
        model="gpt-4", api_key="k", api_base=provider.url, max_retries=0,
        openai_client=client_of(provider, ledger), async_openai_client=async_client_of(provider, ledger),
    )  # fmt: skip


def llama_messages(messages: list[dict[str, Any]]) -> list[Any]:
    from llama_index.core.llms import ChatMessage

    return [ChatMessage(role=each["role"], content=each["content"]) for each in messages]


LLAMA_INDEX: dict[str, Ask] = {
    "chat": lambda provider, ledger, messages: llama_index(provider, ledger).chat(llama_messages(messages)),
    "stream_chat": lambda provider, ledger, messages: list(
        llama_index(provider, ledger).stream_chat(llama_messages(messages))
    ),
    "achat": lambda provider, ledger, messages: LOOP.run_until_complete(
        llama_index(provider, ledger).achat(llama_messages(messages))
    ),
}


@pytest.mark.parametrize("way", LLAMA_INDEX)
def test_llama_index(provider: FakeProvider, guarded: Path, prompt: Prompt, way: str) -> None:
    pytest.importorskip("llama_index.core", reason="llama-index-llms-openai is not installed")
    assert LLAMA_INDEX[way](provider, guarded, prompt.render(t="it burns").messages)
    assert groups() == ["triage@7"]
    assert outcomes() == {"compared"}


# pydantic-ai


@pytest.mark.parametrize("with_tool", [False, True])
def test_pydantic_ai(provider: FakeProvider, guarded: Path, prompt: Prompt, *, with_tool: bool) -> None:
    pytest.importorskip("pydantic_ai", reason="pydantic-ai is not installed")
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    system, user = (each["content"] for each in prompt.render(t="it burns").messages)
    provided = OpenAIProvider(openai_client=async_client_of(provider, guarded))
    agent = Agent(OpenAIChatModel("gpt-4", provider=provided), instructions=system)
    if with_tool:
        agent.tool_plain(weather)
    assert agent.run_sync(user).output
    assert groups() == ["triage@7"] * (1 + with_tool)
    assert outcomes() == {"compared"}


def weather(city: str, degrees: int) -> str:
    """Say what the weather is."""
    assert {"city": city, "degrees": degrees} == PARIS
    return "sunny"


# openai-agents


# The provider on loopback calls tools in chats alone.
@pytest.mark.parametrize(("protocol", "with_tool"), [("chat", False), ("chat", True), ("responses", False)])
def test_openai_agents(
    provider: FakeProvider, guarded: Path, prompt: Prompt, protocol: str, *, with_tool: bool
) -> None:
    agents = pytest.importorskip("agents", reason="openai-agents is not installed")
    agents.set_tracing_disabled(True)
    kinds = {"chat": agents.OpenAIChatCompletionsModel, "responses": agents.OpenAIResponsesModel}
    model = kinds[protocol](model="gpt-4", openai_client=async_client_of(provider, guarded))
    system, user = (each["content"] for each in prompt.render(t="it burns").messages)
    tools = [agents.function_tool(weather)] if with_tool else []
    agent = agents.Agent(name="it", instructions=system, model=model, tools=tools)
    assert LOOP.run_until_complete(agents.Runner.run(agent, user)).final_output
    assert groups() == ["triage@7"] * (1 + with_tool)
    assert outcomes() == {"compared"}


# instructor


def test_instructor(provider: FakeProvider, guarded: Path, prompt: Prompt) -> None:
    instructor = pytest.importorskip("instructor", reason="instructor is not installed")
    client = instructor.from_openai(client_of(provider, guarded))
    found = client.chat.completions.create(
        model="gpt-4", response_model=Weather, messages=prompt.render(t="it burns").messages, max_retries=0
    )
    assert found.model_dump() == PARIS
    assert groups() == ["triage@7"]
    assert outcomes() == {"compared"}


def test_instructor_that_writes_the_schema_into_the_messages(
    provider: FakeProvider, guarded: Path, prompt: Prompt
) -> None:
    instructor = pytest.importorskip("instructor", reason="instructor is not installed")
    client = instructor.from_openai(client_of(provider, guarded), mode=instructor.Mode.JSON)
    with prompt.use():
        found = client.chat.completions.create(
            model="gpt-4",
            response_model=Weather,
            messages=prompt.render(t="it burns").messages,
            max_retries=0,
        )
    assert found.model_dump() == PARIS
    assert groups() == ["triage@7"]
