"""The demo as a user runs it: real client, real server, recorded answers."""

import json

import pytest

from promptguard.cli import main
from promptguard.demo.recordings import FAMILIES, TASKS, Recordings


def demo(capsys, tmp_path, *arguments):
    page = tmp_path / "page.html"
    ledger = tmp_path / "ledger"
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--ledger", str(ledger), "-o", str(page), *arguments])
    out, err = capsys.readouterr()
    return ended.value.code, out, err, page


@pytest.mark.sdk
def test_a_silent_change_is_found_in_two_ways_and_acted_on(capsys, tmp_path):
    code, out, _, page = demo(capsys, tmp_path, "--task", "sensitive", "--json")
    told = json.loads(out)
    assert code == 0
    assert told["as_told"]
    found = {stream["stream"] for stream in told["streams"] if stream["status"] == "drift"}
    assert found == {"candidate", "replay"}
    first = next(stream for stream in told["streams"] if stream["stream"] == "replay")
    assert first["alarm"]["call"] >= told["switch_call"]
    assert first["alarm"]["pairs_after_switch"] <= 40
    assert told["route"]["to"] == "gpt-4-0314"
    acted = told["usable"]["acted"]
    assert acted["usable"] > acted["usable_without"]
    assert told["faults"] == {}
    assert "gpt-4-0613" in page.read_text()


@pytest.mark.sdk
def test_nothing_is_found_where_nothing_changed(capsys, tmp_path):
    code, out, _, _ = demo(capsys, tmp_path, "--task", "sensitive", "--no-switch")
    assert code == 0
    assert "DRIFT " not in out.replace("NO_DRIFT ", "")
    assert "an easy null" in out


@pytest.mark.parametrize(
    "arguments",
    [("--task", "nope"), ("--family", "gpt-9"), ("--seed", "x")],
)
def test_wrong_use_is_one_clear_line(capsys, tmp_path, arguments):
    code, _, err, _ = demo(capsys, tmp_path, *arguments)
    assert code == 2
    assert arguments[0] in err
    assert "Traceback" not in err


def test_a_directory_of_somebody_else_is_never_emptied(capsys, tmp_path):
    kept = tmp_path / "ledger" / "thesis.txt"
    kept.parent.mkdir()
    kept.write_text("years of work")
    code, _, err, _ = demo(capsys, tmp_path)
    assert code == 2
    assert "not the demo's" in err
    assert kept.read_text() == "years of work"


def test_every_recorded_question_has_every_answer():
    for task in TASKS:
        recordings = Recordings(task)
        for question in recordings.questions:
            for _, before, after in FAMILIES.values():
                assert recordings.answer(question, before).text is not None
                assert recordings.answer(question, after).tokens >= 0


def test_usable_is_what_the_application_can_parse_and_is_right():
    recordings = Recordings("prime")
    question = next(q for q, reference in recordings.references.items() if reference.casefold() == "yes")
    assert recordings.usable(question, "Step by step ... [Yes]")
    assert recordings.usable(question, "[YES]")
    assert not recordings.usable(question, "Yes")
    assert not recordings.usable(question, "[No]")
