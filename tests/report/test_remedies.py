"""What `status` says to do next, for each reason why a ledger is not measured."""

from __future__ import annotations

import pytest

from promptguard.core.epochs import EVERY_GROUP
from promptguard.report.model import CacheUse, Day
from promptguard.report.overview import Overview, Row
from promptguard.report.remedies import remedies


def row(
    reason, *, group="triage@4", stream="candidate", status="unmeasured", candidate="snap", acknowledged=False
):
    return Row(
        group=group, stream=stream, epoch=1, status=status, reason=reason, acknowledged=acknowledged, routed=False,
        pairs=5, log10_evidence=0.0, log10_threshold=4.0, control="m", candidate=candidate, since=None, since_low=None,
        since_high=None, alarm_at=None, last_at=None, told={},
    )  # fmt: skip


def overview(*rows, judged_at=1e9):
    return Overview(
        ledger="led ger", now=1e9, status="unmeasured", rows=rows, streams=(), in_force=(), today=Day("2026-11-26", 0, 0.0),
        cache=CacheUse(), notices=(), judged_at=judged_at, last_pair_at=1e9, pairs=5, recorded_content=False,
    )  # fmt: skip


PLAN = "promptguard plan --ledger 'led ger'"


@pytest.mark.parametrize(
    ("reason", "begins"),
    [
        ("rate", "raise Budget(calls_per_minute=...)"),
        ("budget spent", "raise Budget(usd_per_day=...) or Budget(calls_per_day=...)"),
        ("price unknown", "give Budget(price="),
        ("process ended", "call promptguard.flush(30) before the process ends or"),
        ("candidate errors: status_404", "check the name in Shadow(model=...): the provider knows no model 'snap'"),
        ("candidate errors: status_500", "promptguard doctor --ledger 'led ger'  (candidate errors: status_500)"),
        ("control errors: timeout", "promptguard doctor --ledger 'led ger'"),
        ("accepted: snap is of before", "name a snapshot of today in Shadow(model=...): the change was accepted, and snap"),
        ("too few pairs", PLAN),
        (None, PLAN),
    ],
)  # fmt: skip
def test_each_reason_has_what_mends_it(reason, begins):
    [told] = remedies(overview(row(reason)), {})
    assert told.startswith(begins)


def test_the_commonest_reason_comes_first_and_each_is_said_once():
    rows = [row("rate", group="a"), row("budget spent", group="b"), row("budget spent", group="c")]
    assert [told[:24] for told in remedies(overview(*rows), {})] == [
        "raise Budget(usd_per_day",
        "raise Budget(calls_per_m",
    ]


@pytest.mark.parametrize("group", ["triage@4", EVERY_GROUP])
def test_an_accepted_change_asks_for_a_new_snapshot_while_the_old_one_is_compared_with(group):
    stands = row(None, status="drift", acknowledged=True)
    [told] = remedies(overview(stands), {("candidate", group): "snap"})
    assert told.startswith("name a snapshot of today in Shadow(model=...)")
    assert "snap is of before it" in told
    assert remedies(overview(stands), {("candidate", group): "older"})[0].startswith(PLAN)


def test_a_self_test_asks_for_nothing():
    [told] = remedies(overview(row("rate", stream="placebo")), {})
    assert told.startswith(PLAN)


def test_pairs_that_nobody_has_judged_want_a_judge():
    [told] = remedies(overview(row("rate"), judged_at=None), {})
    assert told.startswith("promptguard watch --ledger 'led ger'")
