"""`promptguard watch`: a ledger is judged, asked and told of without an application."""

from __future__ import annotations

import json
import signal
import socket
import time

import pytest
from openai import OpenAI

import promptguard
from promptguard.background.evaluating import WATCH_LEASE
from promptguard.cli import main
from promptguard.core.options import Drift, Replay, Shadow
from promptguard.ledger.store import Ledger
from promptguard.lifetime import shared
from promptguard.watch import duty as duties
from promptguard.watch.duty import Duty
from promptguard.watch.health import metrics
from tests.servers import until

KEY = "sk-a-canary-that-is-shown-nowhere"


def ask(client, text="?"):
    return client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}])


def wrapped(provider, ledger, **options):
    client = OpenAI(base_url=provider.url, api_key="k", max_retries=0)
    return promptguard.wrap(client, ledger=ledger, **options)


def background_of(client):
    return client._client._transport._promptguard_ports.background


def verdict_of(ledger, stream="candidate"):
    from promptguard.errors import InputFileError
    from promptguard.report.overview import read_overview

    try:
        rows = read_overview(ledger).rows
    except InputFileError:
        return None
    return next((row.status for row in rows if row.stream == stream), None)


def test_a_process_that_never_judges_leaves_it_to_a_watch(provider, guarded, watch):
    provider.models["n"] = lambda question: f"No, {question.text} is not so."
    client = wrapped(
        provider, guarded, shadow=Shadow("n", sample=1.0, repeat=0.0), drift=Drift(evaluate="never")
    )
    for number in range(60):
        ask(client, f"question {number}")
    background = background_of(client)
    assert background.worker.flush(60.0)
    assert background.writer.flush(60.0)
    assert not background.ledger.lease_is_held("evaluator", time.time())
    assert verdict_of(guarded) is None
    running = watch(guarded)
    assert running.started["asks"] == "nobody"
    assert running.state() == "active"
    until(lambda: verdict_of(guarded) == "drift")
    assert running.end()[0] == 0


def test_it_goes_on_for_longer_than_background_work_without_users_lives(provider, guarded, watch):
    running = watch(guarded_ledger(guarded))
    assert running.state() == "active"
    time.sleep(shared.LINGER + 1.5)
    assert "promptguard_watch_active 1" in running.get("/metrics")[1]
    client = wrapped(
        provider, guarded, shadow=Shadow("n", sample=1.0, repeat=0.0), drift=Drift(evaluate="never")
    )
    for number in range(3):
        ask(client, f"question {number}")
    background = background_of(client)
    assert background.worker.flush(60.0)
    assert background.writer.flush(60.0)
    until(lambda: verdict_of(guarded) is not None)
    assert running.end()[0] == 0


def guarded_ledger(place):
    """Return a ledger that is there, and empty."""
    made = Ledger(place)
    made.open()
    made.close()
    return place


def test_auto_gives_way_while_a_watch_lives_and_takes_over_after_it(provider, guarded, monkeypatch):
    from promptguard.background import evaluating

    monkeypatch.setattr(evaluating, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(evaluating, "POLL_SECONDS", 0.05)
    client = wrapped(provider, guarded, shadow=Shadow("n", sample=1.0, repeat=0.0))
    background = background_of(client)
    held = lambda: background.ledger.lease_is_held("evaluator", time.time())  # noqa: E731
    until(held)
    watching = Ledger(guarded)
    assert watching.take_lease(WATCH_LEASE, "a watch", time.time(), 60.0)
    until(lambda: not held())
    assert background.evaluator.gives_way()
    assert background.replaying._gives_way()
    watching.drop_lease(WATCH_LEASE, "a watch")
    until(held)
    watching.close()


@pytest.mark.parametrize(("evaluate", "gives_way"), [("here", False), ("auto", True), ("never", True)])
def test_who_gives_way_to_a_living_watch(provider, guarded, evaluate, gives_way):
    other = Ledger(guarded)
    other.open()
    assert other.take_lease(WATCH_LEASE, "a watch", time.time(), 60.0)
    client = wrapped(provider, guarded, replay=Replay(), drift=Drift(evaluate=evaluate))
    assert background_of(client).evaluator.gives_way() is gives_way
    other.close()


def test_stored_questions_are_asked_by_the_watch_with_its_own_key(provider, guarded, watch, tmp_path):
    past = time.time() - 20 * 86_400.0
    client = wrapped(
        provider, guarded, replay=Replay(share=1.0), drift=Drift(evaluate="never"), clock=lambda: past
    )
    for number in range(20):
        ask(client, f"question {number}")
    assert background_of(client).worker.flush(60.0)
    until(lambda: background_of(client).ledger.banked_count() == 20)
    key = tmp_path / "key"
    key.write_text(f"{KEY}\n")
    options = ["--provider", "openai", "--base-url", provider.url, "--key-file", str(key)]
    running, other = watch(guarded, *options), watch(guarded, *options)
    assert {running.state(), other.state()} == {"active", "standby"}
    until(lambda: provider.asked("m") == 40)
    until(lambda: background_of(client).ledger.banked_count() == 0)
    assert {request.headers["authorization"] for request in provider.received[20:]} == {f"Bearer {KEY}"}
    until(lambda: verdict_of(guarded, "replay") is not None)
    for each in (running, other):
        code, err = each.end()
        assert code == 0
        assert KEY not in err
    assert provider.asked("m") == 40
    rows = background_of(client).ledger.pairs_after(0)
    found = [(row.outcome, row.reason) for row in rows if row.stream == "replay"]
    assert found == [("compared", "")] * 20
    assert all(KEY.encode() not in path.read_bytes() for path in guarded.rglob("*") if path.is_file())


class Work:
    def __init__(self, journal):
        self.journal, self.ended = journal, False
        journal.append(self)

    def look(self):
        assert not self.ended

    def stop(self):
        self.ended = True


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(duties, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(duties, "RENEW_SECONDS", 0.05)


def running_duty(ledger, journal):
    import threading

    told = []
    duty = Duty(Ledger(ledger), lambda: Work(journal), told.append)
    thread = threading.Thread(target=duty.run, daemon=True)
    thread.start()
    return duty, thread, told


def test_one_is_active_and_another_takes_over(guarded, quick):
    journal = []
    first, thread, told = running_duty(guarded, journal)
    until(lambda: first.state == "active")
    second, other_thread, _ = running_duty(guarded, journal)
    until(lambda: second.state == "standby")
    assert (first.is_ready, second.is_ready, len(journal)) == (True, True, 1)
    first.end()
    thread.join(60)
    assert told == ["active", "stopped"]
    assert journal[0].ended
    until(lambda: second.state == "active")
    second.end()
    other_thread.join(60)
    assert [work.ended for work in journal] == [True, True]


def test_one_that_dies_is_replaced_when_its_lease_runs_out(guarded, quick):
    dead = Ledger(guarded)
    dead.open()
    dead.take_lease(WATCH_LEASE, "a watch that was killed", time.time(), 0.5)
    dead.close()
    duty, thread, told = running_duty(guarded, [])
    until(lambda: duty.state == "active")
    assert told[0] in {"standby", "active"}
    duty.end()
    thread.join(60)


def test_one_whose_lease_was_taken_stands_by(guarded, quick):
    journal = []
    duty, thread, _ = running_duty(guarded, journal)
    until(lambda: duty.state == "active")
    other = Ledger(guarded)
    other.drop_lease(WATCH_LEASE, duty._holder)
    assert other.take_lease(WATCH_LEASE, "another", time.time(), 1.0) or duty.state == "active"
    other.take_lease(WATCH_LEASE, "another", time.time(), 1.0)
    until(lambda: duty.state in {"standby", "active"})
    duty.end()
    thread.join(60)
    assert all(work.ended for work in journal)
    other.close()


@pytest.mark.slow
def test_a_killed_watch_is_replaced_within_thirty_seconds(provider, guarded, watch):
    client = wrapped(
        provider, guarded, shadow=Shadow("n", sample=1.0, repeat=0.0), drift=Drift(evaluate="never")
    )
    ask(client, "first")
    first = watch(guarded)
    assert first.state() == "active"
    second = watch(guarded)
    assert second.state() == "standby"
    first.process.kill()
    began = time.monotonic()
    ask(client, "second")
    assert second.state() == "active"
    assert time.monotonic() - began < 30
    until(lambda: background_of(client).evaluator.flush(5.0), seconds=30)
    assert second.end()[0] == 0


def test_its_pages_tell_whether_it_is_alive_and_ready(provider, guarded, watch):
    client = wrapped(
        provider, guarded, shadow=Shadow("n", sample=1.0, repeat=0.0), drift=Drift(evaluate="never")
    )
    for number in range(5):
        ask(client, f"{number}")
    assert background_of(client).worker.flush(60.0)
    running = watch(guarded)
    assert running.state() == "active"
    assert running.get("/livez")[0] == running.get("/readyz")[0] == 200
    assert json.loads(running.get("/readyz")[1]) == {"state": "active", "ledger": "reachable"}
    assert running.get("/nothing")[0] == 404

    def told():
        text = running.get("/metrics")[1]
        return (
            "promptguard_watch_active 1" in text
            and "promptguard_drift_status" in text
            and "evaluator" in text
        )

    until(told)
    assert running.end(signal.SIGINT)[0] == 0


def test_gauges_have_the_names_that_opentelemetrys_exporter_gives_them(provider, guarded):
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from opentelemetry.sdk.metrics import MeterProvider
    from prometheus_client import generate_latest
    from prometheus_client.core import REGISTRY

    from promptguard.telemetry.state import StateGauges

    client = wrapped(provider, guarded, shadow=Shadow("n", sample=1.0, repeat=0.0))
    for number in range(5):
        ask(client, f"{number}")
    assert promptguard.flush(60.0)
    source = background_of(client).state_source
    until(lambda: source.state() is not None and source.state().prompts)
    reader = PrometheusMetricReader(disable_target_info=True)
    meters = MeterProvider([reader])
    StateGauges(meters.get_meter("promptguard")).watch(source)
    theirs = {line.split("{")[0] for line in generate_latest(REGISTRY).decode().splitlines()
              if line.startswith("promptguard_")}  # fmt: skip
    meters.shutdown()

    class Standing:
        state = "active"

    ours = {
        line.split("{")[0]
        for line in metrics(Standing(), source).splitlines()
        if line.startswith("promptguard_")
    }
    assert ours - {"promptguard_watch_active 1"} == theirs
    assert len(theirs) > 5


def factory_that_fails():
    raise RuntimeError(f"no client today\n{'x' * 500}")


def factory_of_something_else():
    return object()


def factory():
    return OpenAI(base_url="http://127.0.0.1:1/v1", api_key=KEY)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--client", "nonsense"], "module:function"),
        (["--client", "no.such.module:make"], "ModuleNotFoundError"),
        (["--client", "tests.watch.test_watch:nothing"], "has no function nothing"),
        (["--client", "tests.watch.test_watch:factory_that_fails"], "raised RuntimeError: no client today"),
        (
            ["--client", "tests.watch.test_watch:factory_of_something_else"],
            "cannot ask with a builtins.object",
        ),
        (["--client", "tests.watch.test_watch:factory", "--provider", "openai"], "give one of them"),
        (["--provider", "openay"], "--provider 'openay' is not known: give openai"),
        (["--provider", "openai", "--key-env", "NO_SUCH_KEY"], "NO_SUCH_KEY: this variable is not set"),
        (["--provider", "openai", "--key-file", "/no/such/file"], "cannot be read: No such file"),
        (["--provider", "openai", "--key-file", "/dev/null"], "it is empty"),
        (["--provider", "openai", "--key-env", "PATH", "--key-file", "/x"], "both name a key"),
        (["--base-url", "http://x"], "name it, such as --provider openai"),
        (["--port", "{taken}"], "in use"),
    ],
)
def test_what_cannot_work_is_one_line_and_exit_2(guarded, capsys, options, words):
    Ledger(guarded).open()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        given = [port if each == "{taken}" else each for each in options]
        with pytest.raises(SystemExit) as done:
            main(["watch", "--ledger", str(guarded), *given])
    told = capsys.readouterr()
    assert (done.value.code, told.out) == (2, "")
    assert words in told.err
    assert told.err.count("\n") == 1
    assert KEY not in told.err


def test_an_absent_ledger_is_one_line_and_exit_2(tmp_path, capsys):
    with pytest.raises(SystemExit) as done:
        main(["watch", "--ledger", str(tmp_path / "none")])
    told = capsys.readouterr()
    assert (done.value.code, told.out, told.err.count("\n")) == (2, "", 1)
    assert not (tmp_path / "none").exists()
