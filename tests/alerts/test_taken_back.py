"""An alarm that a failed self-test takes back is resolved, and fires again when the self-test speaks for it again."""

from __future__ import annotations

import pytest

from promptguard.background import alerting
from promptguard.verdict import Verdict
from tests.alerts.process import Process, Time, note, webhook
from tests.alerts.receiver import Receiver


def verdict(stream, group, **more):
    values = {
        "status": "drift", "reason": None, "stream": stream, "mode": "gate", "alpha": 0.01, "pairs": 40, "skipped": {},
        "alarm_at": 12, "log10_evidence": 5.0, "log10_threshold": 2.0, "group": group,
    }  # fmt: skip
    return Verdict(**{**values, **more})


def put(ledger, stream, group, **more):
    told = verdict(stream, group, **more).to_dict()
    whole = {**verdict(stream, None, **more).to_dict(), "groups": [told]}
    ledger.put_verdict(stream, more.get("epoch", 1), 0.0, 40, whole)


@pytest.fixture
def told(tmp_path):
    with Receiver() as receiver:
        one = Process(tmp_path, Time(), webhook(receiver))

        def statuses(seconds=2 * alerting.REVIEW_SECONDS):
            one.run_for(seconds)
            return [each.told["status"] for each in receiver.got]

        yield one, receiver, statuses


def test_it_is_resolved_and_fires_again(told):
    one, receiver, statuses = told
    put(one.ledger, "candidate", "triage@3")
    note(one.ledger, "alarm", "triage@3", at=one.time.now)
    assert statuses() == ["firing"]
    put(one.ledger, "repeat", "triage@3")
    assert statuses() == ["firing", "resolved"]
    assert "taken back: the self-test failed" in receiver.got[-1].told["promptguard"]["text"]
    assert statuses() == ["firing", "resolved"], "told once"
    note(one.ledger, "acknowledge", "", at=one.time.now, stream="repeat")
    assert statuses(400) == ["firing", "resolved", "firing"]
    assert len({each.told["promptguard"]["id"] for each in receiver.got}) == 1
    assert len({each.headers["webhook-id"] for each in receiver.got}) == 3
    note(one.ledger, "acknowledge", "triage@3", at=one.time.now)
    assert statuses() == ["firing", "resolved", "firing", "resolved"]
    assert "acknowledged" in receiver.got[-1].told["promptguard"]["title"]


def test_an_alarm_that_was_acknowledged_does_not_come_back_with_the_self_test(told):
    one, _, statuses = told
    put(one.ledger, "candidate", "triage@3")
    note(one.ledger, "alarm", "triage@3", at=one.time.now)
    assert statuses() == ["firing"]
    put(one.ledger, "repeat", "triage@3")
    assert statuses() == ["firing", "resolved"]
    note(one.ledger, "acknowledge", "triage@3", at=one.time.now)
    note(one.ledger, "acknowledge", "", at=one.time.now, stream="repeat")
    assert statuses(600) == ["firing", "resolved"]
    assert not one.alerting._outbox.watched(), "nothing waits for the self-test any more"


def test_a_later_change_does_not_wake_an_alert_that_was_taken_back(told):
    one, receiver, statuses = told
    put(one.ledger, "candidate", "triage@3")
    note(one.ledger, "alarm", "triage@3", at=one.time.now)
    put(one.ledger, "repeat", "triage@3")
    assert statuses() == ["resolved"]
    note(one.ledger, "acknowledge", "triage@3", at=one.time.now)
    note(one.ledger, "acknowledge", "", at=one.time.now, stream="repeat")
    put(one.ledger, "candidate", "triage@3", epoch=2)
    note(one.ledger, "alarm", "triage@3", at=one.time.now, epoch=2)
    assert statuses(600) == ["resolved", "firing"]
    assert len({each.told["promptguard"]["id"] for each in receiver.got}) == 2


def test_what_is_unmeasured_for_another_reason_is_not_taken_back(told):
    """A fold that begins anew, after a change of settings say, has too few pairs for a while."""
    one, _, statuses = told
    put(
        one.ledger,
        "candidate",
        "triage@3",
        status="unmeasured",
        reason="too few pairs",
        alarm_at=None,
        pairs=3,
    )
    note(one.ledger, "alarm", "triage@3", at=one.time.now)
    assert statuses(600) == ["firing"]


def test_an_alert_is_told_in_fewer_words_where_a_verdict_is_damaged(told):
    one, receiver, statuses = told
    note(one.ledger, "alarm", "triage@3", at=one.time.now)
    with one.ledger.transaction() as connection:
        connection.exec_driver_sql("INSERT INTO verdict VALUES ('candidate', 1, 0, 1, 'no json')")
    assert statuses() == ["firing"]
    assert "triage@3 answers in less words." in receiver.got[0].told["promptguard"]["text"]
    assert statuses(600) == ["firing"]
