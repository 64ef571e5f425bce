"""However an application's calls go out, they go out as without PromptGuard, whatever the second model does meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from urllib.parse import urlsplit

import pytest

import promptguard
from promptguard.ledger.store import Ledger
from promptguard.report.read import read_report
from promptguard.testing import Fault, ForwardProxy
from tests.conformance.routes import HOST, REBUILT, env_proxy, routes
from tests.marks import spread

pytestmark = [
    pytest.mark.conformance,
    # Several SDKs leave sockets to the garbage collector, bare as well.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
SDKS = {"openai", "anthropic", "google-genai", "mistral", "cohere", "groq", "together", "ollama"}
CALLS = 5
SECOND = {
    "other": lambda _: "Something else.",
    "refusing": lambda _: Fault("refuse"),
    "hanging": lambda _: Fault("hang", seconds=30.0),  # the last: flush() would wait for it
}
CELLS = [(route, is_async) for is_async in (False, True) for route in routes(is_async)]


@pytest.fixture
def proxy(provider, monkeypatch):
    address = urlsplit(provider.origin)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with ForwardProxy({HOST: (address.hostname, address.port)}) as running:
        yield running


class Outbound:
    """Makes clients of one SDK whose calls go out by one route, and calls them."""

    def __init__(self, adapter, route, proxy, is_async):
        self.adapter, self.route, self.proxy, self.is_async = adapter, route, proxy, is_async
        probe = adapter.async_client("http://x") if is_async else adapter.client("http://x")
        self.family = adapter.http_family(probe)

    def client(self):
        make = self.adapter.async_client if self.is_async else self.adapter.client
        http = None if self.route is env_proxy else self.route(self.family, self.proxy, self.is_async)
        if self.adapter.name != "ollama":
            return make(f"http://{HOST}", http=http)
        client = make(
            f"http://{HOST}", timeout=5.0
        )  # it takes no HTTP client: people put theirs in its place
        if http is not None:
            http.base_url, http.headers = client._client.base_url, client._client.headers
            client._client = http
        return client

    def call(self, client):
        """Make some calls; returns what came, errors by their type."""

        def told(error):
            return type(error).__name__

        async def each():
            got = []
            for _ in range(CALLS):
                try:
                    got.append(await self.adapter.achat(client))
                except Exception as error:
                    got.append(told(error))
            with contextlib.suppress(Exception):
                await self.adapter.aclose(client)
            return got

        if self.is_async:
            return asyncio.run(each())
        got = []
        for _ in range(CALLS):
            try:
                got.append(self.adapter.chat(client))
            except Exception as error:
                got.append(told(error))
        return got


@pytest.fixture(
    params=spread(CELLS, 8), ids=lambda cell: f"{cell[0].__name__}-{'async' if cell[1] else 'sync'}"
)
def outbound(request, adapter, proxy, monkeypatch):
    if adapter.name == "google-genai":
        monkeypatch.setattr("google.genai._api_client.has_aiohttp", False)
    route, is_async = request.param
    if route is env_proxy:
        for name in ("HTTP_PROXY", "http_proxy"):
            monkeypatch.setenv(name, proxy.url)
    return Outbound(adapter, route, proxy, is_async)


def shadow(model, **more):
    return promptguard.Shadow(
        model=model, sample=1.0, repeat=0.0, budget=promptguard.Budget(calls_per_minute=None), **more
    )


def rows(ledger):
    opened = Ledger(ledger)
    try:
        return [(row.outcome, row.reason) for row in opened.pairs_after(0)]
    finally:
        opened.close()


def test_calls_go_out_as_bare(adapter, outbound, provider, guarded):
    provider.models |= SECOND
    bare = outbound.call(outbound.client())
    assert not [got for got in bare if isinstance(got, str)]
    for model in SECOND:
        ledger = guarded / model
        client = adapter.wrap(outbound.client(), ledger=ledger, shadow=shadow(model))
        assert outbound.call(client) == bare
        if model != "hanging":
            assert promptguard.flush(100.0)
            if outbound.route not in REBUILT:
                told = [(each.reason, each.calls) for each in read_report(ledger).passed_by]
                assert told == [("no background client", CALLS)]
                assert not provider.asked(model)
            else:
                outcome = "compared" if model == "other" else "candidate_error"
                assert [each for each, _ in rows(ledger)] == [outcome] * CALLS
        promptguard.unwrap(client)
    provider.stopping.set()  # what hangs is let go, or closing would wait for it
    assert all(asked.startswith(f"POST http://{HOST}/") for asked, _ in outbound.proxy.passed)


def test_with_a_factory_every_route_is_paired(adapter, outbound, provider, guarded):
    if outbound.route in REBUILT[1:]:
        return  # what needs no factory may have one: one such route will do
    made = []

    def fresh():
        made.append(outbound.client())
        return made[-1]

    client = adapter.wrap(outbound.client(), ledger=guarded, shadow=shadow("other", client=fresh))
    assert not [got for got in outbound.call(client) if isinstance(got, str)]
    assert promptguard.flush(100.0)
    assert rows(guarded) == [("compared", "")] * CALLS
    assert made
