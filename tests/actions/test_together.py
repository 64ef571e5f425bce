"""A change that every prompt shows a little of: no prompt could alarm by itself, all of them together do."""

from __future__ import annotations

import contextlib
import json
import time

import pytest

import promptguard
from promptguard.alarms import _meant
from promptguard.background import acting
from promptguard.background.delivery import Delivery
from promptguard.background.folding import Fold
from promptguard.cli import main
from promptguard.core.epochs import ALL_PROMPTS, EVERY_GROUP
from promptguard.core.policy import State
from promptguard.dashboard import render_report
from promptguard.drift import PairMonitor
from promptguard.errors import DriftDetected
from promptguard.ledger.store import Ledger
from promptguard.report.alerts import compose, read_alerts
from promptguard.report.overview import read_overview
from promptguard.report.whole import read_whole
from promptguard.testing import FakeProvider
from tests.cache.replies import until
from tests.fleet.pairs import pair, vector

PROMPTS, EACH = 12, 5
MODELS = {"gpt-4": lambda _: "```\nno\n```", "gpt-4-0613": lambda _: "yes, it is"}
SHADOW = promptguard.Shadow(
    "gpt-4-0613", sample=1.0, repeat=0.0, budget=promptguard.Budget(calls_per_minute=None)
)
GATE = promptguard.Drift(mode="gate")


@pytest.fixture
def provider():
    with FakeProvider(MODELS) as provider:
        yield provider


def wrapped(provider, ledger, *actions, drift=GATE, **more):
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=provider.url, api_key="k", max_retries=0)
    return promptguard.wrap(client, ledger=ledger, shadow=SHADOW, drift=drift, on_drift=actions, **more)


def ask(client, prompt, text="hello"):
    with promptguard.group(f"prompt {prompt}@1"):
        return client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": text}])


def change_everywhere(client, each=EACH):
    for number in range(each):
        for prompt in range(PROMPTS):
            ask(client, prompt, f"question {number} of {prompt}")
    assert promptguard.flush(100.0)


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    return ended.value.code


def alarms(ledger):
    return [
        (each["stream"], each["group"])
        for each in Ledger(ledger).occurrences_after(0)
        if each["kind"] == "alarm"
    ]


def test_it_rings_once_and_is_told_everywhere(provider, guarded, capsys):
    told = []
    client = wrapped(provider, guarded, told.append)
    change_everywhere(client)
    assert alarms(guarded) == [("candidate", EVERY_GROUP)]
    until(lambda: told, 20.0)
    (alarm,) = told
    assert (alarm.group, alarm.model, alarm.verdict.status) == (EVERY_GROUP, "gpt-4", "drift")
    assert ALL_PROMPTS in alarm.undo

    assert run("status", "--ledger", guarded) == 1
    assert ALL_PROMPTS in capsys.readouterr().out
    assert run("status", "--ledger", guarded, "--json") == 1
    said = json.loads(capsys.readouterr().out)
    assert [row["status"] for row in said["rows"] if row["group"] is None] == ["drift"]
    assert {row["status"] for row in said["rows"] if row["group"] is not None} == {"unmeasured"}
    assert run("explain", "--ledger", guarded) == 1
    explained = capsys.readouterr().out
    assert f"DRIFT  {ALL_PROMPTS}, candidate stream" in explained
    assert run("explain", ALL_PROMPTS, "--ledger", guarded, "--json") == 1
    assert json.loads(capsys.readouterr().out)["group"] == EVERY_GROUP
    overview = read_overview(guarded)
    assert overview.status == "drift"
    assert [row.group for row in overview.alarms] == [EVERY_GROUP]
    assert overview.prompts == PROMPTS
    assert "drift" in [each.status for each in promptguard.verdicts(guarded)]
    page = render_report(read_whole(guarded))
    assert "<h2>all prompts</h2>" in page
    client.close()


def test_it_is_acknowledged_for_every_prompt_at_once(provider, guarded, capsys):
    client = wrapped(provider, guarded)
    change_everywhere(client)
    assert run("acknowledge", ALL_PROMPTS, "--ledger", guarded) == 0
    assert capsys.readouterr().out.startswith(f"acknowledged: {ALL_PROMPTS}, candidate stream")
    assert not read_overview(guarded).alarms
    until(lambda: ask(client, 0) and promptguard.flush(100.0) and newest_epoch(guarded) == 2, 20.0)
    change_everywhere(client)
    assert alarms(guarded) == [("candidate", EVERY_GROUP)] * 2, "what goes on is a change in the next epoch"
    assert [row.epoch for row in read_overview(guarded).alarms] == [2]
    assert run("acknowledge", "--all", "--ledger", guarded) == 0
    assert not read_overview(guarded).alarms
    client.close()


def newest_epoch(ledger):
    return max(row.epoch for row in Ledger(ledger).pairs_after(0, 10**6))


def test_a_prompt_that_alarms_later_by_itself_is_told_too_and_acknowledged_with_all(provider, guarded):
    client = wrapped(provider, guarded)
    change_everywhere(client)
    for number in range(20):
        ask(client, 3, f"another question {number}")
    assert promptguard.flush(100.0)
    assert alarms(guarded) == [("candidate", EVERY_GROUP), ("candidate", "prompt 3@1")]
    found = promptguard.acknowledge(guarded, ALL_PROMPTS)
    assert found == [("candidate", "prompt 3@1"), ("candidate", EVERY_GROUP)]
    assert not read_overview(guarded).alarms
    client.close()


def test_who_acknowledges_one_prompt_leaves_the_alarm_of_all_standing(provider, guarded):
    client = wrapped(provider, guarded)
    change_everywhere(client)
    for number in range(20):
        ask(client, 3, f"another question {number}")
    assert promptguard.flush(100.0)
    promptguard.acknowledge(guarded, "prompt 3@1")
    assert [row.group for row in read_overview(guarded).alarms] == [EVERY_GROUP]
    client.close()


def test_one_prompt_that_changes_rings_alone(provider, guarded):
    provider.models["gpt-4"] = lambda asked: "yes, it is" if "same" in str(asked.messages) else "```\nno\n```"
    client = wrapped(provider, guarded)
    for number in range(30):
        for prompt in range(PROMPTS):
            ask(client, prompt, f"question {number}" if prompt == 4 else f"same {number}")
    assert promptguard.flush(100.0)
    assert alarms(guarded) == [("candidate", "prompt 4@1")]
    assert [row.group for row in read_overview(guarded).alarms] == ["prompt 4@1"]
    client.close()


def test_of_several_models_the_one_that_changed_is_named_and_routed(provider, guarded):
    """Eight prompts ask a model that answers as the other one; the last pair is of one of them."""
    provider.models["gpt-3.5"] = MODELS["gpt-4-0613"]
    client = wrapped(provider, guarded, promptguard.Route("gpt-4-0613"))
    for number in range(6):
        for prompt in range(20):
            model = "gpt-4" if prompt < PROMPTS else "gpt-3.5"
            text = [{"role": "user", "content": f"question {number} of {prompt}"}]
            with promptguard.group(f"prompt {prompt}@1"):
                client.chat.completions.create(model=model, messages=text)
    assert promptguard.flush(100.0)
    (alarm,) = [each for each in Ledger(guarded).occurrences_after(0) if each["kind"] == "alarm"]
    assert (alarm["group"], alarm["detail"]["asked"]) == (EVERY_GROUP, "gpt-4")
    client.close()


def test_the_model_is_that_of_the_prompts_with_the_evidence_not_that_of_the_last_pair(tmp_path):
    ledger, fold = Ledger(tmp_path), Fold(GATE)
    ledger.write_pairs(
        [
            pair(number, group=f"{model}@1", asked=model, control_model=model, vector=vector("Yes.", other))
            for number in range(20)
            for model, other in (("moved", "No, never."), ("still", "Yes."))
        ]
    )
    rows = ledger.pairs_after(0, 100)
    for row in rows:
        fold.take(row)
    assert rows[-1].asked == "still"
    assert fold.stream("candidate", 1).model_with_most_evidence("still") == "moved"


def test_a_route_holds_for_every_prompt_also_one_that_is_new_until_it_is_acknowledged(provider, guarded):
    client = wrapped(provider, guarded, promptguard.Route("gpt-4-0613"))
    change_everywhere(client)
    assert ask(client, 2).model == "gpt-4-0613"
    assert ask(client, "that is new").model == "gpt-4-0613"
    promptguard.acknowledge(guarded, ALL_PROMPTS)
    until(lambda: ask(client, 2).model == "gpt-4", 20.0)
    client.close()


def test_calls_of_every_prompt_raise(provider, guarded):
    client = wrapped(provider, guarded, promptguard.Raise())
    with contextlib.suppress(*refused()):  # the alarm may ring before the last call
        change_everywhere(client)
    assert promptguard.flush(100.0)
    with pytest.raises(refused()) as error:
        ask(client, 7)
    drift = error.value if isinstance(error.value, DriftDetected) else error.value.__cause__
    assert isinstance(drift, DriftDetected)
    assert "(all)" in str(drift)
    promptguard.acknowledge(guarded, ALL_PROMPTS)
    until(lambda: answers(client), 20.0)
    client.close()


def refused():
    """What a call raises: openai 2 wraps it."""
    return DriftDetected, pytest.importorskip("openai").APIConnectionError


def answers(client):
    try:
        return ask(client, 7)
    except refused():
        return None


def test_answers_from_before_are_not_served_from_the_cache(provider, guarded):
    client = wrapped(provider, guarded, cache=promptguard.Cache("memory"))
    assert ask(client, "kept", "early").choices[0].message.content == MODELS["gpt-4"](None)
    change_everywhere(client)
    provider.models["gpt-4"] = lambda _: "another answer"
    assert ask(client, "kept", "early").choices[0].message.content == "another answer"
    client.close()


def test_stored_answers_of_all_prompts_are_forgotten_with_the_reference(provider, guarded):
    client = wrapped(provider, guarded, replay=promptguard.Replay(share=1.0, after="6h"))
    change_everywhere(client)
    ledger = Ledger(guarded)
    ledger.note(
        at=1.0, call=1, kind="alarm", stream="replay", group=EVERY_GROUP,
        detail={"asked": "gpt-4", "epoch": 1, "pairs": 9, "log10_evidence": 9.0},
    )  # fmt: skip
    assert ledger.banked_count()
    promptguard.acknowledge(guarded, ALL_PROMPTS, stream="replay", accept=True)
    assert not ledger.banked_count()
    client.close()


def test_an_alert_speaks_of_all_prompts(provider, guarded):
    with FakeProvider({}) as receiver:
        hook = promptguard.Webhook(receiver.url, allow_private=True)
        drift = promptguard.Drift(mode="gate", alerts=[hook])
        client = wrapped(provider, guarded, drift=drift)
        change_everywhere(client)
        until(lambda: read_alerts(guarded)[0], 20.0)
        (row,), _ = read_alerts(guarded)
        client.close()
    from promptguard.alerts.message import text, title

    alert = compose(guarded, row.alert, example=False)
    assert title(alert) == "drift: gpt-4-0613 answers differently from gpt-4 for all prompts together"
    assert f"promptguard acknowledge '{ALL_PROMPTS}'" in text(alert)


def test_prompts_that_are_routed_each_for_itself_ring_no_alarm_of_all(provider, guarded):
    client = wrapped(provider, guarded, promptguard.Route("gpt-4-0613"))
    routed = [("candidate", f"prompt {prompt}@1") for prompt in range(4)]
    for prompt in range(4):
        for number in range(15):
            ask(client, prompt, f"question {number} of {prompt}")
        assert promptguard.flush(100.0)
    assert alarms(guarded) == routed
    for number in range(10):
        for prompt in range(4):
            ask(client, prompt, f"later question {number} of {prompt}")
    assert promptguard.flush(100.0)
    assert alarms(guarded) == routed
    assert ask(client, "that is new").model == "gpt-4"
    client.close()


def test_a_failed_self_test_is_acknowledged_with_all_only_where_it_is_named():
    standing = [("candidate", "a@1"), ("candidate", EVERY_GROUP), ("repeat", EVERY_GROUP)]
    assert _meant(standing, ALL_PROMPTS, None) == standing[:2]
    assert _meant(standing, ALL_PROMPTS, "repeat") == standing[2:]
    assert _meant(standing, None, None) == standing


def test_an_epoch_knows_the_days_of_the_newest_one_before_though_numbers_were_passed_over(monkeypatch):
    followed, fold = [], Fold(GATE)
    monkeypatch.setattr(PairMonitor, "follow", lambda self, earlier: followed.append((self, earlier)))
    first, third = fold.stream("replay", 1).monitor, fold.stream("replay", 3).monitor
    assert followed == [(third, first)]


def test_who_has_lost_the_lease_moves_no_label(tmp_path, monkeypatch):
    moved, ledger = [], Ledger(tmp_path)
    monkeypatch.setattr(acting, "roll_back", lambda *given: moved.append(given))
    action = promptguard.RollBack("prompts", dry_run=False)
    here = acting.Acting(ledger, State(), (action,), time.time, Delivery(ledger, "here", lambda *_: None))
    assert ledger.take_lease("evaluator", "another host", time.time(), 15.0)
    summary = {"epoch": 1, "pairs": 12, "log10_evidence": 6.0}
    more = {"stream": "candidate", "group": "a@1", "asked": "m", "call": 3, "summary": summary}
    assert not here.alarm(**more, lease=("evaluator", "here"))
    assert not moved
    ledger.drop_lease("evaluator", "another host")
    assert ledger.take_lease("evaluator", "here", time.time(), 15.0)
    assert here.alarm(**more, lease=("evaluator", "here"))
    assert len(moved) == 1
