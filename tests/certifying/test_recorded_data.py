"""What `prompts certify` says of the recorded answers of GPT-4, before and after a silent change."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tests.certifying.conftest import recorded, run, told

BEFORE, AFTER = "gpt-4-0314", "gpt-4-0613"


def test_prime_is_certified_against_itself(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(
        capsys,
        "certify",
        "prime@1",
        "--on",
        BEFORE,
        "--against",
        f"prime@1/{BEFORE}",
        "--recorded",
        recorded("prime"),
    )
    assert (found["code"], found["status"], found["pairs"], found["lost"]) == (0, "certified", 42, 0)
    assert found["bound"] <= 0.1
    assert found["served"] == [BEFORE]
    assert found["why"] == "the same recorded answers on both sides"


def test_prime_has_drifted_on_the_later_snapshot(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(
        capsys,
        "certify",
        "prime@1",
        "--on",
        AFTER,
        "--against",
        f"prime@1/{BEFORE}",
        "--recorded",
        recorded("prime"),
    )
    assert (found["code"], found["status"]) == (1, "drifted")
    assert found["pairs"] <= 20
    assert any("answers shrank" in change for change in found["changes"])
    assert found["usd"] is None


def test_what_was_found_stands_in_the_matrix_the_list_and_beside_the_version(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for model in (BEFORE, AFTER):
        run(
            "certify",
            "prime@1",
            "--on",
            model,
            "--against",
            f"prime@1/{BEFORE}",
            "--recorded",
            recorded("prime"),
        )
    capsys.readouterr()
    assert run("certificates", "prime") == 0
    shown = capsys.readouterr().out
    assert "● certified" in shown
    assert "▲ drifted" in shown
    assert run("certificates", "--json") == 0
    cells = {each["name"]: each["cells"] for each in json.loads(capsys.readouterr().out)}
    assert {model: cell["status"] for model, cell in cells["prime"]["1"].items()} == {
        BEFORE: "certified", AFTER: "drifted",
    }  # fmt: skip
    assert cells["sort"] == {"1": {}}
    assert run("list", "--json") == 0
    rows = {row["name"]: row["certificates"] for row in json.loads(capsys.readouterr().out)["prompts"]}
    assert rows["prime"] == {"1": {BEFORE: "certified", AFTER: "drifted"}}
    assert run("show", "prime@1") == 0
    assert f"▲ drifted on {AFTER}" in capsys.readouterr().out
    assert run("certificates", "--history") == 0
    assert capsys.readouterr().out.index("drifted") > 0


def test_a_second_look_is_a_second_attempt_and_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = (
        "certify",
        "prime@1",
        "--on",
        AFTER,
        "--against",
        f"prime@1/{BEFORE}",
        "--recorded",
        recorded("prime"),
    )
    assert told(capsys, *line)["attempt"] == 1
    assert told(capsys, *line)["attempt"] == 2


def test_pairs_are_read_as_analyze_reads_them(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_id: dict[str, dict[str, dict]] = {}
    with gzip.open(recorded("prime")) as lines:
        for line in map(json.loads, lines):
            by_id.setdefault(line["query"], {})[line["model"]] = line
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(
        "".join(
            json.dumps(
                {
                    "prompt": asked,
                    "control": {"text": both[BEFORE]["answer"]},
                    "candidate": {"text": both[AFTER]["answer"]},
                }
            )
            + "\n"
            for asked, both in list(by_id.items())[:60]
        )
    )
    line = ("certify", "prime@1", "--on", "gpt-4", "--against", "prime@1/gpt-4-before", "--pairs", str(pairs))
    found = told(capsys, *line)
    assert (found["status"], found["source"]) == ("drifted", "pairs.jsonl")


def test_too_few_questions_leave_it_untested(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = tmp_path / "answers.jsonl"
    answers.write_text(
        "".join(
            json.dumps({"model": model, "prompt": f"Ticket {number}", "text": "bug"}) + "\n"
            for number in range(12)
            for model in ("old", "new")
        )
        + "not json\n"
    )
    found = told(
        capsys, "certify", "sort@1", "--on", "new", "--against", "sort@1/old", "--recorded", str(answers)
    )
    assert (found["code"], found["status"], found["pairs"]) == (3, "untested", 12)
    assert "no more questions after 12 pairs, about 3" in found["why"]


def test_answers_of_another_version_are_told_apart(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.certifying.conftest import SORT, write

    write(folder, "sort@2", SORT.replace("Sort the ticket", "Rank the ticket") % "")
    answers = tmp_path / "answers.jsonl"
    told_by = {"sort@1": "bug", "sort@2": "Certainly! I would say that this is a **bug**."}
    answers.write_text(
        "".join(
            json.dumps(
                {"model": "m", "id": number, "prompt": f"T {number}", "version": version, "text": text}
            )
            + "\n"
            for number in range(60)
            for version, text in told_by.items()
        )
    )
    line = ("certify", "sort@2", "--on", "m", "--against", "sort@1/m", "--recorded", str(answers))
    found = told(capsys, *line)
    assert (found["status"], found["version"]) == ("drifted", "2")
    assert any("bold" in change or "length" in change for change in found["changes"])


def test_cases_must_pass_and_are_looked_up_among_the_recorded(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.certifying.conftest import PRIME, write

    case = "cases:\n  - {inputs: {number: 17077}, label: 'yes'}\n  - {inputs: {number: 17077}, matches: '(?i)step'}\n"
    write(folder, "prime@2", PRIME.replace("classes", case + "classes", 1))
    line = ("--against", f"prime@2/{BEFORE}", "--recorded", recorded("prime"))
    before = told(capsys, "certify", "prime@2", "--on", BEFORE, *line)
    assert before["cases"] == [2, 2]
    assert before["status"] == "certified"
    after = told(capsys, "certify", "prime@2", "--on", AFTER, *line)
    assert (after["status"], after["pairs"]) == ("drifted", 0)
    assert "case 1 does not pass any more: its class is no, not yes" in after["why"]


def test_answers_to_another_prompts_questions_are_no_evidence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ("certify", "prime@1", "--on", AFTER, "--against", f"prime@1/{BEFORE}", "--recorded")
    assert run(*line, recorded("leetcode")) == 2
    said = capsys.readouterr().err
    assert "prime@1 asks none of these questions" in said
    assert len(said.strip().splitlines()) == 1
    both = tmp_path / "both.jsonl"
    both.write_bytes(
        b"".join(gzip.decompress(Path(recorded(task)).read_bytes()) for task in ("leetcode", "prime"))
    )
    assert run(*line, str(both)) == 1
    out = capsys.readouterr()
    assert "50 questions that prime@1 does not ask are left out" in out.err
    assert "15 pairs" in out.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["prime@1", "--on", "m"], "there is no reference: write --against prime@3/gpt-5.1"),
        (["prime@1", "--on", "m", "--against", "prime@1/old"], "there is no budget: write --budget 2usd"),
        (["prime@1", "--on", "m", "--against", "old"], "does not say a version and a model"),
        (["prime@9", "--on", "m", "--against", "prime@1/old"], "has no version or label '9'"),
        (
            ["prime@production", "--on", "m", "--against", "prime@1/old"],
            "has no version or label 'production'",
        ),
        (["prime@1", "--on", "m", "--against", "prime@8/old"], "has no version or label '8'"),
        (
            ["prime@1", "--on", "m", "--against", "prime@1/old", "--budget", "two"],
            "--budget 'two' is not known; write",
        ),
        (["prime@1", "--on", "m", "--against", "prime@1/old", "--recorded", "no.jsonl"], "no such file"),
        (["sort@1", "--on", "m", "--against", "sort@1/old", "--budget", "1usd"], "there is nothing to ask"),
    ],
)
def test_bad_input_is_one_line_that_says_what_to_write(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert run("certify", *arguments) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert not (folder / "certificates.jsonl").exists()
