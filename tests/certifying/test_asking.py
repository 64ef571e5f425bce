"""`prompts certify` with a real SDK client and a provider on loopback: budget, stopping, going on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from promptguard.testing import FakeProvider, Fault, Question, Served
from tests.certifying.conftest import SORT, run, told, write

CASES = "cases:\n" + "".join(f"  - {{ticket: Ticket {number} burns}}\n" for number in range(120))
LINE = ("certify", "sort@2", "--on", "new", "--against", "sort@2/old", "--price", "1,4")


def plain(question: Question) -> Served:
    return Served("bug", output_tokens=2)


def chatty(question: Question) -> Served:
    return Served("Certainly! I would say that it is a **bug**, since it burns.", output_tokens=15)


@pytest.fixture
def provider(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    write(folder, "sort@2", SORT % CASES)
    with FakeProvider({"old": plain, "new": plain}) as serving:
        monkeypatch.setenv("OPENAI_BASE_URL", serving.url)
        monkeypatch.setenv("OPENAI_API_KEY", "test")
        yield serving


def test_it_asks_until_it_is_certified_and_says_what_it_cost(
    folder: Path, provider: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(capsys, *LINE, "--budget", "2usd")
    assert (found["code"], found["status"], found["pairs"]) == (0, "certified", 42)
    assert found["cases"] == [120, 120]
    # every case once on the new model; of the reference, the pairs and what was asked ahead
    assert provider.asked("new") == 120
    assert 42 <= provider.asked("old") <= 42 + 4
    assert found["calls"] == provider.asked("new") + provider.asked("old")
    # by the provider's own count: 7 tokens and a quarter of the question's characters, and 2 of the answer
    assert found["usd"] == pytest.approx(found["calls"] * (7 + 33 // 4 + 2 * 4) / 1e6, rel=0.05)
    assert list((folder / ".certify").glob("*/run.jsonl")) == []


def test_it_stops_as_soon_as_the_change_is_plain(
    folder: Path, provider: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    provider.models["new"] = chatty
    found = told(capsys, *LINE, "--budget", "2usd")
    assert (found["code"], found["status"]) == (1, "drifted")
    assert found["pairs"] <= 20
    assert provider.asked("old") <= 24


def test_the_cap_is_hard_and_the_same_command_goes_on_where_it_ended(
    folder: Path, provider: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    first = told(capsys, *LINE, "--budget", "150calls", "--at-once", "1")
    assert (first["code"], first["status"]) == (3, "untested")
    assert "the budget is spent after 30 pairs" in first["why"]
    assert first["calls"] == len(provider.received) == 150
    kept = next((folder / ".certify").glob("*/run.jsonl"))
    assert "burns" not in kept.read_text("utf-8")
    assert kept.stat().st_mode & 0o077 == 0
    second = told(capsys, *LINE, "--budget", "200calls", "--at-once", "1")
    assert (second["status"], second["pairs"], second["resumed"]) == ("certified", 42, 30)
    # answers to cases are not kept, so the pairs that are left ask both sides
    assert second["calls"] == len(provider.received) == 174
    assert second["attempt"] == 2


def test_who_waits_at_a_terminal_sees_how_far_it_is(folder: Path, provider: FakeProvider) -> None:
    pty = pytest.importorskip("pty", reason="there are no pseudo-terminals here")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "promptguard", "prompts", *LINE, "--budget", "2usd"]
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True, env=env) as running:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # how a pseudo-terminal says that nobody writes any more
            while more := os.read(ours, 65_536):
                shown += more
        os.close(ours)
        said = running.communicate(timeout=60.0)[0]
    assert running.returncode == 0
    assert "CERTIFIED  sort@2 on new" in said
    assert b"of 120 cases" in shown
    assert b"42 of about 42 pairs" in shown
    assert b"None" not in shown


def test_a_cap_in_money_holds_back_the_call_that_could_pass_it(
    folder: Path, provider: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(capsys, *LINE, "--budget", "0.02usd", "--at-once", "1")
    assert "the budget is spent" in found["why"]
    assert 0 < found["usd"] <= 0.02


def test_a_model_without_a_price_is_refused_before_anything_is_asked(
    folder: Path, provider: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*LINE[:-2], "--budget", "2usd") == 2
    err = capsys.readouterr().err
    assert "the price of new is not known" in err
    assert "--price 1.25,10" in err
    assert len(err.strip().splitlines()) == 1
    assert provider.received == []
    assert told(capsys, *LINE[:-2], "--budget", "300calls")["status"] == "certified"


def test_a_request_that_would_become_another_one_is_not_comparable_and_not_asked(
    folder: Path, provider: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, "sort@3", SORT % ("model: {options: {temperature: 0}}\n" + CASES))
    found = told(
        capsys,
        "certify",
        "sort@3",
        "--on",
        "gpt-5.6",
        "--against",
        "sort@3/old",
        "--budget",
        "2usd",
        "--price",
        "1,4",
    )
    assert (found["code"], found["status"]) == (3, "untested")
    assert "not comparable: gpt-5.6 takes the request of sort@3 only as another one" in found["why"]
    assert "temperature" in found["why"]
    assert provider.asked("gpt-5.6") == 0


def test_a_lossless_rule_is_applied_to_what_is_asked(
    folder: Path, provider: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = folder.parent / "rules.toml"
    rules.write_text(
        '[[rule]]\nid = "house"\nendpoint = "chat"\nmodels = ["new"]\nfields = ["max_completion_tokens"]\nop = "rename"\n'
        'to = "limit"\nseverity = "lossless"\nwhy = "the house server calls it limit"\nsources = ["https://house.example"]\n'
        "checked = 2026-11-26\n"
    )
    write(folder, "sort@3", SORT % ("model: {options: {maxOutputTokens: 50}}\n" + CASES))
    found = told(
        capsys, "certify", "sort@3", "--on", "new", "--against", "sort@3/old", "--budget", "400calls", "--rules", str(rules)
    )  # fmt: skip
    assert found["status"] == "certified"
    bodies = {each.model: json.loads(each.raw) for each in provider.received}
    assert bodies["new"]["limit"] == bodies["old"]["max_completion_tokens"] == 50


def test_a_provider_that_refuses_the_request_says_which_parameter(
    folder: Path, provider: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    provider.models["new"] = lambda question: Fault(
        "status", 400,
        body=json.dumps({"error": {"param": "max_tokens", "code": "unsupported_parameter", "message": "no"}}).encode(),
    )  # fmt: skip
    found = told(capsys, *LINE, "--budget", "2usd")
    assert found["status"] == "untested"
    assert "status_400: max_tokens unsupported_parameter" in found["why"]


def test_a_key_that_is_refused_is_one_line(
    folder: Path, provider: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    provider.models["new"] = lambda question: Fault("status", 401)
    assert run(*LINE, "--budget", "2usd") == 2
    assert "new cannot be asked: status_401" in capsys.readouterr().err


def test_a_case_that_fails_on_both_leaves_it_untested_and_on_one_is_a_drift(
    folder: Path, provider: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, "sort@3", SORT % "cases:\n  - {inputs: {ticket: T}, expect: bug}\n")
    line = ("certify", "sort@3", "--on", "new", "--against", "sort@3/old", "--budget", "50calls")
    provider.models["new"] = lambda question: Served("praise")
    assert told(capsys, *line)["why"] == "case 1 does not pass any more: it is not the expected answer"
    provider.models["old"] = lambda question: Served("praise")
    both = told(capsys, *line, "--fresh")
    assert (both["status"], both["code"]) == ("untested", 3)
    assert "case 1 fails on the reference as well" in both["why"]


def test_a_client_of_ones_own_is_asked_without_its_guard(
    folder: Path, provider: FakeProvider, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "ours_to_ask.py").write_text(
        "import anthropic, promptguard\n"
        f"def client(): return promptguard.wrap(anthropic.Anthropic(base_url={provider.origin!r}, api_key='k'),"
        " ledger='made-by-certify')\n"
    )
    write(folder, "sort@3", SORT % ("model: {options: {maxOutputTokens: 50}}\n" + CASES))
    found = told(
        capsys, "certify", "sort@3", "--on", "new", "--against", "sort@3/old", "--budget", "400calls", "--client",
        "ours_to_ask:client",
    )  # fmt: skip
    assert found["status"] == "certified"
    assert {each.path for each in provider.received} == {"/v1/messages"}


@pytest.mark.parametrize("spec", ["nothing", "no_such_module:client", "json:client"])
def test_a_client_that_cannot_be_made_is_one_line(
    folder: Path, provider: FakeProvider, capsys: pytest.CaptureFixture[str], spec: str
) -> None:
    assert run(*LINE, "--budget", "2usd", "--client", spec) == 2
    err = capsys.readouterr().err
    assert f"--client {spec}".split(":")[0] in err.replace("'", "")
    assert len(err.strip().splitlines()) == 1
