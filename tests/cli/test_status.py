"""`promptguard status` and `promptguard report`, as a shell sees them."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest

from promptguard.cli import main
from tests.report.conftest import Recorded, quiet, recorded

__all__ = ["quiet", "recorded"]
pytestmark = pytest.mark.sdk
SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "status.schema.json"


@pytest.fixture(autouse=True)
def no_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have said how wide lines are."""
    monkeypatch.delenv("COLUMNS", raising=False)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def test_drift_is_exit_1_and_says_what_was_done(
    recorded: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("status", "--ledger", str(recorded.path)) == 1
    told = capsys.readouterr().out
    assert told.startswith("DRIFT")
    assert "calls for gpt-4 go to gpt-4-0314 since 14 Nov 2023, " in told
    assert "1 hit, " in told
    assert "next: promptguard explain " in told


def test_a_line_of_a_pipe_has_status_since_age_and_evidence(
    recorded: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    run("status", "--ledger", str(recorded.path))
    row = next(line for line in capsys.readouterr().out.splitlines() if " candidate " in line)
    assert re.search(r"[▲!] .* candidate +drift +\d+ Nov 2023, \d\d:\d\d UTC +[\d,]+ d ago +\d+ +10\^\d", row)


@pytest.mark.parametrize("columns", [40, 60, 99, 140])
def test_no_line_is_wider_than_columns(
    columns: int, recorded: Recorded, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    run("status", "--ledger", str(recorded.path))
    assert max(map(len, capsys.readouterr().out.splitlines())) <= columns


def test_prompts_without_an_alarm_are_counted_beyond_some_and_listed_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "a prompt with a name of some eighty letters that no pipe may cut, whatever it is fed to "
    groups = [f"{name}{number:02}" for number in range(30)]
    many_quiet_groups(tmp_path / "ledger", groups)
    run("status", "--ledger", str(tmp_path / "ledger"))
    told = capsys.readouterr().out
    assert sum(group in told for group in groups) == 20
    assert "and 10 more unmeasured: promptguard status --all" in told
    run("status", "--all", "--ledger", str(tmp_path / "ledger"))
    told = capsys.readouterr().out
    assert all(group in told for group in groups)


def many_quiet_groups(directory: Path, groups: list[str]) -> None:
    """Make a ledger in which every group has one pair of equal answers, and judge it."""
    from promptguard.background.acting import Acting
    from promptguard.background.delivery import Delivery
    from promptguard.background.evaluating import Evaluator
    from promptguard.core.options import Drift
    from promptguard.core.policy import State
    from promptguard.drift import Answer, vectorise
    from promptguard.ledger.store import Ledger

    ledger = Ledger(directory)
    vector = vectorise(Answer("yes"), Answer("yes"), seed=ledger.seed).to_bytes()
    row = {"stream": "candidate", "epoch": 1, "outcome": "compared", "reason": "", "asked": "m", "control_model": "m",
           "candidate_model": "n", "vector": vector}  # fmt: skip
    ledger.write_pairs(
        [{**row, "group": group, "at": time.time(), "call": at} for at, group in enumerate(groups, 1)]
    )
    acting = Acting(ledger, State(), (), time.time, Delivery(ledger, "test", lambda *_: None))
    judge = Evaluator(
        ledger, Drift(), acting, holder="test", emit=lambda _: None, on_fault=lambda *_: None, wall=time.time
    )
    judge.start()
    assert judge.flush(60.0)
    judge.stop()
    judge.join(time.monotonic() + 30.0)
    ledger.close()


def test_json_is_what_its_schema_says(
    recorded: Recorded, quiet: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    for each in (recorded, quiet):
        run("status", "--json", "--ledger", str(each.path))
        told = json.loads(capsys.readouterr().out)
        jsonschema.validate(told, json.loads(SCHEMA.read_text(encoding="utf-8")))
        assert told["rows"]


def test_watch_prints_each_change_once_into_a_pipe_and_ends_with_the_last_status(recorded: Recorded) -> None:
    command = [
        sys.executable,
        "-m",
        "promptguard",
        "status",
        "--watch",
        "--interval",
        "0.2",
        "--ledger",
        str(recorded.path),
    ]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert watching.stdout is not None
    assert watching.stdout.readline().startswith("DRIFT")
    time.sleep(1.0)
    watching.send_signal(signal.SIGINT)
    rest = watching.communicate(timeout=60)[0]
    assert "DRIFT" not in rest
    assert watching.returncode == 1


def test_watch_tells_a_change_in_a_pipe(recorded: Recorded, tmp_path: Path) -> None:
    ledger = shutil.copytree(recorded.path, tmp_path / "ledger")
    command = [
        sys.executable,
        "-m",
        "promptguard",
        "status",
        "--watch",
        "--interval",
        "0.2",
        "--ledger",
        str(ledger),
    ]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert watching.stdout is not None
    assert watching.stdout.readline().startswith("DRIFT")
    assert run("acknowledge", "--all", "--ledger", str(ledger)) == 0
    list(itertools.takewhile(lambda line: "drift, acknowledged" not in line, watching.stdout))
    watching.send_signal(signal.SIGINT)
    watching.communicate(timeout=60)
    assert watching.returncode != 1


def test_watch_ends_when_nobody_reads_its_pipe(recorded: Recorded) -> None:
    command = [sys.executable, "-m", "promptguard", "status", "--watch", "--interval", "600"]
    watching = subprocess.Popen([*command, "--ledger", str(recorded.path)], stdout=subprocess.PIPE, text=True)
    assert watching.stdout is not None
    assert watching.stdout.readline().startswith("DRIFT")
    watching.stdout.close()
    assert watching.wait(timeout=60) == 1


@pytest.mark.parametrize(
    "arguments", [("--watch", "--json"), ("--watch", "--interval", "0"), ("--watch", "--interval", "nan")]
)
def test_what_cannot_be_watched_is_one_line_and_exit_2(
    arguments: tuple[str, ...], recorded: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("status", *arguments, "--ledger", str(recorded.path)) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_json_agrees_with_the_exit_code(quiet: Recorded, capsys: pytest.CaptureFixture[str]) -> None:
    code = run("status", "--json", "--ledger", str(quiet.path))
    told = json.loads(capsys.readouterr().out)
    assert code == {"no_drift": 0, "drift": 1, "unmeasured": 3}[told["status"]]
    assert told["status"] != "drift"
    assert {row["stream"] for row in told["rows"]} == {"candidate", "repeat"}
    assert told["done"] == []


@pytest.mark.parametrize("command", ["status", "report"])
def test_no_ledger_is_one_line_and_exit_2(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command, "--ledger", str(tmp_path)) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert "no ledger here" in told.err


def test_report_writes_a_private_file(
    recorded: Recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "out.html"
    assert run("report", "--ledger", str(recorded.path), "-o", str(page)) == 0
    assert page.read_text(encoding="utf-8").lstrip().startswith("<!doctype html>")
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert run("report", "--json", "--ledger", str(recorded.path)) == 0
    assert json.loads(capsys.readouterr().out.split("\n", 1)[1])["status"] == "drift"


def test_a_page_that_cannot_be_written_is_exit_2(recorded: Recorded, tmp_path: Path) -> None:
    assert run("report", "--ledger", str(recorded.path), "-o", str(tmp_path / "no" / "out.html")) == 2


def test_a_file_in_a_ledgers_place_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "an.py").write_text("")
    assert run("status", "--ledger", str(tmp_path / "an.py")) == 2
    assert "an.py is a file: a ledger is a directory" in capsys.readouterr().err
