"""Front matter and bodies in every form that other people's Prompty files have: they load, and say what they mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptguard.templates.library import open_library

BODY = "system:\nBe brief.\n\nuser:\n{{ q }}\n"
PLAIN = [("system", "Be brief."), ("user", "Why?")]
ASKED = {"q": "Why?"}

LOADED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "no front matter": ("", BODY, ASKED),
    "empty front matter": ("---\n---\n", BODY, ASKED),
    "an empty line before it": ("\n---\nname: A Title\n---\n\n", BODY, ASKED),
    "inputs as values": ("---\ninputs:\n  q: Why?\n---\n", BODY, {}),
    "inputs by type": (
        "---\ninputs:\n  q: {type: string, default: Why?, description: d, is_chat_input: true}\n---\n",
        BODY,
        {},
    ),
    "inputs as a list": ("---\ninputs:\n  - {name: q, kind: string, sample: x}\n---\n", BODY, ASKED),
    "a sample alone": ("---\nsample:\n  q: Because\n---\n", BODY, ASKED),
    "a sample in a file": ("---\nsample: ${file:sample.json}\n---\n", BODY, ASKED),
    "a sample's file, older": ("---\nsample: sample.json\n---\n", BODY, ASKED),
    "an older model": (
        ("---\nauthors: [ann]\ntags: [a]\nversion: '1.0'\nmodel:\n  api: chat\n  configuration:\n    type: azure_openai\n"
        "    azure_endpoint: ${env:ENDPOINT}\n  parameters: {max_tokens: 5, response_format: {type: json_object}}\n---\n"),
        BODY,
        ASKED,
    ),
    "a connection elsewhere": (
        "---\nmodel: {id: m, apiType: chat, connection: '${file:c.json}'}\n---\n",
        BODY,
        ASKED,
    ),
    "a configuration elsewhere": ("---\nmodel: {api: chat, configuration: '${file:c.json}'}\n---\n", BODY, ASKED),
    "a model by name": ("---\nmodel: m\ntemplate: jinja2\n---\n", BODY, ASKED),
    "parameters at the top": ("---\napi: completion\nconnection: c\nparameters: {max_tokens: 5}\n---\n", BODY, ASKED),
    "a template with a parser": ("---\ntemplate: {format: jinja2, parser: prompty}\n---\n", BODY, ASKED),
    "a template by kinds": (
        "---\ntemplate: {format: {kind: jinja2}, parser: {kind: prompty}}\n---\n",
        BODY,
        ASKED,
    ),
    "tools by id": (
        "---\ntools:\n  - id: bing\n    type: web_search\n    options: {url: '${env:URL}'}\n---\n", BODY, ASKED,
    ),
    "tools by name": (
        "---\ntools:\n  find: {type: function, parameters: {city: {type: string, required: true}}}\n---\n",
        BODY,
        ASKED,
    ),
    "tools of one's own": ("---\ntools:\n  - {name: x, kind: mine, connection: {kind: key}}\n---\n", BODY, ASKED),
    "outputs within outputs": (
        ("---\noutputs:\n  place: {type: object, properties: {city: {type: string}}}\n"
        "  acts: {type: array, items: {type: object, properties: {name: {type: string}}}}\n---\n"),
        BODY,
        ASKED,
    ),
    "an output's schema elsewhere": (
        "---\noutputs:\n  w: {type: object, json_schema: '${file:s.json}'}\n---\n",
        BODY,
        ASKED,
    ),
    "capitals": ("---\nname: It\n---\n", BODY.replace("system:", "System:").replace("user:", "USER:"), ASKED),
    "headings": ("---\nname: It\n---\n", BODY.replace("system:", "# system:").replace("user:", "# user:"), ASKED),
    "white space after the colon": ("---\nname: It\n---\n", BODY.replace("user:\n", "user: \n"), ASKED),
    "Windows line ends": ("---\r\nname: It\r\n---\r\n", BODY.replace("\n", "\r\n"), ASKED),
}  # fmt: skip


def load(folder: Path, front: str, body: str) -> Any:
    place = folder / "it" / "1.prompty"
    place.parent.mkdir()
    place.write_text(front + body, "utf-8", newline="")
    return open_library(folder).get("it")


@pytest.mark.parametrize("form", LOADED)
def test_it_loads_and_says_what_it_means(tmp_path: Path, form: str) -> None:
    front, body, values = LOADED[form]
    call = load(tmp_path, front, body).render(model="m", **values)
    assert [(each["role"], each["content"]) for each in call.messages] == PLAIN
    assert call.request()["model"] == "m"


@pytest.mark.parametrize(
    "text",
    [
        "# Job Description\nYou help.\n\n# Form Details\n1. What?",
        '**Example 1**\nuser: Where?\nassistant: There.\nresult:\n{"a": 0}',
        "[Task]: x\n***\nReasoning:",
        "Independent Examples:\n## Example Task #1 Input:\nstars:",
        "Text:\n<|start|>\nOutput with 5 QnAs:",
        "# user\nhi",
    ],
)
def test_text_that_only_reminds_of_roles_is_text(tmp_path: Path, text: str) -> None:
    said = load(tmp_path, "---\nname: It\n---\n", f"system:\n{text}\n").render().messages
    assert said == [{"role": "system", "content": text}]


def test_text_before_roles_and_system_messages_after_others(tmp_path: Path) -> None:
    body = "tools:\n  - id: c\n    type: function\n\nuser:\nhi\n\nsystem:\nBe concise!"
    said = load(tmp_path, "---\nname: It\n---\n", body).render().messages
    assert [(each["role"], each["content"]) for each in said] == [
        ("system", "tools:\n  - id: c\n    type: function"), ("user", "hi"), ("system", "Be concise!"),
    ]  # fmt: skip


def test_a_history_mark_between_texts_splits_them(tmp_path: Path) -> None:
    prompt = load(tmp_path, "---\nname: It\n---\n", "before\n![thread]\nafter")
    said = prompt.render(history=[{"role": "user", "content": "Hi"}]).messages
    assert [(each["role"], each["content"]) for each in said] == [
        ("system", "before"),
        ("user", "Hi"),
        ("system", "after"),
    ]
