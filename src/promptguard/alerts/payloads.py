"""The shapes that receivers take. Pure: from an Alert to bytes and headers.

Webhooks: Alertmanager's version 4 (https://prometheus.io/docs/alerting/latest/configuration/#webhook_config), signed as
Standard Webhooks say (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
Alertmanager: POST /api/v2/alerts. Slack: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from promptguard.alerts.message import LONGEST_EXAMPLE, Alert, Changed, plain, text, title
from promptguard.core.epochs import shown_group

ALERTNAME = "PromptGuardDrift"
NO_TIME = "0001-01-01T00:00:00Z"
"""What Go's JSON has for a time that is not, and so Alertmanager."""
KEPT_SECONDS = 7 * 86400.0
"""How long Alertmanager takes an alert as firing that is not told again: nights in which no process runs."""
SLACK_CHARACTERS = 3800
"""Slack cuts a text after 4,000."""
PREFIX = "whsec_"


def webhook(alert: Alert, receiver: str) -> bytes:
    """Return the body for a webhook; everything beyond Alertmanager's fields is under "promptguard"."""
    alerts = [_single(alert, each) for each in alert.members]
    return _json(
        {
            "version": "4",
            "groupKey": alert.id,
            "truncatedAlerts": 0,
            "status": alert.status,
            "receiver": receiver,
            "groupLabels": {"alertname": ALERTNAME, "promptguard_change": alert.id},
            "commonLabels": _common([each["labels"] for each in alerts]),
            "commonAnnotations": _common([each["annotations"] for each in alerts]),
            "externalURL": "",
            "alerts": alerts,
            "promptguard": {
                "id": alert.id,
                "revision": alert.revision,
                "test": alert.is_test,
                "ledger": alert.ledger,
                "model": alert.model,
                "prompts": [shown_group(group) for group in alert.groups],
                "since": _time(alert.since),
                "title": title(alert),
                "text": text(alert),
                "done": list(alert.done),
                "undo": list(alert.undo),
                "example": _example(alert),
            },
        }
    )


def signed(body: bytes, message_id: str, timestamp: int, secret: str | None) -> dict[str, str]:
    """Return the headers of a webhook: who dedupes looks at `webhook-id`, who verifies at all three.

    `timestamp` is seconds since the Unix epoch; `secret` is `whsec_` and base64, or any text, None for no signature.
    """
    headers = {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
    }
    if secret is not None:
        said = f"{message_id}.{timestamp}.".encode() + body
        digest = hmac.new(_key(secret), said, hashlib.sha256).digest()
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers


def _key(secret: str) -> bytes:
    if not secret.startswith(PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        return secret.encode()


def alertmanager(alert: Alert, now: float) -> bytes:
    """Return the body for Alertmanager's API: one alert a prompt and stream, which it groups as it is configured."""
    found = []
    for each in alert.members:
        told = _single(alert, each)
        ends = (each.ended_at or alert.ended_at or now) if _is_over(alert, each) else now + KEPT_SECONDS
        found.append(
            {**{name: told[name] for name in ("labels", "annotations", "startsAt")}, "endsAt": _time(ends)}
        )
    return _json(found)


def slack(alert: Alert) -> bytes:
    """Return the body for an incoming webhook: text, with what Slack would read as markup escaped."""
    whole = text(alert)
    for sign, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        whole = whole.replace(sign, escaped)
    if len(whole) > SLACK_CHARACTERS:
        whole = f"{whole[:SLACK_CHARACTERS].rpartition('&')[0] or whole[:SLACK_CHARACTERS]}…"
    return _json({"text": whole})


def _single(alert: Alert, each: Changed) -> dict[str, Any]:
    """Return one prompt's alarm as Alertmanager has an alert; labels never change, so that it is known again."""
    name, _, version = each.group.rpartition("@")
    labels = {
        "alertname": "PromptGuardTest" if alert.is_test else ALERTNAME,
        "severity": "info" if alert.is_test else "warning",
        "promptguard_ledger": alert.ledger,
        "promptguard_change": alert.id,
        "promptguard_stream": each.stream,
        "gen_ai_request_model": alert.model,
        "gen_ai_prompt_name": name or shown_group(each.group),
        **({"gen_ai_prompt_version": version} if name else {}),
    }
    annotations = {"summary": title(alert), "description": each.sentence, "undo": "; ".join(alert.undo)}
    over = _is_over(alert, each)
    return {
        "status": "resolved" if over else "firing",
        "labels": {key: plain(value) or "-" for key, value in labels.items()},
        "annotations": {key: plain(value) for key, value in annotations.items() if value},
        "startsAt": _time(each.at),
        "endsAt": _time(each.ended_at or alert.ended_at or each.at) if over else NO_TIME,
        "generatorURL": "",
        "fingerprint": hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest()[:16],
    }


def _is_over(alert: Alert, each: Changed) -> bool:
    return bool(each.ended) or alert.ended_at is not None


def _example(alert: Alert) -> dict[str, str] | None:
    if alert.example is None:
        return None
    told = {name: getattr(alert.example, name) for name in ("question", "control", "candidate")}
    return {name: said[:LONGEST_EXAMPLE] for name, said in told.items()}


def _common(several: Sequence[dict[str, str]]) -> dict[str, str]:
    """Return what all have alike."""
    return {
        key: value
        for key, value in (several[0] if several else {}).items()
        if all(each.get(key) == value for each in several)
    }


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(value: object) -> bytes:
    # Lone surrogates of a model's answer are escaped by json, and a receiver may read them as it likes.
    return json.dumps(value).encode()
