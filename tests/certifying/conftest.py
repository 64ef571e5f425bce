"""A folder of prompts, and the recorded answers of the demo as a file that `certify` reads."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import pytest

from promptguard.cli import main

PRIME = """---
name: prime
inputs: [{name: number, kind: integer}]
classes: {"yes": '(?i)yes', "no": '(?i)\\bno\\b'}
---
user:
Is {{ number }} a prime number? Think step by step and then answer "[Yes]" or "[No]".
"""
LEETCODE = "---\nname: leetcode\ninputs: [{name: task, kind: string}]\n---\nuser:\n{{ task }}\n"
SORT = "---\nname: sort\ninputs: {ticket: string}\n%s---\nsystem:\nSort the ticket.\n\nuser:\n{{ ticket }}\n"


def recorded(task: str) -> str:
    return str(resources.files("promptguard.demo").joinpath("data", f"{task}.jsonl.gz"))


def write(folder: Path, reference: str, text: str) -> None:
    name, _, version = reference.partition("@")
    path = folder / name / f"{version}.prompty"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.chdir(tmp_path)
    prompts = tmp_path / "prompts"
    write(prompts, "prime@1", PRIME)
    write(prompts, "leetcode@1", LEETCODE)
    write(prompts, "sort@1", SORT % "")
    return prompts


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["prompts", *arguments])
    code = ended.value.code
    assert isinstance(code, int)
    return code


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    capsys.readouterr()
    code = run(*arguments, "--json")
    out = capsys.readouterr()
    assert out.out, out.err
    return {**json.loads(out.out), "code": code}
