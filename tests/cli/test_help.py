"""Help, version, completion and encodings of the command line, as a shell sees them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from promptguard.cli import COMMANDS
from promptguard.ledger.store import Ledger


def promptguard(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command in a process of its own, without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "promptguard", *arguments],
        capture_output=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_help_has_version_completion_examples_and_every_command_whole() -> None:
    told = promptguard("--help").stdout.decode()
    for option in ("-V, --version", "--install-completion", "--show-completion"):
        assert option in told
    listed = {
        line.split()[0]
        for line in told.split("Commands:")[1].split("Examples:")[0].splitlines()
        if line.split()
    }
    assert set(COMMANDS) <= listed
    assert "..." not in told.split("Commands:")[1]
    assert "  promptguard status --json" in told


@pytest.mark.parametrize("group", ["prompts", "rollout", "compat", "cache", "alerts", "canary", "ledger"])
def test_what_each_command_of_a_group_does_is_told_whole(group: str) -> None:
    listed = promptguard(group, "--help").stdout.decode().split("Commands:")[1]
    assert listed.strip()
    assert not re.search(r"\.\.\.$", listed, re.MULTILINE)


@pytest.mark.parametrize(
    "command", ["demo", "analyze", "status", "report", "dashboard", "plan", "acknowledge", "doctor"]
)
def test_help_of_a_command_ends_with_examples(command: str) -> None:
    told = promptguard(command, "--help").stdout.decode()
    assert f"Examples:\n    promptguard {command}" in told or f"| promptguard {command}" in told


def test_completion_knows_the_commands() -> None:
    asked = {"_PROMPTGUARD_COMPLETE": "complete_bash", "COMP_WORDS": "promptguard st", "COMP_CWORD": "1"}
    assert promptguard(**asked).stdout.decode().split() == ["status"]


@pytest.mark.parametrize("encoding", ["ascii", "cp437", "latin-1", "utf-8"])
def test_a_name_that_the_terminal_has_no_sign_for_is_written_as_an_escape(
    encoding: str, tmp_path: Path
) -> None:
    ledger = tmp_path / "数据"
    opened = Ledger(ledger)
    opened.note(at=0.0, call=0, kind="alarm", stream="candidate", group="数据", detail={})
    opened.close()
    told = promptguard("status", "--ledger", str(ledger), PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert (told.returncode, b"Traceback" in told.stderr) == (3, False)
    absent = promptguard("status", "--ledger", f"{ledger}-absent", PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert absent.returncode == 2
    written = "数据" if encoding == "utf-8" else r"\u6570\u636e"
    assert written in absent.stderr.decode(encoding)
