"""`promptguard prompts`: what a person and a program see of versions and labels."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from promptguard.cli import main

TEXT = "---\nname: triage\ninputs: {ticket: string}\n---\nsystem:\nSort the ticket.\n\nuser:\n{{ ticket }}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("COLUMNS", raising=False)
    for version, word in ((1, "Sort"), (2, "Rank")):
        path = tmp_path / "prompts" / "triage" / f"{version}.prompty"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TEXT.replace("Sort", word), "utf-8")
    return tmp_path / "prompts"


def run(folder: Path, *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["prompts", *arguments, "--prompts", str(folder)])
    code = ended.value.code
    assert isinstance(code, int)
    return code


def test_a_label_is_put_taken_back_and_its_history_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "label", "triage@1", "production", "--why", "first") == 0
    assert run(folder, "label", "triage@2", "production", "--why", "ranks now") == 0
    assert run(folder, "rollback", "triage", "--why", "too slow") == 0
    capsys.readouterr()
    assert run(folder, "history", "triage") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [
        word in line
        for word, line in zip(("rollback: too slow", "ranks now", "first"), lines[1:], strict=True)
    ]
    assert run(folder, "history", "--json") == 0
    assert [move["to"] for move in json.loads(capsys.readouterr().out)] == ["1", "2", "1"]
    assert run(folder, "list", "--json") == 0
    assert json.loads(capsys.readouterr().out)["prompts"] == [
        {
            "name": "triage",
            "versions": ["1", "2"],
            "labels": {"production": "1"},
            "used": [],
            "certificates": {},
        }
    ]


def test_a_difference_is_told_by_words(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "diff", "triage") == 0
    assert "[-Sort-]{+Rank+} the ticket." in capsys.readouterr().out
    assert run(folder, "diff", "triage@2", "triage@1", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert ["del", "Rank"] in told["changes"]
    assert told["same"] is False


@pytest.mark.parametrize(
    ("options", "left_out", "lines"),
    [((), ["42", "38"], 14), (("--context", "1"), ["44", "42"], 8), (("-C", "0"), ["45", "44"], 5), (("--whole",), [], 92)],
)  # fmt: skip
def test_a_difference_is_told_with_the_lines_beside_it(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    left_out: list[str],
    lines: int,
) -> None:
    before, after = ("".join(f"{side} {number}\n" for number in range(40)) for side in ("begin", "end"))
    for version, verb in (("3", "Sort"), ("4", "Weigh")):
        text = TEXT.replace("Sort", f"{before}{verb}") + f"\n{after}{verb}"
        (folder / "triage" / f"{version}.prompty").write_text(text, "utf-8")
    assert run(folder, "diff", "triage@3", "triage@4", *options) == 0
    told = capsys.readouterr().out
    assert re.findall(r"^\.\.\. (\d+) equal lines \.\.\.$", told, re.MULTILINE) == left_out
    assert told.count("[-Sort-]{+Weigh+}") == 2
    assert len(told.splitlines()) == lines


def test_a_line_that_came_whole_has_as_many_lines_behind_as_before(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"line {number}\n" for number in range(40)]
    for version, more in (("3", []), ("4", ["a new one\n"])):
        text = TEXT.replace("Sort", "".join([*lines[:20], *more, *lines[20:]]) + "Sort")
        (folder / "triage" / f"{version}.prompty").write_text(text, "utf-8")
    assert run(folder, "diff", "triage@3", "triage@4", "-C", "2") == 0
    told = re.findall(r"line \d+$", capsys.readouterr().out, re.MULTILINE)
    assert told == ["line 18", "line 19", "line 20", "line 21"]


def test_an_edited_version_is_compared_with_what_was_used(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from promptguard.templates.library import open_library

    open_library(folder).get("triage@1").render(ticket="x")
    path = folder / "triage" / "1.prompty"
    path.write_text(TEXT.replace("Sort", "Weigh"), "utf-8")
    assert run(folder, "show", "triage@1") == 2
    assert "[-Sort-]{+Weigh+}" in capsys.readouterr().err
    assert run(folder, "diff", "triage@1") == 0
    assert "[-Sort-]{+Weigh+} the ticket." in capsys.readouterr().out


def test_a_long_message_is_shown_whole_and_cannot_steer_the_terminal(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "triage" / "3.prompty"
    path.write_text(TEXT.replace("Sort", "word " * 300 + "\x1b[2J last"), "utf-8")
    assert run(folder, "show", "triage@3") == 0
    shown = capsys.readouterr().out
    assert "last the ticket." in shown
    assert "\x1b" not in shown


def test_lint_says_everything_at_once_and_fails_for_errors(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "lint") == 0
    assert "2 versions checked: 0 errors, 0 warnings" in capsys.readouterr().out
    (folder / "triage" / "3.prompty").write_text("---\nnam: triage\n---\nuser:\nx\n", "utf-8")
    (folder / "triage" / "v4.prompty").write_text(TEXT, "utf-8")
    (folder / "Mail.prompty").write_text(TEXT, "utf-8")
    (folder / "labels.jsonl").write_text('{"name": "triage", "label": "production", "to": 9}\n', "utf-8")
    (folder / "triage" / "5.prompty").write_text(
        TEXT.replace("string}", "string, tone: string}\ncases: [{ticket: x, tone: y}, {tick: x}]"), "utf-8"
    )
    assert run(folder, "lint", "--json") == 2
    found = {
        (each["level"], each["where"]): each["message"]
        for each in json.loads(capsys.readouterr().out)["findings"]
    }
    assert "nam is not known" in found["error", "triage@3"]
    assert "move it to triage/4.prompty" in found["warning", "triage/v4.prompty"]
    assert "move it to mail/1.prompty" in found["warning", "Mail.prompty"]
    assert "stands on version 9" in found["error", "triage@production"]
    assert "no message uses it" in found["warning", "triage@5"]
    assert "case 2" in found["error", "triage@5"]
    assert run(folder, "lint") == 2
    assert not (folder / "lock.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "triag@1"), "did you mean 'triage'"),
        (("show", "triage@7"), "versions: 1, 2"),
        (("label", "triage@1", "Live"), "cannot be a label"),
        (("rollback", "triage"), "its labels: none"),
        (("history", "other"), "there is no prompt 'other'"),
        (("diff", "triage@1"), "is the first version"),
    ],
)
def test_wrong_use_is_one_line_that_says_what_to_write(
    folder: Path, arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, *arguments) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "none", "list") == 2
    assert capsys.readouterr().err.count("\n") == 1
