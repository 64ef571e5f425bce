"""The figures shown are the ledger's own."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

import pytest

import promptguard
from promptguard.errors import InputFileError
from promptguard.report.documents import overall, standing
from promptguard.report.full import full_report
from promptguard.report.read import read_report, read_verdicts
from promptguard.report.state import _is_awaited
from tests.report.conftest import Recorded

pytestmark = pytest.mark.sdk


def rows(recorded: Recorded, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(recorded.path / "ledger.sqlite3")
    try:
        return connection.execute(query, values).fetchall()
    finally:
        connection.close()


def test_a_verdict_for_every_stream_and_group(recorded: Recorded) -> None:
    found = list(promptguard.verdicts(recorded.path))
    assert len({(verdict.stream, verdict.group) for verdict in found}) == len(found)
    assert {verdict.stream for verdict in found} == {"candidate", "repeat"}
    first = next(verdict for verdict in found if verdict.stream == "candidate")
    assert (first.status, first.epoch) == ("drift", 1)
    assert first.onset is not None
    assert first.changes


def test_alarm_and_onset_are_told_as_calls(recorded: Recorded) -> None:
    stream = full_report(recorded.path).streams[0]
    calls = [
        call
        for (call,) in rows(
            recorded,
            "select call from pair where stream='candidate' and epoch=1 and outcome='compared' order by id",
        )
    ]
    assert stream.alarm is not None
    assert stream.onset is not None
    assert stream.alarm.call == calls[stream.verdict.alarm_at - 1]
    assert stream.onset.call == calls[stream.verdict.onset.pair - 1]
    assert recorded.switch - 4 <= stream.onset.call <= stream.alarm.call


def test_the_curve_is_the_evaluators_own(recorded: Recorded) -> None:
    for stream in full_report(recorded.path).streams:
        assert len(stream.curve) == stream.pairs
        assert stream.curve[-1].log10_evidence == pytest.approx(stream.verdict.log10_evidence, abs=1e-4)


def test_every_group_has_a_curve_of_its_own_with_times(recorded: Recorded) -> None:
    groups = [group for stream in full_report(recorded.path).streams for group in stream.groups]
    assert groups
    for group in groups:
        assert group.curve[-1].pair == group.pairs
        assert group.curve[-1].log10_evidence == pytest.approx(group.verdict.log10_evidence, abs=1e-4)
        assert group.last is not None
        assert group.curve[-1].at == group.last.at
        times = [point.at for point in group.curve if point.at is not None]
        assert times == sorted(times)
        assert len(times) == len(group.curve)


def test_sums_agree_with_the_database(recorded: Recorded) -> None:
    report = full_report(recorded.path)
    assert sum(spent.usd for spent in report.spent) == pytest.approx(
        rows(recorded, "select sum(usd) from pair")[0][0]
    )
    assert [(day.day, day.calls) for day in report.days] == rows(
        recorded, "select day, calls from spend order by day"
    )
    assert [noted.kind for noted in report.actions][:2] == ["alarm", "route"]
    assert report.cache.hits == 1
    assert report.cache.saved_usd is not None
    assert report.cache.saved_usd > 0
    lost = rows(recorded, "select count(*) from pair where outcome != 'compared'")[0][0]
    assert sum(loss.count for loss in report.losses) == lost
    json.dumps(report.to_dict(), ensure_ascii=True)


def test_examples_are_the_recorded_texts(recorded: Recorded) -> None:
    stream = read_report(recorded.path).streams[0]
    assert len(stream.examples) == 2
    assert all(
        "<script>" in example.control and example.candidate in {"[Yes]", "[No]"}
        for example in stream.examples
    )


def test_the_effect_of_the_route_is_an_epoch_of_its_own(recorded: Recorded) -> None:
    after = [stream for stream in read_report(recorded.path).streams if stream.routed]
    assert [(stream.epoch, stream.control, stream.candidate) for stream in after] == [
        (2, "gpt-4", "gpt-4-0314")
    ]


def told(status: str, epoch: int = 1, stream: str = "candidate") -> dict[str, Any]:
    return {"stream": stream, "epoch": epoch, "status": status, "groups": []}


def test_a_drift_stands_through_later_epochs() -> None:
    assert standing([told("drift"), told("no_drift", 2)]) == [told("drift")]
    assert standing([told("no_drift"), told("unmeasured", 2)]) == [told("unmeasured", 2)]


def test_overall_leaves_the_self_test_out() -> None:
    assert overall([told("drift", stream="repeat"), told("no_drift")]) == "no_drift"
    assert overall([told("unmeasured"), told("no_drift", stream="replay")]) == "unmeasured"
    assert overall([]) == "unmeasured"


def test_no_ledger_is_told() -> None:
    with pytest.raises(InputFileError, match="no ledger here"):
        read_verdicts("/nowhere")


def test_expected_false_alarms_follow_from_pace_and_promise(recorded: Recorded) -> None:
    expected = 0.0
    watching = {told["stream"]: told for told in read_verdicts(recorded.path) if told["mode"] == "monitor"}
    for stream, told in watching.items():
        query = "select count(*), max(at) - min(at) from pair where outcome = 'compared' and stream = ?"
        ((pairs, seconds),) = rows(recorded, query, (stream,))
        expected += told["alpha"] / told["horizon"] * 365.25 * 86400 * (pairs - 1) / seconds
    assert expected > 0
    assert read_report(recorded.path).false_alarms_per_year == pytest.approx(expected)


@pytest.mark.parametrize(
    ("told", "awaited"),
    [
        ({"group": None, "group_count": 2}, True),
        ({"group": "triage@1", "group_count": 0}, False),
        ({"group": None, "group_count": 0}, False),  # calls without a prompt: the stream stands for itself
    ],
)
def test_a_streams_own_verdict_is_no_state_while_its_prompts_are_awaited(
    told: dict[str, Any], awaited: bool
) -> None:
    assert _is_awaited(told) is awaited
