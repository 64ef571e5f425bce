"""Rollouts with the real SDK: who gets which version, what is counted, what follows, in every process."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

import promptguard
from promptguard.background import rolling
from promptguard.cli import main
from promptguard.rollout import starting
from promptguard.testing import FakeProvider, Fault, Served
from tests.cache.replies import until

pytestmark = pytest.mark.sdk
GUARD = "usable,refusal"
SECRET = "the canary of prompts"
_opened = []


@pytest.fixture
def place(tmp_path, monkeypatch):
    for version, word in ((3, "Sort"), (4, "File")):
        path = tmp_path / "prompts" / "triage" / f"{version}.prompty"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f'---\nname: triage\ninputs:\n  - {{name: ticket}}\nclasses:\n  bug: "bug"\n---\nsystem:\n{word} it.\n\nuser:\n'
            "{{ ticket }}\n"
        )
    monkeypatch.chdir(tmp_path)
    # Units of a run are those of the next one.
    monkeypatch.setattr(starting, "secrets", SimpleNamespace(token_bytes=lambda size: bytes(range(size))))
    main_ok("prompts", "label", "triage@3", "production")
    yield tmp_path
    while _opened:
        _opened.pop().close()
    for each in rolling.rollings.living():
        each.stop()
        each.join(5.0)
        rolling.rollings.discard(each)


def main_ok(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == 0


def told(capsys, *arguments):
    capsys.readouterr()
    main_ok(*arguments, "--json")
    return json.loads(capsys.readouterr().out)


def refused(capsys, *arguments):
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


@pytest.fixture
def provider():
    def answer(question):
        return "no label here" if "File" in json.dumps(question.messages) else "a bug"

    with FakeProvider({"gpt-4": answer, "gpt-4-0613": lambda _: "a bug"}) as provider:
        yield provider


def wrapped(provider, ledger=".promptguard"):
    from openai import OpenAI

    client = promptguard.wrap(OpenAI(base_url=provider.url, api_key="k", max_retries=0), ledger=ledger)
    _opened.append(client)
    followed()
    return client


def opened():
    library = promptguard.prompts("prompts")
    followed()
    return library


def followed():
    """Wait for the first look at the ledger: whoever opens it waits for half a second alone."""
    for thread in threading.enumerate():
        if thread.name == "promptguard-follow":
            thread.join(60.0)


def ask(client, library, unit, text=SECRET):
    call = library.render("triage@production", unit=unit, ticket=f"{text} {unit}")
    client.chat.completions.create(model="gpt-4", messages=call.messages)
    return call.version


def until_state(capsys, number, state):
    assert promptguard.flush(10.0)
    until(lambda: told(capsys, "rollout", "status", str(number))[0]["state"] == state)


def test_a_worse_prompt_is_rolled_back_and_nobody_gets_it_any_more(place, provider, capsys):
    main_ok("rollout", "start", "triage@4", "--guard", GUARD, "--steps", "50,100", "--why", "shorter")
    library, client = opened(), wrapped(provider)
    got = {unit: ask(client, library, unit) for unit in map(str, range(30))}
    assert set(got.values()) == {"triage@3", "triage@4"}
    assert promptguard.flush(10.0)
    told_now = told(capsys, "rollout", "status", "1")[0]
    assert (told_now["state"], told_now["share"]) == ("rolled_back", 0.0)
    assert told_now["why"].startswith("usable is worse: 100 % -> 0 %")
    assert {ask(client, library, unit) for unit in got} == {"triage@3"}
    steps = told(capsys, "rollout", "history", "1")
    assert [(step["kind"], step["by"] == "promptguard") for step in steps] == [
        ("start", False),
        ("rollback", True),
    ]
    assert steps[0]["why"] == "shorter"
    assert steps[1]["detail"]["guards"][0]["log10_evidence"] > 1.3
    assert library.labels("triage") == {"production": "3"}
    for file in (place / ".promptguard").iterdir():
        assert SECRET.encode() not in file.read_bytes()
    assert "rolled back" in _shown(capsys, "rollout", "status")
    assert "rollback" in _shown(capsys, "rollout", "history")


def _shown(capsys, *arguments):
    capsys.readouterr()
    main_ok(*arguments)
    return capsys.readouterr().out


def test_a_prompt_as_good_completes_and_its_label_moves(place, provider, capsys):
    provider.models["gpt-4"] = lambda _: "a bug"
    main_ok(
        "rollout",
        "start",
        "triage@4",
        "--guard",
        GUARD,
        "--steps",
        "20,50,100",
        "--most",
        "usable=0.5,refusal=0.5",
    )
    library, client = opened(), wrapped(provider)
    for unit in range(220):
        ask(client, library, str(unit))
        if unit % 20 == 0:
            assert promptguard.flush(10.0)
    until_state(capsys, 1, "done")
    kinds = [step["kind"] for step in told(capsys, "rollout", "history")]
    assert kinds == ["start", "advance", "complete"]
    assert library.labels("triage") == {"production": "4"}
    assert library.history("triage")[-1].why == "rollout 1 completed"
    assert ask(client, library, "anybody") == "triage@4"
    # whoever takes the label back has it back
    main_ok("prompts", "rollback", "triage")
    assert ask(client, library, "anybody") == "triage@3"


def test_a_unit_is_evidence_once_and_keeps_its_version(place, provider, capsys):
    main_ok("rollout", "start", "triage@4", "--guard", GUARD, "--steps", "50,100")
    library, client = opened(), wrapped(provider)
    with promptguard.unit("one user"):
        got = set()
        for number in range(6):
            call = library.render("triage@production", ticket=f"ticket {number}")
            client.chat.completions.create(model="gpt-4", messages=call.messages)
            got.add(call.version)
    assert len(got) == 1
    assert promptguard.flush(10.0)
    units = told(capsys, "rollout", "status", "1")[0]["evidence"]["outcomes"]
    assert units["before"] + units["now"] == 1
    questions = {
        library.render("triage@production", ticket=f"ticket {number}").version for number in range(30)
    }
    assert questions == {"triage@3", "triage@4"}  # without a unit each question is one
    assert library.get("triage@3", unit="one user").version == "3"
    assert library.get("triage@production").version == "3"


def test_a_question_that_was_rendered_before_the_rollout_is_its_evidence(place, provider, capsys):
    library, client = opened(), wrapped(provider)
    for unit in range(12):
        ask(client, library, str(unit))
    main_ok("rollout", "start", "triage@4", "--guard", GUARD, "--steps", "50,100")
    versions = set()
    until(lambda: versions.add(ask(client, library, "2")) or "triage@4" in versions)
    for unit in range(12):
        ask(client, library, str(unit))
    assert promptguard.flush(10.0)
    units = told(capsys, "rollout", "status", "1")[0]["evidence"]["outcomes"]
    assert units["before"] + units["now"] == 12


def test_pause_resume_and_abort_hold_in_a_running_process_within_two_seconds(place, provider, capsys):
    library = promptguard.prompts("prompts")
    units = [str(number) for number in range(40)]

    def versions():
        return {library.render("triage@production", unit=unit, ticket="x").version for unit in units}

    assert versions() == {"triage@3"}
    command = [sys.executable, "-m", "promptguard", "rollout"]
    subprocess.run(
        [*command, "start", "triage@4", "--guard", GUARD, "--steps", "50,100"], check=True, cwd=place
    )
    until(lambda: versions() == {"triage@3", "triage@4"}, 2.0 * 5)
    for act in ("pause", "resume", "abort"):
        subprocess.run([*command, act, "--why", "a look"], check=True, cwd=place)
    until(lambda: versions() == {"triage@3"}, 2.0 * 5)
    kinds = [(step["kind"], step["why"]) for step in told(capsys, "rollout", "history")]
    assert kinds == [("start", ""), ("pause", "a look"), ("resume", "a look"), ("abort", "a look")]
    assert "no rollout is under way" in refused(capsys, "rollout", "pause")
    assert "has ended (aborted)" in refused(capsys, "rollout", "resume", "1")


def test_a_model_is_rolled_out_and_rolled_back(place, provider, capsys):
    provider.models["gpt-4-0613"] = lambda _: Served("I'm sorry, but I cannot help with that.")
    main_ok("rollout", "start", "model:gpt-4", "--to", "gpt-4-0613", "--guard", GUARD, "--steps", "50,100")
    client = wrapped(provider)
    for number in range(40):
        client.chat.completions.create(
            model="gpt-4", messages=[{"role": "user", "content": f"question {number}"}]
        )
        if number % 10 == 0:
            assert promptguard.flush(10.0)
    until_state(capsys, 1, "rolled_back")
    assert "refusal is worse: 0 % -> 100 %" in told(capsys, "rollout", "status", "1")[0]["why"]
    before = provider.asked("gpt-4-0613")
    assert before > 3
    for number in range(10):
        client.chat.completions.create(
            model="gpt-4", messages=[{"role": "user", "content": f"later {number}"}]
        )
    assert provider.asked("gpt-4-0613") == before


def test_a_model_that_refuses_the_request_costs_no_call_and_is_rolled_back(place, provider, capsys):
    provider.models["gpt-4-0613"] = lambda _: Fault("status", 400)
    main_ok("rollout", "start", "model:gpt-4", "--to", "gpt-4-0613", "--guard", GUARD, "--steps", "50,100")
    client = wrapped(provider)
    for number in range(30):
        told_text = client.chat.completions.create(
            model="gpt-4", messages=[{"role": "user", "content": f"question {number}"}]
        )
        assert told_text.choices[0].message.content == "a bug"
    until_state(capsys, 1, "rolled_back")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("start", "triage@4"), "a rollout needs a guardrail: add --guard usable,refusal,cost,latency"),
        (("start", "triage@4", "--guard", "usabel"), "did you mean 'usable'?"),
        (("start", "triage@5", "--guard", GUARD), "has no version or label '5'"),
        (("start", "triage@3", "--guard", GUARD), "goes from one version of a prompt to another"),
        (("start", "triage@4", "--guard", GUARD, "--from", "triage@4"), "goes from one version"),
        (("start", "triage@3", "--guard", GUARD, "--from", "triage@4"), "stands on version 3, not on 4"),
        (("start", "triage@4", "--guard", GUARD, "--steps", "5,1,100"), "rising percentages"),
        (("start", "triage@4", "--guard", GUARD, "--steps", "1,x"), "write percentages"),
        (("start", "triage@4", "--guard", GUARD, "--label", "beta"), "has no label 'beta'"),
        (("start", "triage@4", "--guard", GUARD, "--alpha", "2"), "--alpha 2"),
        (("start", "triage@4", "--guard", GUARD, "--tolerance", "speed=1"), "--tolerance speed=1"),
        (("start", "model:gpt-4", "--guard", GUARD), "needs two of them"),
        (("status",), "no ledger"),
        (("abort",), "no ledger"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_said_in_one_line(place, capsys, arguments, said):
    assert said in refused(capsys, "rollout", *arguments)


def test_one_rollout_of_a_prompt_at_a_time(place, capsys):
    main_ok("rollout", "start", "triage@4", "--guard", GUARD)
    assert "promptguard rollout abort 1" in refused(capsys, "rollout", "start", "triage@4", "--guard", GUARD)
    assert "there is no rollout 7; there are: 1" in refused(capsys, "rollout", "status", "7")


def test_without_a_ledger_nothing_is_made_and_every_unit_has_the_label(place, provider):
    library, client = opened(), wrapped(provider)
    assert ask(client, library, "user-1") == "triage@3"
    assert promptguard.flush(5.0)
    assert not (place / ".promptguard").exists()


def test_a_damaged_outcome_or_step_ends_nothing(place, provider, capsys):
    main_ok("rollout", "start", "triage@4", "--guard", GUARD, "--steps", "50,100")
    with sqlite3.connect(place / ".promptguard" / "ledger.sqlite3") as database:
        database.execute(
            "INSERT INTO rollout (rollout, at, kind, by, why, detail) VALUES (9, 0, 'start', '', '', x'00')"
        )
    library, client = opened(), wrapped(provider)
    for unit in range(30):
        ask(client, library, str(unit))
    until_state(capsys, 1, "rolled_back")
