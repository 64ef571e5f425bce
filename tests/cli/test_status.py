"""`promptguard status` and `promptguard report`, as a shell sees them."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from promptguard.cli import main
from tests.report.conftest import Recorded, quiet, recorded

__all__ = ["quiet", "recorded"]
pytestmark = pytest.mark.sdk


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
    assert "calls for gpt-4 go to gpt-4-0314 since then" in told
    assert "1 hits" in told


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
