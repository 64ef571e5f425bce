"""What is done about alarms: dry runs, what holds now, taking back, and every process alike."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import promptguard
from promptguard.cli import main
from promptguard.core.actions import Actions, nothing_holds
from promptguard.core.epochs import Epochs
from promptguard.errors import ConfigurationError, DriftDetected, InputFileError
from promptguard.ledger.store import Ledger
from promptguard.report.actions import read_actions
from promptguard.report.alerts import done_in
from promptguard.report.overview import read_overview
from promptguard.report.read import read_verdicts
from promptguard.settings import current
from promptguard.testing import FakeProvider, Fault
from tests.cache.replies import until

MODELS = {"gpt-4": lambda _: "```\nno\n```", "gpt-4-0613": lambda _: "yes, it is"}
SHADOW = promptguard.Shadow(
    "gpt-4-0613", sample=1.0, repeat=0.0, budget=promptguard.Budget(calls_per_minute=None)
)


@pytest.fixture
def provider():
    with FakeProvider(MODELS) as provider:
        yield provider
        for client in clients:
            client.close()
        clients.clear()


clients = []


def wrapped(provider, ledger, *actions, **more):
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=provider.url, api_key="k", max_retries=0)
    clients.append(client)
    return promptguard.wrap(
        client, ledger=ledger, shadow=SHADOW, drift=promptguard.Drift(mode="gate"), on_drift=actions, **more
    )


def ask(client, text="hello"):
    with promptguard.group("triage@3"):
        return client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": text}])


def drift(client, calls=25):
    for number in range(calls):
        ask(client, f"question {number}")
    assert promptguard.flush(100.0)


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    return ended.value.code


def test_what_a_route_changes_is_no_second_alarm_and_not_what_stands_once_it_is_known(provider, guarded):
    client = wrapped(provider, guarded, promptguard.Route("gpt-4-0613"))
    drift(client)
    drift(client, 30)
    noted = Ledger(guarded).occurrences_after(0)
    assert [each["kind"] for each in noted if each["kind"] == "alarm"] == ["alarm"]
    (told,) = [each for each in read_verdicts(guarded) if each["epoch"] == 2]
    assert told["groups"][0]["status"] == "drift", "the effect of the route is measured"
    promptguard.acknowledge(guarded, "triage@3")
    assert [(row.group, row.epoch) for row in read_overview(guarded).rows] == [("triage@3", 1)]
    client.close()


def test_a_route_holds_until_it_is_undone_and_the_alarm_stands(provider, guarded, capsys):
    client = wrapped(provider, guarded, promptguard.Route("gpt-4-0613"))
    drift(client)
    assert ask(client).model == "gpt-4-0613"
    (route,) = done_in(guarded).in_force
    assert (route.kind, route.group, route.asked, route.to) == ("route", "triage@3", "gpt-4", "gpt-4-0613")
    assert run("status", "--ledger", guarded) == 1
    assert f"promptguard undo {route.id} takes it back" in " ".join(capsys.readouterr().out.split())
    assert run("undo", route.id, "--ledger", guarded, "--json") == 0
    assert json.loads(capsys.readouterr().out)["ended"] == "undone"
    until(lambda: ask(client).model == "gpt-4", 20.0)
    assert not done_in(guarded).in_force
    assert run("status", "--ledger", guarded, "--json") == 1, "the alarm stands"
    told = json.loads(capsys.readouterr().out)
    assert told["done"] == [
        f"what was done was taken back (action {route.id}): nothing holds now, calls go to the same model again"
    ]
    assert [(each["id"], each["in_force"], each["ended"]) for each in told["actions"]] == [
        (route.id, False, "undone")
    ]


def test_what_was_undone_is_not_done_again_until_the_alarm_is_acknowledged(provider, guarded):
    client = wrapped(provider, guarded, promptguard.Route("gpt-4-0613"))
    drift(client)
    (route,) = done_in(guarded).in_force
    promptguard.undo(guarded, route.id)
    until(lambda: ask(client).model == "gpt-4", 20.0)
    for number in range(40):  # it drifts still, in the epoch after the route
        ask(client, f"again {number}")
    assert promptguard.flush(100.0)
    assert not done_in(guarded).in_force
    promptguard.acknowledge(guarded, "triage@3")
    until(lambda: not [e for e in read_actions(guarded).events if e.kind == "alarm" and e.holds], 20.0)
    assert promptguard.flush(100.0)
    for number in range(40):
        ask(client, f"and again {number}")
    assert promptguard.flush(100.0)
    assert [done.kind for done in done_in(guarded).in_force] == ["route"]


def test_raise_is_undone(provider, guarded):
    client = wrapped(provider, guarded, promptguard.Raise())
    drift(client, 0)

    def calls():
        for number in range(60):
            ask(client, f"question {number}")
            promptguard.flush(30.0)

    refused = (
        DriftDetected,
        pytest.importorskip("openai").APIConnectionError,
    )  # in which its major 2 wraps it
    with pytest.raises(refused):
        calls()
    (action,) = done_in(guarded).in_force
    assert promptguard.undo(guarded, action.id).ended == "undone"

    def passes():
        try:
            return ask(client).model == "gpt-4"
        except refused:
            return False

    until(passes, 20.0)


def test_the_cache_is_passed_by_only_when_it_was_asked_for(provider, guarded):
    client = wrapped(
        provider, guarded, promptguard.BypassCache(), cache=promptguard.Cache("memory", on_drift="keep")
    )
    ask(client)
    drift(client)
    before = len(provider.received)
    ask(client)
    assert promptguard.flush(100.0)
    assert len(provider.received) == before, "a dry run: answered from the cache as before"
    (dry,) = done_in(guarded).found.values()
    assert dry.dry_run
    assert not dry.in_force
    assert dry.sentence() == "dry run, nothing was done: calls for gpt-4 would pass the cache by"
    with pytest.raises(ConfigurationError, match="was a dry run"):
        promptguard.undo(guarded, dry.id)


def test_bypass_holds_until_undone(provider, guarded):
    client = wrapped(
        provider,
        guarded,
        promptguard.BypassCache(dry_run=False),
        cache=promptguard.Cache("memory", on_drift="keep"),
    )
    ask(client)
    drift(client)

    def asked_upstream():
        before = len(provider.received)
        ask(client)
        return len(provider.received) > before

    assert asked_upstream()
    (action,) = done_in(guarded).in_force
    promptguard.undo(guarded, action.id)
    until(lambda: not asked_upstream(), 20.0)


def test_a_dry_route_changes_no_call(provider, guarded, capsys):
    client = wrapped(provider, guarded, promptguard.Route("gpt-4-0613", dry_run=True))
    drift(client)
    assert ask(client).model == "gpt-4"
    assert run("status", "--ledger", guarded) == 1
    told = " ".join(capsys.readouterr().out.split())
    assert "dry run, nothing was done: calls for gpt-4 would go to gpt-4-0613" in told
    assert "nothing was done but to warn" in told
    assert not read_actions(guarded).in_force


CHILD = """
import sys
import openai, promptguard
url, ledger = sys.argv[1:]
client = promptguard.wrap(
    openai.OpenAI(base_url=url, api_key="k"), ledger=ledger,
    shadow=promptguard.Shadow("gpt-4-0613", sample=0.001, repeat=0.0), on_drift=promptguard.Route("gpt-4-0613"),
)
for _ in sys.stdin:
    with promptguard.group("triage@3"):
        print(client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "hi"}]).model, flush=True)
"""


def test_another_process_follows_a_route_and_its_undoing(provider, guarded):
    client = wrapped(provider, guarded, promptguard.Route("gpt-4-0613"))
    other = subprocess.Popen(
        [sys.executable, "-c", CHILD, provider.url, str(guarded)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def there():
        other.stdin.write("\n")
        other.stdin.flush()
        return other.stdout.readline().strip()

    try:
        assert there() == "gpt-4"
        drift(client)
        until(lambda: there() == "gpt-4-0613", 20.0)
        (route,) = done_in(guarded).in_force
        done = subprocess.run(
            [sys.executable, "-m", "promptguard", "undo", str(route.id), "--ledger", str(guarded)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.startswith("undone: triage@3: calls for gpt-4 go to gpt-4-0613 no more")
        until(lambda: there() == "gpt-4", 20.0)
        until(lambda: ask(client).model == "gpt-4", 20.0)
    finally:
        other.kill()
        other.communicate()


@pytest.mark.parametrize("number", ["0", "99", "x"])
def test_an_action_that_is_not_there_is_one_line_and_exit_2(tmp_path, capsys, number):
    Ledger(tmp_path).open()
    assert run("undo", number, "--ledger", tmp_path) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_an_action_is_undone_once_and_by_somebody(tmp_path):
    ledger = Ledger(tmp_path)
    detail = {"asked": "a", "to": "b"}
    ledger.note(at=1.0, call=1, kind="route", stream="candidate", group="g@1", detail=detail)
    promptguard.undo(tmp_path, 1, by="me", clock=lambda: 2.0)
    with pytest.raises(ConfigurationError, match="was undone already"):
        promptguard.undo(tmp_path, 1)
    newest, route = read_actions(tmp_path).events
    assert (newest.kind, newest.by, newest.at) == ("undo_route", "me", 2.0)
    assert (route.holds, route.ended_at) == (False, 2.0)
    ledger.note(at=3.0, call=1, kind="route", stream="candidate", group="g@1", detail=detail)
    ledger.note(at=4.0, call=1, kind="acknowledge", stream="candidate", group="g@1", detail={})
    with pytest.raises(ConfigurationError, match="was acknowledged already"):
        promptguard.undo(tmp_path, 3)


def folded(*noted):
    actions = Actions()
    for number, (kind, stream, group, detail) in enumerate(noted, start=1):
        row = {"kind": kind, "stream": stream, "group": group, "detail": detail}
        actions.apply({"id": number, "at": float(number), **row})
    return actions


ROUTE, RAISE = {"asked": "a", "to": "b"}, {"asked": "a", "message": "it changed"}


def test_what_ends_with_another_streams_alarm_is_told_as_ended():
    actions = folded(("route", "candidate", "g", ROUTE))
    assert actions.ended_of([("g", 1.0)]) == ()
    actions = folded(("route", "candidate", "g", ROUTE), ("acknowledge", "replay", "g", {}))
    (ended,) = actions.ended_of([("g", 2.0)])
    assert nothing_holds([ended]) == (
        "what was done ended with another alarm that was acknowledged (action 1): nothing holds now, "
        "calls go to the same model again"
    )
    assert actions.ended_of([("g", 2.1)]) == (), "of an alarm that rang later nothing has ended"
    assert actions.ended_of([("other", 1.0)]) == ()


def test_what_was_done_for_all_prompts_concerns_each_and_each_concerns_all():
    of_all = folded(("route", "candidate", "", ROUTE), ("acknowledge", "candidate", "", {}))
    assert [done.id for done in of_all.ended_of([("g", 1.0)])] == [1]
    of_one = folded(("route", "candidate", "g", ROUTE), ("acknowledge", "candidate", "g", {}))
    assert [done.id for done in of_one.ended_of([("", 1.0)])] == [1]


def test_a_self_test_that_is_acknowledged_ends_nothing():
    actions = folded(("route", "candidate", "", ROUTE), ("acknowledge", "repeat", "", {}))
    assert [done.id for done in actions.in_force] == [1]


def test_the_story_of_what_happened_knows_that_too(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.note(at=1.0, call=1, kind="route", stream="candidate", group="", detail=ROUTE)
    ledger.note(at=2.0, call=1, kind="acknowledge", stream="repeat", group="", detail={})
    assert read_actions(tmp_path).events[-1].holds
    ledger.note(at=3.0, call=1, kind="acknowledge", stream="candidate", group="", detail={})
    assert not read_actions(tmp_path).events[-1].holds


def test_each_way_to_end_is_told_by_itself_and_neither_dry_runs_nor_labels_are():
    dry = {"action": "raise", "asked": "a"}
    actions = folded(
        ("raise", "candidate", "g", RAISE),
        ("undo_raise", "candidate", "g", {"action": 1}),
        ("raise", "replay", "g", RAISE),
        ("dry_run", "replay", "g", dry),
        ("rollback", "replay", "g", {"asked": "a", "label": "production", "to": "1", "before": "2"}),
        ("acknowledge", "replay", "g", {}),
    )
    ended = actions.ended_of([("g", 1.0)])
    assert [done.id for done in ended] == [1, 3]
    assert nothing_holds(ended) == (
        "what was done was taken back (action 1), or ended with another alarm that was acknowledged (action 3): "
        "nothing holds now"
    )


@pytest.fixture
def alarmed_twice(tmp_path, monkeypatch):
    """A ledger in which an alarm of two streams stands, a route in force and a label put back."""
    ledger = Ledger(tmp_path)
    ledger.note(at=1.0, call=1, kind="route", stream="candidate", group="g@1", detail=ROUTE)
    detail = {"asked": "a", "label": "production", "to": "1", "before": "2"}
    ledger.note(at=1.0, call=1, kind="rollback", stream="candidate", group="g@1", detail=detail)
    standing = [("candidate", "g@1"), ("replay", "g@1")]
    monkeypatch.setattr("promptguard.report.read.standing_alarms", lambda *_: standing)
    return tmp_path


def test_acknowledging_says_what_ends_with_it(alarmed_twice, capsys):
    assert run("acknowledge", "g@1", "--stream", "replay", "--ledger", alarmed_twice) == 0
    told = capsys.readouterr().out
    assert "ended with it, action 1: g@1: calls for a go to b no more\n" in told
    assert "action 2" not in told, "the label stays where it was put"


def test_acknowledging_lists_what_ends_with_it_once(alarmed_twice, capsys):
    assert run("acknowledge", "g@1", "--json", "--ledger", alarmed_twice) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"stream": "candidate", "group": "g@1", "ended": [1]},
        {"stream": "replay", "group": "g@1", "ended": []},
    ]


def test_what_was_acknowledged_is_said_though_what_ended_cannot_be_read(alarmed_twice, capsys, monkeypatch):
    def away(_):
        raise InputFileError("away")

    monkeypatch.setattr("promptguard.report.alerts.done_in", away)
    assert run("acknowledge", "g@1", "--ledger", alarmed_twice) == 0
    assert "acknowledged: g@1, candidate stream" in capsys.readouterr().out


def test_undoing_a_route_begins_an_epoch_and_only_the_first_time():
    epochs = Epochs()
    found = []
    for kind in ("route", "undo_route", "undo_route", "undo_raise"):
        epochs.apply({"kind": kind, "stream": "candidate", "group": "g"})
        found.append(epochs.of("candidate", "g"))
    assert found == [2, 3, 3, 3]


def test_rows_of_strangers_do_not_stop_the_fold():
    actions, epochs = Actions(), Epochs()
    for number, (kind, detail) in enumerate(
        [
            ("undo_route", {}),
            ("undo_route", {"action": "x"}),
            ("undo_x", {"action": 1}),
            ("dry_run", {}),
            ("new", {}),
        ]
    ):
        noted = {"id": number, "at": 0.0, "kind": kind, "stream": "candidate", "group": "g", "detail": detail}
        actions.apply(noted)
        epochs.apply(noted)
    assert not actions.in_force
    assert epochs.of("candidate", "g") == 1, "without a route its undoing begins nothing"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("bypass", promptguard.BypassCache()),
        ("bypass:live", promptguard.BypassCache(dry_run=False)),
        ("dry:route:m:1", promptguard.Route("m:1", dry_run=True)),
        ("route:m:1", promptguard.Route("m:1")),
    ],
)
def test_in_settings(monkeypatch, written, meant):
    monkeypatch.setenv("PROMPTGUARD_ON_DRIFT", written)
    assert current().on_drift == (meant,)


@pytest.mark.parametrize("written", ["bypas", "bypass:yes", "dry:raise", "dry:route:", "raise:now"])
def test_wrong_ones_in_settings(monkeypatch, written):
    monkeypatch.setenv("PROMPTGUARD_ON_DRIFT", written)
    with pytest.raises(ConfigurationError, match="PROMPTGUARD_ON_DRIFT"):
        current()


LABELLED = "---\nname: triage\n---\nuser:\n{{ ticket }}, version %d\n"


@pytest.fixture
def prompts(tmp_path):
    library_path = tmp_path / "prompts"
    for version in (2, 3):
        path = library_path / "triage" / f"{version}.prompty"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(LABELLED % version, "utf-8")
    library = promptguard.prompts(library_path)
    library.label("triage@2", "production")
    library.label("triage@3", "production")
    return library


def test_a_label_is_rolled_back_and_put_forward_again(provider, guarded, prompts):
    client = wrapped(provider, guarded, promptguard.RollBack(str(prompts.directory), dry_run=False))
    drift(client)
    assert prompts.get("triage@production").version == "2"
    [action] = [done for done in done_in(guarded).found.values() if done.kind == "rollback"]
    assert action.sentence() == "the label production stands on version 2 in place of 3"
    assert prompts.history("triage")[-1].why == "drift of triage@3"
    promptguard.undo(guarded, action.id)
    assert prompts.get("triage@production").version == "3"


def test_a_dry_run_of_a_rollback_moves_nothing(provider, guarded, prompts):
    drift(wrapped(provider, guarded, promptguard.RollBack(str(prompts.directory))))
    assert prompts.get("triage@production").version == "3"
    [action] = [done for done in done_in(guarded).found.values() if done.kind == "rollback"]
    assert action.dry_run
    assert "would stand on version 2 in place of 3" in action.sentence()


def test_a_label_that_stands_elsewhere_is_left_alone(provider, guarded, prompts):
    prompts.label("triage@2", "production")
    drift(wrapped(provider, guarded, promptguard.RollBack(str(prompts.directory), dry_run=False)))
    assert prompts.get("triage@production").version == "2"
    assert not [done for done in done_in(guarded).found.values() if done.kind == "rollback"]


def test_a_label_that_somebody_moved_since_is_not_moved_by_undo(provider, guarded, prompts):
    drift(wrapped(provider, guarded, promptguard.RollBack(str(prompts.directory), dry_run=False)))
    [action] = [done for done in done_in(guarded).found.values() if done.kind == "rollback"]
    path = prompts.directory / "triage" / "4.prompty"
    path.write_text(LABELLED % 4, "utf-8")
    prompts.label("triage@4", "production")
    promptguard.undo(guarded, action.id)
    assert prompts.get("triage@production").version == "4"


def test_a_folder_that_is_not_there_costs_the_action_alone(provider, guarded, tmp_path, caplog):
    drift(wrapped(provider, guarded, promptguard.RollBack(str(tmp_path / "none"), dry_run=False)))
    assert "cannot be rolled back" in caplog.text
    assert any(verdict.status == "drift" for verdict in promptguard.verdicts(guarded))


def _refuses_max_tokens(question):
    if "max_tokens" in question.body:
        error = {"message": "no max_tokens here", "param": "max_tokens", "code": "unsupported_parameter"}
        return Fault("status", status=400, body=json.dumps({"error": error}).encode())
    return "yes, it is"


@pytest.mark.parametrize("compat", [None, "apply"])
def test_a_route_to_a_model_that_refuses_a_parameter(guarded, compat):
    """Without `compat` the call is answered by its own model; with it the route works."""
    openai = pytest.importorskip("openai")
    models = {"gpt-4": MODELS["gpt-4"], "gpt-5.6": _refuses_max_tokens}
    shadow = promptguard.Shadow("gpt-5.6", sample=1.0, repeat=0.0, budget=SHADOW.budget)
    with FakeProvider(models) as server, openai.OpenAI(base_url=server.url, api_key="k") as client:
        promptguard.wrap(
            client,
            ledger=guarded,
            shadow=shadow,
            drift=promptguard.Drift(mode="gate"),
            on_drift=promptguard.Route("gpt-5.6"),
            compat=compat,
        )

        def answered(number):
            asked = [{"role": "user", "content": f"question {number}"}]
            with promptguard.group("triage@3"):
                return client.chat.completions.create(model="gpt-4", messages=asked, max_tokens=50).model

        for number in range(25):
            answered(number)
        assert promptguard.flush(100.0)
        assert [done.kind for done in done_in(guarded).in_force] == ["route"]
        assert answered(99) == ("gpt-4" if compat is None else "gpt-5.6")
