"""Rollouts with the real SDK: who gets which version, what is counted, what follows, in every process."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from benchmarks.rollout import rollout
from sqlalchemy import update

import promptguard
from promptguard.background import rolling
from promptguard.ledger import schema
from promptguard.ledger.rollouts import Rollouts
from promptguard.ledger.store import Ledger
from promptguard.rollout.labels import InTheWay, move_label
from promptguard.sources.library import open_prompts
from promptguard.templates.certificates import Certificate
from promptguard.templates.library import PromptLibrary
from promptguard.testing import Fault, Served
from tests.cache.replies import until
from tests.rollout.conftest import GUARD, SECRET, ask, main_ok, opened, refused, shown, told, wrapped, write

pytestmark = pytest.mark.sdk


def until_state(capsys, number, state):
    assert promptguard.flush(100.0)
    until(lambda: told(capsys, "rollout", "status", str(number))[0]["state"] == state)


def test_a_worse_prompt_is_rolled_back_and_nobody_gets_it_any_more(place, provider, capsys):
    main_ok("rollout", "start", "triage@4", "--guard", GUARD, "--steps", "50,100", "--why", "shorter")
    library, client = opened(), wrapped(provider)
    got = {unit: ask(client, library, unit) for unit in map(str, range(30))}
    assert set(got.values()) == {"triage@3", "triage@4"}
    assert promptguard.flush(100.0)
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
    assert "rolled back" in shown(capsys, "rollout", "status")
    assert "rollback" in shown(capsys, "rollout", "history")


def test_who_stood_still_while_another_took_over_notes_no_step(place, provider, capsys, monkeypatch):
    decided = []

    def decide(*arguments):
        found = rolling.decide.plain(*arguments)
        if found is not None:  # each time: a busy machine comes to the next turn, and takes the lease back
            decided.append(found)
            with Ledger(place / ".promptguard").transaction() as connection:
                taken = update(schema.lease).where(schema.lease.c.name == rolling.LEASE)
                connection.execute(taken.values(holder="another host", expires=time.time() + 3600.0))
        return found

    decide.plain = rolling.decide
    monkeypatch.setattr(rolling, "decide", decide)
    main_ok("rollout", "start", "triage@4", "--guard", GUARD, "--steps", "50,100")
    library, client = opened(), wrapped(provider)
    for unit in map(str, range(30)):
        ask(client, library, unit)
    promptguard.flush(100.0)
    assert {found.kind for found in decided} == {"rollback"}
    assert [step["kind"] for step in told(capsys, "rollout", "history", "1")] == ["start"]


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
            assert promptguard.flush(100.0)
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
    assert promptguard.flush(100.0)
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
    assert promptguard.flush(100.0)
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
            assert promptguard.flush(100.0)
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
        (("start", "triage@6", "--guard", GUARD), "has no version or label '6'"),
        (("start", "triage@3", "--guard", GUARD), "goes from one version of a prompt to another"),
        (("start", "triage@4", "--guard", GUARD, "--from", "triage@4"), "goes from one version"),
        (("start", "triage@3", "--guard", GUARD, "--from", "triage@4"), "stands on version 3, not on 4"),
        (("start", "triage@4", "--guard", GUARD, "--steps", "5,1,100"), "rising percentages"),
        (("start", "triage@4", "--guard", GUARD, "--steps", "1,x"), "write percentages"),
        (("start", "triage@4", "--guard", GUARD, "--label", "beta"), "has no label 'beta'"),
        (("start", "triage@4", "--guard", GUARD, "--alpha", "2"), "--alpha 2"),
        (("start", "triage@4", "--guard", GUARD, "--tolerance", "speed=1"), "--tolerance speed=1"),
        (("start", "model:gpt-4", "--guard", GUARD), "needs two of them"),
        (("start", "trige@4", "--guard", GUARD), "did you mean 'triage'"),
        (("start", "triage@4", "--guard", GUARD, "--from", "triage@9"), "has no version or label '9'"),
        (("start", "triage@5", "--guard", GUARD, "--from", "triage@3"), "triage@5 needs 'priority', which triage@3"),
        (("status",), "no ledger"),
        (("abort",), "no ledger"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_said_in_one_line(place, capsys, arguments, said):
    write(place, 5, "user:\n{{ ticket }} {{ priority }}", "inputs: {ticket: string, priority: string}")
    assert said in refused(capsys, "rollout", *arguments)


def test_one_rollout_of_a_prompt_at_a_time(place, capsys):
    main_ok("rollout", "start", "triage@4", "--guard", GUARD)
    assert "promptguard rollout abort 1" in refused(capsys, "rollout", "start", "triage@4", "--guard", GUARD)
    for wrong in ("7", "triage@5", "trage"):
        told = refused(capsys, "rollout", "status", wrong)
        assert f"there is no rollout {wrong}; there are: 1 (triage@4)" in told


def test_a_rollout_is_named_by_its_number_or_by_what_is_rolled_out(place, capsys):
    main_ok("rollout", "start", "triage@4", "--guard", GUARD)
    main_ok("rollout", "abort", "triage")
    main_ok("rollout", "start", "triage@4", "--guard", GUARD)
    main_ok("rollout", "start", "model:gpt-4", "--to", "gpt-4-0613", "--guard", GUARD)
    assert "say which one, 2 (triage), 3 (model:gpt-4)" in refused(capsys, "rollout", "pause")
    main_ok("rollout", "pause", "model:gpt-4")
    main_ok("rollout", "abort", "triage@4")  # the one under way, not the first
    capsys.readouterr()
    for which, number, state in (
        ("triage", 2, "aborted"), ("triage@4", 2, "aborted"), ("1", 1, "aborted"), ("model:gpt-4", 3, "paused"),
    ):  # fmt: skip
        main_ok("rollout", "status", which, "--json")
        (told,) = json.loads(capsys.readouterr().out)
        assert (told["number"], told["state"]) == (number, state)
        main_ok("rollout", "history", which, "--json")
        assert {step["rollout"] for step in json.loads(capsys.readouterr().out)} == {number}


def test_a_version_that_cannot_take_what_the_application_gives_costs_no_call(place, provider, capsys):
    write(place, 5, "user:\n{{ ticket }}", "inputs:\n  ticket: integer")
    main_ok("rollout", "start", "triage@5", "--guard", GUARD, "--steps", "50,100")
    library, client = opened(), wrapped(provider)
    assert {library.get("triage@production", unit=str(unit)).version for unit in range(30)} == {"3", "5"}
    assert {ask(client, library, str(unit)) for unit in range(30)} == {"triage@3"}
    until_state(capsys, 1, "rolled_back")
    assert "usable is worse: 100 % -> 0 %" in told(capsys, "rollout", "status", "1")[0]["why"]


def test_a_version_that_is_gone_or_was_edited_is_not_used(place, provider):
    main_ok("rollout", "start", "triage@4", "--guard", GUARD, "--steps", "50,100")
    library = opened()
    assert {library.get("triage@production", unit=str(unit)).version for unit in range(30)} == {"3", "4"}
    (place / "prompts" / "triage" / "4.prompty").unlink()
    assert {library.get("triage@production", unit=str(unit)).version for unit in range(30)} == {"3"}
    assert library.render("triage@production", unit="2", ticket="x").version == "triage@3"


def test_without_a_ledger_nothing_is_made_and_every_unit_has_the_label(place, provider):
    library, client = opened(), wrapped(provider)
    assert ask(client, library, "user-1") == "triage@3"
    assert promptguard.flush(100.0)
    assert not (place / ".promptguard").exists()


@pytest.mark.parametrize("is_rolled_out", [False, True])
def test_what_may_be_a_unit_does_not_depend_on_a_rollout(place, is_rolled_out):
    if is_rolled_out:
        main_ok("rollout", "start", "triage@4", "--guard", GUARD, "--steps", "50,100")
    library = opened()

    def version(**unit):
        return library.render("triage@production", ticket="x", **unit).version

    for number in range(12):
        with promptguard.unit(number):
            assert version() == version(unit=number) == version(unit=str(number))
            assert library.get("triage@production", unit=number).version == version()[-1]
    with promptguard.unit(1), promptguard.unit(""):
        assert library.get("triage@production", unit="").version == "3"
        assert version(unit="") == version()
    for given in (b"x", ["u"], 1.5, True):
        with pytest.raises(promptguard.ConfigurationError, match="unit"):
            version(unit=given)
        with pytest.raises(promptguard.ConfigurationError, match="unit"):
            library.get("triage@3", unit=given)
        with pytest.raises(promptguard.ConfigurationError, match="unit"), promptguard.unit(given):
            pass


def outcomes_that_complete(place):
    rows = [
        {"rollout": 1, "unit": number.to_bytes(8, "big"), "step": 0, "treated": number % 2, "at": 1.0, "usable": 1,
         "refused": 0, "usd": None, "latency": 0.1, "answer": None}
        for number in range(2_000)
    ]  # fmt: skip
    ledger = Ledger(place / ".promptguard")
    Rollouts(ledger).put(rows)
    ledger.close()


def test_a_label_that_was_moved_by_hand_stays_and_pauses_the_rollout(place, capsys):
    write(place, 2, "user:\n{{ ticket }}")
    main_ok("rollout", "start", "triage@4", "--guard", GUARD, "--steps", "50,100")
    library = opened()
    assert library.get("triage@production", unit="u").version in ("3", "4")
    assert "by hand" not in shown(capsys, "rollout", "status")
    main_ok("prompts", "label", "triage@2", "production", "--why", "emergency")
    assert {library.get("triage@production", unit=unit).version for unit in range(9)} == {"2"}
    assert "label moved by hand to 2" in shown(capsys, "rollout", "status")
    outcomes_that_complete(place)
    until_state(capsys, 1, "paused")
    status = told(capsys, "rollout", "status", "1")[0]
    assert (status["why"], status["label_moved_to"]) == ("label moved by hand to 2", "2")
    assert library.labels("triage") == {"production": "2"}
    main_ok("rollout", "resume")
    until(lambda: len(told(capsys, "rollout", "history")) == 4)
    assert told(capsys, "rollout", "status", "1")[0]["state"] == "paused"
    main_ok("prompts", "label", "triage@3", "production")
    main_ok("rollout", "resume")
    until_state(capsys, 1, "done")
    assert library.labels("triage") == {"production": "4"}


def test_a_move_by_hand_wins_while_the_label_is_being_moved(place, monkeypatch):
    write(place, 2, "user:\n{{ ticket }}")
    library = open_prompts("prompts")
    begun = replace(rollout(0, ("usable",)), subject="triage", before="3", to="4", folder=library.place)
    reads = PromptLibrary.labels

    def moved_meanwhile(self, name):
        found = reads(self, name)
        library.label("triage@2", "production")
        return found

    monkeypatch.setattr(PromptLibrary, "labels", moved_meanwhile)
    assert move_label(begun, "promptguard") == InTheWay("label moved by hand to 2", by_hand=True)
    assert reads(library, "triage") == {"production": "2"}


def test_a_row_that_cannot_be_read_hides_no_abort(place):
    main_ok("rollout", "start", "triage@4", "--guard", GUARD, "--steps", "50,100")
    library = opened()

    def versions():
        return {library.get("triage@production", unit=unit).version for unit in range(30)}

    assert versions() == {"3", "4"}
    with contextlib.closing(sqlite3.connect(place / ".promptguard" / "ledger.sqlite3")) as database, database:
        database.execute(
            "INSERT INTO rollout (rollout, at, kind, by, why, detail) VALUES (1, 'x', 'resume', '', '', '{}'), "
            "(1, 1.0, CAST(x'ff' AS TEXT), '', '', '{}'), (1, 1.0, 'abort', '', '', '{}')"
        )
    until(lambda: versions() == {"3"})
    main_ok("rollout", "history")


def test_certificates_exchange_versions_again_once_a_rollout_has_ended(place):
    write(place, 2, "user:\n{{ ticket }}", "models: [gpt-5.6]\ninputs:\n  - {name: ticket}")
    library = opened()
    library.certify(Certificate("triage", "2", "gpt-5.6", "certified"))

    def version(reference="triage@production"):
        return library.render(reference, "gpt-5.6", ticket="x").version

    assert version() == "triage@2"
    main_ok("rollout", "start", "triage@4", "--guard", GUARD)
    until(lambda: version() != "triage@2")
    main_ok("rollout", "abort")
    until(lambda: version() == "triage@2")
    assert {library.get("triage", unit=unit).version for unit in range(9)} == {"3"}  # not what was aborted


def test_flush_waits_for_a_rollout_where_prompts_alone_are_used(place):
    main_ok("rollout", "start", "triage@4", "--guard", GUARD, "--steps", "50,100")
    program = (
        "import promptguard, time\nlibrary = promptguard.prompts('prompts')\n"
        "library.render('triage@production', unit='u', ticket='x')\n"
        "import promptguard.background.rolling\nprint(promptguard.flush(30))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, cwd=place, capture_output=True, text=True
    )
    assert done.stdout == "True\n", done.stderr


def test_a_damaged_outcome_or_step_ends_nothing(place, provider, capsys):
    guards = "usable,refusal,cost,latency,behaviour"
    main_ok("rollout", "start", "triage@4", "--guard", guards, "--steps", "50,100")
    with contextlib.closing(sqlite3.connect(place / ".promptguard" / "ledger.sqlite3")) as database, database:
        database.execute(
            "INSERT INTO rollout (rollout, at, kind, by, why, detail) VALUES (9, 0, 'start', '', '', x'00')"
        )
        for number in range(4):
            database.execute(
                "INSERT INTO outcome (rollout, unit, step, treated, at, usable, refused, usd, latency, answer) "
                "VALUES (1, ?, 'x', ?, 'x', 'x', 'x', 'x', 'x', x'00')",
                (bytes([number]), number % 2),
            )
    library, client = opened(), wrapped(provider)
    for unit in range(30):
        ask(client, library, str(unit))
    until_state(capsys, 1, "rolled_back")
