"""A run that is killed or interrupted goes on where it ended, under the same cap."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptguard.testing import FakeProvider, Question, Served
from tests.certifying.conftest import SORT, told, write

CASES = "cases:\n" + "".join(f"  - {{ticket: Ticket {number} burns}}\n" for number in range(60))
LINE = ("certify", "sort@2", "--on", "new", "--against", "sort@2/old", "--budget", "300calls")
STOP_AT = 80
"""Calls: the 60 cases, then the reference of 20 pairs."""


class Stuck:
    """Answers until so many calls were made; the next ones wait until `free` is set."""

    def __init__(self) -> None:
        self._calls = 0
        self._lock = threading.Lock()
        self.reached, self.free = threading.Event(), threading.Event()

    def __call__(self, question: Question) -> Served:
        with self._lock:
            self._calls += 1
            stuck = self._calls > STOP_AT
        if stuck:
            self.reached.set()
            assert self.free.wait(60.0)
        return Served("bug", output_tokens=2)


@pytest.fixture
def stuck() -> Stuck:
    return Stuck()


@pytest.fixture
def provider(folder: Path, stuck: Stuck, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    write(folder, "sort@2", SORT % CASES)
    with FakeProvider({"old": stuck, "new": stuck}) as serving:
        monkeypatch.setenv("OPENAI_BASE_URL", serving.url)
        monkeypatch.setenv("OPENAI_API_KEY", "test")
        yield serving
        stuck.free.set()


def ended(stuck: Stuck, how: int) -> tuple[int, str]:
    """Run the command in a process of its own, end it amid a call, and return its exit code and what it said."""
    command = [sys.executable, "-m", "promptguard", "prompts", *LINE, "--at-once", "1"]
    with subprocess.Popen(command, env=dict(os.environ), stderr=subprocess.PIPE, text=True) as running:
        assert stuck.reached.wait(60.0)
        running.send_signal(how)
        said = running.communicate(timeout=60.0)[1]
        return running.returncode, said


def test_after_a_kill_it_goes_on_with_the_pairs_it_had(
    folder: Path, provider: FakeProvider, stuck: Stuck, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = ended(stuck, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not (folder / "certificates.jsonl").exists()
    stuck.free.set()
    found = told(capsys, *LINE)
    assert (found["status"], found["pairs"], found["resumed"]) == ("certified", 42, 20)
    # the call that was under way was made again, and is not known to have been made
    assert found["calls"] >= len(provider.received) - 1
    assert found["calls"] <= 300


def test_who_interrupts_is_told_that_it_goes_on(
    folder: Path, provider: FakeProvider, stuck: Stuck, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = ended(stuck, signal.SIGINT)
    assert code == 130
    assert "interrupted; the same command goes on from here" in said
    assert "Traceback" not in said
    stuck.free.set()
    found = told(capsys, *LINE)
    assert (found["status"], found["pairs"], found["resumed"]) == ("certified", 42, 20)
    assert found["calls"] >= len(provider.received) - 1
