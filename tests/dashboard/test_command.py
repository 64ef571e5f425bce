"""`promptguard dashboard` and `promptguard report`, as commands: what is wrong is one clear line, and exit 2."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.report.conftest import Recorded

pytestmark = pytest.mark.sdk


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "promptguard", *arguments],
        capture_output=True, text=True, timeout=60, env={**os.environ, **environment}, check=False,
    )  # fmt: skip


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
    for word in words:
        assert word in done.stderr


def test_a_port_that_is_taken(recorded: Recorded) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        refused(run("dashboard", "--ledger", str(recorded.path), "--port", port), port, "taken", "--port")


def test_an_address_of_another_machine(recorded: Recorded) -> None:
    refused(run("dashboard", "--ledger", str(recorded.path), "--host", "192.0.2.1", "--port", "0"), "--host")
    refused(
        run("dashboard", "--ledger", str(recorded.path), "--host", "no such name", "--port", "0"), "--host"
    )


@pytest.mark.parametrize("place", ["absent", "ledger:absent", "git:absent@main", "package:no.such"])
def test_a_place_without_prompts(recorded: Recorded, place: str) -> None:
    refused(
        run("dashboard", "--ledger", str(recorded.path), "--port", "0", "--prompts", place),
        "absent" if "absent" in place else "no.such",
    )


@pytest.mark.parametrize("command", ["dashboard", "report"])
def test_a_ledger_that_is_absent_or_newer(command: str, tmp_path: Path) -> None:
    refused(run(command, "--ledger", str(tmp_path / "none")), "no ledger")
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as database, database:
        database.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL)")
        database.execute("CREATE TABLE pair (id INTEGER)")
        database.execute("INSERT INTO meta VALUES ('schema_version', '9999')")
    database.close()
    refused(run(command, "--ledger", str(tmp_path)), "9999", "newer")


def test_a_report_that_cannot_be_written(recorded: Recorded, tmp_path: Path) -> None:
    target = tmp_path / "absent" / "x.html"
    refused(run("report", "--ledger", str(recorded.path), "-o", str(target)), str(target), "-o")


def test_without_the_extra_it_says_what_to_install(recorded: Recorded, tmp_path: Path) -> None:
    (tmp_path / "uvicorn.py").write_text("raise ModuleNotFoundError('uvicorn')\n")
    done = run("dashboard", "--ledger", str(recorded.path), PYTHONPATH=str(tmp_path))
    refused(done, "pip install 'promptguard-shadow[dashboard]'")


def test_it_serves_until_it_is_interrupted(recorded: Recorded) -> None:
    command = [
        sys.executable,
        "-m",
        "promptguard",
        "dashboard",
        "--ledger",
        str(recorded.path),
        "--port",
        "0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = next(word for word in line.split() if word.startswith("http://"))
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - its own address
            assert "PromptGuard" in answer.read().decode()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode in {0, 130}
    assert said == ""


def test_beyond_loopback_it_makes_up_a_token(recorded: Recorded) -> None:
    command = [
        sys.executable, "-m", "promptguard", "dashboard", "--ledger", str(recorded.path), "--port", "0",
        "--host", "0.0.0.0",  # noqa: S104 - nothing is asked of it
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line, warning = process.stdout.readline(), process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert "?token=" in line
    assert len(line.split("?token=")[1].split()[0]) >= 32
    assert "TLS" in warning


def test_the_report_says_when_of_what_and_by_which_version(recorded: Recorded, tmp_path: Path) -> None:
    import promptguard

    done = run(
        "report",
        "--ledger",
        str(recorded.path),
        "-o",
        str(tmp_path / "x.html"),
        "--application",
        "triage <b>",
    )
    assert (done.returncode, done.stderr) == (0, "")
    page = (tmp_path / "x.html").read_text("utf-8")
    assert "triage &lt;b&gt;" in page
    assert str(recorded.path) in page
    assert promptguard.__version__ in page
    assert "UTC</time>" in page
    assert (tmp_path / "x.html").stat().st_mode & 0o777 == 0o600
