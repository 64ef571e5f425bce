"""What replay stores carries no credential, by name or by value; such requests are not stored, and counted."""

from __future__ import annotations

import contextlib

import pytest
from openai import OpenAI

import promptguard
from promptguard.report.read import read_report
from promptguard.testing import FakeProvider
from tests.cache.replies import until

pytestmark = pytest.mark.sdk
KEY = "sk-canary-0123456789"
ASK = [{"role": "user", "content": "hi"}]


@pytest.fixture
def provider():
    with FakeProvider({"m": lambda _: "fine"}) as running:
        yield running


def files(ledger):
    found = []
    for path in ledger.rglob("*"):
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):  # SQLite removes its own meanwhile
            found.append(path.read_bytes())
    return b"".join(found)


def client_of(provider, guarded, now, **more):
    client = OpenAI(base_url=provider.url, api_key=KEY, **more)
    replay = promptguard.Replay(share=1.0, after="1h")
    known = {
        "?sig": "none",
        "?trace": "none",
    }  # or such calls would be let pass for a field that nobody knows
    return promptguard.wrap(client, ledger=guarded, replay=replay, clock=lambda: now[0], fields=known)


@pytest.mark.parametrize(
    ("more", "where"),
    [
        ({"extra_query": {"sig": "CANARY"}}, "query"),
        ({"extra_query": {"trace": KEY}}, "query"),
        ({"extra_headers": {"x-acme-token": "CANARY"}}, "header"),
        ({"extra_headers": {"x-acme-id": f"v1 {KEY}"}}, "header"),
        ({"metadata": {"api_key": "CANARY"}}, "body"),
        ({"messages": [{"role": "user", "content": f"my key is {KEY}"}]}, "body"),
        ({"user": KEY}, "body"),
    ],
)
def test_a_request_with_a_credential_is_not_stored_and_counted(more, where, provider, guarded):
    now = [1_000_000.0]
    client = client_of(provider, guarded, now)
    client.chat.completions.create(**{"model": "m", "messages": ASK, **more})
    assert promptguard.flush(60.0)
    told = {each.reason: each.calls for each in read_report(guarded).passed_by}
    assert told == {f"replay: a credential in the {where}": 1}
    written = files(guarded)
    assert b"CANARY" not in written
    assert KEY.encode() not in written
    client.close()


def test_a_header_nobody_knows_is_kept_in_memory_alone_and_sent_again(provider, guarded):
    now = [1_000_000.0]
    client = client_of(provider, guarded, now, default_headers={"x-acme-id": "CANARYHEADERID"})
    client.chat.completions.create(model="m", messages=ASK)
    assert promptguard.flush(60.0)
    assert b"CANARYHEADERID" not in files(guarded)
    now[0] += 7200.0
    until(lambda: provider.asked("m") == 2)
    assert promptguard.flush(60.0)
    assert [received.headers["x-acme-id"] for received in provider.received] == ["CANARYHEADERID"] * 2
    client.close()


def test_an_answer_with_the_clients_own_key_is_not_stored(provider, guarded):
    provider.models["m"] = lambda _: f"the key is {KEY}"
    client = client_of(provider, guarded, [1_000_000.0])
    client.chat.completions.create(model="m", messages=ASK)
    assert promptguard.flush(60.0)
    told = {each.reason: each.calls for each in read_report(guarded).passed_by}
    assert told == {"replay: a credential in the answer": 1}
    assert KEY.encode() not in files(guarded)
    client.close()
