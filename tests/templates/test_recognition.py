"""A rendered prompt keeps its name and version whatever is made of it, and its reference as long as it is the question."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from tests.wire.test_requests import PATHS

from promptguard import wire
from promptguard.core.model import Request
from promptguard.errors import PromptError
from promptguard.templates.library import open_library
from promptguard.templates.rendered import CAPACITY, PROCESS, recognise

TRIAGE = "---\nname: triage\n---\nsystem:\nYou sort tickets.\nuser:\nTicket: {{ t }}\n"
ALONE = "---\nname: alone\n---\nuser:\nQuestion: {{ t }}\n"
SHOTS = "---\nname: shots\n---\nsystem:\nYou add.\nuser:\n1+1\nassistant:\n2\nuser:\n{{ t }}\n"
SAME_SYSTEM = "---\nname: twin\n---\nsystem:\nYou sort tickets.\nuser:\nMail: {{ t }}\n"


@pytest.fixture
def library(tmp_path):
    PROCESS.forget()
    for name, text in (("triage", TRIAGE), ("alone", ALONE), ("shots", SHOTS), ("twin", SAME_SYSTEM)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.prompty").write_text(text)
    yield open_library(tmp_path)
    PROCESS.forget()


def user(text, **more):
    return {"role": "user", "content": text, **more}


def assistant(text=None, **more):
    return {"role": "assistant", "content": text, **more}


def system(text):
    return {"role": "system", "content": text}


CALLED = assistant(tool_calls=[{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}])
BROUGHT = {"role": "tool", "tool_call_id": "a", "content": "x"}


def blocks(message, **more):
    return {**message, "content": [{"type": "text", "text": message["content"], **more}]}


AS_QUESTION = {
    "as rendered": lambda m: m,
    "tool turn": lambda m: [*m, CALLED, BROUGHT],
    "two tool turns": lambda m: [*m, CALLED, BROUGHT, CALLED, BROUGHT],
    "history before": lambda m: [user("hi"), assistant("yes?"), *m],
    "another system before": lambda m: [system("Today is Monday."), *m],
    "line ends added": lambda m: [{**each, "content": f"\n{each['content']} \n"} for each in m],
    "content parts": lambda m: [blocks(each) for each in m],
    "cache_control": lambda m: [blocks(each, cache_control={"type": "ephemeral"}) for each in m],
    "beside an image": lambda m: [
        *m[:-1],
        {"role": "user", "content": [{"type": "image_url"}, {"type": "text", "text": m[-1]["content"]}]},
    ],
    "names": lambda m: [{**each, "name": "n"} for each in m],
    "tool result as anthropic says it": lambda m: [
        *m,
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "x"}]},
    ],
    "prefilled": lambda m: [*m, assistant("The answer is")],
}
WITH_SYSTEM = {
    "developer": lambda m: [{**m[0], "role": "developer"}, *m[1:]],
    "history between": lambda m: [m[0], user("hi"), assistant("yes?"), *m[1:]],
}
EARLIER = {
    "second turn": lambda m: [*m, assistant("ok"), user("and?")],
    "third turn": lambda m: [*m, assistant("ok"), user("and?"), assistant("so"), user("why?")],
    "tool turn of the second": lambda m: [*m, assistant("ok"), user("and?"), CALLED, BROUGHT],
    "in the middle": lambda m: [user("hi"), assistant("yes?"), *m, assistant("ok"), user("and?")],
}


@pytest.mark.parametrize("name", ["triage", "alone", "shots"])
@pytest.mark.parametrize("form", AS_QUESTION)
def test_the_question_keeps_its_prompt_and_its_reference(library, name, form):
    messages = library.get(f"{name}@1").render(t="x").expect("yes").messages
    found = recognise(AS_QUESTION[form](list(messages)))
    assert found is not None
    assert (found.group, found.reference) == (f"{name}@1", "yes")


@pytest.mark.parametrize("name", ["triage", "shots"])
@pytest.mark.parametrize("form", WITH_SYSTEM)
def test_the_system_part_may_stand_apart(library, name, form):
    messages = library.get(f"{name}@1").render(t="x").expect("yes").messages
    found = recognise(WITH_SYSTEM[form](list(messages)))
    assert found is not None
    assert (found.group, found.reference) == (f"{name}@1", "yes")


@pytest.mark.parametrize("name", ["triage", "alone", "shots"])
@pytest.mark.parametrize("form", EARLIER)
def test_a_later_turn_keeps_its_prompt_and_has_another_answer(library, name, form):
    messages = library.get(f"{name}@1").render(t="x").expect("yes").messages
    found = recognise(EARLIER[form](list(messages)))
    assert found is not None
    assert (found.group, found.reference) == (f"{name}@1", None)


def test_the_system_part_alone_is_enough_unless_two_prompts_share_it(library):
    messages = library.get("triage@1").render(t="x").messages
    other = [messages[0], user("something else")]
    extra = {
        "role": "system",
        "content": [{"type": "text", "text": messages[0]["content"]}, {"type": "text", "text": "+"}],
    }
    assert recognise(other).group == "triage@1"
    assert recognise([extra, user("something else")]).group == "triage@1"
    library.get("twin@1").render(t="x")
    assert recognise(other) is None
    assert recognise(messages).group == "triage@1"


def test_the_question_now_goes_before_one_said_before(library):
    first = library.get("triage@1").render(t="x").messages
    then = library.get("alone@1").render(t="y").messages
    assert recognise([*first, assistant("ok"), *then]).group == "alone@1"
    assert recognise([*then, assistant("ok"), *first]).group == "triage@1"


def test_other_requests_are_not_recognised(library):
    library.get("triage@1").render(t="x")
    library.get("alone@1").render(t="x")
    others = ([], [user("x")], [system("You sort tickets!"), user("Ticket: x")], [assistant("Question: x")],
              [{"role": "user"}], [{"content": "Question: x"}], [None, 1, "x"], [{"role": [], "content": {}}])  # fmt: skip
    for messages in others:
        assert recognise(messages) is None, messages


def test_a_busy_process_keeps_the_prompt_of_a_static_system_part(library):
    prompt = library.get("triage@1")
    early = prompt.render(t="early").messages
    for number in range(CAPACITY):
        prompt.render(t=str(number))
    assert recognise(early).group == "triage@1"


def test_a_rendered_prompt_is_recognised_in_the_words_of_every_protocol(library):
    (said,), (asked,) = ([each["content"]] for each in library.get("triage@1").render(t="x").messages)
    chat, turn = [system(said), user(asked)], [user(asked)]
    marked = [{"type": "text", "text": said, "cache_control": {"type": "ephemeral"}}]
    bodies = [
        ("openai_chat", {"model": "m", "messages": chat}),
        ("openai_responses", {"model": "m", "instructions": said, "input": asked}),
        ("openai_responses", {"model": "m", "input": [system(said), user([{"type": "input_text", "text": asked}])]}),
        ("anthropic_messages", {"model": "m", "system": said, "messages": turn}),
        ("anthropic_messages", {"model": "m", "system": marked, "messages": turn}),
        ("anthropic_bedrock", {"anthropic_version": "v", "system": said, "messages": turn}),
        ("gemini", {"systemInstruction": {"parts": [{"text": said}]},
                    "contents": [{"role": "user", "parts": [{"text": asked}]}]}),
        ("bedrock_converse", {"system": [{"text": said}, {"cachePoint": {}}],
                              "messages": [user([{"text": asked}, {"cachePoint": {}}])]}),
        ("ollama", {"model": "m", "messages": chat}),
        ("cohere", {"model": "m", "messages": chat}),
    ]  # fmt: skip
    protocols = {protocol.NAME: protocol for protocol in wire.PROTOCOLS}
    for name, body in bodies:
        request = Request("POST", "http://x", PATHS[name], (), json.dumps(body).encode())
        found = recognise(protocols[name].read_request(request).messages)
        assert found is not None, (name, body)
        assert found.group == "triage@1"


SEVERAL = {
    "two at the beginning": "system:\nYou sort tickets.\nsystem:\nAnswer in one word.\nuser:\n{{ t }}",
    "a developer's too": "system:\nYou sort tickets.\ndeveloper:\nAnswer in one word.\nuser:\n{{ t }}",
    "one in the middle": "system:\nYou sort.\nuser:\n1\nassistant:\na\nsystem:\nIn one word.\nuser:\n{{ t }}",
    "one behind": "user:\n{{ t }}\nsystem:\nAnswer in one word.",
    "an empty one": "system:\n{{ '' }}\nuser:\nQuestion of an odd kind: {{ t }}",
}


@pytest.mark.parametrize("shape", SEVERAL)
@pytest.mark.parametrize("form", ["anthropic", "google-genai", "blocks"])
def test_system_parts_anywhere_are_recognised_where_a_provider_has_one(library, shape, form):
    (library.directory / "several").mkdir()
    (library.directory / "several" / "1.prompty").write_text(
        f"---\nname: several\nmodel: {{id: m, options: {{maxOutputTokens: 9}}}}\n---\n{SEVERAL[shape]}\n"
    )
    call = library.get("several@1").render(t="x").expect("yes")
    protocols = {protocol.NAME: protocol for protocol in wire.PROTOCOLS}
    if form == "google-genai":
        asked = call.request(form)
        config = asked.get("config", {})
        body = {"contents": asked["contents"]}
        if "system_instruction" in config:
            body["systemInstruction"] = {"parts": [{"text": config["system_instruction"]}]}
        name = "gemini"
    else:
        body, name = dict(call.request("anthropic")), "anthropic_messages"
        if form == "blocks":
            texts = [each["content"] for each in call.messages if each["role"] in ("system", "developer")]
            body["system"] = [{"type": "text", "text": text} for text in texts]
    request = Request("POST", "http://x", PATHS[name], (), json.dumps(body).encode())
    found = recognise(protocols[name].read_request(request).messages)
    assert found is not None
    assert (found.group, found.reference) == ("several@1", "yes")


def test_two_versions_that_look_alike_to_one_provider_stay_two(library):
    (library.directory / "split").mkdir()
    for version, text in (
        (1, "system:\nYou sort.\nsystem:\nIn one word.\nuser:\n{{ t }}"),
        (2, "system:\nYou sort.\n\nIn one word.\nuser:\n{{ t }}"),
    ):
        (library.directory / "split" / f"{version}.prompty").write_text(f"---\nname: split\n---\n{text}\n")
    for first, second in (("1", "2"), ("2", "1")):
        PROCESS.forget()
        calls = {
            version: library.get(f"split@{version}").render(t="x").expect(version)
            for version in (first, second)
        }
        for version, call in calls.items():
            found = recognise(call.messages)
            assert (found.group, found.reference) == (f"split@{version}", version)
        later = [*calls["2"].messages[:1], user("something else")]
        assert recognise(later).group == "split@2"
        alone = library.get("split@1").render(t="only of the first")
        joined = [system("You sort.\n\nIn one word."), alone.messages[-1]]
        assert recognise(joined).group == "split@1"


def test_a_prompt_whose_system_part_is_empty_takes_no_other_ones_requests(library):
    (library.directory / "empty").mkdir()
    (library.directory / "empty" / "1.prompty").write_text(
        "---\nname: empty\n---\nsystem:\n{{ '' }}\nuser:\nQuestion: {{ t }}\n"
    )
    own = library.get("alone@1").render(t="x").expect("yes").messages
    library.get("empty@1").render(t="x").expect("no")
    found = recognise(own)
    assert (found.group, found.reference) == ("alone@1", "yes")
    first = library.get("triage@1").render(t="y").messages
    library.get("empty@1").render(t="later")
    assert recognise([*first, assistant("ok"), user("Question: later")]).group == "triage@1"


def test_the_application_says_which_prompt_it_edited(library):
    triage, alone = library.get("triage@1"), library.get("alone@1")
    edited = [user("nothing of it is left")]
    assert recognise(edited) is None
    with triage.use():
        assert recognise(edited).group == "triage@1"
        assert recognise(triage.render(t="x").expect("yes").messages).reference == "yes"
        with alone.use(reference="no"):
            assert (recognise(edited).group, recognise(edited).reference) == ("alone@1", "no")
        assert recognise(edited).group == "triage@1"
    assert recognise(edited) is None
    with pytest.raises(PromptError, match="reference"), triage.use(reference=3):
        pass


async def test_a_mark_is_of_its_task(library):
    edited = [user("nothing of it is left")]

    async def asked(name):
        with library.get(name).use():
            await asyncio.sleep(0.01)
            return recognise(edited).group

    assert await asyncio.gather(asked("triage@1"), asked("alone@1")) == ["triage@1", "alone@1"]
    with library.get("triage@1").use():
        elsewhere = []
        thread = threading.Thread(target=lambda: elsewhere.append(recognise(edited)))
        thread.start(), thread.join()
    assert elsewhere == [None]
