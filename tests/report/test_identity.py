"""Who answered, from the calls of a real client to what status and the report say of it."""

from __future__ import annotations

import contextlib
import json
import sqlite3

import pytest

import promptguard
from promptguard.cli import main
from promptguard.dashboard import render_report
from promptguard.ledger.writer import MOST_IDENTITIES, OTHERS
from promptguard.report.read import read_report
from promptguard.report.whole import read_whole
from promptguard.testing import FakeClock, FakeProvider, Served
from tests.conftest import close_backgrounds

pytestmark = pytest.mark.sdk
HOUR = 3600.0


def calls(ledger, models, count=40, every=900.0, **options):
    """Make calls that are all different, a quarter of an hour apart; `models` says who serves the n-th."""
    from openai import OpenAI

    clock, number = FakeClock(), 0
    with FakeProvider(
        {"gpt-4": lambda _: Served("fine", model=models(number)), "other": lambda _: "fine"}
    ) as provider:
        client = promptguard.wrap(
            OpenAI(base_url=provider.url, api_key="k"), ledger=ledger, clock=clock, seed=1, **options
        )
        for number in range(count):
            clock.advance(every)
            client.chat.completions.create(
                model="gpt-4", messages=[{"role": "user", "content": f"q {number}"}]
            )
            assert promptguard.flush(60.0)
        promptguard.unwrap(client)
        client.close()
        close_backgrounds()
    return read_report(ledger)


def about(report, attribute="model"):
    return [fact for fact in report.identity_facts if fact.attribute == attribute and fact.asked == "gpt-4"]


SHADOW = promptguard.Shadow(
    model="other", sample=1.0, repeat=0.0, budget=promptguard.Budget(calls_per_minute=None)
)


@pytest.mark.parametrize(
    "options",
    [{"shadow": SHADOW}, {"cache": "disk"}, {"shadow": SHADOW, "cache": "memory"}],
    ids=["sampled", "cached", "both"],
)
def test_every_answer_that_is_read_counts_once(tmp_path, options):
    report = calls(tmp_path / "ledger", lambda n: "gpt-4-0613", count=12, **options)
    (fact,) = about(report)
    assert (fact.kind, fact.value, fact.answers) == ("resolved", "gpt-4-0613", 12)
    assert fact.origin.startswith("http://127.0.0.1:")
    assert [seen.calls for seen in report.identities if seen.asked == "gpt-4"] == [12]


def test_both_sides_of_a_pair_are_read_with_their_headers(tmp_path):
    """Were the header read on one side alone, every name that both sides ask for would look like a mixture."""
    from openai import OpenAI

    headers = {"x-ms-region": "Sweden Central"}
    served = {"gpt-4": lambda _: Served("fine", headers=headers)}
    repeat = promptguard.Shadow(model="other", sample=1.0, repeat=1.0)
    with FakeProvider(served) as provider:
        for name in ("plain", "renewing"):  # over HTTP alone, and by the SDK's own copy of the client
            key = "k" if name == "plain" else lambda: "k"
            client = promptguard.wrap(
                OpenAI(base_url=provider.url, api_key=key), ledger=tmp_path / name, shadow=repeat
            )
            client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "q"}])
            assert promptguard.flush(60.0)
            (seen,) = read_report(tmp_path / name).identities
            assert (seen.calls, seen.region, seen.model) == (2, "Sweden Central", "gpt-4")
            client.close()
            close_backgrounds()


def test_hits_are_nobodys_answers(tmp_path):
    from openai import OpenAI

    with FakeProvider({"gpt-4": lambda _: "fine"}) as provider:
        client = promptguard.wrap(OpenAI(base_url=provider.url, api_key="k"), ledger=tmp_path, cache="disk")
        for _ in range(3):
            client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "q"}])
            assert client._client._transport._promptguard_ports.cache.flush(60.0)
        assert promptguard.flush(60.0)
        assert provider.asked("gpt-4") < 3
        client.close()
    (fact,) = about(read_report(tmp_path))
    assert fact.answers == provider.asked("gpt-4")
    close_backgrounds()


def test_a_change_is_told_everywhere_and_is_no_verdict(tmp_path, capsys):
    ledger = tmp_path / "ledger"
    report = calls(ledger, lambda n: "gpt-4-0613" if n < 20 else "gpt-4o", shadow=SHADOW)
    assert [fact.kind for fact in about(report)] == ["resolved", "rewritten", "changed"]
    assert report.status != "drift"
    with pytest.raises(SystemExit) as ended:
        main(["status", "--ledger", str(ledger)])
    assert ended.value.code != 1
    said = " ".join(capsys.readouterr().out.split())
    assert "model changed from gpt-4-0613 to gpt-4o between" in said
    assert "a changed identity is no verdict" in said
    with pytest.raises(SystemExit):
        main(["status", "--json", "--ledger", str(ledger)])
    told = json.loads(capsys.readouterr().out)["identity"]
    (change,) = [fact for fact in told if fact["kind"] == "changed"]
    assert (change["before"], change["after"], change["ongoing"]) == (["gpt-4-0613"], ["gpt-4o"], False)
    page = render_report(read_whole(ledger))
    assert "model changed from gpt-4-0613 to gpt-4o" in page
    assert "no verdict" in page


def test_hostile_names_are_text(tmp_path, capsys):
    report = calls(tmp_path / "ledger", lambda n: "<b>\x1b[31m" + "x" * 500, count=2, cache="disk")
    assert len(about(report)[0].value) == 200
    with pytest.raises(SystemExit):
        main(["status", "--ledger", str(tmp_path / "ledger")])
    assert "\x1b" not in capsys.readouterr().out
    page = render_report(read_whole(tmp_path / "ledger"))
    assert "<b>" not in page.split("<h2>Who answered</h2>")[1]


def test_a_ledger_of_before_is_read_and_goes_on(tmp_path):
    calls(tmp_path, lambda n: "gpt-4-0613", count=3, cache="disk")
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as ledger, ledger:
        ledger.execute("DROP TABLE sighting")
        ledger.execute("UPDATE meta SET value = CAST('1' AS BLOB) WHERE name = 'schema_version'")
        ledger.execute(
            "INSERT INTO identity(asked, served, fingerprint, service_tier, region, first_at, last_at, calls) "
            "VALUES ('gpt-4', 'gpt-4-0314', 'fp', '', '', 10.0, 20.0, 7)"
        )
    ledger.close()
    (fact,) = about(read_report(tmp_path))
    assert (fact.value, fact.answers, fact.origin) == ("gpt-4-0314", 7, "")
    facts = about(calls(tmp_path, lambda n: "gpt-4-0613", count=3, cache="disk"))
    assert {(fact.value, fact.answers) for fact in facts} == {("gpt-4-0314", 7), ("gpt-4-0613", 3)}


def test_hours_are_rows_of_their_own_and_processes_add_up(tmp_path):
    from promptguard.ledger.store import Ledger

    one, other = Ledger(tmp_path), Ledger(tmp_path)
    who = ("https://x", "gpt-4", "m", "", "", "", "")
    one.note_sightings({who: (HOUR + 50.0, HOUR + 60.0, 2)})
    other.note_sightings({who: (HOUR + 10.0, HOUR + 55.0, 3)})
    one.note_sightings({who: (2 * HOUR, 2 * HOUR + 1, 1)})
    (seen,) = read_report(tmp_path).identities
    assert (seen.first_at, seen.last_at, seen.calls) == (HOUR + 10.0, 2 * HOUR + 1, 6)
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as ledger, ledger:
        rows = ledger.execute("SELECT hour, first_at, last_at, calls FROM sighting ORDER BY hour").fetchall()
    ledger.close()
    assert rows == [(1, HOUR + 10.0, HOUR + 60.0, 5), (2, 2 * HOUR, 2 * HOUR + 1, 1)]
    one.close(), other.close()


def test_a_server_with_a_new_name_for_every_answer_fills_no_ledger(tmp_path, monkeypatch):
    assert MOST_IDENTITIES <= 500
    monkeypatch.setattr("promptguard.ledger.writer.MOST_IDENTITIES", 15)
    report = calls(tmp_path, lambda n: f"m-{n}", count=22, every=1.0, cache="disk")
    names = {seen.model: seen.calls for seen in report.identities}
    assert len(names) == 15 + 1
    assert names[OTHERS] == 7
