"""`promptguard analyze` as the shell sees it: exit codes, clear lines for bad input, JSON by its schema."""

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from promptguard.cli import main
from tests.drift.recorded import FAMILIES, ROOT, TASKS, pairs

SCHEMA = json.loads((ROOT / "docs/reference/verdict.schema.json").read_text("utf-8"))
LABELS = ["--label", "yes=(?i)yes", "--label", r"no=(?i)\bno\b"]


def write(path: Path, task: str, family: str, rng=None, **more) -> Path:
    with path.open("w", encoding="utf-8") as file:
        for first, second in pairs(task, family):
            sides = [{"text": first["answer"]}, {"text": second["answer"]}]
            if rng is not None and rng.integers(2):
                sides.reverse()
            line = {
                "group": task,
                "prompt": first["query"],
                "control": sides[0],
                "candidate": sides[1],
                **more,
            }
            if first["reference"]:
                line["reference"] = first["reference"]
            file.write(json.dumps(line) + "\n")
    return path


@pytest.fixture
def analyze(capsys):
    def call(*arguments):
        with pytest.raises(SystemExit) as done:
            main(["analyze", *map(str, arguments)])
        out, err = capsys.readouterr()
        return done.value.code, out, err

    return call


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("task", TASKS)
def test_recorded_change_is_drift_and_json_follows_the_schema(task, family, analyze, tmp_path):
    code, out, err = analyze(write(tmp_path / "pairs.jsonl", task, family), "--json")
    verdict = json.loads(out)
    jsonschema.validate(verdict, SCHEMA)
    assert (code, verdict["status"], err) == (1, "drift", "")
    assert verdict["groups"][0]["group"] == task


def test_sides_swapped_by_a_fair_coin_are_no_drift(analyze, tmp_path):
    rng = np.random.default_rng(31)
    codes = [analyze(write(tmp_path / "p.jsonl", "sensitive", "gpt-4", rng), "--json")[0] for _ in range(20)]
    assert codes.count(0) >= 19


def test_verdict_for_people_tells_change_ability_and_examples(analyze, tmp_path):
    code, out, err = analyze(write(tmp_path / "pairs.jsonl", "prime", "gpt-4"), *LABELS)
    assert (code, err) == (1, "")
    for expected in ("DRIFT", "638", "0.840", "0.511", "2.501", "answers shrank", " No "):
        assert expected in out
    assert re.search(r"pair (\d+), line \1\b", out)
    assert "\x1b[" not in out


def test_gzip_standard_input_and_plain_agree(analyze, tmp_path):
    plain = write(tmp_path / "pairs.jsonl", "leetcode", "gpt-4")
    packed = tmp_path / "pairs.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    command = [sys.executable, "-m", "promptguard", "analyze", "-", "--json"]
    piped = subprocess.run(command, input=packed.read_bytes(), capture_output=True, check=False)
    assert analyze(plain, "--json")[1] == analyze(packed, "--json")[1] == piped.stdout.decode()
    assert piped.returncode == 1


def test_bad_lines_are_told_by_number_and_skipped(analyze, tmp_path):
    good = write(tmp_path / "pairs.jsonl", "leetcode", "gpt-4").read_bytes()
    bad = [
        b"nonsense",
        b"[1]",
        b'{"control": {"text": "a"}}',
        b'{"control": {"text": 3}, "candidate": {"text": "b"}}',
        b"\xff\xfe",
        b'{"control": {"text": "a"}, "candidate": {"text": "b"}, "stream": "other"}',
        b'{"control": {"text": "a", "latency_s": NaN}, "candidate": {"text": "b"}}',
        b"[" * 100_000,
    ]
    file = tmp_path / "bad.jsonl"
    file.write_bytes(b"\n".join([*bad, b"", good]))
    code, out, err = analyze(file, "--json")
    assert code == 1
    told = err.splitlines()
    assert [line.split(": ")[0] for line in told] == [f"{file}:{number}" for number in range(1, len(bad) + 1)]
    assert "Traceback" not in err
    assert json.loads(out)["pairs"] == 50
    code, out, err = analyze(file, "--strict")
    assert (code, out) == (2, "")
    assert "--strict" in err.splitlines()[-1]


def test_unusable_files_are_one_clear_line_and_exit_2(analyze, tmp_path):
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    torn = tmp_path / "torn.jsonl.gz"
    torn.write_bytes(gzip.compress(b'{"control": {"text": "a"}, "candidate": {"text": "b"}}\n' * 9000)[:-20])
    hopeless = tmp_path / "hopeless.jsonl"
    hopeless.write_text("{}\n")
    for file, word in [
        (tmp_path / "missing", "no such file"),
        (tmp_path, "directory"),
        (empty, "empty"),
        (torn, "cannot be read"),
        (hopeless, "no usable pair"),
    ]:
        code, out, err = analyze(file)
        assert (code, out) == (2, ""), file
        assert str(file) in err
        assert word in err.splitlines()[-1]
    for arguments in (
        ["--alpha", "2"],
        ["--mode", "x"],
        ["--mode", "monitor"],
        ["--label", "a"],
        ["--label", "a=("],
    ):
        code, out, err = analyze(hopeless, *arguments)
        assert (code, out) == (2, ""), arguments
        assert "Traceback" not in err


def test_pairs_of_a_ledger_are_imported_instead(analyze, tmp_path):
    from promptguard.ledger.pair_files import lines_of
    from promptguard.ledger.store import Ledger

    Ledger(tmp_path / "ledger").open()
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(lines_of(tmp_path / "ledger")) + "\n{}\n")
    code, out, err = analyze(file)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "`promptguard import`" in err


def test_too_few_pairs_are_unmeasured(analyze, tmp_path):
    file = tmp_path / "pairs.jsonl"
    file.write_text('{"control": {"text": "a"}, "candidate": {"text": "b"}, "ticket": {"kept": 1}}\n' * 3)
    code, out, _ = analyze(file, "--json")
    assert code == 3
    assert json.loads(out)["reason"] == "too few pairs"


def test_missing_answers_are_counted(analyze, tmp_path):
    file = tmp_path / "pairs.jsonl"
    tied = '{"control": {"text": "a"}, "candidate": {"text": "a"}}\n' * 30
    file.write_text(tied + '{"control": {"error": "timeout"}, "candidate": {"text": "a"}}\n')
    code, out, _ = analyze(file, "--json")
    assert (code, json.loads(out)["skipped"]) == (0, {"control_error": 1})


def test_streams_are_judged_apart_and_repeat_only_gates(analyze, tmp_path):
    drifted = write(tmp_path / "a.jsonl", "leetcode", "gpt-4", stream="candidate").read_text()
    replayed = write(tmp_path / "b.jsonl", "leetcode", "gpt-4", stream="replay").read_text()
    tied = '{"control": {"text": "a"}, "candidate": {"text": "a"}, "stream": "repeat"}\n' * 20
    file = tmp_path / "pairs.jsonl"
    file.write_text(drifted + replayed + tied)
    code, out, _ = analyze(file, "--json")
    found = json.loads(out)
    jsonschema.validate(found, SCHEMA)
    alphas = {verdict["stream"]: verdict["alpha"] for verdict in found["streams"]}
    assert (code, found["status"]) == (1, "drift")
    assert alphas == {"candidate": 0.005, "replay": 0.005, "repeat": 0.01}
    failing = drifted.replace('"stream": "candidate"', '"stream": "repeat"')
    file.write_text(drifted + failing)
    code, out, _ = analyze(file, "--json")
    reasons = {verdict["stream"]: verdict["reason"] for verdict in json.loads(out)["streams"]}
    assert (code, reasons) == (3, {"candidate": "failed self-test", "repeat": None})


def test_group_by_another_key(analyze, tmp_path):
    file = tmp_path / "pairs.jsonl"
    lines = [{"control": {"text": "a"}, "candidate": {"text": "a"}, "region": r} for r in ("eu", "us") * 10]
    file.write_text("\n".join(map(json.dumps, lines)))
    _, out, _ = analyze(file, "--json", "--group-by", "region")
    assert [group["group"] for group in json.loads(out)["groups"]] == ["eu", "us"]


def test_terminal_controls_in_answers_are_not_sent_to_the_terminal(analyze, tmp_path):
    file = tmp_path / "pairs.jsonl"
    line = {
        "group": "\x1b[31mg",
        "control": {"text": "plain words here."},
        "candidate": {"text": "\x1b]0;owned\x07[bold]!"},
    }
    file.write_text((json.dumps(line) + "\n") * 20)
    code, out, _ = analyze(file)
    assert code == 1
    assert "\x1b" not in out
    assert "[bold]!" in out


def test_thousand_pairs_take_little_time_and_memory(tmp_path):
    if not sys.platform.startswith("linux"):
        pytest.skip("the peak is read from /proc")
    file = tmp_path / "pairs.jsonl"
    rng = np.random.default_rng(37)
    words = ["alpha", "beta", "gamma", "delta", "the", "of", "12", "eps.\n"]
    with file.open("w") as out:
        for _ in range(1000):
            first, second = (" ".join(rng.choice(words, 190)) for _ in range(2))
            out.write(json.dumps({"control": {"text": first}, "candidate": {"text": second}}) + "\n")
    # The child tells its own peak: what getrusage says of it includes this process's, from before the exec.
    code = (
        "import sys, time; from promptguard.cli import main\n"
        "try: main(['analyze', sys.argv[1], '--json'])\n"
        "except SystemExit: pass\n"
        "print(time.process_time(), *(x for x in open('/proc/self/status') if 'VmHWM' in x), file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True
    )
    seconds, _, kilobytes, _ = ended.stderr.split()
    assert json.loads(ended.stdout)["pairs"] == 1000
    assert float(seconds) < 2.0
    assert int(kilobytes) < 200_000


def test_import_of_the_package_and_of_the_command_line_is_light():
    heavy = "[name for name in ('numpy', 'typer', 'rich', 're2') if name in sys.modules]"
    code = f"import sys, promptguard, promptguard.cli; print({heavy})"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    assert done.stdout.strip() == "[]"


def test_a_conversation_is_judged_once(capsys, tmp_path):
    file = tmp_path / "pairs.jsonl"
    lines = [
        {"conversation": number // 3, "control": {"text": "yes"}, "candidate": {"text": "```\nno\n```"}}
        for number in range(60)
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(SystemExit):
        main(["analyze", str(file), "--json", "--cluster-by", "conversation"])
    told = json.loads(capsys.readouterr().out)
    assert told["pairs"] == 20
    assert told["skipped"] == {"same cluster": 40}
    assert told["status"] == "drift"


def test_a_tolerated_difference_is_no_drift(capsys, tmp_path):
    file = tmp_path / "pairs.jsonl"
    lines = [
        {"control": {"text": "4"}, "candidate": {"text": "```\n4\n```" if number % 10 == 0 else "4"}}
        for number in range(300)
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    codes = {}
    for options in ((), ("--tolerance", "0.3"), ("--tolerance", "0.01")):
        with pytest.raises(SystemExit) as ended:
            main(["analyze", str(file), "--json", *options])
        told = json.loads(capsys.readouterr().out)
        jsonschema.validate(told, json.loads((ROOT / "docs/reference/verdict.schema.json").read_text()))
        codes[options] = ended.value.code
    assert list(codes.values()) == [1, 0, 1]
    with pytest.raises(SystemExit) as ended:
        main(["analyze", str(file), "--tolerance", "7"])
    assert ended.value.code == 2
    assert "tolerance must be a share" in capsys.readouterr().err


def test_a_lines_response_format_tells_wrong_json_from_right(analyze, tmp_path):
    file = tmp_path / "pairs.jsonl"
    schema = {"type": "object", "required": ["size"], "properties": {"size": {"type": "integer"}}}
    asked = {"type": "json_schema", "json_schema": {"schema": schema}}
    with file.open("w") as opened:
        for number in range(40):
            sides = {
                "control": {"text": f'{{"size": {number}}}'},
                "candidate": {"text": f'{{"size": "{number}"}}'},
            }
            opened.write(json.dumps({**sides, "response_format": asked}) + "\n")
    code, out, _ = analyze(file, "--json")
    first = json.loads(out)["changes"][0]
    assert (code, first["feature"], first["control"], first["candidate"]) == (1, "$.size:kind:5", 0.0, 1.0)
    assert "json_as_asked" in first["related"]
