"""Azure: the deployment is named in the URL, and in the body it is a decoration."""

from __future__ import annotations

import asyncio
import itertools
import json

import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI

import promptguard
from promptguard.background.engine import open_backgrounds
from promptguard.report.read import read_report
from promptguard.testing import FakeClock, FakeProvider, Fault, Served
from tests.cache.replies import until
from tests.files import contents

pytestmark = pytest.mark.sdk
ASK = [{"role": "user", "content": "hi"}]
SHADOW = promptguard.Shadow(model="chat eu-2", sample=1.0, repeat=0.0)
CHATS = "/openai/deployments/{}/chat/completions?api-version=2024-10-21"


def azure(provider, cls=AzureOpenAI, **more):
    who = {} if {"azure_ad_token_provider", "azure_ad_token"} & set(more) else {"api_key": "k"}
    place = {} if "base_url" in more else {"azure_endpoint": provider.origin}
    return cls(**place, api_version="2024-10-21", max_retries=0, **who, **more)


@pytest.fixture
def provider():
    region = {"x-ms-region": "Sweden Central"}
    served = {
        "prod": lambda _: Served("One.", model="gpt-4o-2024-08-06", headers=region),
        "chat eu-2": lambda _: Served("Two.", model="gpt-4o-2024-11-20", headers=region),
    }
    with FakeProvider(served) as running:
        yield running


def ask(client, model="prod", **more):
    return client.chat.completions.create(model=model, messages=ASK, **more)


def outcomes():
    return [(row.outcome, row.reason) for row in open_backgrounds()[0].ledger.pairs_after(0)]


@pytest.mark.parametrize("more", [{}, {"stream": True}], ids=["plain", "stream"])
@pytest.mark.parametrize("cls", [AzureOpenAI, AsyncAzureOpenAI])
def test_the_other_deployment_is_asked_at_its_own_url(provider, guarded, cls, more):
    client = promptguard.wrap(azure(provider, cls), ledger=guarded, shadow=SHADOW)

    async def use():
        got = await ask(client, **more)
        if more:
            assert [chunk async for chunk in got]
        await client.close()

    if cls is AzureOpenAI:
        got = ask(client, **more)
        assert not more or list(got)
        client.close()
    else:
        asyncio.run(use())
    assert promptguard.flush(60.0)
    first, second = provider.received
    assert (first.path, second.path) == (CHATS.format("prod"), CHATS.format("chat%20eu-2"))
    assert json.loads(second.raw) == {"model": "chat eu-2", "messages": ASK}
    assert first.headers["api-key"] == second.headers["api-key"] == "k"
    assert outcomes() == [("compared", "")]


@pytest.mark.parametrize("cls", [AzureOpenAI, AsyncAzureOpenAI])
def test_a_client_that_renews_its_token_asks_with_its_own_copy_at_the_exact_url(provider, guarded, cls):
    """Its copy rewrites the URLs it knows: one that names a deployment already must not name two."""
    tokens = (f"token-{n}" for n in itertools.count())
    client = promptguard.wrap(
        azure(provider, cls, azure_ad_token_provider=lambda: next(tokens)), ledger=guarded, shadow=SHADOW
    )

    async def use():
        await ask(client)
        await client.close()

    if cls is AzureOpenAI:
        ask(client), client.close()
    else:
        asyncio.run(use())
    assert promptguard.flush(60.0)
    assert [each.path for each in provider.received] == [CHATS.format("prod"), CHATS.format("chat%20eu-2")]
    assert all(each.headers["authorization"].startswith("Bearer token-") for each in provider.received)
    assert outcomes() == [("compared", "")]


@pytest.mark.parametrize("renewing", [False, True])
def test_the_url_decides_where_the_body_names_something_else(provider, guarded, renewing):
    """A deployment given to the client goes into every URL, and `model` may be anything."""
    who = {"azure_ad_token_provider": lambda: "t"} if renewing else {}
    client = azure(provider, azure_deployment="prod", **who)
    promptguard.wrap(
        client, ledger=guarded, shadow=promptguard.Shadow(model="chat eu-2", sample=1.0, repeat=1.0)
    )
    ask(client, "gpt-4o")
    assert promptguard.flush(60.0)
    question, repeat = provider.received
    assert question.path == repeat.path == CHATS.format("prod")
    assert json.loads(question.raw) == json.loads(repeat.raw)  # to ask the same is to say the same
    assert {row.asked for row in open_backgrounds()[0].ledger.pairs_after(0)} == {"prod"}
    client.close()


def test_the_newer_paths_name_it_in_the_body_alone(provider, guarded):
    client = promptguard.wrap(
        OpenAI(base_url=f"{provider.origin}/openai/v1/", api_key="k", max_retries=0),
        ledger=guarded,
        shadow=SHADOW,
    )
    ask(client)
    assert promptguard.flush(60.0)
    assert {each.path for each in provider.received} == {"/openai/v1/chat/completions"}
    assert [each.model for each in provider.received] == ["prod", "chat eu-2"]
    client.close()


def test_responses_name_it_in_the_body_alone(provider, guarded):
    client = promptguard.wrap(azure(provider, azure_deployment="prod"), ledger=guarded, shadow=SHADOW)
    client.responses.create(model="prod", input="hi", store=False)
    assert promptguard.flush(60.0)
    assert {each.path for each in provider.received} == {"/openai/responses?api-version=2024-10-21"}
    assert [each.model for each in provider.received] == ["prod", "chat eu-2"]
    client.close()


def test_a_route_goes_to_the_other_deployment_and_what_it_keeps_is_that_ones(provider, guarded):
    client = azure(provider)
    promptguard.wrap(
        client, ledger=guarded, cache="memory", shadow=promptguard.Shadow(model="chat eu-2", sample=0.0),
        on_drift=promptguard.Route(to="chat eu-2"),
    )  # fmt: skip
    state = client._client._transport._promptguard_ports.background.state
    state.routes = {("(no template)", "prod"): "chat eu-2"}
    for _ in range(2):
        assert ask(client).choices[0].message.content == "Two."
    assert [each.path for each in provider.received] == [CHATS.format("chat%20eu-2")]
    assert ask(client, "chat eu-2").choices[0].message.content == "Two."  # the same question: the same entry
    assert len(provider.received) == 1
    state.routes = {}
    assert ask(client).choices[0].message.content == "One."
    at_prod = client.with_options(base_url=f"{provider.origin}/openai/deployments/prod")
    assert ask(at_prod, "chat eu-2").choices[0].message.content == "One."
    client.close()


def test_a_refused_route_sends_the_request_once_as_it_was(provider, guarded):
    provider.models["chat eu-2"] = lambda _: Fault("status", 404)
    client = azure(provider)
    promptguard.wrap(
        client, ledger=guarded, cache="memory", shadow=promptguard.Shadow(model="x", sample=0.0),
        on_drift=promptguard.Route(to="chat eu-2"),
    )  # fmt: skip
    client._client._transport._promptguard_ports.background.state.routes = {
        ("(no template)", "prod"): "chat eu-2"
    }
    assert ask(client).choices[0].message.content == "One."
    assert [each.path for each in provider.received] == [CHATS.format("chat%20eu-2"), CHATS.format("prod")]
    client.close()


def test_two_deployments_and_two_versions_never_share_an_entry(provider, guarded):
    one = promptguard.wrap(azure(provider), ledger=guarded, cache="memory")
    answers = [ask(one, model).choices[0].message.content for model in ("prod", "chat eu-2", "prod")]
    assert answers == ["One.", "Two.", "One."]
    assert len(provider.received) == 2
    newer = one.with_options(api_version="2025-01-01")
    ask(newer)
    assert len(provider.received) == 3
    one.close()


def test_a_deployments_entry_is_not_found_by_what_the_body_says(provider, guarded):
    """Deployment `prod` asked as "chat eu-2" is not the deployment of that name, nor is it `prod` routed there."""
    wrapped = promptguard.wrap(azure(provider), ledger=guarded, cache="memory")
    ask(wrapped, "chat eu-2")
    at_prod = wrapped.with_options(base_url=f"{provider.origin}/openai/deployments/prod")
    assert ask(at_prod, "chat eu-2").choices[0].message.content == "One."
    ask(at_prod, "gpt-4o")  # whatever stands before Azure may go by the body
    assert [each.model for each in provider.received] == ["chat eu-2", "prod", "prod"]
    wrapped.close()


def test_who_served_is_the_model_and_not_the_deployment(provider, guarded):
    client = promptguard.wrap(azure(provider), ledger=guarded, shadow=SHADOW)
    ask(client)
    assert promptguard.flush(60.0)
    found = {seen.asked: (seen.model, seen.region) for seen in read_report(guarded).identities}
    assert found == {
        "prod": ("gpt-4o-2024-08-06", "Sweden Central"),
        "chat eu-2": ("gpt-4o-2024-11-20", "Sweden Central"),
    }
    client.close()


def test_replays_ask_the_same_deployment_and_a_placebo_another(provider, guarded):
    clock = FakeClock()
    replay = promptguard.Replay(share=1.0, after=60, placebo="chat eu-2", placebo_share=1.0)
    client = promptguard.wrap(azure(provider), ledger=guarded, clock=clock, replay=replay)
    ask(client)
    assert promptguard.flush(60.0)
    clock.advance(120)
    until(lambda: promptguard.flush(60.0) and len(outcomes()) == 2)
    assert outcomes() == [("compared", "")] * 2
    asked = sorted(each.path for each in provider.received)
    assert asked == sorted([CHATS.format("prod"), CHATS.format("chat%20eu-2")] * 2)
    client.close()


def test_embeddings_of_two_deployments_are_apart(guarded):
    with FakeProvider({"e": lambda _: "", "f": lambda _: ""}) as provider:
        client = promptguard.wrap(azure(provider), ledger=guarded, cache="memory")
        for model in ("e", "f", "e"):
            client.embeddings.create(model=model, input="a")
        assert [each.path.split("/")[3] for each in provider.received] == ["e", "f"]
        client.close()


def test_asynchronous_and_plain_clients_of_openai_are_as_before(provider, guarded):
    client = promptguard.wrap(AsyncOpenAI(base_url=provider.url, api_key="k"), ledger=guarded, shadow=SHADOW)

    async def use():
        await ask(client)
        await client.close()

    asyncio.run(use())
    assert promptguard.flush(60.0)
    assert {each.path for each in provider.received} == {"/v1/chat/completions"}


def test_a_search_that_brings_its_own_key_is_neither_cached_nor_kept(provider, guarded):
    way_in = {"type": "api_key", "key": "CANARY-of-the-index"}
    source = {"type": "azure_search", "parameters": {"endpoint": "https://x", "authentication": way_in}}
    replay = promptguard.Replay(share=1.0)
    client = promptguard.wrap(azure(provider), ledger=guarded, cache="memory", shadow=SHADOW, replay=replay)
    for _ in range(2):
        ask(client, extra_body={"data_sources": [source]})
    assert promptguard.flush(100.0)
    assert (provider.asked("prod"), provider.asked("chat eu-2")) == (2, 0)
    written = contents(guarded)
    assert written
    assert not [file for file, data in written.items() if b"CANARY" in data]
