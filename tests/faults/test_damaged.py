"""Ledgers that are damaged or oddly named, rows nobody can read, pages that cannot be written: told once, in one line."""

import contextlib
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

import promptguard
from promptguard.cli import main
from promptguard.errors import ConfigurationError
from promptguard.ledger.store import Ledger


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return ended.value.code, capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"not a database, whatever its name says" * 50])
@pytest.mark.parametrize("command", ["status", "report"])
def test_a_damaged_ledger_is_one_clear_line(tmp_path, capsys, content, command):
    (tmp_path / "ledger.sqlite3").write_bytes(content)
    code, err = run(capsys, command, "--ledger", str(tmp_path))
    assert code == 2
    assert str(tmp_path) in err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert "internal error" not in err


@pytest.mark.parametrize("name", ["what?", "50%", "a#b", "%3F", "it's", "ü ledger"])
def test_a_ledger_may_lie_in_a_directory_of_any_name(tmp_path, name):
    ledger = Ledger(tmp_path / name)
    ledger.open()
    assert list(promptguard.verdicts(tmp_path / name)) == []
    assert (tmp_path / name / "ledger.sqlite3").is_file()


def test_pairs_of_which_none_can_be_used_are_wrong_use(tmp_path, capsys):
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"control": {"text": "a", "latency_s": -1}, "candidate": {"text": "b"}}\n')
    code, err = run(capsys, "analyze", str(pairs))
    assert code == 2
    assert f"{pairs}:1:" in err
    assert "no line holds a usable pair" in err


def test_a_page_that_cannot_be_written_is_told_before_the_story(tmp_path, capsys):
    code, err = run(capsys, "demo", "--ledger", str(tmp_path / "l"), "-o", str(tmp_path / "no" / "page.html"))
    assert code == 2
    assert "page.html cannot be written" in err
    assert not (tmp_path / "l").exists()


@pytest.mark.parametrize("name", ["no/pairs.jsonl", "no/pairs.parquet"])
def test_pairs_that_cannot_be_written_are_one_clear_line(tmp_path, capsys, name):
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    Ledger(tmp_path / "l").open()
    code, err = run(capsys, "export", "--ledger", str(tmp_path / "l"), "-o", str(tmp_path / name))
    assert code == 2
    assert err.count("\n") == 1
    assert f"{name} cannot be written (No such file or directory): give another file with -o" in err


FULL = Path("/dev/full")
full = pytest.mark.skipif(not FULL.exists(), reason="this system has no disk that is always full")


@full
def test_a_full_disk_under_an_exported_file_is_one_clear_line(tmp_path, capsys):
    Ledger(tmp_path / "l").open()
    code, err = run(capsys, "export", "--ledger", str(tmp_path / "l"), "-o", "/dev/full")
    assert (code, err.count("\n")) == (2, 1)
    assert "/dev/full cannot be written (No space left on device)" in err


@full
@pytest.mark.parametrize("command", ["status", "export", "doctor"])
def test_a_full_disk_under_standard_output_is_one_clear_line(tmp_path, command):
    Ledger(tmp_path / "l").open()
    with FULL.open("w") as output:
        ended = subprocess.run(
            [sys.executable, "-m", "promptguard", command, "--ledger", str(tmp_path / "l")],
            stdout=output, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert ended.stderr == "promptguard: the output cannot be written (No space left on device)\n"
    assert ended.returncode == 2


def test_wrong_use_leaves_the_page_of_last_time_alone(tmp_path, capsys):
    page = tmp_path / "page.html"
    page.write_text("of last time")
    code, _ = run(capsys, "demo", "--task", "nope", "--ledger", str(tmp_path / "l"), "-o", str(page))
    assert code == 2
    assert page.read_text() == "of last time"


def test_a_ledger_that_cannot_be_made_is_one_clear_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    code, err = run(capsys, "demo", "--ledger", str(tmp_path / "file"), "-o", str(tmp_path / "page.html"))
    assert code == 2
    assert "--ledger" in err
    assert not (tmp_path / "page.html").exists()


def test_one_unreadable_row_does_not_end_the_folding(tmp_path):
    from promptguard.background.acting import Acting
    from promptguard.background.delivery import Delivery
    from promptguard.background.evaluating import Evaluator
    from promptguard.core.options import Drift
    from promptguard.core.policy import State
    from promptguard.drift import Answer, vectorise

    ledger = Ledger(tmp_path)
    row = {
        "stream": "candidate", "epoch": 1, "group": "g@1", "at": 0.0, "call": 1, "outcome": "compared", "reason": "",
        "asked": "m", "control_model": "m", "candidate_model": "n",
    }  # fmt: skip
    vector = vectorise(Answer("yes"), Answer("yes"), seed=ledger.seed).to_bytes()
    ledger.write_pairs([{**row, "vector": b"torn"}, {**row, "vector": vector}])
    faults = []
    evaluator = Evaluator(
        ledger,
        Drift(),
        Acting(ledger, State(), (), lambda: 0.0, Delivery(ledger, "here", lambda *_: None)),
        holder="one",
        emit=lambda _event: None,
        on_fault=lambda operation, error: faults.append((operation, type(error).__name__)),
        wall=lambda: 0.0,
    )
    evaluator.start()
    assert evaluator.flush(60.0)
    evaluator.stop()
    evaluator.join(time.monotonic() + 5.0)
    assert [operation for operation, _ in faults] == ["pair"]
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as connection, connection:
        assert b'"pairs": 1' in connection.execute("select document from verdict").fetchone()[0]


def test_the_ledgers_directory_is_its_owners_alone(tmp_path, monkeypatch):
    import os
    import stat

    from promptguard.cache.mackey import load_mac_key

    monkeypatch.delenv("PROMPTGUARD_CACHE_KEY", raising=False)
    before = os.umask(0o022)
    try:
        load_mac_key(tmp_path / "ledger" / "keys")
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / place).stat().st_mode) for place in ("ledger", "ledger/keys")] == [
        0o700
    ] * 2


def test_9_a_file_in_the_ledgers_place_is_told_at_wrap(tmp_path):
    place = tmp_path / "ledger"
    from openai import OpenAI

    place.write_text("mine")
    with pytest.raises(ConfigurationError, match="is a file: give a directory"):
        promptguard.wrap(OpenAI(api_key="k"), ledger=place, cache="disk")
    assert place.read_text() == "mine"


def test_what_was_counted_is_read_while_another_process_writes(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.count({("group", "a@1"): 1.0})
    with closing(sqlite3.connect(ledger.engine.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert ledger.counted("group") == ["a@1"]
        other.execute("ROLLBACK")
