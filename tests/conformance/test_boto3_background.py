"""boto3 with parts of ours broken, and what is asked again in the background: signed anew, bounded, one attempt."""

from __future__ import annotations

import json
import re
import threading

import boto3
import pytest

import promptguard
from promptguard.http.transport import original_of
from promptguard.ledger.store import Ledger
from promptguard.report.read import read_report
from promptguard.sdks import boto3 as family
from promptguard.testing.dialects import converse
from tests.conformance.adapters import Boto3
from tests.conformance.conftest import constant
from tests.conformance.features import raised
from tests.conformance.test_boto3 import (
    ASK,
    INVOKE,
    SHADOW,
    TURN,
    events_of,
    guard_of,
    pytestmark,  # noqa: F401
    text_of,
    wrapped,
)
from tests.files import contents


@pytest.fixture
def client(provider):
    made = Boto3().client(provider.origin)
    yield made
    made.close()


FAULTS = [
    "promptguard.wire.recognise",
    "promptguard.wire.bedrock_converse.read_request",
    "promptguard.wire.bedrock_converse.read_reply",
    "promptguard.wire.anthropic_messages.facts_of",
    "promptguard.wire.anthropic_messages.read_reply",
    "promptguard.core.caching.cache_key",
    "promptguard.cache.memory.MemoryCache.get",
    "promptguard.cache.memory.MemoryCache.put",
    "promptguard.guarding.Interceptor.begin",
    "promptguard.http.botocore_session._to_ours",
    "promptguard.http.botocore_session._raw",
    "promptguard.http.botocore_session._rebuilt",
    "promptguard.http.botocore_session.timeouts",
    "promptguard.http.botocore_session.record",
    "promptguard.http.botocore_streams.replayed",
    "promptguard.http.botocore_session.replayed",
    "promptguard.http.run.finish_abandoned",
    "promptguard.http.run.storable",
    "promptguard.http.botocore_session.storable",
    "promptguard.core.flow._settle",
    "promptguard.background.engine.Background.offer",
    "promptguard.shadow.worker.Worker.offer",
    "promptguard.http.botocore_background.SessionSettings.build",
]


@pytest.mark.parametrize("target", FAULTS)
def test_the_caller_gets_the_same_when_we_fail(target, client, provider, guarded, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("injected")

    def all_calls():
        return (
            text_of(client.converse(**ASK)),
            events_of(client.converse_stream(**ASK)),
            client.invoke_model(**INVOKE)["body"].read(),
            events_of(client.invoke_model_with_response_stream(**INVOKE)),
            raised(lambda: client.converse(modelId="status-400", messages=TURN)),
        )

    bare = all_calls()
    wrapped(client, guarded, cache="memory", shadow=SHADOW)
    monkeypatch.setattr(target, broken)
    assert [all_calls() for _ in range(2)] == [bare, bare]
    promptguard.flush(60.0)


def rows(ledger):
    return [(row.outcome, row.reason) for row in Ledger(ledger).pairs_after(0)]


def signed_by(received):
    return re.match(
        r"AWS4-HMAC-SHA256 Credential=(\w+)/\d{8}/us-east-1/bedrock/", received.headers["authorization"]
    )[1]


@pytest.mark.parametrize(
    ("call", "asked", "path"),
    [
        ("converse", ASK, "/model/other/converse"),
        ("converse_stream", ASK, "/model/other/converse"),
        ("invoke_model", INVOKE, "/model/other/invoke"),
        ("invoke_model_with_response_stream", INVOKE, "/model/other/invoke"),
    ],
)
def test_the_other_model_gets_the_exact_body_with_a_signature_of_its_own(
    call, asked, path, client, provider, guarded
):
    wrapped(client, guarded, shadow=SHADOW)
    answer = getattr(client, call)(**asked)
    if "body" in answer or "stream" in answer:
        body = answer.get("stream") or answer["body"]
        assert list(body)
    assert promptguard.flush(60.0)
    first, again = provider.received
    assert (again.path, json.loads(again.raw)) == (path, json.loads(first.raw))
    assert signed_by(first) == signed_by(again) == "AKIA1"
    assert first.headers["authorization"] != again.headers["authorization"]
    assert "amz-sdk-request" not in again.headers  # one attempt, and none of botocore's retries
    assert rows(guarded) == [("compared", "")]


def test_what_headers_say_of_who_served_is_read_of_background_answers_too(
    client, provider, guarded, monkeypatch
):
    told = converse._told
    monkeypatch.setattr(converse, "_told", lambda answer: told(answer) | {"serviceTier": None})
    provider.models["m"] = lambda _: promptguard.testing.Served(
        "Hi", headers={"x-amzn-bedrock-service-tier": "flex"}
    )
    wrapped(client, guarded, shadow=promptguard.Shadow(model="other", sample=1.0, repeat=1.0))
    client.converse(**ASK)
    assert promptguard.flush(60.0)
    assert [(who.service_tier, who.calls) for who in read_report(guarded).identities] == [("flex", 2)]


def test_the_other_models_retries_and_errors_are_one_attempt(provider, guarded):
    client = Boto3().retrying(provider.origin)
    provider.models["other"] = lambda _: promptguard.testing.Fault("status", 503)
    wrapped(client, guarded, shadow=SHADOW)
    client.converse(**ASK)
    assert promptguard.flush(60.0)
    assert provider.asked("other") == 1
    assert rows(guarded) == [("candidate_error", "status_503")]
    client.close()


@pytest.mark.parametrize(
    ("fault", "limit", "reason"),
    [
        ("long", "http.botocore_background.MAX_ANSWER_BYTES", "UnboundedAnswerError"),
        ("slow", "core.background_call.ANSWER_SECONDS", "timeout"),
        ("encoded", None, "UnboundedAnswerError"),
        ("refused", None, "ConnectionClosedError"),
    ],
)
def test_a_background_answer_is_bounded(fault, limit, reason, client, provider, guarded, monkeypatch):
    provider.models["other"] = {
        "long": lambda _: "word " * 500,
        "slow": lambda _: promptguard.testing.Served("x", delay=0.05),
        "encoded": lambda _: promptguard.testing.Served("x", gzip=True),
        "refused": lambda _: promptguard.testing.Fault("refuse"),
    }[fault]
    if limit:
        monkeypatch.setattr(f"promptguard.{limit}", 0.03 if fault == "slow" else 500)
    wrapped(client, guarded, shadow=SHADOW)
    client.converse(**ASK)
    assert promptguard.flush(60.0)
    assert [each[0] for each in rows(guarded)] == ["candidate_error"]
    assert rows(guarded)[0][1] in {reason, "connection"}
    assert rows(guarded)[0][1] == reason or fault == "refused"


def test_background_calls_have_a_session_of_their_own_with_the_clients_settings(guarded):
    config = {"proxies": {"http": "http://proxy:3128"}, "connect_timeout": 7, "read_timeout": 11}
    client = Boto3().client("http://127.0.0.1:9", **config)
    client._endpoint.http_session._verify = "/ca.pem"
    wrapped(client, guarded, shadow=SHADOW)
    theirs = client._endpoint.http_session._promptguard_original
    ours = guard_of(client).asker.client._http._session
    assert ours is not theirs
    assert not original_of(ours)
    assert (ours._verify, ours._proxy_config._proxies) == ("/ca.pem", config["proxies"])
    assert (ours._timeout.connect_timeout, ours._timeout.read_timeout) == (7, 11)
    assert ours._max_pool_connections == 4
    client.close()


def test_a_session_of_the_applications_own_making_is_never_shared(client, provider, guarded, caplog):
    closed = []
    stock = type(client._endpoint.http_session)

    class Own(stock):
        def close(self):
            closed.append(self)
            super().close()

    client._endpoint.http_session.__class__ = Own
    wrapped(client, guarded, shadow=SHADOW)
    assert "Own (it has a close() of its own)" in caplog.text
    assert isinstance(client._endpoint.http_session, Own)
    client.converse(**ASK)
    assert promptguard.flush(60.0)
    assert provider.asked("other") == 0
    assert [each.reason for each in read_report(guarded).passed_by] == ["no background client"]
    assert not closed
    client.close()
    assert len(closed) == 1


def test_a_factory_makes_what_cannot_be_built_again(client, provider, guarded):
    made = []

    def fresh():
        made.append(Boto3().client(provider.origin))
        return made[-1]

    client._endpoint.http_session.__class__ = type(
        "Own", (type(client._endpoint.http_session),), {"send": send}
    )
    shadow = promptguard.Shadow(model="other", sample=1.0, repeat=0.0, client=fresh)
    wrapped(client, guarded, shadow=shadow)
    client.converse(**ASK)
    assert promptguard.flush(60.0)
    assert provider.asked("other") == 1
    assert rows(guarded) == [("compared", "")]
    assert guard_of(client).asker.client._http._session is made[0]._endpoint.http_session
    client.close()


def send(self, request):
    """Do what the stock session does, as code that nobody can know."""
    return super(type(self), self).send(request)


def test_a_bearer_token_goes_with_the_call_and_nothing_is_signed(client):
    """As AWS_BEARER_TOKEN_BEDROCK has it, which botocore sends over TLS alone."""
    sent = []

    class Session:
        def send(self, prepared):
            sent.append(prepared)
            return 200, b"{}", ()

        def close(self):
            pass

    asker = family.background_client(client, Session(), object)
    headers = {
        "authorization": "Bearer token-1",
        "x-amzn-bedrock-trace": "ENABLED",
        "accept-encoding": "gzip",
    }
    assert asker.ask("https://x/model/o/converse", {"messages": []}, headers, {}).status == 200
    assert dict(sent[0].headers) == {
        "x-amzn-bedrock-trace": "ENABLED", "Content-Type": "application/json", "Accept": "application/json",
        "Authorization": "Bearer token-1", "Content-Length": "16",
    }  # fmt: skip


def test_credentials_are_written_nowhere_and_replays_are_signed_anew(provider, guarded):
    now = [1_000_000.0]
    session = boto3.Session(
        aws_access_key_id="ASIACANARY", aws_secret_access_key="secretcanary", aws_session_token="tokencanary"
    )
    client = session.client("bedrock-runtime", region_name="us-east-1", endpoint_url=provider.origin)
    replay = promptguard.Replay(share=1.0, after="1h")
    wrapped(
        client, guarded, cache=promptguard.Cache("disk"), shadow=SHADOW, replay=replay, clock=lambda: now[0]
    )
    client.converse(**ASK)
    assert promptguard.flush(60.0)
    written = contents(guarded)
    assert len(written) > 1
    for file, data in written.items():
        assert not re.search(rb"secretcanary|tokencanary|ASIACANARY|AWS4-HMAC", data), file
    asked = provider.asked("m")
    now[0] += 7200.0
    for _ in range(100):
        if provider.asked("m") > asked:
            break
        threading.Event().wait(0.1)
    assert promptguard.flush(60.0)
    replayed = [r for r in provider.received if r.model == "m"][-1]
    assert provider.asked("m") == asked + 1
    assert replayed.headers["x-amz-security-token"] == "tokencanary"
    assert constant(replayed.headers)["authorization"].startswith("AWS4-HMAC-SHA256 Credential=ASIACANARY")
    client.close()
