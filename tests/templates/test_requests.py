"""What a rendered prompt asks for, as a request in the shape of each SDK."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptguard.errors import ConfigurationError
from promptguard.templates.library import open_library
from promptguard.templates.prompt import Prompt


def load(folder: Path, body: str, front: str = "") -> Prompt:
    path = folder / "it" / "1.prompty"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"---\n{front}\n---\n{body}", "utf-8", newline="")
    return open_library(folder).get("it")


ASKED = (
    "model: {id: gpt-5.6, options: {temperature: 0.2, maxOutputTokens: 300, stopSequences: [END]}}\n"
    "outputs:\n  - {name: label, kind: string, enumValues: [bug, praise], description: what it is}\n"
    "  - {name: tags, kind: array, items: {kind: string}}\n"
    "tools:\n  - name: lookup\n    kind: function\n    description: finds one\n    parameters:\n"
    "      - {name: id, kind: integer}\n  - {name: web, kind: mcp}\n"
)


def test_a_request_has_the_shape_of_its_sdk(tmp_path: Path) -> None:
    call = load(tmp_path, "system:\nS\n\nuser:\n{{ q }}\n", ASKED).render(q="?")
    answer = {
        "type": "object",
        "properties": {
            "label": {"type": "string", "description": "what it is", "enum": ["bug", "praise"]},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["label", "tags"],
        "additionalProperties": False,
    }
    parameters = {
        "type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"], "additionalProperties": False,
    }  # fmt: skip
    tool = {"name": "lookup", "description": "finds one", "parameters": parameters}
    assert call.request() == {
        "model": "gpt-5.6", "messages": call.messages, "temperature": 0.2, "max_completion_tokens": 300, "stop": ["END"],
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": answer}},
        "tools": [{"type": "function", "function": tool}],
    }  # fmt: skip
    assert call.request("anthropic") == {
        "model": "gpt-5.6", "messages": [{"role": "user", "content": "?"}], "system": "S", "temperature": 0.2,
        "max_tokens": 300, "stop_sequences": ["END"],
        "output_config": {"format": {"type": "json_schema", "schema": answer}},
        "tools": [{"name": "lookup", "description": "finds one", "input_schema": parameters}],
    }  # fmt: skip
    assert call.request("google-genai") == {
        "model": "gpt-5.6", "contents": [{"role": "user", "parts": [{"text": "?"}]}],
        "config": {
            "temperature": 0.2, "max_output_tokens": 300, "stop_sequences": ["END"], "system_instruction": "S",
            "response_mime_type": "application/json", "response_json_schema": answer,
            "tools": [{"function_declarations": [
                {"name": "lookup", "description": "finds one", "parameters_json_schema": parameters},
            ]}],
        },
    }  # fmt: skip


def test_a_request_with_tool_turns_and_images_has_the_shape_of_its_sdk(tmp_path: Path) -> None:
    front = "model: m\ninputs:\n  photo: {kind: image}\n  talk: {kind: thread}"
    turns = [
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "lookup", "arguments": '{"id": 1}'}},
        ]},
        {"role": "tool", "tool_call_id": "c1", "content": "found"},
    ]  # fmt: skip
    call = load(tmp_path, "{{ talk }}\n\nuser:\n{{ photo }}\n", front).render(
        talk=turns, photo="data:image/png;base64,QUJD"
    )
    google = call.request("google-genai")["contents"]
    assert google[0]["parts"] == [{"function_call": {"name": "lookup", "args": {"id": 1}}}]
    assert google[1]["parts"] == [{"function_response": {"name": "lookup", "response": {"result": "found"}}}]
    assert google[2]["parts"] == [{"inline_data": {"mime_type": "image/png", "data": "QUJD"}}]


def test_what_is_said_beside_a_tool_call_is_kept(tmp_path: Path) -> None:
    front = "model: {id: m, options: {maxOutputTokens: 9}}\ninputs:\n  talk: {kind: thread}"
    called = {"id": "c1", "type": "function", "function": {"name": "lookup", "arguments": "{}"}}
    spoken = [{"type": "text", "text": "One moment."}]
    asked: dict[str, Any] = {"type": "tool_use", "id": "c1", "name": "lookup", "input": {}}
    for content, expected in (
        ("One moment.", [*spoken, asked]),
        (spoken, [*spoken, asked]),
        (None, [asked]),
        ("", [asked]),
    ):
        turns = [
            {"role": "assistant", "content": content, "tool_calls": [called]},
            {"role": "tool", "tool_call_id": "c1", "content": "found"},
        ]
        call = load(tmp_path, "{{ talk }}\n\nuser:\nhi\n", front).render(talk=turns)
        assert call.request("anthropic")["messages"][0]["content"] == expected, content


@pytest.mark.parametrize(
    ("front", "provider", "words"),
    [
        ("", "openai", "there is no model"),
        ("model: m", "anthropic", "maxOutputTokens"),
        ("model: m", "cohere", '"openai"'),
    ],
)
def test_a_request_that_cannot_be_made_says_what_to_write(
    tmp_path: Path, front: str, provider: str, words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        load(tmp_path, "user:\nhi", front).render().request(provider)


@pytest.mark.parametrize("provider", ["anthropic", "google-genai"])
def test_a_system_message_in_parts_is_its_text(tmp_path: Path, provider: str) -> None:
    front = "model: {id: m, options: {maxOutputTokens: 9, stop: END}}\ninputs:\n  talk: {kind: thread}"
    parts = [{"type": "text", "text": "Be "}, {"type": "text", "text": "brief."}]
    call = load(tmp_path, "{{ talk }}\n\nuser:\nhi\n", front).render(
        talk=[{"role": "system", "content": parts}]
    )
    asked = call.request(provider)
    told = (
        asked
        if provider == "anthropic"
        else {**asked["config"], "system": asked["config"]["system_instruction"]}
    )
    assert (told["system"], told["stop_sequences"]) == ("Be brief.", ["END"])


@pytest.mark.parametrize("provider", ["anthropic", "google-genai"])
def test_a_picture_in_a_system_message_is_refused(tmp_path: Path, provider: str) -> None:
    front = "model: {id: m, options: {maxOutputTokens: 9}}\ninputs:\n  photo: {kind: image}"
    call = load(tmp_path, "system:\nLike {{ photo }}\n\nuser:\nhi\n", front).render(
        photo="data:image/png;base64,QUJD"
    )
    with pytest.raises(ConfigurationError, match="in a user message"):
        call.request(provider)
