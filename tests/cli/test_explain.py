"""`promptguard explain`, as a shell sees it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_status import no_columns, run
from tests.report.conftest import HOSTILE, Recorded, quiet, recorded

__all__ = ["no_columns", "quiet", "recorded"]
pytestmark = pytest.mark.sdk


def group_of(recorded: Recorded, capsys: pytest.CaptureFixture[str]) -> str:
    run("status", "--json", "--ledger", str(recorded.path))
    told = json.loads(capsys.readouterr().out)
    return next(str(row["group"]) for row in told["rows"] if row["status"] == "drift")


def test_the_newest_alarm_is_told_in_full_with_what_to_do(
    recorded: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("explain", "--ledger", str(recorded.path)) == 1
    told = capsys.readouterr().out
    assert told.startswith("DRIFT  ")
    plain = " ".join(told.split())
    for part in (
        "began 14 Nov 2023, ",
        "alarm 14 Nov 2023, ",
        "last pair 1",
        "evidence 10^",
        "done calls for gpt-4 go to gpt-4-0314",
    ):
        assert part in plain
    assert "what happened" in told
    assert "what to do now" in told
    command = f"promptguard acknowledge {shlex.quote(group_of(recorded, capsys))} --stream candidate --ledger"
    assert command in plain


def test_what_a_model_wrote_cannot_steer_the_terminal(
    recorded: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    run("explain", "--ledger", str(recorded.path))
    told = capsys.readouterr().out
    assert "not prime" in " ".join(told.split())
    assert not {"\x1b", "\u202e"} & set(told)
    assert {"\x1b", "\u202e"} <= set(HOSTILE)


def test_json_has_moments_verdict_and_steps(recorded: Recorded, capsys: pytest.CaptureFixture[str]) -> None:
    group = group_of(recorded, capsys)
    assert run("explain", group, "--stream", "candidate", "--json", "--ledger", str(recorded.path)) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["group"], told["stream"], told["status"]) == (group, "candidate", "drift")
    assert told["since_low"] <= told["since"] <= told["alarm_at"] <= told["last_pair_at"] <= told["at"]
    assert told["verdict"]["sentence"] == told["sentence"]
    steps = {step["key"]: step for step in told["steps"]}
    assert {"accept", "incident"} <= steps.keys()
    assert steps["accept"]["lines"][0].startswith("promptguard acknowledge ")
    assert [event["kind"] for event in told["events"]][:2] == ["alarm", "route"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("no-such-prompt",), "nothing was judged for"),
        (("--stream", "replays"), "did you mean 'replay'?"),
        (("--stream", "canary"), "no alarm of the canary stream stands"),
    ],
)
def test_what_is_not_there_is_one_line_and_exit_2(
    arguments: tuple[str, ...], said: str, recorded: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("explain", *arguments, "--ledger", str(recorded.path)) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_without_an_alarm_one_names_the_prompt(quiet: Recorded, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("explain", "--ledger", str(quiet.path)) == 2
    assert "no alarm stands; name a GROUP" in capsys.readouterr().err
    run("status", "--json", "--ledger", str(quiet.path))
    row = next(each for each in json.loads(capsys.readouterr().out)["rows"] if each["stream"] == "candidate")
    code = run("explain", row["group"], "--stream", "candidate", "--ledger", str(quiet.path))
    assert code == {"no_drift": 0, "unmeasured": 3}[row["status"]]
    assert "what to do now" not in capsys.readouterr().out


@pytest.mark.parametrize("command", ["explain", "acknowledge"])
def test_the_tab_key_knows_the_prompts_of_the_ledger(
    command: str, recorded: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    group = group_of(recorded, capsys)
    asked = {"_PROMPTGUARD_COMPLETE": "complete_bash", "COMP_WORDS": f"promptguard {command} {group[:3]}",
             "COMP_CWORD": "2",
             "PROMPTGUARD_LEDGER": str(recorded.path)}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "promptguard"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **asked},
    )
    assert group in done.stdout.splitlines()


def test_the_tab_key_is_quiet_where_there_is_no_ledger(tmp_path: Path) -> None:
    asked = {"_PROMPTGUARD_COMPLETE": "complete_bash", "COMP_WORDS": "promptguard explain x", "COMP_CWORD": "2",
             "PROMPTGUARD_LEDGER": str(tmp_path / "none")}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "promptguard"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **asked},
    )
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_a_repeat_is_of_the_same_moment_and_shows_no_pairs_of_another_stream(
    recorded: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    run("explain", group_of(recorded, capsys), "--stream", "repeat", "--ledger", str(recorded.path))
    told = capsys.readouterr().out
    assert "compared with its own answer of the same moment" in " ".join(told.split())
    assert "pair of " not in told
