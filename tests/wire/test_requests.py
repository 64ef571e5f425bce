"""Requests that are no question, or a hostile one: every protocol gives facts or None, and facts are usable."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from promptguard import wire
from promptguard.core.model import Ambiguous, Facts, Request
from promptguard.core.policy import wants_variety

PROTOCOLS = {protocol.NAME: protocol for protocol in wire.PROTOCOLS}
PATHS = {
    "openai_chat": "/v1/chat/completions",
    "openai_responses": "/v1/responses",
    "openai_embeddings": "/v1/embeddings",
    "anthropic_messages": "/v1/messages",
    "anthropic_bedrock": "/model/m/invoke",
    "anthropic_vertex": "/v1/projects/p/locations/l/publishers/anthropic/models/m:rawPredict",
    "bedrock_converse": "/model/m/converse",
    "gemini": "/v1beta/models/m:generateContent",
    "ollama": "/api/chat",
    "cohere": "/v2/chat",
}
MEMBERS = (
    "model", "messages", "input", "role", "content", "tools", "type", "text", "parts", "n", "stream", "store",
    "temperature", "system", "instructions", "contents", "generationConfig", "candidateCount", "systemInstruction",
    "options", "prompt",
    "container", "mcp_servers", "functionDeclarations", "maxOutputTokens", "max_tokens", "num_predict", "max_output_tokens",
    "previous_response_id", "conversation", "web_search_options", "cachedContent", "template", "response_format",
    "inferenceConfig", "toolConfig", "systemTool", "guardrailConfig", "maxTokens",
)  # fmt: skip
ATOMS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.sampled_from((10**400, -1, 0, 1)), st.floats(), st.text(max_size=4),
    st.sampled_from(("system", "user", "function", "mcp", "m", "\ud800")),
)  # fmt: skip
NAMES = st.sampled_from(MEMBERS) | st.text(max_size=2)
ODD = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
BODIES = st.dictionaries(st.sampled_from(MEMBERS), ODD, max_size=8)
QUESTIONS = st.builds(
    lambda odd, turn, more: {
        "model": "m",
        "anthropic_version": "v",
        "messages": [turn, *more],
        "contents": [turn],
        "input": [turn, *more],
        **odd,
    },
    BODIES.map(
        lambda body: {k: v for k, v in body.items() if k not in {"model", "messages", "contents", "input"}}
    ),
    ODD,
    st.lists(ODD, max_size=2),
)


def asked(name, body):
    return Request("POST", "http://x", PATHS[name], ((b"content-length", b"1"),), body)


def check(name, body):
    protocol, request = PROTOCOLS[name], asked(name, body)
    facts = protocol.read_request(request)
    if facts is None:
        return
    assert isinstance(facts, Facts)
    assert isinstance(facts.model, str)
    for each in fields(facts):
        if each.name in {"messages", "instructions"}:
            assert isinstance(getattr(facts, each.name), tuple)
    assert isinstance(facts.choices, int)
    assert facts.temperature is None or isinstance(facts.temperature, float)
    wants_variety(facts)
    again = protocol.background_body(facts, "other")
    assert protocol.background_path(request, facts, "other")
    bound = protocol.output_bound(again)
    assert bound is None or (isinstance(bound, int) and bound >= 0)
    protocol.with_model(request, facts, "other")


@pytest.mark.parametrize("name", PATHS)
@settings(max_examples=150, deadline=None)
@given(st.one_of(BODIES, QUESTIONS, ODD))
@example({"model": "m", "messages": [{"role": []}], "contents": [{"role": []}], "input": [{"role": []}]})
@example({"model": "m", "messages": [{"role": {}}], "contents": [{"role": {}}], "input": [{"role": {}}]})
@example({"model": "m", "messages": [], "input": "x", "contents": [], "temperature": 10**400, "n": True})
@example(
    {
        "model": "m",
        "messages": [],
        "contents": [],
        "input": "x",
        "generationConfig": {"temperature": 10**400, "candidateCount": True},
    }
)
@example({"model": "m", "messages": [], "contents": [], "input": "x", "options": {"temperature": 10**400}})
def test_any_json_is_facts_or_nothing(name, body):
    check(name, json.dumps(body).encode())


@pytest.mark.parametrize("name", PATHS)
@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=40))
@example(b"[" * 100_000)
@example(b'{"model": "m", "messages": ' + b"[" * 100_000)
@example(b'{"model": "m", "messages": [], "contents": [], "input": "x", "temperature": NaN, "n": 1e999}')
@example(b'{"model": "m", "messages": [], "contents": [], "input": "x", "n": ' + b"9" * 5000 + b"}")
@example(b'\xef\xbb\xbf{"model": "m", "messages": []}')
@example(b'{"model": "\\ud800", "messages": [], "contents": [], "input": "\\ud800"}')
def test_any_bytes_are_facts_or_nothing(name, body):
    check(name, body)


@pytest.mark.parametrize("name", PATHS)
def test_every_protocol_is_covered_and_reads_its_own(name):
    assert set(PATHS) == set(PROTOCOLS)
    body = {"model": "m", "messages": [], "contents": [], "input": "x", "anthropic_version": "v"}
    assert PROTOCOLS[name].read_request(asked(name, json.dumps(body).encode())) is not None


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("more", [b'"n":1,"n":1', b'"more":[{"b":1,"b":2}]', b'"n":1'])
def test_a_member_said_twice_is_never_cached_whatever_the_protocol(name, more):
    """Two parsers may read two questions in it."""
    turn = b'[{"role":"user","content":"x","parts":[{"text":"x"}]}]'
    members = b'"model":"m","anthropic_version":"v","messages":%s,"contents":%s,"input":%s' % (
        turn,
        turn,
        turn,
    )
    headers = ((b"authorization", b"Bearer k"),)
    request = Request("POST", "https://api", PATHS[name], headers, b"{%s,%s}" % (members, more))
    facts = PROTOCOLS[name].read_request(request)
    assert facts is not None
    assert isinstance(facts.body, Ambiguous) is (more != b'"n":1')
    assert facts.model == "m"
