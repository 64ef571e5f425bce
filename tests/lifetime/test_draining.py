"""Short-lived processes leave their pairs in a directory of their own; `promptguard drain` takes each of them once."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

import pytest
from openai import OpenAI
from sqlalchemy import select

import promptguard
from promptguard.cli import main
from promptguard.drift import Answer, vectorise
from promptguard.errors import InputFileError
from promptguard.ledger import draining, room, schema
from promptguard.ledger.draining import drain
from promptguard.ledger.spool import Numbered, Spool
from promptguard.ledger.store import Ledger
from promptguard.ledger.writer import Writer
from promptguard.testing import FakeProvider
from tests.conftest import close_backgrounds
from tests.servers import until


@pytest.fixture(autouse=True)
def _secret(monkeypatch):
    monkeypatch.setenv("PROMPTGUARD_SECRET", "the secret of all processes")


def pair(ledger, number, **changes):
    return {
        "stream": "candidate", "epoch": 1, "group": "g@1", "at": float(number), "call": number, "outcome": "compared",
        "reason": "", "asked": "m", "control_model": "m", "candidate_model": "n",
        "vector": vectorise(Answer("yes"), Answer("yes"), seed=ledger.seed).to_bytes(), **changes,
    }  # fmt: skip


def calls(ledger):
    return [row.call for row in ledger.pairs_after(0, 100_000)]


@pytest.fixture
def ledgers(tmp_path):
    made = [Ledger(tmp_path / name) for name in ("functions", "judged")]
    yield made
    for each in made:
        each.close()


def test_each_pair_is_taken_once(ledgers, tmp_path):
    source, target = ledgers
    source.write_pairs([pair(source, number) for number in range(1200)])
    assert drain(tmp_path / "functions", tmp_path / "judged").pairs == 1200
    assert calls(target) == list(range(1200))
    assert drain(tmp_path / "functions", tmp_path / "judged").pairs == 0
    assert calls(source) == [1199]  # the last one stays, so that its number is not given again
    source.write_pairs([pair(source, 1200), pair(source, 1201)])
    assert drain(tmp_path / "functions", tmp_path / "judged").pairs == 2
    assert calls(target) == list(range(1202))


def test_what_one_ledger_has_taken_no_other_takes(ledgers, tmp_path):
    source, _ = ledgers
    source.write_pairs([pair(source, number) for number in range(3)])
    assert drain(tmp_path / "functions", tmp_path / "judged").pairs == 3
    assert drain(tmp_path / "functions", tmp_path / "another").pairs == 0
    source.write_pairs([pair(source, 3, outcome="dropped", reason="queue full"), pair(source, 4)])
    assert drain(tmp_path / "functions", tmp_path / "another") == draining.Drained(2, 1, 0)


def test_drained_pairs_that_nobody_judged_are_told_so(ledgers, tmp_path, capsys):
    source, _ = ledgers
    source.write_pairs([pair(source, number) for number in range(3)])
    drain(tmp_path / "functions", tmp_path / "judged")
    with pytest.raises(SystemExit):
        main(["status", "--ledger", str(tmp_path / "judged")])
    told = capsys.readouterr().out
    assert "not judged yet" in told
    assert "next: promptguard watch" in told
    assert "promptguard plan" not in told


@pytest.mark.parametrize("chunks", [0, 1, 2])
def test_one_that_was_cut_off_is_begun_again(ledgers, tmp_path, monkeypatch, chunks):
    source, target = ledgers
    monkeypatch.setattr(draining, "CHUNK", 10)
    source.write_pairs([pair(source, number) for number in range(35)])
    forgotten = []

    def cut_off(*given):
        if len(forgotten) == chunks:
            raise KeyboardInterrupt  # between the commit there and the one here
        forgotten.append(given)
        return forget(*given)

    forget = draining._forget
    monkeypatch.setattr(draining, "_forget", cut_off)
    with pytest.raises(KeyboardInterrupt):
        drain(tmp_path / "functions", tmp_path / "judged")
    assert len(calls(target)) == 10 * (chunks + 1)
    monkeypatch.setattr(draining, "_forget", forget)
    assert drain(tmp_path / "functions", tmp_path / "judged").pairs == 35 - 10 * (chunks + 1)
    assert calls(target) == list(range(35))


def test_texts_come_along(ledgers, tmp_path):
    source, target = ledgers
    content = {"question": b"q", "control": b"c", "candidate": b"d", "tools": b""}
    source.write_pairs([pair(source, 0, content=content), pair(source, 1)])
    drain(tmp_path / "functions", tmp_path / "judged")
    from sqlalchemy import select

    from promptguard.ledger import schema

    with target.reading() as connection:
        rows = connection.execute(select(schema.content)).all()
    assert [(row.pair_id, row.question, row.candidate) for row in rows] == [(1, b"q", b"d")]


def test_pairs_belong_to_the_epoch_in_which_they_were_made(ledgers, tmp_path):
    source, target = ledgers
    target.note(at=5.0, call=0, kind="acknowledge", stream="candidate", group="g@1", detail={})
    source.write_pairs([pair(source, number) for number in (3, 4, 6, 2)])
    drain(tmp_path / "functions", tmp_path / "judged")
    assert [(row.call, row.epoch) for row in target.pairs_after(0)] == [(3, 1), (4, 1), (6, 2), (2, 1)]


def test_pairs_of_another_seed_are_refused_in_one_line(ledgers, tmp_path, monkeypatch):
    source, target = ledgers
    source.write_pairs([pair(source, 1)])
    with monkeypatch.context() as another:
        another.setenv("PROMPTGUARD_SECRET", "a secret of another fleet")
        target.write_pairs([pair(target, 2)])
    with pytest.raises(InputFileError, match="measured with another seed") as error:
        drain(tmp_path / "functions", tmp_path / "judged")
    assert "\n" not in str(error.value)
    assert calls(target) == [2]


def test_pairs_of_another_secret_stay_where_they_are_though_the_ledger_is_empty(
    ledgers, tmp_path, monkeypatch
):
    source, target = ledgers
    source.write_pairs([pair(source, number) for number in (1, 2)])
    monkeypatch.setenv("PROMPTGUARD_SECRET", "a secret of another fleet")
    with pytest.raises(InputFileError, match="the PROMPTGUARD_SECRET that is set here") as error:
        drain(tmp_path / "functions", tmp_path / "judged")
    assert "\n" not in str(error.value)
    assert calls(source) == [1, 2]
    assert calls(target) == []


def test_waiting_files_are_taken_and_a_torn_last_line_is_harmless(ledgers, tmp_path):
    source, target = ledgers
    spool = Spool(tmp_path / "functions" / "spool" / "abc", "of-a-process")
    spool.put([Numbered(number, pair(source, number)) for number in (1, 2, 3)])
    spool.close()
    path = tmp_path / "functions" / "spool" / "abc" / "of-a-process.pairs"
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines(keepends=True)[2][:-40])
    assert drain(tmp_path / "functions", tmp_path / "judged") == draining.Drained(3, 3, 1)
    assert calls(target) == [1, 2, 3]
    assert not path.exists()
    path.write_bytes(whole)  # as a copy that is put back
    assert drain(tmp_path / "functions", tmp_path / "judged").pairs == 0


WRITING = """
import sys
sys.path[:0] = ["."]
from tests.lifetime.test_draining import pair
from promptguard.ledger.store import Ledger
ledger, first = Ledger(sys.argv[1]), int(sys.argv[2])
for number in range(first, first + 100):
    ledger.write_pairs([pair(ledger, number)])
"""


@pytest.mark.slow
def test_two_processes_write_while_a_third_takes(tmp_path, ledgers):
    place = tmp_path / "functions"
    ledgers[0].open()
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITING, str(place), str(first)]) for first in (0, 1000)
    ]
    over = threading.Event()

    def take():
        while not over.is_set():
            drain(place, tmp_path / "judged")
            time.sleep(0.02)

    thread = threading.Thread(target=take)
    thread.start()
    until(lambda: all(writer.poll() is not None for writer in writers))
    over.set()
    thread.join()
    drain(place, tmp_path / "judged")
    assert [writer.returncode for writer in writers] == [0, 0]
    assert sorted(calls(ledgers[1])) == [*range(100), *range(1000, 1100)]


def run(capsys, *words):
    with pytest.raises(SystemExit) as done:
        main(["drain", *words])
    told = capsys.readouterr()
    return done.value.code, told.out, told.err


def test_the_command(ledgers, tmp_path, capsys):
    source, _ = ledgers
    source.write_pairs([pair(source, 1)])
    words = [str(tmp_path / "functions"), "--into", str(tmp_path / "judged")]
    code, out, _ = run(capsys, *words, "--json")
    assert (code, json.loads(out)) == (0, {"pairs": 1, "compared": 1, "files": 0})
    assert run(capsys, *words)[1].startswith("0 pairs taken into ")
    for directory in (tmp_path / "none", tmp_path / "judged"):
        code, out, err = run(capsys, str(directory), "--into", str(tmp_path / "judged"))
        assert (code, out, err.count("\n")) == (2, "", 1)
    assert not (tmp_path / "none").exists()


@pytest.fixture
def bounded(monkeypatch):
    monkeypatch.setattr(room, "MOST_BYTES", 600_000)
    monkeypatch.setattr(room, "LOOK_SECONDS", 0.0)


def answered(provider, directory, numbers, evaluate="never"):
    """Ask through a wrapped client whose every call is paired; returns what the second model was asked meanwhile."""
    before = provider.asked("n")
    budget = promptguard.Budget(calls_per_minute=None)
    client = promptguard.wrap(
        OpenAI(base_url=provider.url, api_key="k"),
        ledger=directory,
        shadow=promptguard.Shadow("n", sample=1.0, repeat=0.0, budget=budget),
        drift=promptguard.Drift(evaluate=evaluate),
    )
    for number in numbers:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": f"ask {number}"}])
    background = client._client._transport._promptguard_ports.background
    assert background.worker.flush(60.0)
    assert background.writer.flush(60.0)
    if evaluate == "here":
        assert promptguard.flush(60)
    close_backgrounds()
    client.close()
    return provider.asked("n") - before


def test_who_judges_nothing_flushes_until_its_pairs_are_there(tmp_path, monkeypatch):
    budget = promptguard.Budget(calls_per_minute=None)
    with FakeProvider({"m": lambda _: "Yes.", "n": lambda _: "Yes."}) as provider:
        client = promptguard.wrap(
            OpenAI(base_url=provider.url, api_key="k"),
            ledger=tmp_path,
            shadow=promptguard.Shadow("n", sample=1.0, repeat=0.0, budget=budget),
            drift=promptguard.Drift(evaluate="never"),
        )
        for number in range(5):
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": f"ask {number}"}])
        background = client._client._transport._promptguard_ports.background
        monkeypatch.setattr(background.evaluator, "flush", lambda _: pytest.fail("nobody judges here"))
        assert promptguard.flush(60.0), "nobody has judged, and nobody is to"
        assert len(calls(Ledger(tmp_path))) == 5
        assert not list(promptguard.verdicts(tmp_path))
        add = background.ledger.add_spending
        monkeypatch.setattr(background.ledger, "add_spending", lambda spent: (time.sleep(0.3), add(spent)))
        background.writer.spend("2026-11-26", "replay", 3, 0.5)
        assert promptguard.flush(60.0)
        assert Ledger(tmp_path).calls_reserved("2026-11-26", "replay") == 3, (
            "what was spent is kept with them"
        )
        close_backgrounds()
        client.close()


@pytest.mark.usefixtures("bounded")
def test_what_nobody_drains_is_bounded_and_told(tmp_path, capsys):
    source = Ledger(tmp_path / "functions")
    while not room.waiting_bytes(source):
        source.write_pairs([pair(source, number) for number in range(200)])
    kept = len(calls(source))
    with FakeProvider({"m": lambda _: "Yes.", "n": lambda _: "Yes."}) as provider:
        assert answered(provider, tmp_path / "functions", range(10)) == 0, (
            "nothing is paid for that is not kept"
        )
        assert len(calls(source)) == kept
        with pytest.raises(SystemExit):
            main(["status", "--ledger", str(tmp_path / "functions"), "--json"])
        assert room.NOT_DRAINED in capsys.readouterr().out
        assert drain(tmp_path / "functions", tmp_path / "judged").pairs == kept
        assert answered(provider, tmp_path / "functions", range(10, 20)) == 10
        assert len(calls(source)) == 11


@pytest.mark.usefixtures("bounded")
def test_what_is_judged_is_not_bounded(tmp_path):
    source = Ledger(tmp_path / "ledger")
    while not room.waiting_bytes(source):
        source.write_pairs([pair(source, number) for number in range(200)])
    with FakeProvider({"m": lambda _: "Yes.", "n": lambda _: "Yes."}) as provider:
        assert answered(provider, tmp_path / "ledger", range(5), evaluate="here") == 5
        assert not room.waiting_bytes(source)
        assert answered(provider, tmp_path / "ledger", range(5, 10)) == 5


def test_a_writer_counts_what_there_is_no_room_for(tmp_path):
    ledger, full = Ledger(tmp_path), [False]
    writing = Writer(ledger, lambda: None, lambda _where, _error: None, lambda: full[0])
    for full[0] in (False, True, False):
        for number in range(10):
            writing.put_pair(pair(ledger, number))
        writing.put_pair({**pair(ledger, 10), "outcome": "candidate_error", "reason": "timeout"})
        assert writing.flush(30)
    writing.close(5)
    assert len(calls(ledger)) == 22
    with ledger.reading() as connection:
        lost = connection.execute(select(schema.tally.c.outcome, schema.tally.c.reason, schema.tally.c.pairs))
        assert sorted(map(tuple, lost)) == [
            ("candidate_error", "timeout", 3),  # a failing endpoint is not hidden by a full directory
            ("compared", "", 20),
            ("dropped", room.NOT_DRAINED, 10),
        ]
