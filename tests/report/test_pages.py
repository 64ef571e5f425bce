"""Read models of the pages: what stands first, what is told of it, what to do, what a day will cost."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from promptguard.cli import COMMANDS, main
from promptguard.core.actions import Done
from promptguard.ledger.store import Ledger, put_group_verdict, put_whole_verdict
from promptguard.report.actions import concerning, read_actions
from promptguard.report.cost import DAYS, forecast, read_cost
from promptguard.report.headline import headline
from promptguard.report.memory import Memory, newest
from promptguard.report.model import Day
from promptguard.report.next_steps import Case, cases_of, earlier_versions, next_steps
from promptguard.report.overview import Overview, Row, read_overview, split_name
from promptguard.report.prompt import read_prompt
from promptguard.report.unmeasured import read_unmeasured
from promptguard.verdict import Change
from promptguard.verdict.scales import natural, shown
from tests.report.conftest import Recorded

NOW = 1_790_000_000.0


def document(group: str, status: str, at: float = NOW, **more: object) -> dict[str, object]:
    moment = {"pair": 9, "call": 9, "at": at, "banked_call": None}
    moments = dict.fromkeys(("first", "last"), moment)
    if status == "drift":
        moments |= dict.fromkeys(("alarm", "onset", "onset_low", "onset_high"), moment)
    return {
        "group": group, "status": status, "stream": "candidate",
        "reason": "too few pairs" if status == "unmeasured" else None,
        "mode": "monitor", "alpha": 0.004, "pairs": 40, "skipped": {}, "alarm_at": 9 if status == "drift" else None,
        "log10_evidence": 7.0, "log10_threshold": 5.4, "epoch": 1, "horizon": 1000, "tolerance": None, "onset": None,
        "changes": [], "ability": None, "examples": [], "characters": None, "largest_hidden_drift": None,
        "hidden_by_kind": {}, "sentence": f"of {group}", "named": [], "groups": [], "control_model": "gpt-4",
        "candidate_model": "gpt-4-0314", "moments": moments, "curve": [[1, 1, 0.0, at], [9, 9, 7.0, at]], **more,
    }  # fmt: skip


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Five prompts: two alarms, one that is known, one not measured, one quiet."""
    opened = Ledger(tmp_path / "ledger")
    told = [
        document("quiet@1", "no_drift"), document("older@1", "drift", NOW - 9000), document("newer@2", "drift"),
        document("newer@1", "no_drift"), document("few@1", "unmeasured"), document("known@1", "drift"),
    ]  # fmt: skip
    with opened.transaction() as connection:
        put_whole_verdict(connection, "candidate", 1, NOW, 9, {**document("", "drift"), "example_pairs": []})
        for each in told:
            put_group_verdict(connection, "candidate", 1, str(each["group"]), NOW, each)
    opened.note(at=NOW, call=1, kind="acknowledge", stream="candidate", group="known@1", detail={})
    opened.close()
    return tmp_path / "ledger"


def test_what_needs_somebody_stands_first(ledger: Path) -> None:
    found = read_overview(ledger, now=NOW + 60)
    assert [row.group for row in found.rows] == [
        "newer@2",
        "older@1",
        "few@1",
        "known@1",
        "newer@1",
        "quiet@1",
    ]
    assert [row.group for row in found.alarms] == ["newer@2", "older@1"]
    told = headline(found)
    assert told.since == NOW - 9000
    assert "gpt-4-0314" in told.text


def test_who_reads_again_reads_only_what_was_written_since(ledger: Path) -> None:
    memory = Memory()
    before, state = read_overview(ledger, memory=memory), newest(ledger)
    assert newest(ledger) == state
    opened = Ledger(ledger)
    with opened.transaction() as connection:
        put_group_verdict(
            connection, "candidate", 1, "quiet@1", NOW + 1, document("quiet@1", "drift", NOW + 1)
        )
        put_group_verdict(connection, "candidate", 1, "few@1", NOW, document("few@1", "drift", NOW + 2))
    opened.note(at=NOW, call=1, kind="acknowledge", stream="candidate", group="older@1", detail={})
    opened.close()
    after = read_overview(ledger, memory=memory)
    assert {row.group for row in after.alarms} == {
        "quiet@1",
        "newer@2",
    }  # few@1 was written under the same time
    assert len(after.rows) == len(before.rows)
    assert newest(ledger) != state


def test_a_prompt_has_its_versions_and_only_its_own_verdicts(ledger: Path) -> None:
    prompt = read_prompt(ledger, "newer@2")
    assert prompt is not None
    assert [row.group for row in prompt.versions] == ["newer@2", "newer@1"]
    assert {report.group for report in prompt.reports} == {"newer@2"}
    assert read_prompt(ledger, "nobody's@1") is None


@pytest.mark.parametrize(
    ("group", "parts"),
    [("a/b@3", ("a/b", "3")), ("plain", ("plain", "")), ("@3", ("@3", "")), ("a@b@9", ("a@b", "9"))],
)
def test_a_group_is_a_name_and_a_version(group: str, parts: tuple[str, str]) -> None:
    assert split_name(group) == parts


def case(ledger: Path, **more: object) -> Case:
    overview = read_overview(ledger)
    return replace(cases_of(ledger, overview, overview.alarms)[0], **more)


def test_the_steps_are_those_of_the_case(ledger: Path) -> None:
    steps = {step.key: step for step in next_steps(case(ledger))}
    assert {"record", "stay", "roll-back", "accept", "incident"} <= set(steps)
    assert 'library.get("newer@1")' in steps["roll-back"].lines[0]
    assert "route" not in steps  # the candidate differs: there is nothing to route away from
    texts = {step.key for step in next_steps(case(ledger, recorded_content=True))}
    assert "compare" in texts
    assert "record" not in texts


def test_a_tolerance_is_advised_that_no_feature_passes_or_none(ledger: Path) -> None:
    def advised(shift: float | None, tolerance: float | None = None) -> list[str]:
        given = case(ledger)
        verdict = replace(given.verdict, largest_shift=shift, tolerance=tolerance)
        return [step.lines[1] for step in next_steps(replace(given, verdict=verdict)) if step.key == "widen"]

    assert advised(0.28) == ["tolerance = 0.3"]
    assert advised(0.28, 0.1) == ["tolerance = 0.3"]
    assert advised(0.28, 0.3) == advised(1.0) == advised(None) == []


def test_an_incident_of_two_models_that_differ_says_so(ledger: Path) -> None:
    (incident,) = [step for step in next_steps(case(ledger)) if step.key == "incident"]
    assert (
        incident.lines[0] == "[newer@2] answers of gpt-4-0314 differ from those of gpt-4 (candidate stream)"
    )


def test_a_change_in_place_is_pinned_and_routed(ledger: Path) -> None:
    given = case(ledger)
    row = replace(given.row, stream="replay", control="gpt-4", candidate="gpt-4")
    keys = [step.key for step in next_steps(replace(given, row=row))]
    assert keys.index("pin") < keys.index("accept")
    route = Done(7, "route", NOW, "replay", "newer@2", "gpt-4", "gpt-4-0314")
    routed = replace(given, row=row, in_force=(route,))
    assert any("undo 7" in line for step in next_steps(routed) for line in step.lines)


def test_an_incident_tells_all_that_was_done_and_how_it_is_taken_back(ledger: Path) -> None:
    done = (
        Done(3, "raise", NOW, "candidate", "newer@2", "gpt-4", message="changed"),
        Done(4, "bypass", NOW, "candidate", "newer@2", "gpt-4"),
        Done(5, "rollback", NOW, "candidate", "newer@2", "gpt-4", "1", label="production", before="2"),
        Done(6, "route", NOW, "candidate", "", "gpt-4", "gpt-4-0314"),
        Done(7, "route", NOW, "candidate", "other@1", "gpt-4", "gpt-4-0314"),
        Done(8, "route", NOW, "candidate", "", "gpt-5", "gpt-5-old"),
    )
    given = replace(case(ledger), in_force=concerning("newer@2", {"gpt-4"}, done))
    (incident,) = [step for step in next_steps(given) if step.key == "incident"]
    (told,) = [line for line in incident.lines if line.startswith("Done: ")]
    assert [part.split(" since ")[0] for part in told.removeprefix("Done: ").split("; ")] == [
        "calls raise DriftDetected", "calls for gpt-4 pass the cache by",
        "the label production stands on version 1 in place of 2", "calls for gpt-4 go to gpt-4-0314",
    ]  # fmt: skip
    back = [line.split()[4] for line in incident.lines if line.startswith("Take back: ")]
    assert back == ["3", "4", "5", "6"]


def test_every_shell_command_of_a_step_is_one_of_ours_and_is_understood(ledger: Path) -> None:
    given = case(ledger)
    rows = [given.row, replace(given.row, stream="repeat"), replace(given.row, group="it's; rm -rf /")]
    for row in rows:
        for step in next_steps(replace(given, row=row)):
            for line in step.lines if step.kind == "shell" else ():
                words = shlex.split(line)
                assert words[0] == "promptguard"
                assert words[1] in COMMANDS
                assert str(ledger) in words
                if row.group in line or "rm -rf" in row.group:
                    assert row.group in words or "--all" in words or words[1] in {"dashboard", "explain"}


def test_accepting_does_what_the_step_says(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    accept = next(step for step in next_steps(case(ledger)) if step.key == "accept")
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(accept.lines[0])[1:])
    assert ended.value.code == 0
    assert [row.group for row in read_overview(ledger).alarms] == ["older@1"]
    (event,) = [event for event in read_actions(ledger).events if event.group == "newer@2"]
    assert event.kind == "acknowledge"


def test_an_incident_holds_no_text_of_a_call(recorded: Recorded) -> None:
    overview: Overview = read_overview(recorded.path)
    row: Row = overview.alarms[0]
    (given,) = cases_of(recorded.path, overview, [row])
    incident = next(step for step in next_steps(given) if step.key == "incident")
    text = "\n".join(incident.lines)
    assert row.group in text
    assert "evil.example" not in text
    assert "acknowledge" in text
    assert earlier_versions(row, overview.rows) == ()


DAY = 86_400.0


@pytest.mark.parametrize(
    ("gone", "today", "yesterday", "expected"),
    [
        (0.5, (50, 1.0), (100, 2.0), (2.0, 100)),  # half a day at the same pace
        (0.25, (50, 1.0), (100, 2.0), (1.0 + 0.75 * 2.5, 50 + 0.75 * 125)),
        (0.5, (50, 1.0), None, (2.0, 100)),
        (0.01, (0, 0.0), None, (None, None)),
        (0.01, (0, 0.0), (0, 0.0), (None, None)),
    ],
)
def test_a_day_ends_at_the_pace_of_the_last_24_hours(gone, today, yesterday, expected) -> None:
    days = [Day("a", *yesterday)] if yesterday else []
    found = forecast([*days, Day("b", *today)], 20_000 * DAY + gone * DAY)
    assert (
        found == (pytest.approx(expected[0]), pytest.approx(expected[1]))
        if expected[0]
        else found == expected
    )


def test_days_without_a_call_are_days(ledger: Path) -> None:
    opened = Ledger(ledger)
    at = 20_000 * DAY + 0.5 * DAY
    opened.add_spending({("2024-10-02", "shadow"): (10, 1.0), ("2024-10-04", "replay"): (20, 2.0)})
    opened.close()
    found = read_cost(ledger, now=at)
    assert [(day.day, day.calls) for day in found.days] == [
        ("2024-10-02", 10),
        ("2024-10-03", 0),
        ("2024-10-04", 20),
    ]
    assert found.purposes[0].usd == 2.0
    later = read_cost(ledger, now=at + (DAYS + 9) * DAY)
    assert (later.days[-1].day, later.today.calls, later.forecast_usd) == ("2024-10-04", 0, None)


def test_the_funnel_counts_what_came_how_far(recorded: Recorded) -> None:
    stages = read_unmeasured(recorded.path).stages
    assert [stage.name for stage in stages] == ["drawn", "begun", "compared"]
    assert stages[0].count >= stages[1].count >= stages[2].count > 0


CHANGE = Change(
    feature="digits", kind="content", control=0.1, candidate=0.3, difference=0.2, low=None, high=None,
    phrase="share of digits", binary=False, strength=1.0, effect_pairs=0, control_interval=(0.05, 0.2),
    candidate_interval=(0.2, 0.4),
)  # fmt: skip


def test_changes_are_shown_in_units_that_people_have() -> None:
    on = shown(CHANGE)
    assert on is not None
    assert (on.first.value, on.second.value, on.unit) == (pytest.approx(10), pytest.approx(30), "%")
    assert on.low <= on.first.low <= on.second.high <= on.high
    words = shown(replace(CHANGE, feature="sentence_length", control=0.5, candidate=0.6))
    assert words is not None
    assert words.text(words.first.value) == "9.0 words a sentence"
    assert shown(replace(CHANGE, feature="tool_name")) is None
    assert natural("length", 0.0) == (0.0, "characters")
