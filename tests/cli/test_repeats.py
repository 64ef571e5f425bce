"""One answer in several pairs of a file: noticed, one pair each judged, and said."""

from __future__ import annotations

import json
import random
from collections import defaultdict

import pytest

from promptguard.cli import main
from promptguard.report.pairs_file import PairLine
from promptguard.report.repeats import find_repeated
from tests.drift.recorded import same_model_answers


def pair(prompt, control, candidate):
    return {"prompt": prompt, "control": {"text": control}, "candidate": {"text": candidate}}


def banked(*, uses=5, answers=1, prompts=True, swap=False):
    """Pairs of an unchanged model: `answers` stored ones of each prompt, each used several times."""
    rows = []
    for name, texts in same_model_answers().items():
        order = random.Random(name).sample(texts, len(texts))
        stored, fresh = order[:answers], order[answers:]
        sides = [(stored[n % answers], fresh[n]) for n in range(min(uses * answers, len(fresh)))]
        rows += [pair(name if prompts else None, *(reversed(both) if swap else both)) for both in sides]
    return rows


def analyze(capsys, tmp_path, rows, *arguments):
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(SystemExit) as ended:
        main(["analyze", str(file), "--json", *arguments])
    out, err = capsys.readouterr()
    return ended.value.code, json.loads(out), err


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize(("answers", "swap"), [(1, False), (2, False), (1, True)])
def test_repeated_answers_of_an_unchanged_model_are_no_drift(capsys, tmp_path, shuffled, answers, swap):
    rows = banked(answers=answers, uses=5 if answers == 1 else 3, swap=swap)
    if shuffled:
        random.Random(1).shuffle(rows)
    code, told, err = analyze(capsys, tmp_path, rows)
    assert code == 0
    assert told["pairs"] == 40
    assert told["skipped"] == {"repeated answer": len(rows) - 40}
    assert f"40 prompts have the same {'candidate' if swap else 'control'} answer" in err
    code, told, err = analyze(capsys, tmp_path, rows, "--repeats", "separate")
    assert (code, err) == (1, "")  # what it would have said: 10^34 of evidence for nothing


def test_without_prompts_pairs_belong_together_by_the_text(capsys, tmp_path):
    code, told, err = analyze(capsys, tmp_path, banked(prompts=False))
    assert code != 1
    assert told["skipped"]["repeated answer"] >= 100
    assert "answers have the same control answer" in err


def test_what_repeats_itself_on_both_sides_is_judged_in_full(capsys, tmp_path):
    rows = [pair(f"p{n % 20}", "Yes.", "No, not at all, never.") for n in range(100)]
    code, told, err = analyze(capsys, tmp_path, rows)
    assert (code, told["pairs"], err) == (1, 100, "")


def test_fresh_answers_of_both_sides_are_judged_in_full():
    rows = defaultdict(list)
    for name, texts in same_model_answers().items():
        rows[name] += zip(texts[::2], texts[1::2], strict=False)
    lines = [
        PairLine(0, {"text": a}, {"text": b}, prompt=name) for name, both in rows.items() for a, b in both
    ]
    assert find_repeated(lines) == {}


def test_a_cluster_of_the_users_own_is_theirs(capsys, tmp_path):
    rows = [{**row, "turn": str(n % 7)} for n, row in enumerate(banked())]
    _, told, err = analyze(capsys, tmp_path, rows, "--cluster-by", "turn")
    assert (told["pairs"], err) == (7, "")
