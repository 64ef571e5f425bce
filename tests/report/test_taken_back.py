"""When answers are said to be as before: not where only what they are compared with was exchanged."""

from __future__ import annotations

from typing import Any

from promptguard.report.taken_back import mark_taken_back


def epoch(number: int, status: str, snapshot: str, at: float) -> dict[str, Any]:
    group = {
        "stream": "candidate", "group": "triage@3", "status": status, "pairs": 50, "changes": [],
        "control_model": "gpt-4", "candidate_model": snapshot, "moments": {"first": {"at": at}},
    }  # fmt: skip
    return {"epoch": number, "groups": [group]}


def test_no_difference_from_the_same_snapshot_is_as_before() -> None:
    documents = [epoch(1, "drift", "gpt-4-0314", 10.0), epoch(2, "no_drift", "gpt-4-0314", 20.0)]
    mark_taken_back(documents)
    assert documents[1]["groups"][0]["as_before_since"] == 20.0


def test_no_difference_from_another_snapshot_says_nothing_of_the_first() -> None:
    documents = [epoch(1, "drift", "gpt-4-0314", 10.0), epoch(2, "no_drift", "gpt-4-1106", 20.0)]
    mark_taken_back(documents)
    assert documents[1]["groups"][0]["as_before_since"] is None
