"""What is kept of one subject is found again and removed, to the last byte."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time

import pytest
from openai import OpenAI

import promptguard
from promptguard.cli import main
from promptguard.errors import ConfigurationError, InputFileError
from promptguard.ledger.store import Ledger
from promptguard.testing import FakeProvider

pytestmark = [pytest.mark.sdk, pytest.mark.once]

CANARY = "zqxcanary17"
OTHERS = ("Paris", "Rome")


def answer(question):
    """Say what was asked last."""
    return question.messages[-1]["content"].split()[-1]


@pytest.fixture
def provider():
    with FakeProvider({"m": answer, "n": answer}) as running:
        yield running


def wrapped(provider, ledger, **options):
    client = OpenAI(base_url=provider.url, api_key="k")
    shadow = promptguard.Shadow(
        model="n", sample=1.0, repeat=0.0, budget=promptguard.Budget(calls_per_minute=None)
    )
    replay = promptguard.Replay(share=1.0, after="1h")
    return promptguard.wrap(
        client,
        ledger=ledger,
        shadow=shadow,
        replay=replay,
        record_content=True,
        **{"cache": "disk", **options},
    )


def ask(client, words, subject=None):
    def call():
        messages = [{"role": "system", "content": "Answer in one word."}, {"role": "user", "content": words}]
        return client.chat.completions.create(model="m", temperature=0, messages=messages)

    if subject is None:
        return call()
    with promptguard.subject(subject):
        return call()


def talk(provider, ledger, **options):
    """Calls of one subject and of others, with everything that keeps something switched on."""
    client = wrapped(provider, ledger, **options)
    for number in range(4):
        ask(client, f"question {number} {OTHERS[number % 2]}")
        ask(client, f"my secret {number} is {CANARY}", subject=CANARY)
    assert promptguard.flush(60.0)
    cache = client._client._transport._promptguard_ports.cache
    assert cache.flush(60.0)
    return client


def files_with(directory, what):
    return [
        path.name for path in directory.rglob("*") if path.is_file() and what.encode() in path.read_bytes()
    ]


def purged(ledger, subject, capsys, code=0):
    with pytest.raises(SystemExit) as ended:
        main(["purge", "--subject", subject, "--ledger", str(ledger), "--json"])
    assert ended.value.code == code
    return json.loads(capsys.readouterr().out)


def test_no_byte_is_left_in_any_file_and_others_keep_theirs(provider, guarded, capsys):
    client = talk(provider, guarded)
    client.close()
    assert files_with(guarded, CANARY), "what is to be purged must have been kept"
    told = purged(guarded, CANARY, capsys)
    assert (told["pairs"], told["texts"], told["stored"], told["cached"]) == (4, 4, 4, 4)
    assert told["expunged"]
    assert files_with(guarded, CANARY) == []
    assert files_with(guarded, OTHERS[0])
    rows = Ledger(guarded).pairs_after(0)
    assert sorted({row.outcome for row in rows}) == ["compared", "purged"]
    again = purged(guarded, CANARY, capsys)
    assert not any(again[name] for name in ("pairs", "texts", "stored", "cached"))


def test_a_process_that_runs_forgets_it_too(provider, guarded, capsys):
    client = talk(provider, guarded)
    purged(guarded, CANARY, capsys)
    ask(client, "question 9 Oslo")
    assert promptguard.flush(60.0)
    client.close()
    deadline = time.monotonic() + 30.0
    while files_with(guarded, CANARY) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert files_with(guarded, CANARY) == []
    assert [verdict.pairs for verdict in promptguard.verdicts(guarded) if verdict.stream == "candidate"]


def test_the_subject_itself_is_never_kept(provider, guarded):
    client = wrapped(provider, guarded)
    ask(client, "question Paris", subject=CANARY)
    assert promptguard.flush(60.0)
    client.close()
    assert files_with(guarded, CANARY) == []
    rows = Ledger(guarded).pairs_after(0)
    assert all(len(row.subject) == 32 for row in rows)


def test_the_purge_is_noted_without_the_subject(provider, guarded, capsys):
    talk(provider, guarded).close()
    purged(guarded, CANARY, capsys)
    with contextlib.closing(sqlite3.connect(guarded / "ledger.sqlite3")) as database, database:
        ((detail,),) = database.execute("SELECT detail FROM occurrence WHERE kind = 'purge'").fetchall()
    noted = json.loads(detail)
    assert noted.pop("by", "somebody")
    assert noted == {"pairs": 4, "texts": 4, "stored": 4, "cached": 4, "waiting": 0, "anew": noted["anew"]}


@pytest.mark.parametrize("subject", ["", 7, None])
def test_a_subject_is_a_text(subject, guarded):
    with pytest.raises(ConfigurationError, match="non-empty text"), promptguard.subject(subject):
        pass
    with pytest.raises(ConfigurationError, match="non-empty text"):
        promptguard.purge(guarded, subject=subject)


def test_without_a_ledger_there_is_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["purge", "--subject", "x", "--ledger", str(tmp_path / "none")])
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    with pytest.raises(InputFileError):
        promptguard.purge(tmp_path / "none", subject="x")


def test_a_server_keeps_no_byte_of_it_either(provider, guarded, valkey, monkeypatch):
    monkeypatch.setenv("PROMPTGUARD_CACHE", valkey.url)
    monkeypatch.setenv("PROMPTGUARD_SECRET", "s" * 64)
    talk(provider, guarded, cache=valkey.url).close()
    client = valkey.client()

    def held():
        client.save()
        return CANARY.encode() in (valkey.directory / "dump.rdb").read_bytes()

    client.config_set("rdbcompression", "no")
    assert held()
    monkeypatch.delenv("PROMPTGUARD_CACHE")
    missed = promptguard.purge(guarded, subject=CANARY)
    assert (missed.cached, [place.removesuffix("/0") for place in missed.unseen]) == (
        0,
        [valkey.url.removesuffix("/0")],
    )
    assert held()
    monkeypatch.setenv("PROMPTGUARD_CACHE", valkey.url)
    assert promptguard.purge(guarded, subject=CANARY).cached == 4
    assert not held()
    client.close()
