"""What calls are counted under, from the application's line to the ledger."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from openai import OpenAI

import promptguard
from promptguard.testing import FakeProvider

pytestmark = pytest.mark.sdk
SHADOW = promptguard.Shadow(
    model="n", sample=1.0, repeat=0.0, budget=promptguard.Budget(calls_per_minute=None)
)


@pytest.fixture
def client(guarded):
    with (
        FakeProvider({"m": lambda _: "fine", "n": lambda _: "other"}) as provider,
        OpenAI(base_url=provider.url, api_key="k", max_retries=0) as made,
    ):
        yield promptguard.wrap(
            made,
            ledger=guarded,
            shadow=SHADOW,
            drift=promptguard.Drift(max_groups=3),
            fields={"mine": "none"},
        )


def groups(guarded):
    assert promptguard.flush(100.0)
    with closing(sqlite3.connect(guarded / "ledger.sqlite3")) as ledger:
        return dict(ledger.execute('SELECT "group", count(*) FROM pair GROUP BY "group"'))


def ask(client, system, **more):
    messages = [{"role": "system", "content": system}, {"role": "user", "content": "hi"}]
    client.chat.completions.create(model="m", messages=messages, temperature=1, **more)


def test_names_in_a_system_prompt_make_one_group_and_too_many_groups_one_more(client, guarded):
    for name in ("Ann", "bob", "Zoë Müller", "ticket 17"):
        ask(client, f"You help customer {name}.")
    for word in ("poems", "songs", "plays", "novels"):
        ask(client, f"You write {word}.")
    found = groups(guarded)
    assert sorted(found.values()) == [1, 1, 2, 4]
    assert found["(other)"] == 2


def test_the_application_names_its_groups(client, guarded):
    with promptguard.group("summaries"):
        ask(client, "You write poems.")
        with promptguard.group("titles"):
            ask(client, "You write poems.")
        ask(client, "You write songs.")
    ask(client, "You write poems.")
    found = groups(guarded)
    assert {name: found[name] for name in ("summaries", "titles")} == {"summaries": 2, "titles": 1}
    assert len(found) == 3


def test_every_call_that_is_not_paired_has_a_reason_in_status(client, guarded, capsys):
    from promptguard.cli import main

    ask(client, "x")
    ask(client, "x", extra_body={"mine": 1})
    for _ in range(2):
        ask(client, "x", extra_body={"never_heard_of": 1})
    ask(client, "x", tools=[{"type": "web_search"}])
    client.embeddings.create(model="m", input="x")
    client.responses.create(model="m", input="x", previous_response_id="r")
    client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "x"}], modalities=["audio"]
    )
    with pytest.raises(Exception, match="400"):
        client.audio.speech.create(model="m", voice="alloy", input="x")
    assert sum(groups(guarded).values()) == 2
    with pytest.raises(SystemExit):
        main(["status", "--ledger", str(guarded), "--json"])
    told = json.loads(capsys.readouterr().out)["passed_by"]
    reasons = {each["reason"]: (each["what"], each["calls"]) for each in told}
    assert reasons == {
        "field `never_heard_of` not known": ("not paired", 2),
        "field `tools.type=web_search`: the provider searches, and finds other things tomorrow": (
            "not paired",
            1,
        ),
        "field `previous_response_id`: continues a conversation that is kept at the provider": (
            "not paired",
            1,
        ),
        "embeddings: no text to compare": ("not paired", 1),
        "answer with more than text": ("not paired", 1),
        "endpoint /audio/speech": ("neither cached nor paired", 1),
    }


@pytest.mark.parametrize(
    "fields", [{"a b": "none"}, {"a": "fine"}, {3: "none"}, {"": "none"}, ["a"], {"a": None}]
)
def test_a_wrong_classification_is_told(guarded, fields):
    with pytest.raises(promptguard.ConfigurationError, match="fields"):
        promptguard.wrap(OpenAI(base_url="http://x", api_key="k"), ledger=guarded, fields=fields)
