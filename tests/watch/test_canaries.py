"""Canaries: pinned questions are asked on a schedule, and what changes is found without an application's calls."""

from __future__ import annotations

import json
import sys
import time

import pytest
from openai import OpenAI

import promptguard
from promptguard.background.engine import backgrounds
from promptguard.cli import main
from promptguard.ledger import canaries as kept
from promptguard.ledger.store import Ledger
from promptguard.watch.working import Watching
from tests.conftest import close_backgrounds
from tests.servers import until

HOUR, DAY = 3600.0, 86_400.0
PROMPT = """---
name: triage
inputs: {ticket: {kind: string}}
cases:
  - {ticket: the first ticket}
  - {ticket: the second ticket}
---
system:
You sort tickets.

user:
{{ticket}}
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a prompt, and a ledger that is there."""
    (tmp_path / "prompts" / "triage").mkdir(parents=True)
    (tmp_path / "prompts" / "triage" / "4.prompty").write_text(PROMPT)
    monkeypatch.chdir(tmp_path)
    Ledger(tmp_path / "ledger").open()
    yield tmp_path / "ledger"
    close_backgrounds()


def run(capsys, *words):
    with pytest.raises(SystemExit) as done:
        main(["canary", *words])
    told = capsys.readouterr()
    return done.value.code, told.out, told.err


@pytest.fixture
def asked(provider, monkeypatch):
    """Options that name the provider."""
    monkeypatch.setenv("A_KEY", "k-canary")
    return ["--provider", "openai", "--base-url", provider.url, "--key-env", "A_KEY"]


def pinned(capsys, place, asked, *more):
    code, out, err = run(
        capsys, "record", "triage@4", "--model", "m", "--ledger", str(place), *asked, *more, "--json"
    )
    assert (code, err) == (0, "")
    return json.loads(out)


class Days:
    """A watch in simulated time."""

    def __init__(self, place, provider, monkeypatch):
        self.now = time.time() - 100 * DAY
        monkeypatch.setenv("PROMPTGUARD_REPLAY__BUDGET__CALLS_PER_MINUTE", "100000")
        self.provider = provider
        client = OpenAI(base_url=provider.url, api_key="k", max_retries=0)
        promptguard.wrap(client, ledger=place, replay=promptguard.Replay(), clock=lambda: self.now)
        self.watching = Watching(place, client)
        self.background = self.watching.background

    def pass_(self, days, every=6 * HOUR):
        for _ in range(round(days * DAY / every)):
            self.now += every * 1.2  # later than any jitter
            self.watching.ask_canaries(due=True)
            assert self.background.flush(60.0)


def test_cases_are_pinned_and_listed_and_removed(place, provider, asked, capsys):
    told = pinned(capsys, place, asked)
    assert (told["pinned"], told["new"], told["calls_per_day"]) == (2, 2, 48)
    assert pinned(capsys, place, asked, "--every", "12h")["new"] == 0
    code, out, _ = run(capsys, "list", "--ledger", str(place), "--json")
    rows = json.loads(out)["canaries"]
    assert code == 0
    assert [(row["group"], row["model"], row["every"], row["rounds"]) for row in rows] == [
        ("triage@4", "m", 43200.0, 0)
    ] * 2
    assert provider.asked("m") == 0
    code, out, _ = run(capsys, "list", "--ledger", str(place))
    assert "triage@4" in out
    code, out, _ = run(capsys, "remove", *told["ids"], "--ledger", str(place), "--json")
    assert (code, json.loads(out)) == (0, {"removed": 2})
    code, _, err = run(capsys, "remove", "none", "--ledger", str(place))
    assert (code, "no canary is called none" in err) == (2, True)


def test_a_change_is_found_and_quiet_days_are_quiet(place, provider, asked, capsys, monkeypatch):
    numbers = iter(range(10**6))
    provider.models["m"] = lambda question: f"It is about {question.text[-12:]}, number {next(numbers) % 5}."
    pinned(capsys, place, asked, "--answers", "6")
    days = Days(place, provider, monkeypatch)
    days.pass_(7)
    assert verdicts(place, days) == {"no_drift"}
    assert {json.loads(request.raw)["messages"][0]["content"] for request in provider.received} == {
        "You sort tickets."
    }
    provider.models["m"] = lambda question: "Sorry, I cannot help with that."
    for _ in range(20):
        days.pass_(0.25)
        if verdicts(place, days) == {"drift"}:
            break
    assert verdicts(place, days) == {"drift"}
    days.watching.stop()


def verdicts(place, days):
    from promptguard.report.overview import read_overview

    return {row.status for row in read_overview(place, now=days.now).rows if row.stream == "canary"}


def test_each_stored_answer_is_compared_once_and_none_too_soon(place, provider, asked, capsys, monkeypatch):
    pinned(capsys, place, asked, "--answers", "2")
    days = Days(place, provider, monkeypatch)
    for _ in range(40):
        days.pass_(0.25)
    rows = [row for row in days.background.ledger.pairs_after(0, 10_000) if row.stream == "canary"]
    assert len(rows) > 20
    assert {(row.outcome, row.reason) for row in rows} == {("compared", "")}
    assert all(row.at - row.banked_at >= DAY for row in rows)
    with days.background.ledger.reading() as connection:
        waiting = sum(kept.stored(connection).values())
        known = kept.pins(connection)
    assert all(pin.rounds == 40 for pin in known)
    assert waiting <= sum(pin.room for pin in known)
    assert provider.asked("m") == 2 * len(rows) + waiting
    days.watching.stop()


def test_the_cap_is_never_passed(place, provider, asked, capsys, monkeypatch):
    monkeypatch.setenv("PROMPTGUARD_REPLAY__BUDGET__CALLS_PER_DAY", "19")
    pinned(capsys, place, asked, "--answers", "3", "--after", "0s")
    days = Days(place, provider, monkeypatch)
    days.now = (days.now // DAY) * DAY + 60.0
    for _ in range(5):
        days.now += 600.0
        days.watching.ask_canaries(due=False)
        assert days.background.flush(60.0)
    # Six of each question are stored; a round that compares needs nine, and there is no room for a whole one.
    assert provider.asked("m") == 12
    days.watching.stop()


def test_one_round_is_begun_by_one_process(place, provider, asked, capsys):
    (name, *_) = pinned(capsys, place, asked)["ids"]
    ledger = Ledger(place)
    now = time.time()
    assert kept.claim(ledger, name, now) is not None
    assert kept.claim(ledger, name, now + HOUR) is None
    assert kept.claim(ledger, name, now + 7 * HOUR).rounds == 2
    assert kept.claim(ledger, "gone", now) is None
    ledger.close()


def test_check_asks_now_and_tells(place, provider, asked, capsys):
    code, _, err = run(capsys, "check", "--ledger", str(place), *asked)
    assert (code, "nothing is pinned" in err) == (2, True)
    pinned(capsys, place, asked, "--after", "0s")
    code, _, err = run(capsys, "check", "--ledger", str(place))
    assert (code, "canaries are asked of somebody" in err) == (2, True)
    code, out, _ = run(capsys, "check", "--ledger", str(place), *asked, "--json")
    told = json.loads(out)
    assert (code, told["asked"], told["verdict"], provider.asked("m")) == (3, 2, "unmeasured", 12)
    assert [row["stored"] for row in told["canaries"]] == [6, 6]
    code, out, _ = run(capsys, "check", "--ledger", str(place), *asked, "--json")
    told = json.loads(out)
    assert (code, provider.asked("m")) == (3, 30)
    assert {row["reason"] for row in told["canaries"]} == {"too few pairs"}
    code, out, _ = run(capsys, "check", "--ledger", str(place), *asked)
    assert (code, out) == (3, "2 asked: unmeasured\n")


def test_questions_of_replays_can_be_pinned(place, provider, asked, capsys):
    client = promptguard.wrap(
        OpenAI(base_url=provider.url, api_key="k"), ledger=place, replay=promptguard.Replay(share=1.0)
    )
    for number in range(4):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": f"ask {number}"}])
    with promptguard.subject("user-17"):  # what may be purged is not pinned
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "ask of user 17"}])
    assert promptguard.flush(60.0)
    (group,) = {row.group for row in _banked(place)}
    code, out, _ = run(capsys, "record", group, "--stored", "9", "--ledger", str(place), "--json")
    assert (code, json.loads(out)["pinned"]) == (0, 4)


def _banked(place):
    from sqlalchemy import select

    from promptguard.ledger import schema
    from promptguard.ledger.reading import reading

    with reading(place) as connection:
        return connection.execute(select(schema.banked)).all()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["triage@4"], "--model is missing"),
        (["triage@4", "--model", "m"], "whose server is asked"),
        (["triage@9", "--model", "m", "--provider", "openai"], "triage"),
        (["triage@4", "--model", "m", "--every", "1s", "--provider", "openai"], "a minute at least"),
        (["triage@4", "--model", "m", "--every", "soon"], "--every"),
        (["nothing@1", "--stored", "3"], "no stored questions"),
    ],
)
def test_what_cannot_be_pinned_is_one_line(place, capsys, words, said, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    code, out, err = run(capsys, "record", *words, "--ledger", str(place))
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_a_watch_asks_what_is_pinned(place, provider, asked, capsys, watch):
    pinned(capsys, place, asked)
    running = watch(place, *asked)
    assert running.state() == "active"
    until(lambda: provider.asked("m") == 12)
    assert running.end()[0] == 0
    assert {request.headers["authorization"] for request in provider.received} == {"Bearer k-canary"}
    assert sys.platform != "win32"
    assert backgrounds.living() == ()
