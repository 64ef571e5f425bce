"""Older Prompty files and promptflow's, imported: what they state beside their history, and what a history is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptguard.errors import PromptSyntaxError
from promptguard.templates.importing import import_file
from promptguard.templates.library import PromptLibrary, open_library

TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]


@pytest.fixture
def library(tmp_path: Path) -> PromptLibrary:
    (tmp_path / "prompts").mkdir()
    return open_library(tmp_path / "prompts")


def imported(library: PromptLibrary, file: str, text: str, name: str) -> Any:
    path = library.directory.parent / file
    path.write_text(text, "utf-8")
    [made] = import_file(library, str(path), name=name)
    return open_library(library.directory).get(made["reference"])


def said(prompt: Any, **variables: object) -> list[tuple[str, str]]:
    return [(each["role"], each["content"]) for each in prompt.render(**variables).messages]


OLDER = """---
name: Tour Guide
description: Plans a day
authors: [ann]
metadata: {version: "7", tags: [travel]}
model:
  api: chat
  configuration: {azure_deployment: one}
  parameters: {temperature: 0.4, stop: [END], stream: true}
inputs:
  guest: {type: string, default: Ann, description: who asks}
  town: Rome
  wish: {type: string}
  turns: {type: list, default: DEFAULT}
outputs:
  plan: {type: string}
tools:
  - {name: weather, kind: function, description: of a day, parameters: [{name: day, kind: string}]}
---
system[name="guide"]:
Guide {{ guest }} through {{ town }}.

Notes:
{% for turn in turns %}
{{ turn.role }}:
{{ turn.content }}
{% endfor %}

user:
{{ wish }}
"""


def test_an_older_file_keeps_what_it_states_beside_its_history(library: PromptLibrary) -> None:
    prompt = imported(library, "tour.prompty", OLDER.replace("DEFAULT", "[]"), name="tour")
    call = prompt.render(model="m", wish="Art", turns=[{"role": "assistant", "content": "Where to?"}])
    assert call.messages == [
        {"role": "system", "content": "Guide Ann through Rome.\n\nNotes:", "name": "guide"},
        {"role": "assistant", "content": "Where to?"},
        {"role": "user", "content": "Art"},
    ]
    asked = call.request()
    assert (asked["temperature"], asked["stop"], asked["stream"]) == (0.4, ["END"], True)
    assert asked["tools"][0]["function"]["name"] == "weather"
    assert asked["response_format"]["json_schema"]["schema"]["required"] == ["plan"]
    assert {name: each.kind for name, each in prompt.inputs.items()} == {
        "guest": "string", "town": "string", "turns": "thread", "wish": "string",
    }  # fmt: skip
    assert prompt.inputs["guest"].description == "who asks"
    assert (prompt.description, prompt.version) == ("Plans a day", "1")


def test_messages_that_a_history_had_by_default_are_told(library: PromptLibrary) -> None:
    path = library.directory.parent / "tour.prompty"
    path.write_text(OLDER.replace("DEFAULT", "[{role: user, content: Hi}]"), "utf-8")
    [made] = import_file(library, str(path), name="tour")
    assert made["notes"] == [
        "turns is a history now: give it as messages with role and content",
        "the messages that turns had by default are not kept: give them",
    ]


def test_text_after_a_history_is_told(library: PromptLibrary) -> None:
    path = library.directory.parent / "judge.prompty"
    loop = "system:\nJudge.\n{% for t in turns %}\n{{ t.role }}:\n{{ t.content }}\n{% endfor %}\n"
    path.write_text(f"{loop}# Verdict", "utf-8")
    [made] = import_file(library, str(path), name="judge")
    assert made["notes"][1:] == [
        "the text after turns was part of its last message, and is a message now: say whose"
    ]
    path.write_text(f"{loop}# user:\nVerdict?", "utf-8")
    [made] = import_file(library, str(path), name="judge")
    assert made["notes"][1:] == []


@pytest.mark.parametrize("file", ["log.prompty", "log.jinja2"])
def test_a_history_written_on_one_line_stays_text(library: PromptLibrary, file: str) -> None:
    text = "system:\nSo far:\n{% for t in turns %}\n- {{ t.role }}: {{ t.content }}\n{% endfor %}\nuser:\n{{ q }}\n"
    prompt = imported(library, file, text, name="log")
    assert said(prompt, turns=TURNS, q="?") == [
        ("system", "So far:\n\n- user: Hi\n\n- assistant: Hello!"),
        ("user", "?"),
    ]


def test_turns_with_calls_of_tools_become_a_history(library: PromptLibrary) -> None:
    text = (
        "# system:\nHelp.\n\n{% for t in turns %}\n# user:\n{{ t.inputs.q }}\n{% if t.outputs.calls %}\n# assistant:\n"
        "## tool_calls:\n{{ t.outputs.calls }}\n{% for call in t.outputs.calls %}\n"
        "# tool:\n## tool_call_id:\n{{ call.id }}\n{% endfor %}\n"
        "{% endif %}\n{% endfor %}\n# user:\n{{ q }}\n"
    )
    place = library.directory / "flow" / "1.prompty"
    place.parent.mkdir()
    place.write_text(text, "utf-8")
    with pytest.raises(
        PromptSyntaxError, match=r":9: '## tool_calls:' is how promptflow writes calls of tools"
    ):
        open_library(library.directory).get("flow")
    place.unlink()
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turns = [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "7", "tool_call_id": "c1"},
    ]
    prompt = imported(library, "flow.prompty", text, name="other")
    assert [each["role"] for each in prompt.render(turns=turns, q="?").messages] == [
        "system", "assistant", "tool", "user",
    ]  # fmt: skip


def test_a_heading_of_calls_in_a_system_message_is_text(library: PromptLibrary) -> None:
    prompt = imported(library, "doc.prompty", "system:\n## tool_calls:\nNone.\n", name="doc")
    assert said(prompt) == [("system", "## tool_calls:\nNone.")]


@pytest.mark.parametrize("value", ["a text", ["a", "list"], {"a": "mapping"}])
def test_an_older_type_object_takes_what_it_took_there(library: PromptLibrary, value: object) -> None:
    place = library.directory / "rate" / "1.prompty"
    place.parent.mkdir()
    place.write_text("---\ninputs: {context: {type: object}}\n---\nuser:\n{{ context }}\n", "utf-8")
    assert said(open_library(library.directory).get("rate"), context=value) == [("user", str(value))]


@pytest.mark.timeout(20)
def test_very_many_open_loops_are_looked_at_once(library: PromptLibrary) -> None:
    path = library.directory.parent / "open.prompty"
    path.write_text("user:\n" + "{% for a in b %}" * 3_000, "utf-8")
    with pytest.raises(PromptSyntaxError):
        list(import_file(library, str(path), name="open"))
