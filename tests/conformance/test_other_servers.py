"""A second model of another provider: asked in its own words, with its own key, and compared.

Each wrapped SDK with each candidate's, with tools, a schema, an image and a stream; no credential crosses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import promptguard
from promptguard.errors import ConfigurationError
from promptguard.ledger.store import Ledger
from promptguard.testing import FakeProvider, Served

BUDGET = promptguard.Budget(calls_per_minute=None)
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
CALLED = Served(
    "",
    finish_reason="tool_calls",
    tool_calls=({"id": "c1", "type": "function", "function": {"name": "lookup", "arguments": '{"city": "Bonn"}'}},),
)  # fmt: skip
KINDS = ("text", "tools", "schema", "image", "stream")


def answers(question: Any) -> Any:
    return CALLED if question.body.get("tools") else '{"city": "Bonn"}'


@pytest.fixture
def ours() -> Iterator[FakeProvider]:
    with FakeProvider({"ours": answers}) as provider:
        yield provider


@pytest.fixture
def theirs() -> Iterator[FakeProvider]:
    with FakeProvider({"theirs": answers}) as provider:
        yield provider


def openai(provider: FakeProvider, key: str) -> Any:
    return import_module("openai").OpenAI(base_url=provider.url, api_key=key, max_retries=0)


def async_openai(provider: FakeProvider, key: str) -> Any:
    return import_module("openai").AsyncOpenAI(base_url=provider.url, api_key=key, max_retries=0)


def anthropic(provider: FakeProvider, key: str) -> Any:
    return import_module("anthropic").Anthropic(base_url=provider.origin, api_key=key, max_retries=0)


def google(provider: FakeProvider, key: str) -> Any:
    genai = import_module("google.genai")
    options = genai.types.HttpOptions(base_url=provider.origin)
    return genai.Client(api_key=key, vertexai=False, http_options=options)


def ollama(provider: FakeProvider, key: str) -> Any:
    client = import_module("ollama").Client
    return client(host=provider.origin, headers={"authorization": f"Bearer {key}"})


CLIENTS: dict[str, Callable[[FakeProvider, str], Any]] = {
    "openai": openai, "anthropic": anthropic, "google-genai": google, "ollama": ollama,
}  # fmt: skip
PACKAGES = {"google-genai": "google.genai"}


def installed() -> list[str]:
    """Return the SDKs that are installed: all of them where `make sdks` runs."""
    found = []
    for name in CLIENTS:
        try:
            import_module(PACKAGES.get(name, name))
        except ImportError:
            continue
        found.append(name)
    return found


INSTALLED = installed()


def ask_openai(client: Any, kind: str) -> None:
    content: Any = "where?"
    more: dict[str, Any] = {}
    if kind == "image":
        url = f"data:image/png;base64,{DOT}"
        content = [{"type": "text", "text": "where?"}, {"type": "image_url", "image_url": {"url": url}}]
    elif kind == "tools":
        function = {"name": "lookup", "description": "d", "parameters": SCHEMA}
        more["tools"] = [{"type": "function", "function": function}]
    elif kind == "schema":
        named = {"name": "place", "schema": SCHEMA, "strict": True}
        more["response_format"] = {"type": "json_schema", "json_schema": named}
    messages = [{"role": "system", "content": "be short"}, {"role": "user", "content": content}]
    made = client.chat.completions.create(
        model="ours", messages=messages, max_tokens=50, temperature=0.5, stream=kind == "stream", **more
    )
    if kind == "stream":
        list(made)


def ask_anthropic(client: Any, kind: str) -> None:
    body: dict[str, Any] = {"temperature": 0.5}  # newer versions have no argument for it
    content: Any = "where?"
    more: dict[str, Any] = {}
    if kind == "image":
        source = {"type": "base64", "media_type": "image/png", "data": DOT}
        content = [{"type": "text", "text": "where?"}, {"type": "image", "source": source}]
    elif kind == "tools":
        more["tools"] = [{"name": "lookup", "description": "d", "input_schema": SCHEMA}]
    elif kind == "schema":
        body["output_config"] = {"format": {"type": "json_schema", "schema": SCHEMA}}
    made = client.messages.create(
        model="ours",
        system="be short",
        messages=[{"role": "user", "content": content}],
        max_tokens=50,
        stream=kind == "stream",
        extra_body=body,
        **more,
    )
    if kind == "stream":
        list(made)


def ask_google(client: Any, kind: str) -> None:
    types = import_module("google.genai").types
    parts = [types.Part(text="where?")]
    config: dict[str, Any] = {"system_instruction": "be short", "max_output_tokens": 50, "temperature": 0.5}
    if kind == "image":
        parts.append(types.Part(inline_data=types.Blob(mime_type="image/png", data=b"\x89PNG\r\n")))
    elif kind == "tools":
        declared = types.FunctionDeclaration(name="lookup", description="d", parameters_json_schema=SCHEMA)
        config["tools"] = [types.Tool(function_declarations=[declared])]
    elif kind == "schema":
        config |= {"response_mime_type": "application/json", "response_json_schema": SCHEMA}
    asked: dict[str, Any] = {
        "model": "ours",
        "contents": [types.Content(role="user", parts=parts)],
        "config": types.GenerateContentConfig(**config),
    }
    if kind == "stream":
        list(client.models.generate_content_stream(**asked))
    else:
        client.models.generate_content(**asked)


def ask_ollama(client: Any, kind: str) -> None:
    message: dict[str, Any] = {"role": "user", "content": "where?"}
    more: dict[str, Any] = {}
    if kind == "image":
        message["images"] = [DOT]
    elif kind == "tools":
        function = {"name": "lookup", "description": "d", "parameters": SCHEMA}
        more["tools"] = [{"type": "function", "function": function}]
    elif kind == "schema":
        more["format"] = SCHEMA
    made = client.chat(
        model="ours",
        messages=[{"role": "system", "content": "be short"}, message],
        options={"num_predict": 50, "temperature": 0.5},
        stream=kind == "stream",
        **more,
    )
    if kind == "stream":
        list(made)


ASK: dict[str, Callable[[Any, str], None]] = {
    "openai": ask_openai, "anthropic": ask_anthropic, "google-genai": ask_google, "ollama": ask_ollama,
}  # fmt: skip


def rows(ledger: Path) -> list[tuple[str, str, str]]:
    kept = Ledger(ledger)
    try:
        return [
            (row.outcome, row.reason, row.rules) for row in kept.pairs_after(0) if row.stream == "candidate"
        ]
    finally:
        kept.close()


def ended(client: Any) -> None:
    (getattr(client, "close", None) or client._client.close)()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("candidate", INSTALLED)
@pytest.mark.parametrize("wrapped", INSTALLED)
def test_pairs_across_providers(
    wrapped: str, candidate: str, kind: str, ours: FakeProvider, theirs: FakeProvider, guarded: Path
) -> None:
    client = CLIENTS[wrapped](ours, "key-of-ours")
    shadow = promptguard.Shadow(
        "theirs",
        sample=1.0,
        repeat=0.0,
        budget=BUDGET,
        client=lambda: CLIENTS[candidate](theirs, "key-of-theirs"),
    )
    promptguard.wrap(client, ledger=guarded, shadow=shadow)
    ASK[wrapped](client, kind)
    assert promptguard.flush(60.0)
    [(outcome, reason, rules)] = rows(guarded)
    assert (outcome, reason) == ("compared", "")
    assert ("-to-" in rules) == (wrapped != candidate)
    [asked] = theirs.received
    assert "key-of-theirs" in json.dumps(dict(asked.headers))
    assert "key-of-ours" not in json.dumps(dict(asked.headers)) + asked.path + asked.raw.decode()
    assert all("key-of-theirs" not in json.dumps(dict(each.headers)) for each in ours.received)
    said = asked.raw.decode()
    assert all(each in said for each in ("be short", "where?", "50", "0.5"))
    assert ("lookup" in said) == (kind == "tools")
    # the ollama package leaves members of a tool's schema out that it does not know
    closed = kind == "schema" or (kind == "tools" and wrapped != "ollama")
    assert ("additionalProperties" in said) == closed
    assert (DOT[:7] in said) == (kind == "image")
    ended(client)


def test_other_streams_stay_with_the_applications_own_server(
    ours: FakeProvider, theirs: FakeProvider, guarded: Path
) -> None:
    client = openai(ours, "k")
    shadow = promptguard.Shadow(
        "theirs", sample=1.0, repeat=0.99, budget=BUDGET, client=lambda: anthropic(theirs, "other")
    )
    promptguard.wrap(client, ledger=guarded, shadow=shadow, seed=1)
    ask_openai(client, "text")
    assert promptguard.flush(60.0)
    assert [each.model for each in theirs.received] == ["theirs"]
    assert [each.model for each in ours.received] == ["ours", "ours"]
    client.close()


def test_an_open_model_behind_the_same_sdk(ours: FakeProvider, theirs: FakeProvider, guarded: Path) -> None:
    """The same SDK with another address is another server, with the other client's key."""
    client = openai(ours, "key-of-ours")
    shadow = promptguard.Shadow(
        "theirs", sample=1.0, repeat=0.0, budget=BUDGET, client=lambda: async_openai(theirs, "key-of-theirs")
    )
    promptguard.wrap(client, ledger=guarded, shadow=shadow)
    ask_openai(client, "text")
    assert promptguard.flush(60.0)
    [asked] = theirs.received
    assert dict(asked.headers)["authorization"] == "Bearer key-of-theirs"
    assert rows(guarded) == [("compared", "", "")]
    client.close()


def test_one_name_on_two_servers_may_be_two_models(
    ours: FakeProvider, theirs: FakeProvider, guarded: Path, caplog: pytest.LogCaptureFixture
) -> None:
    theirs.models["ours"] = answers
    client = openai(ours, "k")
    shadow = promptguard.Shadow(
        "ours", sample=1.0, repeat=0.0, budget=BUDGET, client=lambda: openai(theirs, "other")
    )
    promptguard.wrap(client, ledger=guarded, shadow=shadow)
    ask_openai(client, "text")
    assert promptguard.flush(60.0)
    assert rows(guarded) == [("compared", "", "")]
    assert (ours.asked("ours"), theirs.asked("ours")) == (1, 1)
    assert "both answers come from one model" not in caplog.text
    client.close()


def test_what_the_other_provider_has_no_word_for_is_not_asked(
    ours: FakeProvider, theirs: FakeProvider, guarded: Path
) -> None:
    client = openai(ours, "k")
    shadow = promptguard.Shadow(
        "theirs", sample=1.0, repeat=0.0, budget=BUDGET, client=lambda: anthropic(theirs, "other")
    )
    promptguard.wrap(client, ledger=guarded, shadow=shadow)
    asked: Any = [{"role": "user", "content": "hi"}]
    client.chat.completions.create(model="ours", messages=asked, logit_bias={"5": 1})
    assert promptguard.flush(60.0)
    assert rows(guarded) == [("not_comparable", "theirs: conversion (logit_bias)", "")]
    assert not theirs.received
    client.close()


def test_rules_hold_for_what_was_converted(ours: FakeProvider, guarded: Path) -> None:
    with FakeProvider({"gpt-5.6": answers}) as theirs:
        client = anthropic(ours, "k")
        shadow = promptguard.Shadow(
            "gpt-5.6", sample=1.0, repeat=0.0, budget=BUDGET, client=lambda: openai(theirs, "other")
        )
        promptguard.wrap(client, ledger=guarded, shadow=shadow)
        client.messages.create(model="ours", max_tokens=9, messages=[{"role": "user", "content": "hi"}])
        assert promptguard.flush(60.0)
        assert rows(guarded) == [
            ("compared", "", "anthropic_messages-to-openai_chat,openai-max-completion-tokens")
        ]
        assert json.loads(theirs.received[0].raw)["max_completion_tokens"] == 9
        client.close()


def test_a_factory_of_something_else_is_told_at_wrap(ours: FakeProvider, guarded: Path) -> None:
    client = openai(ours, "k")
    with pytest.raises(
        ConfigurationError, match="or of another of openai, anthropic, google-genai, groq, together, ollama"
    ):
        promptguard.wrap(client, ledger=guarded, shadow=promptguard.Shadow("theirs", client=object))
    client.close()


def test_replay_asks_the_applications_own_server(
    ours: FakeProvider, theirs: FakeProvider, guarded: Path
) -> None:
    client = openai(ours, "k")
    with pytest.raises(
        ConfigurationError, match="a fresh client of openai, as the one you wrap, and returned"
    ):
        promptguard.wrap(
            client, ledger=guarded, replay=promptguard.Replay(client=lambda: anthropic(theirs, "o"))
        )
    client.close()


def test_what_a_client_adds_to_every_call_is_added(
    ours: FakeProvider, theirs: FakeProvider, guarded: Path
) -> None:
    sdk = import_module("anthropic")
    client = openai(ours, "k")
    shadow = promptguard.Shadow(
        "theirs",
        sample=1.0,
        repeat=0.0,
        budget=BUDGET,
        client=lambda: sdk.Anthropic(
            base_url=f"{theirs.origin}/proxy/",
            api_key="other",
            default_query={"gw": "1"},
            default_headers={"x-team": "a"},
        ),
    )
    promptguard.wrap(client, ledger=guarded, shadow=shadow)
    ask_openai(client, "text")
    assert promptguard.flush(60.0)
    [asked] = theirs.received
    assert asked.path == "/proxy/v1/messages?gw=1"
    assert dict(asked.headers)["x-team"] == "a"
    client.close()


def test_a_cloud_beside_the_provider_itself(ours: FakeProvider, theirs: FakeProvider, guarded: Path) -> None:
    """The wrapped client's server is not known by an address: the second model's own client is asked all the same."""
    sdk = import_module("anthropic")
    client = sdk.AnthropicVertex(
        base_url=ours.origin, access_token="vertex-token", region="eu", project_id="p"
    )
    shadow = promptguard.Shadow(
        "theirs", sample=1.0, repeat=0.0, budget=BUDGET, client=lambda: anthropic(theirs, "other")
    )
    promptguard.wrap(client, ledger=guarded, shadow=shadow)
    client.messages.create(model="ours", max_tokens=9, messages=[{"role": "user", "content": "hi"}])
    assert promptguard.flush(60.0)
    assert rows(guarded) == [("compared", "", "anthropic_vertex-to-anthropic_messages")]
    [asked] = theirs.received
    assert "vertex-token" not in json.dumps(dict(asked.headers))
    client.close()


def test_a_client_whose_server_is_not_known_is_refused_at_wrap(ours: FakeProvider, guarded: Path) -> None:
    sdk = import_module("anthropic")
    for client in (openai(ours, "k"), anthropic(ours, "k")):
        shadow = promptguard.Shadow(
            "theirs", client=lambda: sdk.AnthropicFoundry(base_url=ours.origin, api_key="foundry")
        )
        with pytest.raises(ConfigurationError, match="AnthropicFoundry"):
            promptguard.wrap(client, ledger=guarded, shadow=shadow)
        client.close()
