"""The walk-through of versions, run as it stands: its files, its commands, and an application that keeps running."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from promptguard.testing import FakeProvider, Question
from tests.dashboard.conftest import serving
from tests.guides.pages import Block, blocks, check

pytestmark = pytest.mark.sdk


def said(question: Question) -> str:
    return "bug" if "lower case" in question.messages[0]["content"] else "Bug"


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Block]]:
    pytest.importorskip("openai")
    pytest.importorskip("opentelemetry.sdk")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with FakeProvider({"gpt-4": said, "gpt-4-0314": said}) as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        yield blocks("versions.md")


class Running:
    """`python app.py` in a terminal of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def answered(self, ticket: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{ticket}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


@contextmanager
def application() -> Iterator[Running]:
    with subprocess.Popen(
        [sys.executable, "app.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Running(process)
        process.communicate(timeout=60.0)
    assert process.returncode == 0


def follow(block: Block) -> None:
    for command, shown in block.commands:
        check(command, shown)


@pytest.mark.timeout(600)  # some twenty commands, each a process
def test_the_walk_through_does_what_it_shows(page: list[Block]) -> None:
    moves = next(number for number, block in enumerate(page) if "label triage@2" in block.text)
    for block in page[:moves]:
        if block.path:
            block.write()
        elif block.language == "console":
            follow(block)
    label, back = page[moves:]
    with application() as running:
        assert running.answered("The oven burns") == "triage@1: Bug"
        follow(label)
        assert (
            running.answered("The oven burns") == "triage@2: bug"
        )  # the process goes on, and was told nothing
        follow(back)
        assert running.answered("The oven burns") == "triage@1: Bug"
    with serving(Path(".promptguard"), prompts="prompts") as site:
        pairs = site.ask("/pairs?group=triage%401").text
        assert "triage@1" in pairs
        assert site.ask("/prompt?group=triage%401").status == 200
        shown_page = site.ask("/prompts?prompt=triage").text
        assert "candidate stream, 24 pairs" in shown_page
        assert "candidate stream, 1 pair<" in shown_page
        assert "the router wants capitals" in shown_page
