"""A known change becomes the new baseline: no second alarm for it, and one that is taken back is told."""

from __future__ import annotations

import json
import time

import pytest
from openai import OpenAI

import promptguard
from promptguard.background.engine import open_backgrounds
from promptguard.cli import main
from promptguard.report.overview import read_overview
from promptguard.testing import FakeClock, FakeProvider

pytestmark = pytest.mark.sdk
UNLIMITED = promptguard.Budget(calls_per_minute=None)
OLD, NEW = "Yes, of course: here is the plan you asked for.", "I am sorry, but I cannot help with that."


class Application:
    """Calls through a wrapped client, on a clock of its own."""

    def __init__(self, provider, ledger, clock, **settings):
        self.clock, self.number = clock, 0
        self.client = OpenAI(base_url=provider.url, api_key="k", max_retries=0)
        promptguard.wrap(self.client, ledger=ledger, clock=clock, seed=1, **settings)

    def ask(self, count):
        for _ in range(count):
            self.number += 1
            with promptguard.group("g"):
                self.client.chat.completions.create(
                    model="m", messages=[{"role": "user", "content": f"question {self.number}"}]
                )
        assert promptguard.flush(100.0)

    def wait(self, hours):
        """Let stored questions come due, and be asked."""
        self.clock.advance(hours * 3600.0)
        ledger = open_backgrounds()[0].ledger
        until = time.monotonic() + 20.0
        while ledger.banked_count(self.clock()) and time.monotonic() < until:
            time.sleep(0.02)
        assert promptguard.flush(100.0)


def standing(ledger, clock, stream):
    rows = read_overview(ledger, now=clock()).rows
    [row] = [row for row in rows if row.stream == stream and row.group == "g"]
    return row


@pytest.mark.parametrize("accept", [True, False])
def test_an_accepted_change_does_not_alarm_again_in_replay(guarded, accept):
    clock, says = FakeClock(), [OLD]
    with FakeProvider({"m": lambda q: f"{says[0]} {q.text}"}) as provider:
        replay = promptguard.Replay(share=1.0, after="1h", budget=UNLIMITED)
        app = Application(provider, guarded, clock, replay=replay)
        app.ask(160)
        says[0] = NEW
        app.wait(2)
        assert standing(guarded, clock, "replay").alarming
        waiting = open_backgrounds()[0].ledger.banked_count()
        assert waiting > 20, "answers from before, of which some wait for days"
        promptguard.acknowledge(guarded, "g", accept=accept, clock=clock)
        assert open_backgrounds()[0].ledger.banked_count() == (0 if accept else waiting)
        app.ask(60)
        for _ in range(8):
            app.wait(48)
        assert standing(guarded, clock, "replay").alarming is not accept
        app.client.close()


def test_a_change_that_is_taken_back_is_told_in_replay(guarded, capsys):
    clock, says = FakeClock(time.time() - 3 * 86400.0), [OLD]
    with FakeProvider({"m": lambda q: f"{says[0]} {q.text}"}) as provider:
        replay = promptguard.Replay(share=1.0, after="1h", budget=UNLIMITED)
        app = Application(provider, guarded, clock, replay=replay)
        app.ask(40)
        says[0] = NEW
        app.wait(2)
        promptguard.acknowledge(guarded, "g", accept=True, clock=clock)
        app.ask(200)
        says[0] = OLD
        app.wait(2)
        row = standing(guarded, clock, "replay")
        assert row.alarming
        assert row.as_before_since == pytest.approx(clock(), abs=1.0)
        assert "The answers are as before since" in row.sentence()
        app.client.close()
    with pytest.raises(SystemExit):
        main(["status", "--ledger", str(guarded), "--json"])
    told = [each["as_before_since"] for each in json.loads(capsys.readouterr().out)["rows"]]
    assert sum(each is not None for each in told) == 1


def test_a_candidate_that_was_accepted_is_compared_with_no_more(guarded, capsys):
    clock = FakeClock()
    with FakeProvider({"m": lambda q: NEW, "snap": lambda q: OLD, "snap-2": lambda q: NEW}) as provider:
        shadow = promptguard.Shadow(model="snap", sample=1.0, repeat=0.0, budget=UNLIMITED)
        app = Application(provider, guarded, clock, shadow=shadow)
        app.ask(40)
        assert standing(guarded, clock, "candidate").alarming
        with pytest.raises(SystemExit) as ended:
            main(["acknowledge", "g", "--accept", "--ledger", str(guarded)])
        assert ended.value.code == 0
        assert "name a snapshot of today" in capsys.readouterr().out
        asked = provider.asked("snap")
        time.sleep(2.5)  # the evaluator follows
        app.ask(30)
        assert provider.asked("snap") == asked
        row = standing(guarded, clock, "candidate")
        assert (row.status, row.alarming) == ("drift", False)
        [whole] = [row for row in read_overview(guarded, now=clock()).rows if not row.group]
        assert (whole.status, whole.epoch) == ("unmeasured", 2)
        assert "name a snapshot of today" in str(whole.reason)
        app.client.close()
        shadow = promptguard.Shadow(model="snap-2", sample=1.0, repeat=0.0, budget=UNLIMITED)
        app = Application(provider, guarded, clock, shadow=shadow)
        app.number = 1000
        app.ask(40)
        row = standing(guarded, clock, "candidate")
        assert (row.status, row.epoch, row.pairs) == ("no_drift", 2, 40)
        app.client.close()


def test_what_could_hide_in_replay_counts_pairs_that_straddle(guarded):
    clock = FakeClock()
    with FakeProvider({"m": lambda q: f"{OLD} {q.text}"}) as provider:
        replay = promptguard.Replay(share=1.0, after="1h", budget=UNLIMITED)
        app = Application(provider, guarded, clock, replay=replay)
        app.ask(40)
        app.wait(2)
        [verdict] = [each for each in promptguard.verdicts(guarded, clock=clock) if each.group == "g"]
        assert (verdict.status, verdict.pairs) == ("no_drift", 40)
        assert verdict.window is not None
        hidden = {each.seconds: (each.pairs, each.hidden) for each in verdict.window.since}
        assert hidden[3600.0][0] == 40
        assert hidden[86400.0] == (0, 1.0)
        assert verdict.largest_hidden_drift == hidden[3600.0][1] < 1.0
        assert "of a change that began 1 h ago under about" in verdict.sentence()
        # a day later none of them could show a change of this day
        clock.advance(7000.0)
        [later] = [each for each in promptguard.verdicts(guarded, clock=clock) if each.group == "g"]
        assert later.reason == "stale"
        app.client.close()
