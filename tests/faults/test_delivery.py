"""An alarm reaches the user's functions at least once: coroutine, failing, slow and leaving ones, and after an exit."""

from __future__ import annotations

import asyncio
import datetime
import logging
import pickle
import shlex
import threading
import time

import pytest

import promptguard
from promptguard.background.acting import Acting
from promptguard.background.delivery import Delivery
from promptguard.background.engine import open_backgrounds
from promptguard.cli import main
from promptguard.core.policy import State
from promptguard.ledger.store import Ledger
from promptguard.shadow import retry
from promptguard.testing import FakeProvider
from tests.cache.replies import until

UNLIMITED = promptguard.Budget(calls_per_minute=None)
SUMMARY = {"epoch": 1, "pairs": 30, "log10_evidence": 2.5, "pair_id": 30}


@pytest.fixture(autouse=True)
def quick_pauses(monkeypatch):
    monkeypatch.setattr("promptguard.background.delivery.pause_after", lambda attempts: 0.02)
    monkeypatch.setattr("promptguard.background.delivery.VERDICT_SECONDS", 0.0)
    monkeypatch.setattr("promptguard.background.delivery.OTHERS_SECONDS", 0.02)


class Process:
    """What one process has of a ledger, as far as alarms go."""

    def __init__(self, directory, *functions, name="one"):
        self.faults = []
        self.ledger = Ledger(directory)
        self.delivery = Delivery(
            self.ledger, name, lambda what, error: self.faults.append((what, type(error)))
        )
        self.acting = Acting(self.ledger, State(), functions, lambda: 1_700_000_000.0, self.delivery)
        self.acting.catch_up()

    def ring(self, group="triage@1"):
        self.acting.alarm(stream="replay", group=group, asked="gpt-4", call=7, summary=SUMMARY)

    def kinds(self):
        return [noted["kind"] for noted in self.ledger.occurrences_after(0)]

    def end(self):
        self.delivery.stop()
        self.delivery.join(time.monotonic() + 10.0)


@pytest.fixture
def process(tmp_path):
    made = []

    def make(*functions, **more):
        made.append(Process(tmp_path, *functions, **more))
        return made[-1]

    yield make
    for each in made:
        each.delivery.use(())
        each.end()


def test_what_a_function_is_given(process):
    got = []
    one = process(got.append)
    one.ring("a group")
    assert one.delivery.flush(20.0)
    (alarm,) = got
    assert isinstance(alarm, promptguard.Alarm)
    assert (alarm.group, alarm.model, alarm.stream, alarm.call, alarm.pairs) == (
        "a group",
        "gpt-4",
        "replay",
        7,
        30,
    )
    assert alarm.log10_evidence == 2.5
    assert alarm.time == datetime.datetime.fromtimestamp(1_700_000_000.0, datetime.UTC)
    assert "gpt-4 changed" in alarm.sentence
    assert shlex.split(alarm.undo) == [
        "promptguard",
        "acknowledge",
        "a group",
        "--ledger",
        str(one.ledger.place),
    ]
    assert pickle.loads(pickle.dumps(alarm)) == alarm  # noqa: S301 - our own value
    with pytest.raises(AttributeError, match="without a verdict has no 'changes'"):
        _ = alarm.changes
    assert one.kinds() == ["alarm", "delivered"]


def test_coroutine_functions_are_awaited(process):
    got = []

    class Pager:
        async def __call__(self, alarm):
            await asyncio.sleep(0.01)
            got.append(("object", alarm.group))

    async def page(alarm):
        await asyncio.sleep(0.01)
        got.append(("function", alarm.group))

    one = process(page, Pager(), lambda alarm, *_: page(alarm))
    one.ring()
    assert one.delivery.flush(20.0)
    assert got == [("function", "triage@1"), ("object", "triage@1"), ("function", "triage@1")]


@pytest.mark.parametrize("error", [RuntimeError, SystemExit, KeyboardInterrupt, asyncio.CancelledError])
@pytest.mark.parametrize("is_async", [False, True])
def test_a_function_that_raises_is_called_again_until_it_does_not(process, error, is_async):
    calls, others = [], []

    def page(alarm):
        calls.append(alarm)
        if len(calls) < 4:
            raise error("down")

    async def page_async(alarm):
        page(alarm)

    one = process(others.append, page_async if is_async else page)
    one.ring()
    until(lambda: "delivered" in one.kinds())
    assert len(calls) == 4
    assert len(others) == 1, "who has had it is not told again"
    assert [fault for fault in one.faults if fault[0] == "action"] == [("action", error)] * 3


@pytest.mark.parametrize("is_async", [False, True])
def test_a_function_of_which_nothing_ran_has_not_had_it(process, is_async):
    got = []

    def page(alarm):
        yield got.append(alarm)

    async def page_async(alarm):
        yield got.append(alarm)

    one = process(lambda alarm: page_async(alarm) if is_async else page(alarm))
    one.ring()
    until(lambda: ("action", TypeError) in one.faults)
    assert "delivered" not in one.kinds()
    assert not got


@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
def test_a_filter_that_raises_keeps_no_alarm_from_the_next_function(process, error):
    got, log = [], logging.getLogger("promptguard")

    def page(alarm):
        if len(got) < 3:
            raise ValueError("down")

    def refuse(record):
        if "could not be delivered" in record.getMessage():
            raise error("no room")
        return True

    one = process(page, got.append)
    log.addFilter(refuse)
    try:
        one.ring()
        until(lambda: got)
    finally:
        log.removeFilter(refuse)
    assert one.delivery._thread.is_alive()
    got += [None, None]
    until(lambda: "delivered" in one.kinds())


def test_pauses_grow(monkeypatch):
    pauses = [retry.pause_after(attempt) for attempt in (1, 2, 3, 5, 20, 1000)]
    assert all(1.0 <= pause <= 300.0 for pause in pauses)
    assert pauses == sorted(pauses)
    assert pauses[-1] == 300.0


def test_a_failing_function_holds_up_no_other_alarm(process):
    got = []

    def page(alarm):
        if alarm.group == "bad":
            raise RuntimeError
        got.append(alarm.group)

    one = process(page)
    for group in ("bad", "good", "better"):
        one.ring(group)
    until(lambda: got == ["good", "better"])


def test_nothing_waits_for_a_slow_function(process):
    go, entered = threading.Event(), threading.Event()

    def slow(alarm):
        entered.set()
        go.wait(30.0)

    one = process(slow)
    one.ring()
    assert entered.wait(20.0)
    one.ring("another")  # by the evaluator's thread, which goes on
    assert not one.delivery.flush(0.05)
    go.set()
    assert one.delivery.flush(20.0)


def test_what_one_process_leaves_over_the_next_one_delivers(process):
    def broken(alarm):
        raise RuntimeError

    one = process(broken)
    one.ring()
    assert one.delivery.flush(20.0)
    one.end()
    assert one.kinds() == ["alarm"]
    got = []
    two = process(got.append, name="two")
    assert two.delivery.flush(20.0)
    until(lambda: two.kinds() == ["alarm", "delivered"])
    assert [alarm.group for alarm in got] == ["triage@1"]
    three = process(got.append, name="three")
    assert three.delivery.flush(20.0)
    assert len(got) == 1, "once it is delivered, nobody else is told"


def test_two_processes_deliver_once(process):
    got = []
    one, two = process(got.append), process(got.append, name="two")
    for number in range(20):
        one.ring(f"g{number}")
        two.acting.catch_up()
    until(lambda: one.kinds().count("delivered") == 20)
    assert sorted(alarm.group for alarm in got) == sorted(f"g{number}" for number in range(20))


def test_without_functions_there_is_no_thread_and_nothing_is_pending(process, caplog):
    one = process(promptguard.Route(to="gpt-4-0314"))
    with caplog.at_level(logging.WARNING, "promptguard"):
        one.ring()
    assert one.kinds() == ["alarm", "route"]
    assert not [thread for thread in threading.enumerate() if thread.name == "promptguard-delivery"]
    assert "promptguard acknowledge triage@1 --ledger" in caplog.text
    got = []
    process(got.append, name="two")
    assert not got, "an alarm from before there was a function is no news"


def test_a_function_that_is_given_later_gets_what_is_pending(process):
    got = []

    def broken(alarm):
        raise RuntimeError

    one = process(broken)
    one.ring()
    assert one.delivery.flush(20.0)
    one.acting.use((got.append,))
    until(lambda: one.kinds() == ["alarm", "delivered"])
    assert len(got) == 1


@pytest.mark.sdk
def test_an_alarm_of_a_wrapped_client_has_its_verdict(guarded, monkeypatch, capsys):
    openai = pytest.importorskip("openai")
    monkeypatch.setattr("promptguard.background.delivery.VERDICT_SECONDS", 30.0)
    got = []

    async def page(alarm):
        got.append(alarm)

    models = {"m": lambda _: "```\nno\n```", "pinned": lambda _: "yes, it is"}
    with FakeProvider(models) as provider:
        client = openai.OpenAI(base_url=provider.url, api_key="k")
        promptguard.wrap(
            client,
            ledger=guarded,
            shadow=promptguard.Shadow("pinned", sample=1.0, repeat=0.0, budget=UNLIMITED),
            drift=promptguard.Drift(mode="gate"),
            on_drift=[promptguard.Warn(), page],
        )
        for number in range(30):
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": f"hi {number}"}])
        assert promptguard.flush(100.0)
        client.close()
    (alarm,) = got
    assert alarm.status == "drift" == alarm.verdict.status
    assert alarm.verdict.group == alarm.group
    assert alarm.changes
    assert alarm.sentence == alarm.verdict.sentence()
    with pytest.raises(SystemExit) as ended:
        main(shlex.split(alarm.undo)[1:])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("acknowledged")
    assert [known.faults.counts for known in open_backgrounds() if known.faults.counts] == []
