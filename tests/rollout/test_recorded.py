"""gpt-4-0314 is followed by gpt-4-0613 behind a label: recorded answers, through the real SDK, HTTP, ledger and judge."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
from benchmarks.rollout import ORACLE

import promptguard
from promptguard.demo.recordings import Recordings
from promptguard.rollout import starting
from promptguard.testing import FakeProvider, Served
from tests.rollout.conftest import main_ok, opened, told, wrapped

pytestmark = [pytest.mark.sdk, pytest.mark.slow]
BEFORE, AFTER = "gpt-4-0314", "gpt-4-0613"
TEXT = """---
name: prime
model: {{id: {model}}}
inputs:
  number: integer
classes:
  'yes': (?i)yes
  'no': (?i)\\bno\\b
---
user:
Is {{{{ number }}}} a prime number? Think step by step and then answer "[Yes]" or "[No]".
"""


@pytest.fixture(scope="module")
def recordings():
    return Recordings("prime")


@pytest.fixture
def answering(recordings):
    def of(model):
        def answer(question):
            found = recordings.answer(question.messages[-1]["content"], model)
            return Served(found.text, output_tokens=found.tokens)

        return answer

    with FakeProvider({BEFORE: of(BEFORE), AFTER: of(AFTER)}) as provider:
        yield provider


def begin(place, monkeypatch, seed, after, *more):
    for version, model in ((1, BEFORE), (2, after)):
        path = place / "prompts" / "prime" / f"{version}.prompty"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TEXT.format(model=model))
    salt = random.Random(seed).randbytes(16)
    monkeypatch.setattr(starting, "secrets", SimpleNamespace(token_bytes=lambda _size: salt))
    main_ok("prompts", "label", "prime@1", "production")
    guards = "usable,refusal,cost,latency,behaviour"
    # Of a local server the time says how busy the machine is.
    more = ("--tolerance", "latency=10", "--most", "latency=10", *more)
    main_ok("rollout", "start", "prime@2", "--guard", guards, "--steps", "50,100", *more)


def call(recordings, client, library, question, unit):
    variables = recordings.variables(question)
    made = library.render("prime@production", unit=unit, **variables).expect(recordings.references[question])
    client.chat.completions.create(**made.request())


@pytest.mark.parametrize("seed", range(20))
def test_a_changed_model_is_rolled_back_within_the_oracle_and_four(
    place, monkeypatch, answering, recordings, capsys, seed
):
    begin(place, monkeypatch, seed, AFTER)
    chance, library, client = random.Random(seed), opened(), wrapped(answering)
    for number in range(100):
        call(recordings, client, library, chance.choice(recordings.questions), f"{seed} {number}")
        if number % 10 == 9:
            assert promptguard.flush(100.0)
            if told(capsys, "rollout", "status", "1")[0]["state"] == "rolled_back":
                break
    found = told(capsys, "rollout", "status", "1")[0]
    assert found["state"] == "rolled_back"
    assert found["evidence"]["pairs"] <= ORACLE + 4
    assert library.labels("prime") == {"production": "1"}


@pytest.mark.parametrize("seed", range(20))
def test_an_unchanged_model_completes_and_its_label_moves(
    place, monkeypatch, answering, recordings, capsys, seed
):
    begin(place, monkeypatch, seed, BEFORE)
    chance, library, client = random.Random(seed), opened(), wrapped(answering)
    for number in range(8_000):
        call(recordings, client, library, chance.choice(recordings.questions), f"{seed} {number}")
        if number % 100 == 99:
            assert promptguard.flush(100.0)
            if told(capsys, "rollout", "status", "1")[0]["state"] in {"done", "rolled_back"}:
                break
    assert told(capsys, "rollout", "status", "1")[0]["state"] == "done"
    assert library.labels("prime") == {"production": "2"}
