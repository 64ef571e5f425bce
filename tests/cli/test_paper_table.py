"""The published table comes out of `promptguard analyze` to the printed digit (benchmarks/paper_table.py has all rows)."""

import importlib.util
import json
from pathlib import Path

import pytest

from promptguard.cli import main

_FILE = Path(__file__).parents[2] / "benchmarks" / "paper_table.py"
_SPEC = importlib.util.spec_from_file_location("paper_table", _FILE)
paper = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(paper)


def analysed(capsys, tmp_path, task, family, *options):
    file = tmp_path / f"{task}.jsonl"
    file.write_text("".join(json.dumps(pair) + "\n" for pair in paper.pairs(task, family)))
    with pytest.raises(SystemExit):
        main(["analyze", str(file), "--json", *options])
    return json.loads(capsys.readouterr().out)


def test_gpt_4_on_primes_lost_a_habit_more_than_an_ability(capsys, tmp_path):
    told = analysed(capsys, tmp_path, "prime", "GPT-4", *paper.YES_ANYWHERE)
    assert paper.accuracy(told) == "84.0 -> 51.1"
    assert paper.length(told) == "638 -> 4"
    figures = {
        name: tuple(round(told["ability"][side][name]["value"], 3) for side in ("control", "candidate"))
        for name in ("yes_rate", "sensitivity", "specificity")
    }
    assert figures == {
        "yes_rate": (0.635, 0.013), "sensitivity": (0.976, 0.024), "specificity": (0.706, 0.998)
    }  # fmt: skip
    assert round(told["ability"]["habit"]["alone"], 2) == 0.83
    assert round(told["ability"]["habit"]["shapley"], 2) == 0.58
    assert "the habit alone would explain 83 %" in told["sentence"]


@pytest.mark.parametrize(
    ("key", "family", "printed"),
    [
        ("as_submitted", "GPT-4", "52.0 -> 10.0"),
        ("fence_stripped", "GPT-4", "52.0 -> 70.0"),
        ("as_submitted", "GPT-3.5", "22.0 -> 2.0"),
        ("fence_stripped", "GPT-3.5", "46.0 -> 48.0"),
    ],
)
def test_the_verdict_on_code_reverses_once_the_fence_is_stripped(capsys, tmp_path, key, family, printed):
    assert paper.accuracy(analysed(capsys, tmp_path, "leetcode", family, "--label-from", key)) == printed


def test_two_sources_of_labels_are_wrong_use(capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(["analyze", str(tmp_path / "x.jsonl"), "--label", "a=b", "--label-from", "human"])
    assert ended.value.code == 2
    assert "give one of them" in capsys.readouterr().err
