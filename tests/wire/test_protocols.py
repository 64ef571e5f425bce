"""Every protocol, against the words the provider on loopback uses: whole, streamed, cut anywhere, and garbage."""

from __future__ import annotations

import gzip
import json
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptguard import wire
from promptguard.core.model import Identity, Request
from promptguard.core.policy import ORDINARY_ENDS, unsaved
from promptguard.testing import dialects
from promptguard.testing.dialects import frames
from promptguard.testing.dialects.parts import Answer, Served

TURN = [{"role": "user", "content": "What is the weather in Kiel?"}]
GEMINI_TURN = [{"role": "user", "parts": [{"text": "What is the weather in Kiel?"}]}]
CONVERSE_TURN = [{"role": "user", "content": [{"text": "What is the weather in Kiel?"}]}]
CLOUD = {"messages": TURN, "max_tokens": 99}
PUBLISHER = "/v1/projects/p/locations/us-east5/publishers/anthropic"
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Kiel"}'}}
PATHS = {
    "openai_chat": ("/v1/chat/completions", {"model": "m-1", "messages": TURN}),
    "openai_responses": ("/v1/responses", {"model": "m-1", "input": TURN, "store": False}),
    "anthropic_messages": ("/v1/messages", {"model": "m-1", "messages": TURN, "max_tokens": 99}),
    "anthropic_bedrock": ("/model/m-1/invoke", CLOUD | {"anthropic_version": "bedrock-2023-05-31"}),
    "anthropic_vertex": (
        f"{PUBLISHER}/models/m-1:rawPredict",
        CLOUD | {"anthropic_version": "vertex-2023-10-16"},
    ),
    "bedrock_converse": ("/model/m-1/converse", {"messages": CONVERSE_TURN}),
    "gemini": ("/v1beta/models/m-1:generateContent", {"contents": GEMINI_TURN}),
    "ollama": ("/api/chat", {"model": "m-1", "messages": TURN, "stream": False}),
    "cohere": ("/v2/chat", {"model": "m-1", "messages": TURN}),
}
PROTOCOLS = {protocol.NAME: protocol for protocol in wire.PROTOCOLS}
NAMES = list(PATHS)
SERVED = {
    "text": Served("Cold, Ünïcödé \u2028 and [DONE] more\nwords data: {}", output_tokens=9),
    "tool": Served("", finish_reason="tool_calls", tool_calls=(CALL, CALL), output_tokens=9),
    "length": Served("Cold and", finish_reason="length", output_tokens=2),
}


def request(name, **more) -> Request:
    path, body = PATHS[name]
    return Request("POST", "http://127.0.0.1", path, (), json.dumps({**body, **more}).encode())


def said(name, served, *, streamed) -> bytes:
    path, body = PATHS[name]
    body = {**body, "stream_options": {"include_usage": True}}
    dialect: ModuleType = dialects.dialect_of(path)
    answer = Answer(dialect.asked(path, body), served, "0" * 24, 1_700_000_000, 3)
    if streamed:
        return b"".join(dialect.streamed(answer))
    return json.dumps(dialect.plain(answer)).encode()


def read(name, body, *, streamed, status=200, headers=()):
    return PROTOCOLS[name].read_reply(status, headers, body, streamed=streamed)


def test_every_protocol_is_recognised_by_its_path_alone():
    for name in NAMES:
        assert name == wire.recognise(request(name)).NAME
    for path in ("/v1/models", "/v1/threads/t/messages", "/v1/responses/r/cancel", "/api/tags", "/v1beta/models/m:embed",
                 "/v1beta/models/m:streamGenerateContent"):  # fmt: skip
        assert wire.recognise(Request("POST", "http://x", path, (), b"{}")) is None
    assert wire.recognise(
        Request("POST", "http://x", "/v1beta/models/m:streamGenerateContent?alt=sse", (), b"{}")
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", SERVED)
def test_plain_and_streamed_answers_read_alike(name, kind):
    plain = read(name, said(name, SERVED[kind], streamed=False), streamed=False)
    streamed = read(name, said(name, SERVED[kind], streamed=True), streamed=True)
    assert plain == streamed
    assert plain.complete
    assert plain.text == SERVED[kind].text
    assert plain.finish_reason == SERVED[kind].finish_reason
    calls = [{"city": "Kiel"}] * len(SERVED[kind].tool_calls)
    assert calls == [json.loads(call["arguments"]) for call in plain.tool_calls]
    assert plain.output_tokens == SERVED[kind].output_tokens
    assert plain.input_tokens == 14
    # Cohere never says which model answered, Converse only where a router has chosen one.
    assert plain.identity.model == (None if name in {"cohere", "bedrock_converse"} else "m-1")
    assert (unsaved(plain) is None) == (kind != "length")


@pytest.mark.parametrize("name", NAMES)
def test_the_reply_may_be_compressed(name):
    body = said(name, SERVED["text"], streamed=True)
    packed = read(name, gzip.compress(body), streamed=True, headers=((b"content-encoding", b"gzip"),))
    assert packed == read(name, body, streamed=True)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["text", "tool"])
@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_cut_at_any_byte_is_never_complete(name, kind, streamed):
    body = said(name, SERVED[kind], streamed=streamed)
    assert read(name, body, streamed=streamed).complete
    # Gemini ends lines with CR LF, and a lone CR is the end of a line too.
    ends = len(body) - (streamed and name == "gemini")
    assert not any(read(name, body[:at], streamed=streamed).complete for at in range(ends))


@pytest.mark.parametrize("name", NAMES)
def test_what_was_read_of_a_closed_stream_is_kept(name):
    body = said(name, SERVED["text"], streamed=True)
    # Bedrock's frames hold what was said in base64.
    at = body.index(b"more") if b"more" in body else len(body) * 2 // 3
    cut = read(name, body[:at], streamed=True)
    assert not cut.complete
    assert cut.text
    assert SERVED["text"].text.startswith(cut.text)


@pytest.mark.parametrize(
    ("name", "streamed", "genuine", "garbage"),
    [
        ("openai_chat", True, b'"index": 0', b'"index": "x"'),
        ("openai_chat", True, b'"delta": {}', b'"delta": ["end"]'),
        ("anthropic_messages", False, b'"content": [{', b'"content": ["", {'),
        ("anthropic_messages", True, b'"delta": {"type": "text_delta", "text": "Cold, ', b'"delta": ["'),
        ("openai_responses", False, b'"output": [{', b'"output": ["", {'),
        ("gemini", False, b'"parts": [{', b'"parts": ["", {'),
        ("cohere", False, b'"content": [{', b'"content": ["", {'),
    ],
)
def test_a_part_that_is_no_object_makes_an_answer_unreadable(name, streamed, genuine, garbage):
    body = said(name, SERVED["text"], streamed=streamed)
    assert genuine in body
    got = read(name, body.replace(genuine, garbage, 1), streamed=streamed)
    assert (got.complete, got.error) == (False, "unreadable")


NAMES_IN_BODIES = [
    "choices", "message", "content", "delta", "type", "text", "index", "usage", "output", "response", "candidates",
    "parts", "done", "status", "stopReason", "contentBlockIndex", "toolUse", "start", "model", "messages",
    "contents", "input", "tools", "system", "options", "data", "tokens", "bytes",
]  # fmt: skip
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["message_start", "message-end", "a"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES_IN_BODIES), inner, max_size=4)
    ),
    max_leaves=12,
)


FRAMED = {
    "ollama": lambda data: data + b"\n",
    "anthropic_bedrock": frames.chunk,
    "bedrock_converse": lambda data: b"".join(
        frames.frame({":message-type": "event", ":event-type": kind}, data)
        for kind in ("contentBlockStart", "contentBlockDelta", "messageStop", "metadata")
    ),
}


@settings(max_examples=200)
@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()), st.booleans())
def test_garbage_never_raises(body, streamed):
    for name, protocol in PROTOCOLS.items():
        framed = FRAMED.get(name, lambda data: b"data: " + data + b"\n\n")(body)
        got = protocol.read_reply(200, (), framed if streamed else body, streamed=streamed)
        assert isinstance(got.text, str)
        for v in (got.finish_reason, got.refusal, got.response_id, *vars_of(got.identity)):
            assert v is None or isinstance(v, str)
        for v in (got.input_tokens, got.output_tokens):
            assert v is None or (isinstance(v, int) and v >= 0)
        path = PATHS.get(name, ("/v1/embeddings", {}))[0]
        facts = protocol.read_request(Request("POST", "http://x", path, (), body))
        if facts is not None:
            assert protocol.output_bound(facts.body) is None or protocol.output_bound(facts.body) >= 0
            protocol.background_body(facts, "other")


def vars_of(identity: Identity):
    return (identity.model, identity.fingerprint, identity.service_tier, identity.region)


@pytest.mark.parametrize("name", NAMES)
def test_garbage_within_a_genuine_request_never_raises(name):
    for key in ("tools", "system", "instructions", "options", "generationConfig", "systemInstruction", "temperature",
                "stream", "store", "max_tokens", "n", "toolConfig", "inferenceConfig", "guardrailConfig"):  # fmt: skip
        for junk in (None, 7, "x", [7], [None], {"a": 7}, [{"type": 7}], [[]], True):
            protocol = PROTOCOLS[name]
            facts = protocol.read_request(request(name, **{key: junk}))
            assert facts is None or facts.model == "m-1"
            if facts is not None:
                protocol.output_bound(facts.body)
                protocol.background_body(facts, "m-2")


@pytest.mark.parametrize("name", NAMES)
def test_another_model_is_asked_the_same_question(name):
    asked = request(name)
    protocol = PROTOCOLS[name]
    facts = protocol.read_request(asked)
    routed = protocol.with_model(asked, facts, "other/m-2")
    assert protocol.read_request(routed).model == "other/m-2"
    again = Request(
        "POST",
        "http://x",
        protocol.background_path(asked, facts, "m-3"),
        (),
        json.dumps(protocol.background_body(facts, "m-3")).encode(),
    )
    assert wire.recognise(again) is protocol
    read_again = protocol.read_request(again)
    assert (read_again.model, read_again.streamed) == ("m-3", False)
    assert read_again.messages == facts.messages
    assert read_again.findings == ()


def test_a_streamed_gemini_request_is_asked_again_plain():
    path = "/v1beta/models/m-1:streamGenerateContent?alt=sse&key=k"
    asked = Request("POST", "http://x", path, (), json.dumps(PATHS["gemini"][1]).encode())
    gemini = PROTOCOLS["gemini"]
    facts = gemini.read_request(asked)
    assert facts.streamed
    assert gemini.background_path(asked, facts, "m-2") == "/v1beta/models/m-2:generateContent?key=k"
    assert gemini.with_model(asked, facts, "models/m-2").path == path.replace("m-1", "m-2")


def test_a_rendered_prompt_reads_alike_in_every_protocol():
    messages = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"})
    turn = [{"role": "user", "content": "Hi"}]
    gemini = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
              "systemInstruction": {"parts": [{"text": "Be brief."}]}}  # fmt: skip
    for name, more in {
        "openai_chat": {"messages": list(messages)},
        "openai_responses": {"instructions": "Be brief.", "input": "Hi"},
        "anthropic_messages": {"system": "Be brief.", "messages": turn},
        "anthropic_vertex": {"system": "Be brief.", "messages": turn},
        "bedrock_converse": {
            "system": [{"text": "Be brief."}],
            "messages": [{"role": "user", "content": [{"text": "Hi"}]}],
        },
        "gemini": gemini,
        "ollama": {"messages": list(messages)},
        "cohere": {"messages": list(messages)},
    }.items():
        facts = PROTOCOLS[name].read_request(request(name, **more))
        assert facts.messages == messages, name
        assert facts.instructions, name


STATEFUL = [
    ("openai_responses", {"store": None}, None),
    ("openai_responses", {"store": False}, None),
    ("openai_responses", {"store": True}, ("store", "kept")),
    ("openai_responses", {"previous_response_id": "r"}, ("previous_response_id", "stateful")),
    ("openai_responses", {"conversation": "c"}, ("conversation", "stateful")),
    ("openai_responses", {"background": True}, ("background", "stateful")),
    ("openai_responses", {"background": False, "previous_response_id": None}, None),
    ("openai_responses", {"prompt": {"id": "p"}}, ("prompt", "stateful")),
    ("openai_responses", {"input": [{"id": "msg_1"}]}, ("input.id", "stateful")),
    ("openai_responses", {"input": [{"type": "message", "id": "m", "role": "user"}]}, ("input.id", "stateful")),
    ("openai_responses", {"input": [{"type": "reasoning", "id": "r", "summary": []}]}, None),
    ("openai_responses", {"tools": [{"type": "computer_use_preview", "display_width": 9, "display_height": 9,
                                     "environment": "browser"}]}, None),
    ("openai_responses", {"input": [{"type": "image_generation_call", "id": "i"}]}, ("input.id", "stateful")),
    ("openai_responses", {"tools": [{"type": "local_shell", "environment": {"type": "container_reference"}}]},
     ("tools.environment.type=container_reference", "stateful")),
    ("openai_responses", {"tools": [{"type": "namespace", "tools": [{"type": "namespace", "tools": [{"type": "mcp"}]}]}]},
     ("tools.tools.tools.type=mcp", "stateful")),
    ("openai_responses", {"input": [{"type": "item_reference", "id": "m"}]}, ("input.type=item_reference", "stateful")),
    ("openai_responses", {"tools": [{"type": "web_search"}]}, ("tools.type=web_search", "stateful")),
    ("openai_responses", {"tools": [{"type": "mcp"}]}, ("tools.type=mcp", "stateful")),
    ("openai_responses", {"tools": [{"type": "invented"}]}, ("tools.type=invented", "unknown")),
    ("openai_responses", {"tools": [{"type": "function", "name": "f"}]}, None),
    (
        "openai_responses",
        {"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "mcp"}]}]},
        ("tools.tools.type=mcp", "stateful"),
    ),
    ("openai_responses", {"prompt_cache_options": {"prewarm": True}}, ("prompt_cache_options.prewarm", "stateful")),
    ("anthropic_messages", {"tools": [{"name": "f", "input_schema": {}}]}, None),
    ("anthropic_messages", {"tools": [{"type": "bash_20250124", "name": "bash"}]}, None),
    ("anthropic_messages", {"tools": [{"type": "bash_29991231", "name": "b"}]}, ("tools.type=bash_29991231", "unknown")),
    (
        "anthropic_messages",
        {"tools": [{"type": "web_search_20260318", "name": "s"}]},
        ("tools.type=web_search_20260318", "stateful"),
    ),
    ("anthropic_messages", {"container": "c"}, ("container", "stateful")),
    ("anthropic_messages", {"thread": {"type": "create"}}, ("thread", "stateful")),
    ("anthropic_messages", {"thred": {"type": "create"}}, ("thred", "unknown")),
    ("anthropic_messages", {"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]}, None),
    ("anthropic_bedrock", {"container": "c"}, ("container", "stateful")),
    ("anthropic_bedrock", {"anthropic_beta": ["context-1m-2025-08-07"]}, None),
    ("anthropic_vertex", {"anthropic_beta": ["new-2030-01-01"]}, ("anthropic_beta=new-2030-01-01", "unknown")),
    ("bedrock_converse", {"toolConfig": {"tools": [{"toolSpec": {"name": "f"}}]}}, None),
    ("bedrock_converse", {"toolConfig": {"tools": [{"systemTool": {}}]}}, ("toolConfig.tools.systemTool", "stateful")),
    (
        "bedrock_converse",
        {"additionalModelRequestFields": {"container": "c"}},
        ("additionalModelRequestFields.container", "stateful"),
    ),
    ("gemini", {"tools": [{"functionDeclarations": []}]}, None),
    ("gemini", {"tools": [{"googleSearch": {}}]}, ("tools.googleSearch", "stateful")),
    ("gemini", {"cachedContent": "cachedContents/1"}, ("cachedContent", "stateful")),
    ("gemini", {"continuationToken": "t"}, ("continuationToken", "stateful")),
    ("gemini", {"generationConfig": {"newThing": 1}}, ("generationConfig.newThing", "unknown")),
    ("openai_chat", {"web_search_options": {}}, ("web_search_options", "stateful")),
    ("openai_chat", {"web_search_options": None}, None),
    ("openai_chat", {"search_settings": {"country": "de"}}, ("search_settings", "stateful")),
    ("openai_chat", {"compound_custom": {}}, ("compound_custom", "stateful")),
    ("openai_chat", {"data_sources": [{"type": "azure_search"}]}, ("data_sources", "stateful")),
    ("openai_chat", {"data_sources": []}, None),
    ("openai_chat", {"store": True}, ("store", "kept")),
    ("openai_chat", {"store": False}, None),
    ("openai_chat", {"tools": [{"type": "browser_search"}]}, ("tools.type=browser_search", "stateful")),
    ("openai_chat", {"session": "s"}, ("session", "unknown")),
    ("openai_chat", {"session": None}, None),
    ("ollama", {"session": "s"}, ("session", "unknown")),
    ("cohere", {"conversation_id": "s"}, ("conversation_id", "unknown")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "more", "found"), STATEFUL)
def test_what_a_call_does_at_the_provider_is_told(name, more, found):
    findings = PROTOCOLS[name].read_request(request(name, **more)).findings
    assert [(each.name, each.effect) for each in findings] == ([found] if found else [])


def test_stop_reasons_are_told_in_the_policys_words():
    ends = {
        "anthropic_messages": ("end_turn", "stop_sequence", "tool_use"),
        "bedrock_converse": ("end_turn", "stop_sequence", "tool_use"),
        "cohere": ("COMPLETE", "STOP_SEQUENCE", "TOOL_CALL"),
        "gemini": ("STOP",),
    }
    for name, words in ends.items():
        assert {PROTOCOLS[name]._ENDS[word] for word in words} <= ORDINARY_ENDS


def test_an_anthropic_refusal_and_a_blocked_gemini_prompt_are_refusals():
    for name in ("anthropic_messages", "gemini", "openai_responses"):
        body = said(name, Served("", refusal="I cannot help with that"), streamed=False)
        got = read(name, body, streamed=False)
        assert got.refusal
        assert got.complete
        assert unsaved(got) == "refusal"


def test_what_anthropic_kept_in_its_prompt_cache_was_sent_too():
    answer = json.loads(said("anthropic_messages", SERVED["text"], streamed=False))
    answer["usage"] |= {"input_tokens": 5, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 300}
    got = read("anthropic_messages", json.dumps(answer).encode(), streamed=False)
    assert got.input_tokens == 325
    assert (got.identity.service_tier, got.identity.region) == ("standard", "global")


def test_ollama_streams_unless_told_otherwise():
    body = {k: v for k, v in PATHS["ollama"][1].items() if k != "stream"}
    asked = Request("POST", "http://x", "/api/chat", (), json.dumps(body).encode())
    facts = PROTOCOLS["ollama"].read_request(asked)
    assert facts.streamed
    assert PROTOCOLS["ollama"].background_body(facts, "m")["stream"] is False
    generate = {
        "model": "m",
        "prompt": "Hi",
        "system": "Be brief.",
        "stream": False,
        "options": {"num_predict": 5},
    }
    facts = PROTOCOLS["ollama"].read_request(
        Request("POST", "http://x", "/api/generate", (), json.dumps(generate).encode())
    )
    assert facts.messages == (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    )
    assert PROTOCOLS["ollama"].output_bound(facts.body) == 5


def test_embeddings_are_read_but_never_paired():
    protocol = PROTOCOLS["openai_embeddings"]
    asked = Request("POST", "http://x", "/v1/embeddings", (), b'{"model": "e", "input": ["a", "b"]}')
    facts = protocol.read_request(asked)
    assert facts.incomparable == "embeddings: no text to compare"
    dialect = dialects.dialect_of("/v1/embeddings")
    answer = Answer(dialect.asked("/v1/embeddings", facts.body), Served(""), "0" * 24, 1, 3)
    body = json.dumps(dialect.plain(answer)).encode()
    got = protocol.read_reply(200, (), body, streamed=False)
    assert (got.complete, unsaved(got), got.output_tokens) == (True, None, 0)
    assert not any(
        protocol.read_reply(200, (), body[:at], streamed=False).complete for at in range(len(body))
    )
    assert not protocol.read_reply(200, (), b'{"data": []}', streamed=False).complete


def test_mistrals_own_ways_of_saying_things_are_read():
    parts = [
        {"type": "thinking", "thinking": []},
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b"},
    ]
    call = {"function": {"name": "f", "arguments": {"x": 1}}}
    choice = {"message": {"content": parts, "tool_calls": [call]}, "finish_reason": "tool_calls"}
    got = read("openai_chat", json.dumps({"choices": [choice]}).encode(), streamed=False)
    assert (got.text, got.tool_calls) == ("ab", ({"name": "f", "arguments": '{"x": 1}'},))
