"""`promptguard analyze --series`: one model's history against itself, on answers of a real model at temperature 0.7."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest

from promptguard.cli import main
from promptguard.cli.series import Plan, _divided, _rounds, in_time
from promptguard.report.series_file import SeriesLine, moment

DATA = Path(__file__).parents[2] / "benchmarks" / "data"
SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "verdict.schema.json"
START = datetime(2026, 6, 1, tzinfo=UTC)


def analyze(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["analyze", "--series", *arguments])
    out, err = capsys.readouterr()
    return ended.value.code, out, err


def history(tmp_path, *versions, timed=True):
    """Write the sampled answers of one version after the other, ten minutes apart."""
    lines = []
    for version in versions:
        packed = gzip.decompress((DATA / f"{version}.jsonl.gz").read_bytes())
        rows = [json.loads(line) for line in packed.splitlines()]
        for row in sorted(rows, key=lambda row: (row["sample"], row["prompt_id"])):
            if row["temperature"] > 0:
                at = (START + timedelta(minutes=10 * len(lines))).isoformat()
                answer = {"group": row["template_id"], "prompt_id": row["prompt_id"], "text": row["text"]}
                lines.append({**answer, "at": at} if timed else answer)
    file = tmp_path / "series.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(file)


def test_a_change_of_spread_is_found_and_dated(capsys, tmp_path):
    code, out, _ = analyze(capsys, history(tmp_path, "base_A", "serv_top_p0.5"), "--json")
    told = json.loads(out)
    jsonschema.validate(told, json.loads(SCHEMA.read_text()))
    assert code == 1
    assert told["stream"] == "canary"
    assert told["series"]["banked"] == told["series"]["live"] == 1000
    assert told["series"]["unused"] == 0
    switch = (START + timedelta(minutes=10_000)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert told["series"]["alarm_time"] > switch
    assert len(told["groups"]) == 9


def test_a_model_that_stayed_is_quiet(capsys, tmp_path):
    code, out, _ = analyze(capsys, history(tmp_path, "base_A", "base_B", timed=False), "--json")
    told = json.loads(out)
    assert code == 0
    assert told["status"] == "no_drift"
    assert told["series"]["alarm_time"] is None


def test_since_and_bank_divide_by_time_and_by_count(capsys, tmp_path):
    file = history(tmp_path, "base_A", "quant_q8_0")
    since = (START + timedelta(minutes=10_000)).isoformat()
    code, out, _ = analyze(capsys, file, "--json", "--since", since)
    assert code == 1
    assert json.loads(out)["series"]["banked"] == 1000
    code, out, _ = analyze(capsys, file, "--json", "--bank", "5")
    told = json.loads(out)["series"]
    assert told["banked"] == 200
    assert told["unused"] == 2000 - 400, "a stored answer is used once"


def test_a_person_is_told_when(capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    _, out, _ = analyze(capsys, history(tmp_path, "base_A", "serv_maxtok24"))
    assert "DRIFT" in out
    assert "the change began 2026-06-" in " ".join(out.split())
    assert "1000 earlier answers, 1000 later ones" in out


def test_two_answers_a_prompt_are_judged_as_pairs(capsys, tmp_path):
    file = tmp_path / "series.jsonl"
    answers = [(f"p{n}", "yes") for n in range(20)] + [(f"p{n}", "```\nno\n```") for n in range(20)]
    file.write_text("".join(json.dumps({"prompt_id": name, "text": text}) + "\n" for name, text in answers))
    code, out, _ = analyze(capsys, str(file), "--json")
    assert code == 1
    assert json.loads(out)["pairs"] == 20


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON"),
        ("[]", "not an object"),
        ('{"text": "a"}', "prompt_id is missing"),
        ('{"prompt_id": "p"}', "text is missing"),
        ('{"prompt_id": "p", "text": 3}', "text is a JSON number"),
        ('{"prompt_id": "p", "text": "a", "at": "yesterday"}', "write a time as"),
        ('{"prompt_id": "p", "text": "a", "at": 3}', "at is a JSON number"),
    ],
)
def test_a_bad_line_is_named_with_its_number(capsys, tmp_path, line, said):
    file = tmp_path / "series.jsonl"
    good = "".join(f'{{"prompt_id": "p", "text": "{text}"}}\n' for text in ("a", "b"))
    file.write_text(good + line + "\n")
    code, _, err = analyze(capsys, str(file), "--json")
    assert code == 3, "two answers are too few"
    assert f"{file}:3: " in err
    assert said in err
    code, _, err = analyze(capsys, str(file), "--strict")
    assert code == 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--since", "2026-01-01", "--bank", "3"), "give one of them"),
        (("--since", "soon"), "--since"),
        (("--since", "2026-01-01"), "needs a time"),
        ((), "at least twice"),
        (("--group-by", "prompt"), "leave them out"),
    ],
)
def test_wrong_use_is_one_clear_line(capsys, tmp_path, arguments, named):
    file = tmp_path / "series.jsonl"
    file.write_text('{"prompt_id": "p", "text": "a"}\n')
    code, _, err = analyze(capsys, str(file), *arguments)
    assert code == 2
    assert named in err
    assert "internal error" not in err


def test_dividing_uses_no_answer_twice_and_looks_at_none():
    answers = [SeriesLine(number, "p", str(number), float(number)) for number in range(1, 24)]
    banked, live = _divided(answers, Plan())
    rounds = list(_rounds(banked, live, 5))
    used = [line.line for one in rounds for line in one.banked + one.live]
    assert len(used) == len(set(used))
    assert max(line.line for one in rounds for line in one.banked) < min(line.line for line in live)
    assert in_time(answers[::-1]) == answers


def test_times_without_a_zone_are_utc():
    assert moment("2026-06-01T00:00:00") == moment("2026-06-01T02:00:00+02:00") == START.timestamp()


def test_the_newest_answers_are_compared(capsys, tmp_path):
    """Two stored answers a prompt and twelve later ones, of which the last two changed."""
    file = tmp_path / "series.jsonl"
    texts = ["Yes, it is one, and here is why."] * 12 + ["no"] * 2
    lines = [{"prompt_id": f"p{n}", "text": text} for text in texts for n in range(20)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, out, _ = analyze(capsys, str(file), "--bank", "2", "--json")
    assert code == 1
    assert json.loads(out)["series"]["unused"] == 200
    _, out, _ = analyze(capsys, str(file), "--bank", "2")
    assert "200 unused: the oldest of the later ones" in " ".join(out.split())


@pytest.mark.parametrize("count", range(2, 24))
def test_rounds_leave_nothing_over(count):
    answers = [SeriesLine(n, "p", "text") for n in range(2 * count)]
    rounds = list(_rounds(answers[:count], answers[count:], 5))
    assert sum(len(one.live) for one in rounds) == sum(len(one.banked) for one in rounds) == count
    assert all(2 <= len(one.live) <= 5 for one in rounds)


@pytest.mark.slow
def test_the_onset_is_in_time_order_however_many_answers_a_prompt_has(capsys, tmp_path):
    code, out, _ = analyze(capsys, history(tmp_path, "base_A", "base_B", "serv_maxtok24"), "--json")
    told = json.loads(out)
    assert code == 1
    assert told["series"]["unused"] <= 40
    switch = START + timedelta(minutes=20_000)
    onset = datetime.fromisoformat(told["series"]["onset_time"])
    assert abs(onset - switch) < timedelta(minutes=600), "60 answers"
    assert datetime.fromisoformat(told["series"]["alarm_time"]) > switch
