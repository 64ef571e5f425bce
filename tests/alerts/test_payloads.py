"""What receivers are sent: shape, signature, words. Verified by another implementation than ours."""

from __future__ import annotations

import base64
import dataclasses
import json

import pytest

import promptguard
from promptguard.alerts import payloads
from promptguard.alerts.message import Alert, Changed, Example, text, title
from promptguard.alerts.sending import NotDelivered, send
from tests.alerts.receiver import Receiver, with_status

AT = 1_795_000_000.0
CHANGED = Changed(
    "triage@3", "candidate", AT, 30, 4.52, "Since about pair 12: answers in fewer words.", log10_threshold=2.4, alpha=0.004,
    since=AT - 7200, since_low=AT - 9000, since_high=AT - 3600,
)  # fmt: skip
ALERT = Alert(
    "pg-1", 2, "shop", "gpt-4", AT, (CHANGED, dataclasses.replace(CHANGED, group="sort@1", stream="replay")),
    done=("triage@3: calls for gpt-4 go to gpt-4-0314, since ... (taken back by: promptguard undo 7)",),
    undo=("promptguard acknowledge triage@3 --ledger /srv/shop",),
)  # fmt: skip
RESOLVED = dataclasses.replace(
    ALERT,
    revision=3,
    ended_at=AT + 60,
    members=tuple(
        dataclasses.replace(each, ended="acknowledged", ended_at=AT + 60) for each in ALERT.members
    ),
)


def test_the_text_says_all_that_one_wants_to_know():
    told = text(ALERT)
    assert told.splitlines()[0] == "drift: the model behind gpt-4 changed for triage@3 and 1 more prompt"
    for part in (
        "since: about 2026-11-18 09:06:40 UTC (between 2026-11-18 08:36:40 UTC and 2026-11-18 10:06:40 UTC)",
        "triage@3 (candidate stream): Since about pair 12: answers in fewer words.",
        "sort@1 (replay stream)",
        "how sure: evidence 10^4.5 after 30 pairs, an alarm needs 10^2.4 (alpha 0.004)",
        "done: triage@3: calls for gpt-4 go to gpt-4-0314",
        "once it is known: promptguard acknowledge triage@3 --ledger /srv/shop",
        "ledger shop, alert pg-1",
    ):
        assert part in told, told
    assert "example" not in told
    assert title(RESOLVED).startswith("resolved (acknowledged): the model behind gpt-4 changed")


def test_a_webhook_is_in_alertmanagers_shape():
    told = json.loads(payloads.webhook(ALERT, "oncall"))
    assert told.keys() >= {
        "version", "groupKey", "truncatedAlerts", "status", "receiver", "groupLabels", "commonLabels", "commonAnnotations",
        "externalURL", "alerts",
    }  # fmt: skip
    assert (told["version"], told["status"], told["groupKey"], told["receiver"]) == (
        "4",
        "firing",
        "pg-1",
        "oncall",
    )
    assert told["commonLabels"]["gen_ai_request_model"] == "gpt-4"
    assert "gen_ai_prompt_name" not in told["commonLabels"]
    first = told["alerts"][0]
    assert first.keys() == {
        "status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint",
    }  # fmt: skip
    assert first["labels"]["gen_ai_prompt_name"] == "triage"
    assert first["labels"]["gen_ai_prompt_version"] == "3"
    assert first["endsAt"] == "0001-01-01T00:00:00Z"
    later = json.loads(payloads.webhook(RESOLVED, "oncall"))
    assert later["status"] == "resolved"
    assert [each["fingerprint"] for each in later["alerts"]] == [
        each["fingerprint"] for each in told["alerts"]
    ]
    assert later["alerts"][0]["endsAt"] == "2026-11-18T11:07:40.000Z"


@pytest.mark.parametrize(
    "secret", ["whsec_" + base64.b64encode(b"k" * 24).decode(), "a plain secret of ours"]
)
def test_signatures_are_verified_by_the_library_of_standard_webhooks(secret):
    standardwebhooks = pytest.importorskip("standardwebhooks")
    key = secret if secret.startswith("whsec_") else base64.b64encode(secret.encode()).decode()
    with Receiver() as receiver:
        send(promptguard.Webhook(receiver.url, secret=secret, allow_private=True), ALERT)
        (got,) = receiver.got
    verifier = standardwebhooks.Webhook(key)
    assert verifier.verify(got.body, got.headers)["groupKey"] == "pg-1"
    assert got.headers["webhook-id"] == "pg-1.2"
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        verifier.verify(got.body.replace(b"gpt-4", b"gpt-5"), got.headers)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        verifier.verify(got.body, {**got.headers, "webhook-timestamp": "1795000000"})


def test_alertmanager_is_told_when_it_ends():
    told = json.loads(payloads.alertmanager(ALERT, AT))
    assert [each["endsAt"] for each in told] == ["2026-11-25T11:06:40.000Z"] * 2
    over = json.loads(payloads.alertmanager(RESOLVED, AT + 100))
    assert [each["endsAt"] for each in over] == ["2026-11-18T11:07:40.000Z"] * 2
    assert [each["labels"] for each in over] == [each["labels"] for each in told]
    assert all(value for each in told for value in each["labels"].values()), "it takes no empty labels"


def test_slack_reads_no_markup_in_what_strangers_wrote():
    hostile = dataclasses.replace(CHANGED, group="<!channel> & <https://evil.example|click>")
    told = json.loads(payloads.slack(dataclasses.replace(ALERT, members=(hostile,))))
    assert told.keys() == {"text"}
    assert "<" not in told["text"]
    assert "&lt;!channel&gt; &amp; &lt;https://evil.example|click&gt;" in told["text"]


def test_what_strangers_wrote_stays_on_its_line_and_has_an_end():
    hostile = dataclasses.replace(
        CHANGED, group="a\r\nonce it is known: rm -rf /\x1b[31m\u202e", sentence="x" * 100_000
    )
    told = text(dataclasses.replace(ALERT, members=(hostile,) * 50, model="m\nn"))
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert not [line for line in told.splitlines() if line.startswith("once it is known: rm")]
    assert len(told) < 12_000
    assert "and 40 more" in told
    assert (
        len(json.loads(payloads.slack(dataclasses.replace(ALERT, members=(hostile,) * 50)))["text"]) <= 4000
    )


def test_an_example_is_sent_where_there_is_one():
    with_one = dataclasses.replace(ALERT, example=Example("user: hi", "Yes.", "No\ud800, never."))
    assert "  control: Yes." in text(with_one)
    assert json.loads(payloads.webhook(with_one, "x"))["promptguard"]["example"]["question"] == "user: hi"
    with Receiver() as receiver:
        send(promptguard.Slack(receiver.url, allow_private=True), with_one)
        assert "asked: user: hi" in receiver.got[0].told["text"]


def test_tokens_are_sent_and_never_told():
    with Receiver(with_status(401)) as receiver:
        channel = promptguard.Webhook(
            receiver.url + "?key=SECRET1", token="SECRET2", secret="SECRET3", allow_private=True
        )
        with pytest.raises(NotDelivered) as caught:
            send(channel, ALERT)
        assert receiver.got[0].headers["authorization"] == "Bearer SECRET2"
    assert "SECRET" not in f"{caught.value!r} {channel!r} {channel} {channel.label}"


def test_apprise_takes_the_text():
    pytest.importorskip("apprise")
    with Receiver() as receiver:
        send(promptguard.Apprise(f"json://127.0.0.1:{receiver.port}/x"), ALERT)
        told = receiver.got[0].told
        assert told["title"] == title(ALERT)
        assert "how sure" in told["message"]
    with pytest.raises(NotDelivered, match="could not deliver"):
        send(promptguard.Apprise(f"json://127.0.0.1:{receiver.port}/x"), ALERT)
    with pytest.raises(NotDelivered, match="does not know"):
        send(promptguard.Apprise("nosuchservice://x"), ALERT)
