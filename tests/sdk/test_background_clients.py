"""What a wrapped client's background calls go through: built from its settings, by a factory, or nothing at all."""

from __future__ import annotations

import asyncio
import functools
import gc
import logging
import sys
import threading

import pytest
from openai import AsyncOpenAI, OpenAI

import promptguard
from promptguard import ConfigurationError
from promptguard.ledger.store import Ledger
from promptguard.report.read import read_report
from promptguard.testing import Served
from tests.cache.replies import until
from tests.sdk.conftest import http_family

pytestmark = pytest.mark.sdk
ASK = [{"role": "user", "content": "hi"}]


def shadow(**more):
    budget = promptguard.Budget(calls_per_minute=None)
    return promptguard.Shadow(model="gpt-4-other", sample=1.0, repeat=0.0, budget=budget, **more)


def ask(client):
    return client.chat.completions.create(model="gpt-4", messages=ASK).choices[0].message.content


def rows(ledger):
    opened = Ledger(ledger)
    try:
        return [(row.stream, row.outcome, row.reason) for row in opened.pairs_after(0)]
    finally:
        opened.close()


def not_paired(ledger):
    return {each.reason: each.calls for each in read_report(ledger).passed_by if each.what == "not paired"}


def guard_of(client):
    return client._client._promptguard_ports


def own_transport():
    family = http_family()

    class Own(family.HTTPTransport):
        def handle_request(self, request):
            assert not threading.current_thread().name.startswith("promptguard")
            return super().handle_request(request)

    return Own()


def unknown(provider):
    """A client with a transport of its own."""
    http = http_family().Client(transport=own_transport())
    return OpenAI(base_url=provider.url, api_key="k", http_client=http)


def test_what_cannot_be_rebuilt_is_said_once_and_the_rest_works(provider, guarded, caplog):
    client = promptguard.wrap(unknown(provider), ledger=guarded, cache="memory", shadow=shadow())
    line = [r.getMessage() for r in caplog.records if r.name == "promptguard"]
    assert len(line) == 1
    assert caplog.records[0].levelno == logging.WARNING
    assert "Own (it has a handle_request() of its own)" in line[0]
    assert "Add client= to promptguard.Shadow(...)" in line[0]
    assert "\n" not in line[0]
    assert len({ask(client) for _ in range(3)}) == 1
    assert provider.asked("gpt-4") == 1
    assert promptguard.flush(60.0)
    assert not_paired(guarded) == {"no background client": 1}
    assert provider.asked("gpt-4-other") == 0
    assert not guard_of(client).background.faults.counts
    promptguard.wrap(unknown(provider), ledger=guarded, shadow=shadow())  # a client a request: told once
    assert len([r for r in caplog.records if "no background client" in r.getMessage()]) == 1
    client.close()


@pytest.mark.parametrize("options", [{}, {"cache": "memory"}, {"shadow": shadow(client=lambda: None)}])
def test_nothing_is_said_where_nothing_is_missing(options, provider, guarded, caplog):
    if "shadow" in options:
        options = {"shadow": shadow(client=lambda: OpenAI(base_url=provider.url, api_key="k"))}
    client = promptguard.wrap(unknown(provider), ledger=guarded, **options)
    assert ask(client)
    said = [r.getMessage() for r in caplog.records if r.name == "promptguard"]
    assert not [
        line for line in said if "names without a date" not in line
    ]  # true of this provider's two models
    client.close()


def test_a_sampled_call_without_a_background_client_costs_nothing(provider, guarded):
    budget = promptguard.Budget(calls_per_day=1)
    asked = promptguard.Shadow(model="gpt-4-other", sample=1.0, repeat=0.0, budget=budget, workers=1)
    client = promptguard.wrap(unknown(provider), ledger=guarded, shadow=asked)
    assert [ask(client) for _ in range(3)]
    assert promptguard.flush(60.0)
    assert not_paired(guarded) == {"no background client": 3}
    client.close()


MISTAKES = {
    "a client": (lambda provider, app: app, "must build a client, not be one"),
    "async": (lambda provider, app: make_async, "coroutine function"),
    "nothing": (lambda provider, app: lambda: None, "must return a fresh client of openai"),
    "an HTTP client": (lambda provider, app: http_family().Client, "must return a fresh client of openai"),
    "an awaitable": (lambda provider, app: lambda: make_async(), "without `async`"),  # noqa: PLW0108
    "arguments": (lambda provider, app: lambda url: None, "needs arguments"),
    "raises": (lambda provider, app: lambda: 1 / 0, "raised ZeroDivisionError"),
    "the application's own": (lambda provider, app: lambda: app, "the application's own client"),
    "a copy of it": (lambda provider, app: app.copy, "shares its transport"),
    "closed": (lambda provider, app: lambda: closed(provider), "closed client"),
}


async def make_async():
    return None


def closed(provider):
    client = OpenAI(base_url=provider.url, api_key="k")
    client.close()
    return client


@pytest.mark.parametrize("option", ["shadow", "replay"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_factorys_mistakes_are_told_at_once(mistake, option, provider, guarded):
    make, message = MISTAKES[mistake]
    app = OpenAI(base_url=provider.url, api_key="k")
    given = make(provider, app)

    def wrap():
        wanted = shadow(client=given) if option == "shadow" else promptguard.Replay(client=given)
        promptguard.wrap(app, ledger=guarded, **{option: wanted})

    with pytest.raises(promptguard.ConfigurationError, match=message) as raised:
        wrap()
    assert f"{option.title()}(client" in str(raised.value)
    assert not promptguard.is_wrapped(app)
    assert ask(app)
    app.close()


@pytest.mark.parametrize("kind", [OpenAI, AsyncOpenAI])
def test_a_factorys_client_is_used_and_closed_by_background_work_alone(kind, provider, guarded):
    made = []

    def fresh():
        made.append(kind(base_url=provider.url, api_key="of the factory"))
        return made[-1]

    client = promptguard.wrap(unknown(provider), ledger=guarded, shadow=shadow(client=fresh))
    assert ask(client)
    assert promptguard.flush(60.0)
    assert rows(guarded) == [("candidate", "compared", "")]
    assert len(made) == 1
    asked = next(r for r in provider.received if r.model == "gpt-4-other")
    assert asked.headers["authorization"] == "Bearer k"  # in the name of who asked
    assert not client._client.is_closed
    client.close()
    promptguard.unwrap(client)
    del client
    gc.collect()
    until(lambda: made[0]._client.is_closed)


def test_a_factory_serves_guard_as_well(provider, guarded):
    family = http_family()
    http = promptguard.guard(
        family.Client(transport=own_transport()), ledger=guarded, shadow=shadow(client=family.AsyncClient)
    )
    client = OpenAI(base_url=provider.url, api_key="k", http_client=http)
    assert ask(client)
    assert promptguard.flush(60.0)
    assert rows(guarded) == [("candidate", "compared", "")]
    client.close()
    for wrong in (lambda: 5, lambda: OpenAI(base_url=provider.url, api_key="k")):
        with pytest.raises(promptguard.ConfigurationError, match="a fresh httpx or httpx2 client"):
            promptguard.guard(family.Client(), ledger=guarded, shadow=shadow(client=wrong))


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), RuntimeError()])
def test_a_factorys_transport_may_raise_anything_and_the_next_call_is_asked(error, provider, guarded):
    family, seen = http_family(), []

    class Failing(family.HTTPTransport):
        def handle_request(self, request):
            seen.append(threading.current_thread().name)
            if len(seen) <= 3:
                raise error
            return super().handle_request(request)

    def fresh():
        http = family.Client(transport=Failing())
        return OpenAI(base_url=provider.url, api_key="k", http_client=http)

    client = promptguard.wrap(unknown(provider), ledger=guarded, shadow=shadow(client=fresh, workers=1))
    for _ in range(5):
        assert ask(client)
    assert promptguard.flush(60.0)
    outcomes = [outcome for _, outcome, _ in rows(guarded)]
    assert outcomes == ["candidate_error"] * 3 + ["compared"] * 2
    assert all(name.startswith("promptguard") for name in seen)
    client.close()


@pytest.mark.parametrize("is_async", [False, True])
def test_a_key_callback_is_called_in_the_background_and_may_raise_anything(is_async, provider, guarded):
    called = []

    def key():
        called.append(threading.current_thread().name)
        if len(called) in {2, 4}:
            raise SystemExit(1)
        return f"key-{len(called)}"

    async def async_key():
        return key()

    async def aask(client):
        async with client:
            return (await client.chat.completions.create(model="gpt-4", messages=ASK)).choices

    def once(client):
        if is_async:
            return asyncio.run(aask(client))
        with client:
            return ask(client)

    kind = AsyncOpenAI if is_async else OpenAI
    for _ in range(3):
        client = kind(base_url=provider.url, api_key=async_key if is_async else key)
        promptguard.wrap(client, ledger=guarded, shadow=shadow())
        assert once(client)
        assert promptguard.flush(60.0)
        promptguard.unwrap(client)
    assert [outcome for _, outcome, _ in rows(guarded)] == ["candidate_error", "candidate_error", "compared"]
    background = "promptguard-loop" if is_async else "promptguard-background-call"
    assert [name.startswith(background) for name in called] == [False, True] * 3


async def test_background_coroutines_never_run_on_the_applications_loop(provider, guarded, monkeypatch):
    family, loops = http_family(), []
    stock = family.AsyncHTTPTransport.handle_async_request

    async def noting(self, request):
        loops.append((b"other" in request.content, asyncio.get_running_loop()))
        return await stock(self, request)

    monkeypatch.setattr(family.AsyncHTTPTransport, "handle_async_request", noting)
    provider.models["gpt-4-other"] = lambda _: Served("fine", delay=0.05)
    clients = [AsyncOpenAI(base_url=provider.url, api_key="k") for _ in range(3)]
    for client in clients:
        promptguard.wrap(client, ledger=guarded, shadow=shadow())
        await client.chat.completions.create(model="gpt-4", messages=ASK)
    assert await asyncio.to_thread(promptguard.flush, 10.0)
    mine = asyncio.get_running_loop()
    assert {loop for other, loop in loops if not other} == {mine}
    background = {loop for other, loop in loops if other}
    assert len(background) == 1
    assert mine not in background
    for client in clients:
        await client.close()


def test_a_subclass_of_the_sdk_that_cannot_be_copied_costs_its_pairs_alone(provider, guarded, caplog):
    class Own(OpenAI):
        def copy(self, **_):
            raise TypeError("not like this")

    client = promptguard.wrap(Own(base_url=provider.url, api_key="k"), ledger=guarded, shadow=shadow())
    assert [ask(client) for _ in range(2)]
    assert promptguard.flush(60.0)
    assert not_paired(guarded) == {"no background client": 2}
    assert caplog.text.count("building one raised TypeError") == 1
    client.close()


def test_replays_have_a_background_client_too(provider, guarded, caplog):
    now = [1_000_000.0]
    made = []

    def fresh():
        made.append(OpenAI(base_url=provider.url, api_key="k"))
        return made[-1]

    replay = promptguard.Replay(share=1.0, after="1h", client=fresh)
    client = promptguard.wrap(unknown(provider), ledger=guarded, replay=replay, clock=lambda: now[0])
    assert ask(client)
    assert promptguard.flush(60.0)
    now[0] += 7200.0
    until(lambda: provider.asked("gpt-4") == 2)
    assert promptguard.flush(60.0)
    assert rows(guarded) == [("replay", "compared", "")]
    assert made
    client.close()


def test_a_function_that_returns_the_same_client_again_is_refused(provider, guarded):
    made = functools.cache(lambda: OpenAI(base_url=provider.url, api_key="k"))
    first, second = (OpenAI(base_url=provider.url, api_key="k") for _ in range(2))
    promptguard.wrap(first, ledger=guarded, shadow=shadow(client=made))
    with pytest.raises(
        ConfigurationError, match=r"Shadow\(client=...\) returned a client that it, .* before"
    ):
        promptguard.wrap(second, ledger=guarded, shadow=shadow(client=made))
    assert not promptguard.is_wrapped(second)
    first.close(), second.close()


def test_a_function_that_ends_the_process_is_a_mistake_of_settings(provider, guarded):
    client = OpenAI(base_url=provider.url, api_key="k")
    with pytest.raises(ConfigurationError, match=r"Shadow\(client=...\) raised SystemExit"):
        promptguard.wrap(client, ledger=guarded, shadow=shadow(client=lambda: sys.exit(3)))
    client.close()
