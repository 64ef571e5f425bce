"""One provider's question in another's shape: the same question, or none at all."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptguard.convert import TARGETS, anthropic, converted, gemini, ollama, openai_chat
from promptguard.convert.question import (
    CannotSayError,
    Form,
    Image,
    Question,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
)

DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
LOOKUP = Tool("lookup", "weather of a city", SCHEMA)
MODULES: dict[str, Any] = {
    "openai_chat": openai_chat, "anthropic_messages": anthropic, "gemini": gemini, "ollama": ollama,
}  # fmt: skip
SAMPLING = Sampling(max_tokens=50, temperature=0.5, top_p=0.9, stop=("END",))


def asked(text: str = "What is this?", **more: Any) -> Question:
    return Question("Be short.", (Turn("user", (Text(text),)),), sampling=SAMPLING, **more)


CONVERSATION = Question(
    "Be short.\n\nBe kind.",
    (
        Turn("user", (Text("Weather in Bonn?"),)),
        Turn("assistant", (Text("Let me look."), ToolCall("call_1", "lookup", {"city": "Bonn"}))),
        Turn("user", (ToolResult("call_1", "lookup", '{"sky": "grey"}'),)),
    ),
    tools=(LOOKUP,),
    sampling=SAMPLING,
)
QUESTIONS = {
    "plain": asked(),
    "an image": replace(asked(), turns=(Turn("user", (Text("What is this?"), Image("image/png", DOT))),)),
    "tools": CONVERSATION,
    "a schema": asked(form=Form(SCHEMA)),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", QUESTIONS)
def test_what_is_written_is_read_as_the_same_question(name: str, target: str) -> None:
    question, module = QUESTIONS[name], MODULES[target]
    written = json.loads(json.dumps(module.write(question, "m")))  # as it travels
    read = module.read(written)
    if target == "ollama":  # which has no numbers of calls
        read = _renumbered(read)
    assert read == question


def _renumbered(question: Question) -> Question:
    turns = tuple(
        replace(
            turn,
            parts=tuple(
                replace(part, id="call_1") if isinstance(part, ToolCall | ToolResult) else part
                for part in turn.parts
            ),
        )
        for turn in question.turns
    )
    return replace(question, turns=turns)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", TARGETS)
def test_there_and_back_every_way(source: str, target: str) -> None:
    for question in QUESTIONS.values():
        body = MODULES[source].write(question, "ours")
        there = converted(body, source, target, "theirs")
        back = converted(there, target, source, "ours")
        first, last = MODULES[source].read(body), MODULES[source].read(back)
        assert _renumbered(first) == _renumbered(last)


CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
CLAUDE: dict[str, Any] = {**CHAT, "max_tokens": 9}
GEMINI: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
OLLAMA: dict[str, Any] = {**CHAT, "stream": False}
RESPONSES: dict[str, Any] = {"model": "m", "input": "hi"}


@pytest.mark.parametrize(
    ("source", "body", "target", "field"),
    [
        ("openai_chat", {**CHAT, "logit_bias": {"5": 1}}, "anthropic_messages", "logit_bias"),
        ("openai_chat", {**CHAT, "reasoning_effort": "high"}, "gemini", "reasoning_effort"),
        ("openai_chat", {**CHAT, "temperature": 1.5}, "anthropic_messages", "temperature"),
        ("openai_chat", {**CHAT, "presence_penalty": 0.5}, "anthropic_messages", "presence_penalty"),
        ("openai_chat", {**CHAT, "response_format": {"type": "json_object"}}, "anthropic_messages", "response_format"),
        ("openai_chat", {**CHAT, "modalities": ["text", "audio"]}, "gemini", "modalities"),
        ("openai_chat", {**CHAT, "tools": [{"type": "custom"}]}, "gemini", "tools.type"),
        ("openai_chat", {**CHAT, "a_field_of_tomorrow": 1}, "gemini", "a_field_of_tomorrow"),
        (
            "openai_chat",
            {**CHAT, "messages": [*CHAT["messages"], {"role": "system", "content": "now shout"}]},
            "anthropic_messages",
            "messages.role",
        ),
        (
            "openai_chat",
            {**CHAT, "messages": [{"role": "user", "content": "hi", "name": "Anna"}]},
            "gemini",
            "messages.name",
        ),
        (
            "openai_chat",
            {**CHAT, "messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
            "gemini",
            "messages.content.type",
        ),
        (
            "openai_chat",
            {
                **CHAT,
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.example/a"}}]}
                ],
            },
            "gemini",
            "image_url",
        ),
        ("anthropic_messages", {**CLAUDE, "thinking": {"type": "enabled"}}, "openai_chat", "thinking"),
        ("anthropic_messages", {**CLAUDE, "top_k": 5}, "openai_chat", "top_k"),
        (
            "anthropic_messages",
            {**CLAUDE, "messages": [*CLAUDE["messages"], {"role": "assistant", "content": "{"}]},
            "openai_chat",
            "messages.prefill",
        ),
        (
            "anthropic_messages",
            {**CLAUDE, "tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            "openai_chat",
            "tools.type",
        ),
        ("gemini", {**GEMINI, "cachedContent": "c"}, "openai_chat", "cachedContent"),
        ("gemini", {**GEMINI, "tools": [{"googleSearch": {}}]}, "openai_chat", "tools.googleSearch"),
        (
            "gemini",
            {**GEMINI, "generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}},
            "openai_chat",
            "generationConfig.thinkingConfig",
        ),
        ("ollama", {**OLLAMA, "think": True}, "openai_chat", "think"),
        ("ollama", {**OLLAMA, "options": {"mirostat": 1}}, "openai_chat", "options.mirostat"),
        ("ollama", {"model": "m", "prompt": "hi"}, "openai_chat", "prompt"),
        ("openai_responses", {**RESPONSES, "reasoning": {"effort": "low"}}, "gemini", "reasoning"),
        ("openai_responses", {**RESPONSES, "previous_response_id": "r"}, "gemini", "previous_response_id"),
        ("cohere", {**CHAT}, "openai_chat", "cohere"),
        ("openai_chat", {"model": "m", "messages": []}, "gemini", "messages"),
    ],
)  # fmt: skip
def test_what_only_one_of_them_can_say_is_named(
    source: str, body: dict[str, Any], target: str, field: str
) -> None:
    with pytest.raises(CannotSayError) as stopped:
        converted(body, source, target, "m")
    assert stopped.value.field == field


@pytest.mark.parametrize(
    ("source", "body"),
    [
        (
            "openai_chat",
            {**CHAT, "user": "u", "metadata": {"a": "b"}, "stream": True, "n": 3, "logprobs": True},
        ),
        ("openai_chat", {**CHAT, "presence_penalty": 0, "temperature": None, "seed": 7}),
        ("anthropic_messages", {**CLAUDE, "metadata": {"user_id": "u"}, "thinking": {"type": "disabled"}}),
        ("gemini", {**GEMINI, "safetySettings": [], "labels": {"a": "b"}}),
        ("ollama", {**OLLAMA, "keep_alive": "5m", "options": {"num_ctx": 4096}}),
        ("openai_responses", {**RESPONSES, "store": False, "include": ["x"], "truncation": "disabled"}),
    ],
)
def test_what_leaves_the_answer_alone_stands_in_nobodys_way(source: str, body: dict[str, Any]) -> None:
    for target in TARGETS:
        assert converted(body, source, target, "m")


def test_an_instruction_of_a_developer_and_blocks_of_thought() -> None:
    body = {**CHAT, "messages": [{"role": "developer", "content": "be short"}, *CHAT["messages"]]}
    assert converted(body, "openai_chat", "anthropic_messages", "m")["system"] == "be short"
    thought = [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "hello"},
            ],
        },
        {"role": "user", "content": "and?"},
    ]
    written = converted({**CLAUDE, "messages": thought}, "anthropic_messages", "openai_chat", "m")
    assert written["messages"][1] == {"role": "assistant", "content": "hello"}


def test_responses_with_tools_become_a_chat() -> None:
    body = {
        "model": "m",
        "instructions": "be short",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "weather?"}]},
            {"type": "reasoning", "summary": []},
            {"type": "function_call", "call_id": "c1", "name": "lookup", "arguments": '{"city": "Bonn"}'},
            {"type": "function_call_output", "call_id": "c1", "output": "grey"},
        ],
        "tools": [{"type": "function", "name": "lookup", "parameters": SCHEMA, "strict": True}],
        "text": {"format": {"type": "json_schema", "name": "sky", "schema": SCHEMA, "strict": True}},
        "max_output_tokens": 20,
    }
    written = converted(body, "openai_responses", "openai_chat", "theirs")
    assert [each["role"] for each in written["messages"]] == ["system", "user", "assistant", "tool"]
    assert written["messages"][3] == {"role": "tool", "tool_call_id": "c1", "content": "grey"}
    assert written["max_tokens"] == 20
    assert written["response_format"]["json_schema"]["schema"] == SCHEMA


@pytest.mark.parametrize(
    ("choice", "chosen", "anthropics", "geminis"),
    [
        ("required", "", {"type": "any"}, {"mode": "ANY"}),
        ("none", "", {"type": "none"}, {"mode": "NONE"}),
        ("tool", "lookup", {"type": "tool", "name": "lookup"}, {"mode": "ANY", "allowedFunctionNames": ["lookup"]}),
    ],
)  # fmt: skip
def test_choices_of_tools(choice: Any, chosen: str, anthropics: object, geminis: object) -> None:
    body = openai_chat.write(asked(tools=(LOOKUP,), choice=choice, chosen=chosen), "m")
    assert converted(body, "openai_chat", "anthropic_messages", "m")["tool_choice"] == anthropics
    assert converted(body, "openai_chat", "gemini", "m")["toolConfig"]["functionCallingConfig"] == geminis


def test_schemas_in_geminis_own_words() -> None:
    declared = {
        "functionDeclarations": [
            {"name": "f", "parameters": {"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": True}}}}
        ]
    }  # fmt: skip
    written = converted({**GEMINI, "tools": [declared]}, "gemini", "openai_chat", "m")
    assert written["tools"][0]["function"]["parameters"] == {
        "type": "object",
        "properties": {"a": {"type": ["string", "null"]}},
    }


def test_a_limit_is_set_where_one_is_needed() -> None:
    assert converted(CHAT, "openai_chat", "anthropic_messages", "m")["max_tokens"] == anthropic.MOST_TOKENS


SOURCES = (*sorted(MODULES), "openai_responses")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = (
    "messages", "contents", "input", "tools", "tool_choice", "system", "response_format", "options", "generationConfig",
    "toolConfig", "output_config", "text", "stop", "temperature", "format", "max_tokens", "top_k", "instructions",
    "modalities", "thinking", "parallel_tool_calls",
)  # fmt: skip


@given(body=st.dictionaries(st.sampled_from(FIELDS), json_values), source=st.sampled_from(SOURCES))
def test_whatever_a_body_holds_it_is_converted_or_refused(body: dict[str, Any], source: str) -> None:
    for target in TARGETS:
        try:
            converted(body, source, target, "m")
        except CannotSayError:
            continue


@given(
    content=json_values,
    source=st.sampled_from(SOURCES),
    role=st.sampled_from(["user", "assistant", "tool"]),
)
def test_whatever_a_message_holds(content: Any, source: str, role: str) -> None:
    turn = {"role": role, "content": content, "parts": content, "tool_calls": content}
    body = {"messages": [turn, *CHAT["messages"]]} if source != "gemini" else {"contents": [turn]}
    for target in TARGETS:
        try:
            converted(body, source, target, "m")
        except CannotSayError:
            continue


@given(inner=json_values, source=st.sampled_from(SOURCES), path=st.sampled_from(FIELDS))
def test_whatever_lies_deeper(inner: Any, source: str, path: str) -> None:
    """Each field with an object of its own names around anything."""
    names = ("type", "name", "function", "json_schema", "schema", "format", "functionCallingConfig", "mode", "parts",
             "allowedFunctionNames", "functionDeclarations", "parameters", "responseSchema", "maxOutputTokens")  # fmt: skip
    good: dict[str, Any] = {**CLAUDE} if source != "gemini" else {**GEMINI}
    for value in (dict.fromkeys(names, inner), [dict.fromkeys(names, inner)]):
        for target in TARGETS:
            try:
                converted({**good, "input": "hi", path: value}, source, target, "m")
            except CannotSayError:
                continue


def test_geminis_other_spelling_of_members() -> None:
    body = {
        "contents": [{"role": "user", "parts": [{"inline_data": {"mime_type": "image/png", "data": DOT}}]}],
        "system_instruction": {"parts": [{"text": "be short"}]},
        "generation_config": {"max_output_tokens": 5},
        "tools": [{"function_declarations": [{"name": "f_g", "parameters_json_schema": SCHEMA}]}],
    }
    written = converted(body, "gemini", "openai_chat", "m")
    assert written["max_tokens"] == 5
    assert written["tools"][0]["function"] == {"name": "f_g", "description": "", "parameters": SCHEMA}


def _called(*calls: tuple[str, str | None]) -> dict[str, Any]:
    turns: list[dict[str, Any]] = [{"role": "user", "content": "go"}]
    for name, result in calls:
        turns.append({"role": "assistant", "tool_calls": [{"function": {"name": name, "arguments": {}}}]})
        if result is not None:
            turns.append({"role": "tool", "tool_name": name, "content": result})
    return {"model": "m", "messages": [*turns, {"role": "user", "content": "and?"}]}


def test_every_call_of_a_tool_has_a_number_of_its_own() -> None:
    body = _called(("f", "one"), ("f", "two"), ("g", None), ("f", "three"))
    written = converted(body, "ollama", "openai_chat", "m")
    numbers = [call["id"] for turn in written["messages"] for call in turn.get("tool_calls") or ()]
    assert len(set(numbers)) == 4
    results = {
        turn["content"]: turn["tool_call_id"] for turn in written["messages"] if turn["role"] == "tool"
    }
    assert results == {"one": numbers[0], "two": numbers[1], "three": numbers[3]}


@pytest.mark.parametrize("target", ["openai_chat", "ollama"])
def test_a_tool_that_failed_is_no_tool_that_said_so(target: str) -> None:
    failed = {"type": "tool_result", "tool_use_id": "t", "content": "boom", "is_error": True}
    called = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]}
    body = {**CLAUDE, "messages": [*CLAUDE["messages"], called, {"role": "user", "content": [failed]}]}
    with pytest.raises(CannotSayError, match="is_error"):
        converted(body, "anthropic_messages", target, "m")
    response = converted(body, "anthropic_messages", "gemini", "m")["contents"][-1]["parts"][0][
        "functionResponse"
    ]
    assert response["response"] == {"error": "boom"}


def _picture(**more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DOT}", **more}}


@pytest.mark.parametrize(
    ("content", "target", "field"),
    [
        ([{"type": "text", "text": "one:"}, _picture(), {"type": "text", "text": "?"}], "ollama", "messages.content"),
        ([_picture(detail="high")], "gemini", "messages.content.image_url.detail"),
    ],
)  # fmt: skip
def test_pictures_that_would_be_asked_otherwise(content: list[Any], target: str, field: str) -> None:
    body = {**CHAT, "messages": [{"role": "user", "content": content}]}
    with pytest.raises(CannotSayError) as stopped:
        converted(body, "openai_chat", target, "m")
    assert stopped.value.field == field


def test_what_a_message_says_beside_its_content_is_not_dropped() -> None:
    body = {**CHAT, "messages": [{"role": "user", "content": "hi", "weight": 1}]}
    with pytest.raises(CannotSayError, match=r"messages\.weight"):
        converted(body, "openai_chat", "gemini", "m")


@pytest.mark.parametrize("text", ['{"a":1,"a":2}', '{"a": 12345678901234567890.123456789}', "[1]", "grey"])
def test_a_result_that_reading_would_change_stays_text(text: str) -> None:
    result = Turn("user", (ToolResult("call_1", "lookup", text),))
    question = replace(CONVERSATION, turns=(*CONVERSATION.turns[:2], result))
    written = gemini.write(question, "m")["contents"][-1]["parts"][0]["functionResponse"]
    assert written["response"] == {"result": text}


def test_the_data_of_a_schema_is_no_schema() -> None:
    schema = {
        "type": "OBJECT",
        "properties": {"propertyOrdering": {"type": "STRING"}, "type": {"type": "STRING", "enum": ["BIG"]}},
        "propertyOrdering": ["type"],
        "default": {"type": "BIG"},
    }
    declared = {"functionDeclarations": [{"name": "f", "parameters": schema}]}
    written = converted({**GEMINI, "tools": [declared]}, "gemini", "openai_chat", "m")
    assert written["tools"][0]["function"]["parameters"] == {
        "type": "object",
        "properties": {"propertyOrdering": {"type": "string"}, "type": {"type": "string", "enum": ["BIG"]}},
        "default": {"type": "BIG"},
    }


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        ({**CHAT, "max_tokens": 7, "max_completion_tokens": None}, 7),
        ({**CHAT, "max_tokens": 10**400}, None),
        ({**CHAT, "tool_choice": {"type": []}}, None),
    ],
)
def test_limits_and_odd_values(body: dict[str, Any], limit: int | None) -> None:
    if limit is None:
        with pytest.raises(CannotSayError):
            converted(body, "openai_chat", "anthropic_messages", "m")
    else:
        assert converted(body, "openai_chat", "anthropic_messages", "m")["max_tokens"] == limit


def test_no_limit_is_none_and_the_whole_context_is_ollamas_own() -> None:
    endless = {**OLLAMA, "options": {"num_predict": -1}}
    assert "max_tokens" not in converted(endless, "ollama", "openai_chat", "m")
    with pytest.raises(CannotSayError, match="num_predict"):
        converted({**OLLAMA, "options": {"num_predict": -2}}, "ollama", "openai_chat", "m")


@pytest.mark.parametrize("cloud", ["anthropic_bedrock", "anthropic_vertex"])
def test_clouds_say_the_same_in_the_same_words(cloud: str) -> None:
    body = {"anthropic_version": "vertex-2023-10-16", "max_tokens": 9, "messages": CHAT["messages"]}
    assert converted(body, cloud, "anthropic_messages", "m") == {**CLAUDE, "model": "m"}
