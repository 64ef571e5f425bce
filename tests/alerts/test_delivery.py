"""Each change is told at least once, never zero times, and can be told apart by its id: whatever fails in between."""

from __future__ import annotations

import collections
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

import promptguard
from promptguard.ledger.outbox import TOGETHER_SECONDS
from promptguard.ledger.store import Ledger
from promptguard.report.alerts import read_alerts
from tests.alerts.process import START, Process, Time, note, webhook
from tests.alerts.receiver import Receiver, with_status
from tests.cache.replies import until


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def _rare_looks(monkeypatch):
    """Turns when something is due, and a few besides: an hour is not to take a minute."""
    monkeypatch.setattr("promptguard.background.alerting.POLL_SECONDS", 60.0)


def ids(receiver):
    return [each.headers["webhook-id"] for each in receiver.got]


def test_prompts_that_change_together_are_one_alert(tmp_path, time, receiver):
    one = Process(tmp_path, time, webhook(receiver))
    for number in range(5):
        note(one.ledger, "alarm", f"triage-{number}@1", at=time.now)
        one.run_for(4)
    assert not receiver.got, "others may follow in a moment"
    one.run_for(30)
    (got,) = receiver.got
    assert got.told["promptguard"]["prompts"] == [f"triage-{number}@1" for number in range(5)]
    assert [each["labels"]["gen_ai_prompt_name"] for each in got.told["alerts"]] == [
        f"triage-{number}" for number in range(5)
    ]
    one.run_for(3600)
    assert len(receiver.got) == 1, "told once"
    assert not one.faults


def test_later_prompts_of_a_change_are_told_together_under_its_id(tmp_path, time, receiver):
    one = Process(tmp_path, time, webhook(receiver))
    note(one.ledger, "alarm", "first@1", at=time.now)
    one.run_for(60)
    for number in range(20):
        note(one.ledger, "alarm", f"later-{number}@1", at=time.now)
        one.run_for(10)
    one.run_for(600)
    assert len({each.told["promptguard"]["id"] for each in receiver.got}) == 1
    assert [len(each.told["alerts"]) for each in receiver.got] == [1, 21]
    assert len(set(ids(receiver))) == 2


def test_another_model_or_another_day_is_another_alert(tmp_path, time, receiver):
    one = Process(tmp_path, time, webhook(receiver))
    note(one.ledger, "alarm", "a@1", at=time.now)
    note(one.ledger, "alarm", "b@1", at=time.now, asked="another-model")
    one.run_for(60)
    time.now += TOGETHER_SECONDS
    note(one.ledger, "alarm", "c@1", at=time.now)
    one.run_for(60)
    assert [each.told["promptguard"]["prompts"] for each in receiver.got] == [["a@1"], ["b@1"], ["c@1"]]
    assert len({each.told["promptguard"]["id"] for each in receiver.got}) == 3


def test_an_acknowledged_alarm_is_resolved_once_all_of_it_is(tmp_path, time, receiver):
    one = Process(tmp_path, time, webhook(receiver))
    for group in ("a@1", "b@1"):
        note(one.ledger, "alarm", group, at=time.now)
    one.run_for(60)
    note(one.ledger, "acknowledge", "a@1", at=time.now)
    one.run_for(600)
    assert [each.told["status"] for each in receiver.got] == ["firing"]
    note(one.ledger, "acknowledge", "b@1", at=time.now)
    one.run_for(60)
    assert [each.told["status"] for each in receiver.got] == ["firing", "resolved"]
    first, last = receiver.got
    assert first.told["promptguard"]["id"] == last.told["promptguard"]["id"]
    assert "acknowledged" in last.told["promptguard"]["text"]
    note(one.ledger, "alarm", "a@1", at=time.now, epoch=2)
    one.run_for(60)
    assert len({each.told["promptguard"]["id"] for each in receiver.got}) == 2, "a new change has a new id"


def test_an_alarm_that_is_known_before_it_was_told_is_told_all_the_same(tmp_path, time, receiver):
    one = Process(tmp_path, time, webhook(receiver))
    note(one.ledger, "alarm", "a@1", at=time.now)
    note(one.ledger, "acknowledge", "a@1", at=time.now + 1)
    one.run_for(60)
    assert [each.told["status"] for each in receiver.got] == ["resolved"]


def test_a_receiver_that_is_down_for_an_hour_misses_nothing(tmp_path, time, receiver):
    """Two processes, one of which ends without a word in between; alarms before, during and after."""
    receiver.answer = with_status(503)
    one = Process(tmp_path, time, webhook(receiver))
    note(one.ledger, "alarm", "before@1", at=time.now, asked="m0")
    one.run_for(900)
    two = Process(tmp_path, time, webhook(receiver))
    for number in range(1, 4):
        note(one.ledger, "alarm", f"during-{number}@1", at=time.now, asked=f"m{number}")
        one.run_for(300)
        two.run_for(300)
    del one  # killed: nothing is written, its leases end by themselves
    two.run_for(900)
    attempts = len(receiver.got)
    assert 20 < attempts < 200, "pauses grow, and end at five minutes"
    assert not [each for each in receiver.got if each.told["promptguard"]["test"]]
    receiver.answer = None
    receiver.got.clear()
    two.run_for(700)
    told = collections.Counter(each.told["promptguard"]["model"] for each in receiver.got)
    assert told == {"m0": 1, "m1": 1, "m2": 1, "m3": 1}
    rows, _ = read_alerts(tmp_path)
    assert [row.pending for row in rows] == [False] * 4
    assert not two.faults


def test_a_clock_that_is_set_back_silences_nobody(tmp_path, time, receiver):
    receiver.answer = with_status(500)
    one = Process(tmp_path, time, webhook(receiver))
    note(one.ledger, "alarm", "a@1", at=time.now)
    one.run_for(600)
    receiver.answer = None
    time.now -= 86400
    receiver.got.clear()
    one.run_for(400)
    assert len(receiver.got) == 1
    note(one.ledger, "alarm", "b@1", at=time.now + 86400, asked="another")
    one.run_for(60)
    assert len(receiver.got) == 2


def test_each_channel_has_its_own_state(tmp_path, time, receiver):
    with Receiver(with_status(500)) as broken:
        one = Process(tmp_path, time, webhook(broken, name="broken"), webhook(receiver, name="works"))
        note(one.ledger, "alarm", "a@1", at=time.now)
        one.run_for(600)
        assert len(receiver.got) == 1
        rows, channels = read_alerts(tmp_path)
        assert {each.channel: (each.pending, each.error) for each in rows[0].receipts} == {
            "broken": (True, "status 500"),
            "works": (False, ""),
        }
        assert [each.name for each in channels] == ["broken", "works"]
        broken.answer = None
        broken.got.clear()
        one.run_for(400)
        assert len(broken.got) == 1
        assert len(receiver.got) == 1


def test_alarms_from_before_a_channel_are_no_news(tmp_path, time, receiver):
    ledger = Ledger(tmp_path)
    note(ledger, "alarm", "old@1", at=time.now)
    one = Process(tmp_path, time, webhook(receiver))
    one.run_for(60)
    assert not receiver.got
    note(ledger, "alarm", "new@1", at=time.now, asked="another")
    one.run_for(60)
    assert [each.told["promptguard"]["prompts"] for each in receiver.got] == [["new@1"]]


def test_the_name_stays_when_the_address_changes(tmp_path, time, receiver):
    with Receiver(with_status(410)) as gone:
        one = Process(tmp_path, time, webhook(gone, name="oncall"))
        note(one.ledger, "alarm", "a@1", at=time.now)
        one.run_for(60)
    two = Process(tmp_path, time, webhook(receiver, name="oncall"))
    two.run_for(400)
    assert len(receiver.got) == 1


def test_a_process_without_channels_leaves_them_to_who_has_them(tmp_path, time, receiver):
    one = Process(tmp_path, time, webhook(receiver))
    other = Process(tmp_path, time)
    note(other.ledger, "alarm", "a@1", at=time.now)
    other.run_for(120)
    assert not receiver.got
    one.run_for(60)
    assert len(receiver.got) == 1


def test_a_damaged_row_does_not_keep_the_next_alarm(tmp_path, time, receiver):
    one = Process(tmp_path, time, webhook(receiver))
    one.ledger.note(
        at=time.now, call=1, kind="alarm", stream="candidate", group="bad", detail={"no": "epoch"}
    )
    note(one.ledger, "alarm", "good@1", at=time.now)
    one.run_for(60)
    assert [each.told["promptguard"]["prompts"] for each in receiver.got] == [["good@1"]]


def test_two_processes_that_take_turns_tell_each_change_once(tmp_path, time, receiver):
    both = [Process(tmp_path, time, webhook(receiver)) for _ in range(2)]
    for number in range(10):
        note(both[number % 2].ledger, "alarm", f"p{number}@1", at=time.now, asked=f"m{number}")
        for each in both:
            each.run_for(20)
    for each in both:
        each.run_for(120)
    assert sorted(each.told["promptguard"]["model"] for each in receiver.got) == sorted(
        f"m{number}" for number in range(10)
    )


def test_while_one_process_sends_no_other_does(tmp_path, time):
    go, entered = threading.Event(), threading.Event()
    sent = []

    def slow(channel, alert, wall):
        entered.set()
        assert go.wait(30.0)
        sent.append("one")

    def other(channel, alert, wall):
        sent.append("two")

    hook = promptguard.Webhook("https://example.com")
    one, two = Process(tmp_path, time, hook, send=slow), Process(tmp_path, time, hook, send=other)
    note(one.ledger, "alarm", "a@1", at=time.now)
    sending = threading.Thread(target=one.turn, kwargs={"hurry": True})
    sending.start()
    assert entered.wait(30.0)
    two.turn(hurry=True)
    assert sent == []
    go.set()
    sending.join()
    two.turn(hurry=True)
    assert sent == ["one"]


def test_flush_waits_for_no_further_prompts(tmp_path, receiver):
    one = Process(tmp_path, lambda: START, webhook(receiver))
    one.alerting._closed = False
    one.alerting.register()
    note(one.ledger, "alarm", "a@1", at=START)
    assert one.alerting.flush(20.0)
    assert len(receiver.got) == 1
    one.alerting.stop()
    one.alerting.join(10.0**9)
    assert not [each for each in threading.enumerate() if each.name == "promptguard-alerts"]


CHILD = """
import sys, time
import promptguard.background.alerting as alerting
from promptguard.ledger.store import Ledger
from tests.alerts.process import note
import promptguard
alerting.LEASE_SECONDS, alerting.WAIT_SECONDS, alerting.OTHERS_SECONDS = 1.0, 0.0, 0.05
directory, url, name, count = sys.argv[1:]
ledger = Ledger(directory)
work = alerting.Alerting(ledger, name, lambda what, error: print(what, repr(error), flush=True), time.time)
work.use((promptguard.Webhook(url, name="hook", allow_private=True),))
work.register()
for number in range(int(count)):
    note(ledger, "alarm", f"{name}-{number}@1", at=time.time(), asked=f"{name}-{number}")
    print("noted", number, flush=True)
    work.wake()
    time.sleep(0.01)
print("all", flush=True)
sys.stdin.read()
"""


def started(directory, url, name, count):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(directory), url, name, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_processes_that_are_killed_lose_no_alert(tmp_path, receiver):
    """Two at a time note and send; each is killed while a message of its own is under way, and another goes on."""
    kill_at = {3, 7, 11}
    victims: dict[int, subprocess.Popen[str]] = {}
    running: list[subprocess.Popen[str]] = []

    def answer(handler):
        number = len(receiver.got)
        if number in kill_at and running:
            victim = running.pop(0)
            victims[number] = victim
            victim.send_signal(signal.SIGKILL)
        with_status(200)(handler)

    receiver.answer = answer
    noted = 0
    for round_number in range(4):
        name = f"child{round_number}"
        child = started(tmp_path, receiver.url, name, 4)
        running.append(child)
        victims[-1 - round_number] = child
    children = [victims[-1 - number] for number in range(4)]
    for child in children:
        for line in child.stdout:
            noted += line.startswith("noted")
            if line.startswith("all"):
                break
    last = started(tmp_path, receiver.url, "last", 1)
    noted += 1
    try:

        def told():
            return {each.told["promptguard"]["model"] for each in list(receiver.got)}

        until(
            lambda: len(told()) >= noted and not [row for row in read_alerts(tmp_path)[0] if row.pending],
            60.0,
        )
        rows, _ = read_alerts(tmp_path)
        assert told() == {row.alert.model for row in rows}
        assert len(rows) >= noted, "each change is one alert"
        by_id = collections.defaultdict(set)
        for each in receiver.got:
            by_id[each.headers["webhook-id"]].add(each.told["promptguard"]["model"])
        assert all(len(models) == 1 for models in by_id.values()), "an id is of one change"
        assert len(by_id) == len(rows), "what came twice has one id"
        assert sum(child.poll() is not None for child in children) == len(kill_at)
    finally:
        for child in (*children, last):
            child.kill()
            child.communicate()
