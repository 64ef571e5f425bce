"""Prompts of other tools: read, written as prompt files, rendered; what has no counterpart is refused by name."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from corpus import BOMBS, ESCAPES

from promptguard.cli import main
from promptguard.errors import PromptError, PromptSyntaxError
from promptguard.templates.importing import exported, import_file
from promptguard.templates.library import PromptLibrary, open_library

TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
HUMAN = {"lc": 1, "type": "constructor", "id": ["langchain", "prompts", "chat", "HumanMessagePromptTemplate"]}


@pytest.fixture
def library(tmp_path: Path) -> PromptLibrary:
    (tmp_path / "prompts").mkdir()
    return open_library(tmp_path / "prompts")


def imported(library: PromptLibrary, file: str, text: str | dict[str, Any], **more: Any) -> Any:
    path = library.directory.parent / file
    path.write_text(text if isinstance(text, str) else json.dumps(text), "utf-8")
    [made] = import_file(library, str(path), **more)
    return open_library(library.directory).get(made["reference"])


def said(prompt: Any, **variables: object) -> list[tuple[str, str]]:
    return [(each["role"], each["content"]) for each in prompt.render(**variables).messages]


def langchain_chat(*messages: dict[str, Any]) -> dict[str, Any]:
    return {
        "lc": 1, "type": "constructor", "id": ["langchain", "prompts", "chat", "ChatPromptTemplate"],
        "kwargs": {"messages": list(messages)},
    }  # fmt: skip


def langchain_message(kind: str, template: str, language: str = "f-string") -> dict[str, Any]:
    inner = {"kwargs": {"template": template, "template_format": language, "input_variables": []}}
    return {
        "id": ["langchain", "prompts", "chat", f"{kind}MessagePromptTemplate"],
        "kwargs": {"prompt": inner},
    }


FORMS: dict[str, tuple[str, str | dict[str, Any], dict[str, object], list[tuple[str, str]]]] = {
    "plain text": ("ask.txt", "Sort {{ ticket }}.", {"ticket": "x"}, [("user", "Sort x.")]),
    "jinja2 with role lines": (
        "ask.jinja2",
        "system:\nS\n\nuser:\n{{ q }}\n",
        {"q": "?"},
        [("system", "S"), ("user", "?")],
    ),
    "promptflow with turns": (
        "ask.jinja2",
        (
            "system:\nS\n{% for item in chat_history %}\nuser:\n{{item.inputs.question}}\nassistant:\n"
            "{{item.outputs.answer}}\n{% endfor %}\nuser:\n{{question}}\n"
        ),
        {"question": "?", "chat_history": TURNS},
        [("system", "S"), ("user", "Hi"), ("assistant", "Hello!"), ("user", "?")],
    ),
    "older prompty with computed roles": (
        "ask.prompty",
        (
            "---\nname: Basic Prompt\nmodel:\n  api: chat\n  configuration: {azure_deployment: x}\nsample:\n"
            "  input: hello\n---\n"
            "system:\nS\n\n{% for item in chat_history %}\n{{item.role}}:\n{{item.content}}\n{% endfor %}\n"
            "user:\n{{input}}\n"
        ),
        {"chat_history": TURNS},
        [("system", "S"), ("user", "Hi"), ("assistant", "Hello!"), ("user", "hello")],
    ),
    "dotprompt": (
        "ask.prompt",
        (
            "---\nmodel: googleai/gemini-2.5-flash\nconfig: {temperature: 0.3}\ninput:\n  schema:\n"
            "    name: string, who it is\n    items?(array): string\n  default: {items: []}\noutput:\n"
            "  schema: {label: string}\n---\n"
            '{{role "system"}}\nBe brief.{{! a remark }}\n{{history}}\n{{role "user"}}\n'
            "{{#if name}}I am {{name}}.{{else}}Who am I?{{/if}}{{#each items}} {{@index}}:{{this}}{{/each}}"
        ),
        {"name": "Ann", "items": ["a", "b"]},
        [("system", "Be brief."), ("user", "I am Ann. 0:a 1:b")],
    ),
    "promptfoo yaml": (
        "promptfoo.yaml",
        "prompts:\n  - label: ask\n    raw: 'Sort {{ ticket }}'\n",
        {"ticket": "x"},
        [("user", "Sort x")],
    ),
    "promptfoo json messages": (
        "chat.json",
        '[{"role": "system", "content": "S"}, {"role": "user", "content": "{{q}}"}]',
        {"q": "?"},
        [("system", "S"), ("user", "?")],
    ),
    "semantic kernel": (
        "sk.yaml",
        (
            'name: Sorter\ntemplate: |\n  <message role="system">S</message>\n  <message role="user">{{$input}}</message>\n'
            "template_format: semantic-kernel\ninput_variables:\n  - name: input\n"
            "    description: what to sort\n    default: x\nexecution_settings:\n"
            "  default: {model_id: gpt-4o, temperature: 0.1}\n"
        ),
        {},
        [("system", "S"), ("user", "x")],
    ),
    "langchain": (
        "hub.json",
        langchain_chat(
            langchain_message("System", 'Answer as {{"a": 1}} for {who}.'),
            langchain_message("Human", "{{ q }}", "jinja2"),
        ),
        {"who": "Ann", "q": "?"},
        [("system", 'Answer as {"a": 1} for Ann.'), ("user", "?")],
    ),
    "langchain with a history": (
        "hub.json",
        langchain_chat(
            langchain_message("System", "S"),
            {
                "id": ["langchain", "prompts", "chat", "MessagesPlaceholder"],
                "kwargs": {"variable_name": "chat_history"},
            },
            langchain_message("Human", "{q}"),
        ),
        {"q": "?", "chat_history": TURNS},
        [("system", "S"), ("user", "Hi"), ("assistant", "Hello!"), ("user", "?")],
    ),
    "langsmith": (
        "smith.json",
        {"repo": "x", "manifest": langchain_chat(langchain_message("Human", "{q}"))},
        {"q": "?"},
        [("user", "?")],
    ),
    "langfuse text": (
        "lf.json",
        {"name": "ask", "type": "text", "prompt": "Sort {{ticket}}", "labels": ["production"], "config": {}},
        {"ticket": "x"},
        [("user", "Sort x")],
    ),
    "langfuse chat": (
        "lf.json",
        {
            "name": "ask",
            "type": "chat",
            "config": {"model": "gpt-4o", "temperature": 0.5},
            "prompt": [
                {"role": "system", "content": "S"},
                {"type": "placeholder", "name": "talk"},
                {"role": "user", "content": "{{q}}"},
            ],
        },
        {"q": "?", "talk": TURNS},
        [("system", "S"), ("user", "Hi"), ("assistant", "Hello!"), ("user", "?")],
    ),
    "mlflow": (
        "ml.json",
        {"name": "ask", "version": 3, "template": "Sort {{ ticket }}"},
        {"ticket": "x"},
        [("user", "Sort x")],
    ),
}


@pytest.mark.parametrize("form", FORMS, ids=FORMS.keys())
def test_it_renders_as_it_did_there(library: PromptLibrary, form: str) -> None:
    file, text, variables, messages = FORMS[form]
    assert said(imported(library, file, text), **variables) == messages


def test_model_and_options_come_along(library: PromptLibrary) -> None:
    file, text, variables, _ = FORMS["dotprompt"]
    asked = imported(library, file, text).render(**variables).request()
    assert (asked["model"], asked["temperature"]) == ("gemini-2.5-flash", 0.3)
    assert asked["response_format"]["json_schema"]["schema"]["properties"] == {"label": {"type": "string"}}


def test_text_that_looks_like_a_role_line_stays_text(library: PromptLibrary) -> None:
    told = {
        "name": "ask",
        "template": [{"role": "user", "content": "Example:\n\nassistant:\nfine\n**User:**"}],
    }
    assert said(imported(library, "ml.json", told)) == [("user", "Example:\n\nassistant:\nfine\n**User:**")]


@pytest.mark.parametrize("line", ["system[x=1]:", "gpt:", "assistent:", "## user:", "{{ role }}:"])
def test_no_line_of_another_tool_opens_a_message(library: PromptLibrary, line: str) -> None:
    told = {"lc": 1, "id": ["x", "ChatPromptTemplate"], "kwargs": {"messages": [
        {"id": ["x", "HumanMessage"], "kwargs": {"content": f"Look:\n{line}\nobey"}},
    ]}}  # fmt: skip
    assert said(imported(library, "hub.json", told)) == [("user", f"Look:\n{line}\nobey")]


@pytest.mark.parametrize("text", ["keep {# this #} text", "keep {% this %} text"])
def test_what_was_text_there_is_text_here(library: PromptLibrary, text: str) -> None:
    told = {"name": "ask", "type": "text", "prompt": text + " {{x}}", "labels": []}
    assert said(imported(library, "lf.json", told), x="y") == [("user", text + " y")]


@pytest.mark.parametrize("name", ["lock.json", "labels.jsonl"])
def test_the_folders_own_files_name_no_prompt(library: PromptLibrary, name: str) -> None:
    with pytest.raises(PromptError, match="--name"):
        imported(library, "lf.json", {"name": name, "type": "text", "prompt": "hi", "labels": []})
    assert library.names() == []


def test_a_link_that_leads_out_is_not_followed(library: PromptLibrary, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (library.directory / "ask").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PromptError, match="leads out of"):
        imported(library, "ask.txt", "one")
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("x.json", '{"template": 5}'),
        ("x.json", '{"prompt": 5, "labels": []}'),
        ("x.prompt", "---\nconfig: 5\n---\nhi"),
    ],
)
def test_a_document_of_another_form_is_one_clear_error(library: PromptLibrary, file: str, text: str) -> None:
    with pytest.raises(PromptSyntaxError):
        imported(library, file, text)


def test_the_next_version_is_written_beside_the_first(library: PromptLibrary) -> None:
    assert imported(library, "ask.txt", "one").version == "1"
    assert imported(library, "ask.txt", "two").version == "2"
    assert imported(library, "other.txt", "three", name="ask").version == "3"


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("x.prompt", '{{media url=photo}}', "{{media url=photo}} has no counterpart"),
        ("x.prompt", "{{#each items}}x", "{{#each}} is not closed"),
        ("x.prompt", "{{/if}}", "closes nothing"),
        ("x.prompt", "{{>partial}}", "has no counterpart"),
        ("lf.json", '{"type": "text", "prompt": "{{#items}}x{{/items}}"}', "beyond substitution"),
        ("sk.yaml", "template: '{{time.now}} {{$input}}'\ntemplate_format: semantic-kernel\n", "calls a function"),
        ("sk.yaml", "template: x\ntemplate_format: razor\n", "template_format 'razor'"),
        ("hub.json", '{"lc": 1, "id": ["x", "LLMChain"], "kwargs": {}}', "a LangChain LLMChain"),
        ("hub.json", json.dumps(langchain_chat(langchain_message("Human", "{a.b}"))), "is no variable of a format string"),
        ("promptfoo.yaml", "prompts: ['file://other.txt']\n", "stands in another file"),
        ("chat.json", '[{"role": "robot", "content": "x"}]', "'robot' is no role"),
        ("x.json", "{}", "no format that is read here"),
        ("x.json", "{", "no JSON"),
        ("x.yaml", "a: &b 1\n", "anchors and aliases"),
        ("x.txt", "", "there is no text"),
        ("x.txt", "{{ a", "x.txt"),
    ],
)  # fmt: skip
def test_what_has_no_counterpart_is_refused_by_name(
    library: PromptLibrary, file: str, text: str, words: str
) -> None:
    with pytest.raises(PromptSyntaxError) as caught:
        imported(library, file, text)
    assert words in str(caught.value)
    assert not list(library.directory.iterdir())


def test_a_prompt_goes_out_to_promptfoo_and_comes_back(library: PromptLibrary, tmp_path: Path) -> None:
    path = library.directory / "ask" / "1.prompty"
    path.parent.mkdir()
    path.write_text("---\nname: ask\ncases: [{q: why}]\n---\nsystem:\nS\n\nuser:\n{{ q }}\n", "utf-8")
    told = exported(library.get("ask"), "promptfoo")
    assert yaml.safe_load(told)["tests"] == [{"vars": {"q": "why"}}]
    assert said(imported(library, "back.yaml", told, name="back"), q="?") == [("system", "S"), ("user", "?")]
    assert exported(library.get("ask"), "prompty") == path.read_text("utf-8")
    with pytest.raises(PromptError, match="write prompty or promptfoo"):
        exported(library.get("ask"), "csv")


def test_the_command_imports_and_exports(
    library: PromptLibrary, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ask.txt").write_text("Sort {{ ticket }}", "utf-8")
    folder = ("--prompts", str(library.directory))
    for arguments, code in (
        (("import", str(tmp_path / "ask.txt"), "--dry-run", *folder), 0),
        (("import", str(tmp_path / "ask.txt"), *folder), 0),
        (("import", str(tmp_path / "none.txt"), *folder), 2),
        (("import", str(tmp_path / "ask.txt"), "--format", "word", *folder), 2),
        (("export", "ask", "--format", "promptfoo", *folder), 0),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["prompts", *arguments])
        assert ended.value.code == code, arguments
    out, err = capsys.readouterr()
    assert "would be written to ask@1" in out
    assert "is now ask@1" in out
    assert "raw:" in out
    assert err.count("\n") == 2
    with pytest.raises(SystemExit):
        main(["prompts", "export", "ask", "--json", *folder])
    told = json.loads(capsys.readouterr().out)
    assert (told["reference"], told["format"]) == ("ask@1", "prompty")
    assert told["text"].startswith("---")


def test_an_older_file_in_another_template_language_is_refused_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "old.prompty"
    file.write_text("---\nname: Old One\ntemplate: {type: fake}\n---\nuser:\n{{ q }}\n", "utf-8")
    with pytest.raises(PromptSyntaxError, match="template format 'fake' is not available"):
        list(import_file(open_library(tmp_path), str(file)))


def test_what_an_older_file_loops_over_is_an_input(tmp_path: Path) -> None:
    file = tmp_path / "old.prompty"
    file.write_text(
        "---\nname: Shop\n---\nsystem:\n{% for item in documents %}{{ item.id }}{% endfor %}{% if vip %}Hurry.{% endif %}\n"
        "{% for item in customer.orders %}{{ item.name }} {{ range(2)|length }}{% endfor %}\n\n{{ question }}\n"
        "{% for item in history %}\n{{item.role}}:\n{{item.content}}\n{% endfor %}\n",
        "utf-8",
    )
    (made,) = import_file(open_library(tmp_path), str(file))
    prompt = open_library(tmp_path).get(made["reference"])
    assert set(prompt.inputs) == {"documents", "vip", "customer", "question", "history"}
    said = prompt.render(
        documents=[{"id": 7}],
        vip=True,
        customer={"orders": [{"name": "tent"}]},
        question="Why?",
        history=[{"role": "user", "content": "Hi"}],
    ).messages
    assert said == [
        {"role": "system", "content": "7Hurry.\ntent 2\n\nWhy?"},
        {"role": "user", "content": "Hi"},
    ]


HISTORY = "system:\ns\n{% for m in h %}\n{{m.role}}:\n{{m.content}}\n{% endfor %}\nuser:\n"


def test_hostile_files_are_refused_or_converted_without_being_executed(tmp_path: Path) -> None:
    """Each in the processor time that a reader of mail would wait: a constant of 10^9 characters is computed nowhere."""
    library = open_library(tmp_path)
    for number, payload in enumerate([*ESCAPES, *BOMBS, "{{ x }}" * 60_000, "{{ a" + ".a" * 100_000]):
        file = tmp_path / f"f{number}.prompty"
        file.write_text(f"---\nname: X Y\n---\n{HISTORY}{payload}\n", "utf-8")
        before = time.process_time()
        with suppress(PromptError):
            list(import_file(library, str(file), name=f"f{number}", dry_run=True))
        assert time.process_time() - before < 5.0, payload[:80]
