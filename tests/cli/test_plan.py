"""`promptguard plan`: what a change of given size needs, from a guess, from options, from a ledger."""

import json

import pytest

from promptguard.cli import main
from promptguard.drift import Answer, vectorise
from promptguard.ledger.store import Ledger


def plan(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["plan", "--json", *arguments])
    out, err = capsys.readouterr()
    return ended.value.code, json.loads(out) if out else None, err


def test_smaller_changes_and_more_noise_need_more_pairs(capsys):
    _, quiet, _ = plan(capsys, "--noise", "0")
    _, noisy, _ = plan(capsys, "--noise", "0.1")
    needed = [row["pairs"] for row in quiet["rows"]]
    assert needed == sorted(needed, reverse=True)
    assert all(
        more["pairs"] >= less["pairs"] for more, less in zip(noisy["rows"], quiet["rows"], strict=True)
    )
    assert noisy["rows"][0]["pairs"] > quiet["rows"][0]["pairs"]


def test_no_plan_promises_less_than_the_floor(capsys):
    _, told, _ = plan(capsys, "--shift", "1", "--noise", "0", "--mode", "gate", "--alpha", "0.01")
    assert told["rows"][0]["pairs"] >= 8  # log2 of 1/.004


def test_a_few_minutes_of_pairs_tell_neither_days_nor_noise(capsys, tmp_path):
    ledger = Ledger(tmp_path)
    row = {
        "epoch": 1, "group": "g@1", "call": 1, "outcome": "compared", "reason": "", "asked": "m",
        "control_model": "m", "candidate_model": "n", "usd": 0.02,
        "vector": vectorise(Answer("yes"), Answer("yes"), seed=ledger.seed).to_bytes(),
    }  # fmt: skip
    for number in range(5):
        ledger.write_pairs([{**row, "stream": each, "at": 60.0 * number} for each in ("repeat", "candidate")])
    _, told, _ = plan(capsys, "--ledger", str(tmp_path), "--shift", "0.5")
    assert told["noise_from"] == "a guess: 5 repeat pairs of the ledger are too few to tell"
    assert told["pairs_per_day"] is None
    assert told["rows"][0]["days"] is None
    with pytest.raises(SystemExit):
        main(["plan", "--ledger", str(tmp_path)])
    assert "days: give --pairs-per-day" in capsys.readouterr().out


def test_noise_pace_and_price_come_from_the_ledger(capsys, tmp_path):
    ledger = Ledger(tmp_path)
    row = {
        "epoch": 1, "group": "g@1", "call": 1, "outcome": "compared", "reason": "", "asked": "m",
        "control_model": "m", "candidate_model": "n", "usd": 0.02,
    }  # fmt: skip
    plain, fenced = Answer("yes"), Answer("```\nyes\n```")
    for number in range(40):
        flipped = vectorise(plain, fenced if number % 4 == 0 else plain, seed=ledger.seed).to_bytes()
        same = vectorise(plain, plain, seed=ledger.seed).to_bytes()
        at = number * 3600.0
        ledger.write_pairs([
            {**row, "stream": "repeat", "at": at, "vector": flipped},
            {**row, "stream": "candidate", "at": at, "vector": same},
        ])  # fmt: skip
    _, told, _ = plan(capsys, "--ledger", str(tmp_path), "--shift", "0.5")
    assert told["noise"] == pytest.approx(0.125)
    assert told["noise_from"] == "40 repeat pairs of the ledger"
    assert told["pairs_per_day"] == pytest.approx(24.0)
    assert told["usd_per_pair"] == pytest.approx(0.02)
    only = told["rows"][0]
    assert only["days"] == pytest.approx(only["pairs"] / 24.0)
    assert only["usd"] == pytest.approx(only["pairs"] * 0.02)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--shift", "2"), "--shift"),
        (("--shift", "0"), "--shift"),
        (("--noise", "0.9"), "--noise"),
        (("--stream", "repeating"), "--stream"),
        (("--alpha", "1"), "alpha"),
        (("--pairs-per-day", "-1"), "--pairs-per-day"),
        (("--ledger", "nowhere"), "nowhere"),
    ],
)
def test_wrong_use_is_one_clear_line(capsys, arguments, named):
    code, _, err = plan(capsys, *arguments)
    assert code == 2
    assert named in err
    assert "internal error" not in err
