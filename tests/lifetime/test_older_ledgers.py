"""Ledgers of every older shape open, keep their verdicts, and go on. The files beside were written by those versions."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from openai import OpenAI

import promptguard
from promptguard.cli import main
from promptguard.drift.features import vector
from promptguard.ledger.schema import SCHEMA_VERSION
from promptguard.testing import FakeProvider
from tests.files import asked_of

OLDER = sorted(Path(__file__).parents[1].joinpath("ledgers").glob("schema*.sqlite3"))
STANDING = {
    ("candidate", "(no template)", "drift", 35, 12, 9.577),
    ("candidate", "system:85ef60a6ebf5", "drift", 35, 12, 9.577),
    ("repeat", "(no template)", "unmeasured", 5, None, 0.0),
    ("repeat", "system:85ef60a6ebf5", "unmeasured", 5, None, 0.0),
}
"""What the version that wrote `schema1` said of it: stream, group, status, pairs, alarm, log10 of the evidence."""


@pytest.fixture(params=OLDER, ids=lambda path: path.stem)
def older(request, guarded):
    guarded.mkdir()
    shutil.copy(request.param, guarded / "ledger.sqlite3")
    return guarded


def told(ledger):
    return {
        (v.stream, v.group, v.status, v.pairs, v.alarm_at, round(v.log10_evidence, 3))
        for v in promptguard.verdicts(ledger)
    }


def call(ledger, count, provider):
    client = OpenAI(base_url=provider.url, api_key="k")
    shadow = promptguard.Shadow(
        model="gpt-4-0314", sample=1.0, repeat=0.0, budget=promptguard.Budget(calls_per_minute=None)
    )
    promptguard.wrap(client, ledger=ledger, shadow=shadow, drift=promptguard.Drift(mode="gate"))
    for number in range(count):
        client.chat.completions.create(
            model="gpt-4", messages=[{"role": "user", "content": f"again {number}"}]
        )
    assert promptguard.flush(100.0)
    client.close()


def test_a_reader_finds_the_verdicts_and_changes_nothing(older, capsys):
    before = hashlib.sha256((older / "ledger.sqlite3").read_bytes()).digest()
    assert told(older) == STANDING
    with pytest.raises(SystemExit) as ended:
        main(["status", "--ledger", str(older)])
    assert ended.value.code == 1
    assert "DRIFT" in capsys.readouterr().out
    assert hashlib.sha256((older / "ledger.sqlite3").read_bytes()).digest() == before


@pytest.mark.sdk
def test_a_writer_migrates_it_and_goes_on_from_the_same_verdicts(older):
    with FakeProvider({"gpt-4": lambda _: "No, never at all.", "gpt-4-0314": lambda _: "Yes."}) as provider:
        call(older, 5, provider)
    # folded anew by today's features, of which there are more
    now = {place[:2]: place[2:] for place in told(older)}
    assert now["candidate", "system:85ef60a6ebf5"] == (
        "drift",
        35,
        12,
        9.735,
    )  # no pair came, and nothing was lost
    assert now["candidate", "(no template)"][:3] == ("drift", 40, 12)
    database = older / "ledger.sqlite3"
    version = asked_of(database, "SELECT value FROM meta WHERE name = 'schema_version'")
    assert version == [(str(SCHEMA_VERSION).encode(),)]
    sums = asked_of(database, "SELECT outcome, sum(pairs) FROM tally GROUP BY outcome")
    assert dict(sums) == dict(asked_of(database, "SELECT outcome, count(*) FROM pair GROUP BY outcome"))
    by_prompt = asked_of(database, 'SELECT "group", sum(pairs) FROM group_tally GROUP BY "group"')
    query = 'SELECT "group", sum(outcome = \'compared\') FROM pair GROUP BY "group"'
    assert dict(by_prompt) == dict(asked_of(database, query))


@pytest.mark.sdk
def test_a_new_schema_of_features_keeps_what_was_measured(older, monkeypatch):
    """Vectors say the schema they were made with; an older one is read, what it did not know being absent."""
    monkeypatch.setattr(vector, "SCHEMA", vector.SCHEMA + 1)
    with FakeProvider({"gpt-4": lambda _: "No, never at all.", "gpt-4-0314": lambda _: "Yes."}) as provider:
        call(older, 2, provider)
    assert {(stream, status) for stream, _, status, *_ in told(older)} == {
        ("candidate", "drift"),
        ("repeat", "unmeasured"),
    }


def test_fewer_features_are_read_and_more_are_not():
    made = vector.vectorise(vector.Answer("yes, 42 " * 9), vector.Answer("no"), seed=b"s").to_bytes()
    header = bytearray(made[: vector._HEADER.size])
    values = made[vector._HEADER.size : vector._HEADER.size + 4 * vector.COUNT]
    rest = made[vector._HEADER.size + 4 * vector.COUNT :]
    short = vector.COUNT - 3
    one, other = values[: 2 * short], values[2 * vector.COUNT : 2 * (vector.COUNT + short)]
    header[3] = vector.SCHEMA - 1
    header[4:6] = short.to_bytes(2, "little")
    read = vector.PairVector.from_bytes(bytes(header) + one + other + rest)
    whole = vector.PairVector.from_bytes(made)
    assert (read.control[:short] == whole.control[:short]).all()
    assert not read.control[short:].any()
    assert not read.candidate[short:].any()
    assert (read.hashed == whole.hashed).all()
    header[3] = vector.SCHEMA + 1
    with pytest.raises(ValueError, match="reads up to"):
        vector.PairVector.from_bytes(bytes(header) + one + other + rest)
