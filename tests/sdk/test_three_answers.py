"""A call that asks its own model again asks the second one too, and their pair holds all three answers."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from openai import OpenAI

import promptguard
from promptguard.testing import FakeProvider

pytestmark = pytest.mark.sdk
CALLS = 24


def test_some_pairs_have_a_second_control_and_every_call_still_pairs(guarded):
    from promptguard.background.engine import open_backgrounds
    from promptguard.drift import PairVector

    told = itertools.count()
    answers = {model: lambda _, model=model: f"{model} says {next(told)}" for model in ("m", "other")}
    with FakeProvider(answers) as provider:
        client = OpenAI(base_url=provider.url, api_key="k", max_retries=0)
        shadow = promptguard.Shadow(
            model="other", sample=1.0, repeat=0.5, budget=promptguard.Budget(calls_per_minute=None)
        )
        promptguard.wrap(client, ledger=guarded, shadow=shadow)
        for number in range(CALLS):
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": f"{number}?"}])
        assert promptguard.flush(60.0)
        rows = [row for row in open_backgrounds()[0].ledger.pairs_after(0) if row.outcome == "compared"]
        client.close()
    by_stream = Counter(row.stream for row in rows)
    assert by_stream["candidate"] == CALLS
    repeats = by_stream["repeat"]
    assert 0 < repeats < CALLS  # either end has a chance of one in eight million
    vectors = [PairVector.from_bytes(row.vector) for row in rows if row.stream == "candidate"]
    assert sum(vector.third is not None for vector in vectors) == repeats
    assert len(provider.received) == 2 * CALLS + repeats


def test_calls_are_repeated_once_a_change_is_suspected(guarded):
    """Which is after two or three of forty pairs that all differ in the same way; until then one in fifty is."""
    answers = {
        "m": lambda question: f"Yes, {question.text}",
        "other": lambda question: f"No: {question.text}",
    }
    with FakeProvider(answers) as provider:
        client = OpenAI(base_url=provider.url, api_key="k", max_retries=0)
        shadow = promptguard.Shadow(
            model="other", sample=1.0, repeat="auto", budget=promptguard.Budget(calls_per_minute=None)
        )
        promptguard.wrap(client, ledger=guarded, shadow=shadow)
        for number in range(40):
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": f"{number}?"}])
            assert promptguard.flush(60.0)
        assert provider.asked("other") == 40
        assert 50 < provider.asked("m") < 78
        client.close()
