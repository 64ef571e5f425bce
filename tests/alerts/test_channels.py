"""Channels as settings: in code, in variables and files, wrong ones told in one line, secrets never shown."""

from __future__ import annotations

import copy
import json
import logging
import pickle

import httpx
import pytest

import promptguard
from promptguard.arguments import wanted
from promptguard.cli import main
from promptguard.errors import ConfigurationError, MissingExtra
from promptguard.settings import NOT_GIVEN, current
from promptguard.testing import FakeProvider
from tests.alerts.process import START, note
from tests.alerts.receiver import Receiver, with_status
from tests.cache.replies import until

SECRET = "CANARY-5f1e"
WRONG = {
    "no address": (lambda: promptguard.Webhook(f"ftp://{SECRET}"), "give an address such as"),
    "no scheme": (lambda: promptguard.Slack(SECRET), "give an address such as"),
    "none": (promptguard.Slack, "is missing"),
    "spelling": (lambda: promptguard.Webhook(ulr=SECRET), "did you mean url="),
    "synonym": (
        lambda: promptguard.Webhook(f"https://e.com/{SECRET}", signing_secret=SECRET),
        "did you mean secret=",
    ),
    "clear text": (lambda: promptguard.Webhook(f"http://example.com/{SECRET}"), "give an https:// address"),
    "loopback": (lambda: promptguard.Webhook(f"https://127.0.0.1/{SECRET}"), "allow_private=True"),
    "localhost": (lambda: promptguard.Alertmanager("http://localhost:9093"), "allow_private=True"),
    "metadata": (
        lambda: promptguard.Webhook(f"https://169.254.169.254/{SECRET}"),
        "not on the public internet",
    ),
    "mapped": (
        lambda: promptguard.Webhook(f"https://[::ffff:10.0.0.1]/{SECRET}"),
        "not on the public internet",
    ),
    "decimal": (lambda: promptguard.Webhook(f"https://2130706433/{SECRET}"), "not on the public internet"),
    "user": (lambda: promptguard.Webhook(f"https://me:{SECRET}@example.com"), "token="),
    "secret": (lambda: promptguard.Webhook("https://example.com", secret=[SECRET]), "give a text, or None"),
    "token": (
        lambda: promptguard.Webhook("https://example.com", token=f"{SECRET}\u20ac"),
        "signs of ASCII without spaces",
    ),
    "name": (lambda: promptguard.Slack("https://example.com", name="a\nb"), "up to 64"),
    "switch": (lambda: promptguard.Slack("https://example.com", examples="yes"), "True or False"),
    "text": (lambda: promptguard.Drift(alerts=f"slack:https://{SECRET}"), "did you mean promptguard.Slack"),
    "class": (lambda: promptguard.Drift(alerts=[promptguard.Slack]), "write Slack(url=...)"),
    "twice": (
        lambda: promptguard.Drift(alerts=[promptguard.Slack(f"https://e.com/{SECRET}")] * 2),
        "its own name=",
    ),
    "on_drift": (
        lambda: promptguard.guard(httpx.Client(), on_drift=promptguard.Slack(f"https://e.com/{SECRET}")),
        "Drift(alerts=[...])",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_channel_is_one_line_without_its_secret(case):
    make, said = WRONG[case]
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert SECRET not in repr(caught.value)


def test_secrets_are_not_shown_and_channels_copy():
    channel = promptguard.Webhook(f"https://example.com/{SECRET}", secret=SECRET, token=SECRET)
    assert SECRET not in f"{channel} {channel!r} {channel.label} {promptguard.Drift(alerts=[channel])!r}"
    assert channel.label == "webhook example.com"
    assert pickle.loads(pickle.dumps(channel)) == channel == copy.deepcopy(channel)  # noqa: S301 - our own value
    assert promptguard.Apprise(f"mailto://me:{SECRET}@example.com").label == "apprise mailto"


FROM_TEXT = {
    f"slack:https://hooks.slack.com/{SECRET}": ["slack hooks.slack.com"],
    "slack:https://a.com/x alertmanager:https://b.com": ["slack a.com", "alertmanager b.com"],
    '[{"webhook": "https://a.com", "secret": "s3cret of mine", "name": "oncall"}]': ["oncall"],
    '{"alertmanager": "http://10.0.0.1:9093", "allow_private": true}': ["alertmanager 10.0.0.1"],
    "none": [],
}


@pytest.mark.parametrize("written", FROM_TEXT)
def test_the_variable(monkeypatch, written):
    monkeypatch.setenv("PROMPTGUARD_ALERTS", written)
    assert [each.label for each in current().alerts] == FROM_TEXT[written]


def test_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text(
        "[tool.promptguard]\nalerts = ["
        '"slack:https://a.com/x", {webhook = "https://b.com", secret = "s", examples = true}]\n'
    )
    slack, hook = current().alerts
    assert (slack.label, hook.label, hook.examples, hook.clear("secret")) == (
        "slack a.com",
        "webhook b.com",
        True,
        "s",
    )


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (f"slak:https://{SECRET}", "did you mean slack:...?"),
        (f"https://{SECRET}", "webhook, alertmanager, slack, apprise"),
        (f"slack:{SECRET}", "give an address"),
        (f'{{"slack": "https://a.com/{SECRET}", "nmae": "x"}}', "did you mean name=?"),
        ("7", "webhook, alertmanager"),
        ("slack:https://a.com slack:https://a.com", "its own name="),
    ],
)
def test_a_wrong_variable_names_itself(monkeypatch, capsys, written, said):
    monkeypatch.setenv("PROMPTGUARD_ALERTS", written)
    with pytest.raises(SystemExit) as ended:
        main(["alerts", "test"])
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert told.err.startswith("promptguard: PROMPTGUARD_ALERTS")
    assert said in told.err
    assert told.err.count("\n") == 1
    assert SECRET not in told.err + told.out


def test_code_counts_more_than_settings_and_only_where_it_speaks_of_alerts(monkeypatch):
    monkeypatch.setenv("PROMPTGUARD_ALERTS", "slack:https://a.com")
    rest = dict.fromkeys(
        ("ledger", "cache", "shadow", "replay", "on_drift", "record_content", "fields", "compat", "seed"),
        NOT_GIVEN,
    )

    def labels(drift):
        found = wanted(**rest, drift=drift, prompts=None, clock=lambda: START)
        assert found.drift is None or found.drift.alerts is None, "judging does not change with who is told"
        return [each.label for each in found.actions if hasattr(each, "label")]

    own = promptguard.Slack("https://b.com")
    assert labels(NOT_GIVEN) == ["slack a.com"]
    assert labels(promptguard.Drift(alpha=0.02)) == ["slack a.com"]
    assert labels(promptguard.Drift(alerts=own)) == ["slack b.com"]
    assert labels(promptguard.Drift(alerts=[])) == []


def test_config_show_tells_names_alone(monkeypatch, capsys):
    monkeypatch.setenv("PROMPTGUARD_ALERTS", f"slack:https://a.com/{SECRET}")
    for more in ([], ["--json"], ["--sources"]):
        with pytest.raises(SystemExit):
            main(["config", "show", *more])
        told = capsys.readouterr().out
        assert "slack a.com" in told
        assert SECRET not in told


def test_apprise_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "apprise", None)
    with pytest.raises(MissingExtra, match=r"pip install 'promptguard-shadow\[alerts\]'"):
        promptguard.guard(httpx.Client(), drift=promptguard.Drift(alerts=promptguard.Apprise("mailto://x")))


def test_alerts_test_tries_each_and_says_how_it_went(monkeypatch, capsys):
    with Receiver() as works, Receiver(with_status(500)) as broken:
        channels = [
            {"slack": works.url, "name": "works", "allow_private": True},
            {"webhook": broken.url, "name": "broken", "allow_private": True, "secret": SECRET},
        ]
        monkeypatch.setenv("PROMPTGUARD_ALERTS", json.dumps(channels))
        with pytest.raises(SystemExit) as ended:
            main(["alerts", "test"])
        assert ended.value.code == 2
        assert capsys.readouterr().out.splitlines() == [
            "works: delivered",
            "broken: not delivered: status 500",
        ]
        assert works.got[0].told["text"].startswith("test: alerts of the ledger")
        assert broken.got[0].told["promptguard"]["test"] is True
        broken.answer = None
        with pytest.raises(SystemExit) as ended:
            main(["alerts", "test", "--json"])
        assert ended.value.code == 0
        assert [each["delivered"] for each in json.loads(capsys.readouterr().out)] == [True, True]


def test_alerts_test_of_a_receiver_that_is_not_there_or_answers_too_much(monkeypatch, capsys):
    def huge(handler):
        handler.send_response(200)
        handler.send_header("content-length", str(100 << 20))
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b"x" * (1 << 20))

    with Receiver(huge) as receiver:
        channels = [{"webhook": receiver.url, "name": "huge", "allow_private": True}]
        monkeypatch.setenv("PROMPTGUARD_ALERTS", json.dumps(channels))
        with pytest.raises(SystemExit) as ended:
            main(["alerts", "test"])
        assert (ended.value.code, capsys.readouterr().out) == (0, "huge: delivered\n")
    with pytest.raises(SystemExit) as ended:
        main(["alerts", "test"])
    assert (ended.value.code, capsys.readouterr().out) == (2, "huge: not delivered: connection refused\n")


def test_alerts_test_without_channels_says_what_to_write(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["alerts", "test"])
    assert ended.value.code == 2
    assert "PROMPTGUARD_ALERTS" in capsys.readouterr().err


@pytest.mark.sdk
def test_an_alarm_of_a_wrapped_client_arrives_and_is_resolved(guarded, monkeypatch, capsys, caplog):
    openai = pytest.importorskip("openai")
    caplog.set_level(logging.DEBUG)
    models = {"m": lambda _: "```\nno\n```", "pinned": lambda _: "yes, it is"}
    with Receiver() as receiver, FakeProvider(models) as provider:
        client = openai.OpenAI(base_url=provider.url, api_key="k")
        hook = promptguard.Webhook(
            receiver.url + f"?{SECRET}", secret=SECRET, examples=True, allow_private=True
        )
        promptguard.wrap(
            client,
            ledger=guarded,
            shadow=promptguard.Shadow(
                "pinned", sample=1.0, repeat=0.0, budget=promptguard.Budget(calls_per_minute=None)
            ),
            drift=promptguard.Drift(mode="gate", alerts=[hook]),
            on_drift=promptguard.Route("pinned"),
            record_content=True,
        )
        for number in range(30):
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": f"hi {number}"}])
        assert promptguard.flush(100.0)
        (got,) = receiver.got
        told = got.told["promptguard"]
        assert told["text"].startswith("drift: pinned answers differently from m for")
        assert "calls for m go to pinned" in told["text"]
        assert told["example"]["control"] == "```\nno\n```"
        promptguard.acknowledge(guarded)
        until(lambda: len(receiver.got) > 1, 20.0)
        assert receiver.got[1].told["status"] == "resolved"
        client.close()
    with pytest.raises(SystemExit):
        main(["alerts", "list", "--ledger", str(guarded)])
    shown = capsys.readouterr().out
    assert f"{told['id']} resolved" in shown
    assert "webhook 127.0.0.1: delivered" in shown
    kept = b"".join(path.read_bytes() for path in guarded.iterdir() if path.is_file())
    assert SECRET.encode() not in kept
    assert SECRET not in caplog.text + shown


def test_alerts_list_as_json(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    from tests.alerts.process import Process, Time, webhook

    time = Time()
    with Receiver(with_status(503)) as receiver:
        one = Process(tmp_path, time, webhook(receiver))
        note(one.ledger, "alarm", "a\x1b@1", at=time.now)
        one.run_for(60)
    with pytest.raises(SystemExit):
        main(["alerts", "list", "--ledger", str(tmp_path), "--json"])
    told = json.loads(capsys.readouterr().out)
    (alert,) = told["alerts"]
    assert (alert["status"], alert["pending"], alert["receipts"][0]["error"]) == (
        "firing",
        True,
        "status 503",
    )
    with pytest.raises(SystemExit):
        main(["alerts", "list", "--ledger", str(tmp_path)])
    shown = capsys.readouterr().out
    assert "waits after" in shown
    assert "\x1b" not in shown
    for more in ([], ["--json"]):
        with pytest.raises(SystemExit):
            main(["status", "--ledger", str(tmp_path), *more])
    told = capsys.readouterr().out
    assert (
        "not told: 1 alert through webhook 127.0.0.1 (status 503), tried again: promptguard alerts list"
        in told
    )
    assert '"error": "status 503"' in told


@pytest.mark.sdk
def test_a_client_without_channels_does_not_silence_the_others(guarded):
    openai = pytest.importorskip("openai")
    budget = promptguard.Budget(calls_per_minute=None)
    shadow = promptguard.Shadow("pinned", sample=1.0, repeat=0.0, budget=budget)
    models = {"m": lambda _: "```\nno\n```", "pinned": lambda _: "yes, it is"}
    with Receiver() as receiver, FakeProvider(models) as provider:
        clients = [openai.OpenAI(base_url=provider.url, api_key="k") for _ in range(2)]
        hook = promptguard.Webhook(receiver.url, allow_private=True)
        drifts = (promptguard.Drift(mode="gate", alerts=hook), promptguard.Drift(mode="gate"))
        for client, drift in zip(clients, drifts, strict=True):
            promptguard.wrap(client, ledger=guarded, shadow=shadow, drift=drift)
        for number in range(30):
            messages = [{"role": "user", "content": f"hi {number}"}]
            clients[1].chat.completions.create(model="m", messages=messages)
        assert promptguard.flush(100.0)
        assert len(receiver.got) == 1
        for client in clients:
            client.close()
