"""The allow-list: what nobody has looked at is found, whatever it is, and no content becomes a label."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptguard import wire
from promptguard.core.fields import (
    MOST_FINDINGS,
    UNREADABLE,
    Kinds,
    Known,
    Members,
    Texts,
    Words,
    names,
    objected,
)
from promptguard.core.model import Finding, Request
from tests.wire.test_requests import ODD, PATHS

KNOWN = Known(
    Members(
        names("a list parts"),
        stateful={"s": "does something"},
        kept={"k": "keeps something"},
        within={
            "list": Members(names("x"), stateful={"y": "does"}),
            "parts": Kinds(names("p"), Members(names("text type")), {"q": "runs elsewhere"}),
            "tools": Kinds(names("p"), Members(names("type")), only_objects=True),
            "model": Texts(re.compile(".*-online"), "searches"),
        },
    ),
    query=names("v"),
    headers={b"beta": Words(names("one two"), {"three": "does"})},
)


def found(body, path="/x", headers=()):
    request = Request("POST", "http://x", path, headers, b"")
    return [(each.name, each.effect) for each in KNOWN.examine(request, body)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"a": {"anything": [1]}}, []),
        ({"b": 1}, [("b", "unknown")]),
        ({"b": None}, []),
        ({"b": False}, [("b", "unknown")]),  # false may be what turns the harmless default off
        ({"s": False}, []),
        ({"s": []}, []),
        ({"s": {}}, [("s", "stateful")]),
        ({"s": 0}, [("s", "stateful")]),
        ({"k": True, "b": 1, "s": 1}, [("s", "stateful"), ("b", "unknown"), ("k", "kept")]),
        ({"list": [{"x": 1}, {"y": 1}]}, [("list.y", "stateful")]),
        ({"list": {"z": 1}}, [("list.z", "unknown")]),
        ({"list": "text"}, []),
        ({"list": [[{"z": 1}]]}, [("list.z", "unknown")]),
        ({"parts": [{"type": "p", "text": "t"}]}, []),
        ({"parts": [{"type": "p", "more": 1}]}, [("parts.more", "unknown")]),
        ({"parts": [{"type": "q"}]}, [("parts.type=q", "stateful")]),
        ({"parts": [{"type": "r"}]}, [("parts.type=r", "unknown")]),
        ({"parts": [{"type": {}}]}, [(f"parts.type={UNREADABLE}", "unknown")]),
        ({"parts": [{"text": "no type"}]}, []),
        ({"parts": "text"}, []),
        ({"tools": "search"}, [("tools=search", "unknown")]),
        ({"tools": [["search"], {"type": "p"}]}, [("tools=search", "unknown")]),
        ({"tools": None}, []),
        ({"model": "plain"}, []),
        ({"model": "big-online"}, [("model=big-online", "stateful")]),
        ({"model": ["plain", "big-online"]}, [("model=big-online", "stateful")]),
    ],
)
def test_what_is_found_in_a_body(body, expected):
    assert found(body) == expected


def test_what_is_found_beside_the_body():
    assert found({}, "/x?v=1") == []
    assert found({}, "/x?v=1&&w=secret") == [("?w", "unknown")]
    assert found({}, headers=((b"Beta", b"one, two"),)) == []
    assert found({}, headers=((b"beta", b"one"), (b"BETA", b"three,four"))) == [
        ("beta=three", "stateful"),
        ("beta=four", "unknown"),
    ]
    assert found({}, headers=((b"X-Acme-Beta", b"one"),)) == [("x-acme-beta", "unknown")]


@pytest.mark.parametrize(
    ("protocol", "body", "reason"),
    [
        ("openai_chat", {"model": "gpt-4o-search-preview"}, "searches"),
        ("openai_chat", {"model": "gpt-4o-mini-search-preview-2025-03-11"}, "searches"),
        ("openai_chat", {"model": "openai/gpt-4.1:online"}, "searches"),
        ("openai_chat", {"model": "perplexity/sonar-pro"}, "searches"),
        ("openai_chat", {"model": "groq/compound-mini"}, "searches"),
        ("openai_chat", {"model": "perplexity/sonar-pro:nitro"}, "searches"),
        ("openai_chat", {"model": "openai/gpt-4o-search-preview:nitro"}, "searches"),
        ("openai_chat", {"model": "openai/gpt-4o:online:nitro"}, "searches"),
        ("openai_chat", {"model": "groq/compound:latest"}, "searches"),
        ("openai_chat", {"models": ["openai/gpt-4o", "openai/gpt-4o:online"]}, "searches"),
        ("openai_chat", {"models": ["openai/gpt-4o:nitro", "meta/llama"]}, None),
        ("openai_chat", {"model": "research-assistant"}, None),
        ("openai_chat", {"model": "gpt-4o-2024-08-06"}, None),
        ("openai_chat", {"tools": ["web_search"]}, "not known"),
        ("openai_responses", {"model": "o3-deep-research"}, "searches"),
        ("ollama", {"keep_alive": 0}, "unloads"),
        ("ollama", {"keep_alive": "0s"}, "unloads"),
        *(
            ("ollama", {"keep_alive": said}, "unloads")
            for said in ("0m0s", "0h0m0s", "+0s", "-0.0h", "1ns", "0.0", "0s500us", ".0s")
        ),
        *(("ollama", {"keep_alive": said}, None) for said in ("1h0m0s", "0h0m5s", "-1", "50ms")),
        ("ollama", {"keep_alive": "10m"}, None),
        ("ollama", {"keep_alive": -1}, None),
        (
            "bedrock_converse",
            {"messages": [], "promptVariables": {"name": {"text": "x"}}},
            "kept at the provider",
        ),
    ],
)
def test_what_does_something_by_what_it_says(protocol, body, reason):
    reader = next(each for each in wire.PROTOCOLS if protocol == each.NAME)
    question = (
        {"input": "x"} if protocol == "openai_responses" else {"messages": [{"role": "user", "content": "x"}]}
    )
    asked = {"model": "m", **question, **body}
    facts = reader.read_request(Request("POST", "http://x", PATHS[protocol], (), json.dumps(asked).encode()))
    assert facts is not None
    reasons = [each.reason for each in facts.findings]
    assert reasons == [] if reason is None else any(reason in each for each in reasons)


def test_names_are_bounded_in_length_alphabet_and_number():
    body = {f"n{number:03}": 1 for number in range(100)}
    assert found(body) == [(f"n{number:03}", "unknown") for number in range(MOST_FINDINGS)]
    for name in ("x" * 65, "my secret", "ärger", "a\nb", "{}", ""):
        assert found({name: 1}) == [(UNREADABLE, "unknown")]


def test_reasons_name_the_field_and_nothing_else():
    assert Finding("thread", "unknown").reason == "field `thread` not known"
    assert Finding("s", "stateful", "does it").reason == "field `s`: does it"
    kept = (Finding("k", "kept", "keeps"),)
    assert objected(kept, {}, {}, kept=True) == "field `k`: keeps"
    assert objected(kept, {}, {}, kept=False) is None


@pytest.mark.parametrize("name", PATHS)
@settings(max_examples=60, deadline=None)
@given(
    odd=ODD, where=st.sampled_from(("zzz", "tools", "messages", "contents", "input", "system", "toolConfig"))
)
def test_no_value_of_any_shape_harms_and_an_unknown_field_is_always_found(name, odd, where):
    protocol = next(each for each in wire.PROTOCOLS if name == each.NAME)
    asked = {
        "model": "m",
        "messages": [],
        "contents": [],
        "input": "x",
        "prompt": "x",
        "anthropic_version": "v",
    }
    body = {**asked, where: odd, "never_heard_of": 1}
    body["messages"], body["contents"] = [body["messages"]], [body["contents"]]
    facts = protocol.read_request(Request("POST", "http://x", PATHS[name], (), json.dumps(body).encode()))
    assert facts is not None
    assert objected(facts.findings, facts.body, {}, kept=False)
    assert all(len(each.name) < 400 for each in facts.findings)


def test_every_protocol_has_a_table_and_a_source():
    import importlib

    for protocol in wire.PROTOCOLS:
        name = {"anthropic_bedrock": "anthropic_messages", "anthropic_vertex": "anthropic_messages"}.get(
            protocol.NAME, protocol.NAME
        )
        table = importlib.import_module(f"promptguard.wire.known.{name}").KNOWN
        assert table.source.startswith("https://")
        assert table.body.harmless
        overlap = table.body.harmless & (set(table.body.stateful) | set(table.body.kept))
        assert not overlap, "a field is either"
        assert replace(table) == table


def test_the_page_about_fields_is_as_the_tables_are():
    from tests.wire.fields_page import PAGE, render

    assert PAGE.read_text("utf-8") == render(), "python -m tests.wire.fields_page writes it anew"


@pytest.mark.parametrize("piece", ["0", "0s", "0ns", "0.", "1ns", "0 "])
def test_an_odd_time_is_read_in_time(piece):
    from promptguard.wire.known.ollama import KNOWN

    found = []
    before = time.process_time()
    KNOWN.body.look({"keep_alive": piece * 2_000 + "x"}, "", found)
    assert not found
    assert time.process_time() - before < 2.0
