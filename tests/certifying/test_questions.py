"""Where questions come from: a ledger's stored ones, read back to variables; order; remedies on any text."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import OpenAI

import promptguard
from promptguard.certifying.recovering import asks, recovered, recovered_from_text
from promptguard.certifying.remedies import REMEDIES, only_json, without_fence
from promptguard.certifying.values import Question, in_order
from promptguard.report.stored_questions import stored_questions
from promptguard.templates.library import open_library
from promptguard.testing import FakeProvider
from tests.certifying.conftest import SORT, told, write


def test_variables_are_read_back_and_proved_by_rendering(folder: Path) -> None:
    write(
        folder,
        "two@1",
        "---\nname: two\n---\nsystem:\nIn {{ language }}.\n\nuser:\nOn {{ topic }}: {{ topic }}!\n",
    )
    prompt = open_library(folder).get("two")
    messages = prompt.render(language="Dutch", topic="a: b\nc").messages
    assert recovered(prompt, messages) == {"language": "Dutch", "topic": "a: b\nc"}
    assert recovered(prompt, [*messages, {"role": "user", "content": "more"}]) is None
    assert recovered(prompt, [messages[0], {"role": "user", "content": "On x: y!"}]) is None
    prime = open_library(folder).get("prime")
    asked = prime.render(number=17077).messages[0]["content"]
    assert recovered_from_text(prime, asked) == {"number": 17077}
    assert recovered_from_text(prime, "Is x a prime number?") is None


def test_a_prompt_with_conditions_is_not_read_back(folder: Path) -> None:
    write(folder, "if@1", "---\nname: if\n---\nuser:\n{% if a %}yes{% endif %} {{ b }}\n")
    prompt = open_library(folder).get("if")
    assert recovered(prompt, prompt.render(a=True, b="x").messages) is None


def test_the_order_says_nothing_of_the_questions_and_is_the_same_in_every_run() -> None:
    questions = [Question(str(number)) for number in range(100)]
    first = [each.key for each in in_order(questions, "0")]
    assert first == [each.key for each in in_order(questions[::-1] + questions, "0")]
    assert first != [each.key for each in in_order(questions, "1")]
    assert abs(sum(int(key) for key in first[:50]) / 50 - 49.5) < 10


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("```python\nx = 1\n```", "x = 1"),
        ("```\nx\n```\n", "x"),
        ("Here it is:\n```json\n{}\n```\nBye.", "{}"),
        ("```python\ncut off", "cut off"),
        ("no fence", "no fence"),
        ("```a\n1\n```\n```b\n2\n```", "```a\n1\n```\n```b\n2\n```"),
        ("use ```inline``` code", "use ```inline``` code"),
    ],
)
def test_what_stands_in_the_one_fence_is_taken_out(text: str, inside: str) -> None:
    assert without_fence(text) == inside


def test_the_first_json_is_taken_out() -> None:
    assert only_json('So: {"a": [1]} and {"b": 2}') == '{"a": [1]}'
    assert only_json("{not} json") == "{not} json"


@given(st.text())
def test_remedies_take_any_text_and_twice_is_once(text: str) -> None:
    for remedy in REMEDIES.values():
        once = remedy.of(text)
        assert isinstance(once, str)
        if remedy.name in ("strip-space", "plain-marks"):
            assert remedy.of(once) == once


def test_remedies_are_quick_on_hostile_text() -> None:
    began = time.process_time()
    for remedy in REMEDIES.values():
        for text in ("{" * 200_000, "`" * 200_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 50_000):
            remedy.of(text)
    assert time.process_time() - began < 2.0


def test_questions_that_a_ledger_stored_are_asked(
    folder: Path, guarded: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, "sort@2", SORT.replace("Sort the", "Now sort the") % "")
    prompt = open_library(folder).get("sort@1")
    with FakeProvider({"old": lambda question: "bug", "new": lambda question: "bug"}) as provider:
        client = promptguard.wrap(
            OpenAI(base_url=provider.url, api_key="k"),
            ledger=guarded,
            replay=promptguard.Replay(share=1.0, reservoir=50),
        )
        for number in range(45):
            call = prompt.render(ticket=f"It burns {number} times")
            client.chat.completions.create(model="old", messages=call.messages)
        assert promptguard.flush(100.0)
        found = stored_questions(guarded, "sort@1")
        assert len(found) == 45
        assert next(dict(each) for each in found[0]) == {"role": "system", "content": "Sort the ticket."}
        monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        promptguard.unwrap(client)
        provider.received.clear()
        answer = told(
            capsys, "certify", "sort@2", "--on", "new", "--against", "sort@1/old", "--ledger", str(guarded), "--budget",
            "200calls",
        )  # fmt: skip
    client.close()
    assert (answer["status"], answer["pairs"]) == ("certified", 42)
    asked = {each.model: each.raw for each in provider.received}
    assert b"Now sort the ticket." in asked["new"]
    assert b"Now sort" not in asked["old"]


@pytest.mark.parametrize(
    ("template", "text", "can"),
    [
        ("Is {{ n }} prime?", "Is 7 prime?", True),
        ("Is {{ n }} prime?", "Is  7\nprime?", True),
        ("Is {{ n }} prime?", "Sort 7.", False),
        ("{{ a }} then {{ a }} or {{ b|upper }}", "x then x or Y", True),
        ("{{ a }} then {{ a }} or {{ b|upper }}", "x or x then Y", False),
        ("{{ a }}", "anything", True),
        (
            "Is {% if n %}{{ n }}{% endif %} prime?",
            "Sort 7.",
            True,
        ),  # what a condition leaves out is not known
    ],
)
def test_a_question_of_another_prompt_is_told(tmp_path: Path, template: str, text: str, *, can: bool) -> None:
    write(tmp_path, "it@1", f"---\nname: it\n---\nuser:\n{template}\n")
    assert asks(open_library(tmp_path).get("it"), text) is can
