"""`promptguard compat check`: what would break, and what to write instead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from promptguard.cli import main

BODY = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5}


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["compat", "check", *arguments])
    code = ended.value.code
    assert isinstance(code, int)
    return code


@pytest.fixture
def body(tmp_path: Path) -> Path:
    path = tmp_path / "request.json"
    path.write_text(json.dumps(BODY), "utf-8")
    return path


def test_a_request_that_needs_other_words_asks_the_same(
    body: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(str(body), "--to", "gpt-5.6") == 0
    out = capsys.readouterr().out
    assert "the question stays the same" in out
    assert "`max_tokens` becomes `max_completion_tokens`" in out
    assert "https://" in out
    assert run(str(body), "--to", "gpt-5.6", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["comparable"] is True
    assert told["body"] == {
        **{k: v for k, v in BODY.items() if k != "max_tokens"},
        "max_completion_tokens": 5,
    }


def test_a_request_that_becomes_another_one_is_exit_2(body: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body.write_text(json.dumps({**BODY, "temperature": 0}), "utf-8")
    assert run(str(body), "--to", "gpt-5.6") == 2
    assert "answers are not comparable" in capsys.readouterr().out


def test_the_end_of_a_model_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "request.json"
    path.write_text(json.dumps({"model": "claude-x", "messages": []}), "utf-8")
    assert run(str(path), "--to", "claude-sonnet-4-5") == 0
    assert "ends on 2026-11-30" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "arguments", "words"),
    [
        ("[1]", (), "is an object"),
        ("{", (), "no JSON"),
        ("{}", ("--endpoint", "soap"), "write chat, responses, messages or generate"),
        ("{}", ("--rules", "none.toml"), "No such file"),
    ],
)
def test_wrong_input_is_one_line(
    text: str, arguments: tuple[str, ...], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "request.json"
    path.write_text(text, "utf-8")
    assert run(str(path), "--to", "gpt-5.6", *arguments) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(tmp_path / "none.json"), "--to", "gpt-5.6") == 2
    assert capsys.readouterr().err.count("\n") == 1
