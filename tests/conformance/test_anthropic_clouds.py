"""anthropic's clients for clouds: who signs is never changed and asks again by itself; who does not is routed."""

from __future__ import annotations

import asyncio
import re
from types import SimpleNamespace

import anthropic
import pytest

import promptguard
from promptguard.ledger.store import Ledger
from promptguard.sdks import anthropic as family
from tests.cache.replies import until
from tests.conformance.test_anthropic import SHADOW, TURN

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
KEYS = {"aws_access_key": "AKIA1", "aws_secret_key": "s", "aws_region": "us-east-1"}
VERTEX = {"region": "us-east5", "project_id": "p", "access_token": "t"}
AWS = {**KEYS, "workspace_id": "w"}


def ask(client, model="m", **more):
    return client.messages.create(model=model, messages=TURN, max_tokens=9, **more)


def signer(received):
    return re.match(r"AWS4-HMAC-SHA256 Credential=(\w+)/", received.headers["authorization"])[1]


@pytest.mark.parametrize(
    ("cls", "more"), [("AnthropicBedrock", KEYS), ("AnthropicBedrockMantle", KEYS), ("AnthropicAWS", AWS)]
)
def test_a_client_that_signs_asks_again_with_a_signature_of_its_own(cls, more, provider, guarded):
    client = getattr(anthropic, cls)(base_url=provider.origin, **more)
    promptguard.wrap(client, ledger=guarded, shadow=SHADOW)
    assert family.can_shadow(client)
    assert not family.can_route(client)
    ask(client)
    assert promptguard.flush(60.0)
    asked, again = provider.received
    assert (asked.model, again.model) == ("m", "other")
    assert (signer(asked), signer(again)) == ("AKIA1", "AKIA1")
    signatures = {r.headers["authorization"].partition("Signature=")[2] for r in (asked, again)}
    assert len(signatures) == 2
    with pytest.raises(promptguard.ConfigurationError, match="signed body"):
        promptguard.wrap(client, ledger=guarded, on_drift=promptguard.Route(to="other"), shadow=SHADOW)
    client.close()


def copied(client, **more):
    """Major 0 gives copies of this client an HTTP client of their own unless told otherwise."""
    keys = {"aws_access_key": "AKIA2", "aws_secret_key": "z", **more}
    return client.with_options(http_client=client._client, **keys)


def test_what_a_copy_signed_for_somebody_else_is_not_asked_in_our_name(provider, guarded):
    client = anthropic.AnthropicBedrock(base_url=provider.origin, **KEYS)
    promptguard.wrap(client, ledger=guarded, shadow=SHADOW)
    ask(copied(client))
    assert promptguard.flush(60.0)
    assert [signer(r) for r in provider.received] == ["AKIA2"]
    rows = Ledger(guarded).pairs_after(0)
    assert [(row.outcome, row.reason) for row in rows] == [("dropped", "not_asked: other credentials")]
    client.close()


def test_nor_replayed_in_the_name_of_a_clients_own_profile(provider, guarded, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    now = [1_000_000.0]
    client = anthropic.AnthropicBedrock(base_url=provider.origin, aws_region="us-east-1")
    replay = promptguard.Replay(share=1.0, after="1h")
    promptguard.wrap(client, ledger=guarded, replay=replay, clock=lambda: now[0])
    ask(client)
    ask(copied(client))
    assert promptguard.flush(60.0)
    now[0] += 3601
    until(lambda: len(list(Ledger(guarded).pairs_after(0))) == 2)
    assert [signer(received) for received in provider.received] == ["AKIA1", "AKIA2", "AKIA1"]
    rows = {(row.outcome, row.reason) for row in Ledger(guarded).pairs_after(0)}
    assert rows == {("compared", ""), ("dropped", "not_asked: other credentials")}
    client.close()


def test_the_same_on_an_event_loop(provider, guarded):
    async def main():
        client = anthropic.AsyncAnthropicBedrock(base_url=provider.origin, **KEYS)
        promptguard.wrap(client, ledger=guarded, shadow=SHADOW)
        await ask(copied(client))
        await ask(client)
        assert await asyncio.to_thread(promptguard.flush, 10.0)
        await client.close()

    asyncio.run(main())
    asked = sorted((r.model, signer(r)) for r in provider.received)
    assert asked == [("m", "AKIA1"), ("m", "AKIA2"), ("other", "AKIA1")]


@pytest.mark.parametrize(("tenant", "upstream"), [("", [1, 1, 2, 3, 4]), ("us", [1, 1, 2, 3, 3])])
def test_answers_are_kept_apart_by_access_key_unless_sessions_have_one_tenant(
    tenant, upstream, provider, guarded
):
    client = anthropic.AnthropicBedrock(base_url=provider.origin, **KEYS)
    promptguard.wrap(client, ledger=guarded, cache=promptguard.Cache(tenant=tenant))
    first, second = (copied(client, aws_access_key=f"ASIA{n}", aws_session_token=f"token{n}") for n in (1, 2))
    counts = []
    for who in (client, client, copied(client), first, second):
        ask(who)
        counts.append(provider.asked("m"))
    assert counts == upstream
    client.close()


def test_bedrock_with_a_plain_token_is_routed(provider, guarded):
    client = anthropic.AnthropicBedrock(base_url=provider.origin, api_key="b", aws_region="us-east-1")
    assert family.background_client(client, client._client, dict) is None
    routed(client, provider, guarded)


def test_vertex_is_routed(provider, guarded):
    client = anthropic.AnthropicVertex(base_url=provider.origin, **VERTEX)
    assert family.background_client(client, client._client, dict) is None
    routed(client, provider, guarded)


def routed(client, provider, guarded):
    promptguard.wrap(client, ledger=guarded, shadow=SHADOW, on_drift=promptguard.Route(to="other"))
    guard = client._client._promptguard_ports
    guard.background.state.routes = {("(no template)", "m"): "json"}
    assert ask(client).content[0].text == '{"city": "Kiel"}'
    assert [event.type for event in ask(client, stream=True)][-1] == "message_stop"
    assert promptguard.flush(60.0)
    assert [r.streamed for r in provider.received if r.model == "json"] == [False, True]
    assert {r.headers["authorization"] for r in provider.received} <= {"Bearer b", "Bearer t"}
    client.close()


def test_vertex_renews_its_own_credentials(provider, guarded):
    credentials = SimpleNamespace(token="fresh", expired=False)
    client = anthropic.AnthropicVertex(
        base_url=provider.origin, region="us-east5", project_id="p", credentials=credentials
    )
    asker = family.background_client(client, client._client, dict)
    assert asker.renews_credentials(provider.origin)
    assert not asker.renews_credentials("http://elsewhere")
    promptguard.wrap(client, ledger=guarded, shadow=SHADOW)
    ask(client)
    assert promptguard.flush(60.0)
    assert [(r.model, r.headers["authorization"]) for r in provider.received] == [
        ("m", "Bearer fresh"),
        ("other", "Bearer fresh"),
    ]
    client.close()


def test_what_is_signed_above_a_guarded_http_client_is_cached_and_neither_changed_nor_asked_again(
    provider, guarded
):
    """`guard()` knows no SDK: a signature for another model is nobody's to make there."""
    probe = anthropic.AnthropicBedrock(base_url=provider.origin, **KEYS)
    http = promptguard.guard(
        type(probe._client)(),
        ledger=guarded,
        cache="memory",
        shadow=SHADOW,
        on_drift=promptguard.Route(to="json"),
    )
    http._promptguard_ports.background.state.routes = {("(no template)", "m"): "json"}
    client = anthropic.AnthropicBedrock(base_url=provider.origin, http_client=http, **KEYS)
    assert ask(client).model == ask(client).model == "m"
    assert promptguard.flush(60.0)
    assert [r.model for r in provider.received] == ["m"]
    rows = Ledger(guarded).pairs_after(0)
    assert [(row.outcome, row.reason) for row in rows] == [("dropped", "not_asked: signed")]
    client.close()
    probe.close()


def test_who_has_a_profile_or_a_role_replays_with_it_and_who_was_given_a_key_with_that(provider):
    for more, renews in ((KEYS, False), ({"aws_region": "us-east-1"}, True)):
        client = anthropic.AnthropicBedrock(base_url=provider.origin, **more)
        http = type(client._client)()
        asker = family.background_client(client, http, dict)
        assert asker.renews_credentials(provider.origin) is renews
        assert not asker.renews_credentials("http://elsewhere")
        client.close()
        http.close()
