"""Structured answers from the application's line to the verdict: the path is named, what the answers said stays out."""

from __future__ import annotations

import json
import random

import pytest
from openai import OpenAI

import promptguard
from promptguard.testing import FakeProvider

pytestmark = pytest.mark.sdk
CANARY = "Ada-Lovelace"
CALLS = 60


def answers(seed: int, factor: float):
    rng = random.Random(seed)

    def said(_: object) -> str:
        amount = round(rng.uniform(10, 11) * factor, 2)
        return json.dumps(
            {"amount": amount, "customer": CANARY, "state": rng.choice(["open", CANARY + "-2"])}
        )

    return said


def test_the_path_is_named_and_values_stay_out_of_the_ledger(guarded, tmp_path):
    with FakeProvider({"m": answers(1, 1.0), "other": answers(2, 1.2)}) as provider:
        client = OpenAI(base_url=provider.url, api_key="k", max_retries=0)
        shadow = promptguard.Shadow(
            model="other", sample=1.0, repeat=0.0, budget=promptguard.Budget(calls_per_minute=None)
        )
        promptguard.wrap(client, ledger=guarded, shadow=shadow)
        for number in range(CALLS):
            client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": f"ticket {number}"}]
            )
            assert promptguard.flush(60.0)
        client.close()
    verdict = next(each for each in promptguard.verdicts(guarded) if each.stream == "candidate")
    assert verdict.status == "drift"
    assert "`$.amount` higher in 100 % of answers, lower in 0 %" in verdict.sentence(), verdict.sentence()
    kept = b"".join(file.read_bytes() for file in sorted(guarded.rglob("*")) if file.is_file())
    assert b"$.customer" in kept
    assert CANARY.encode() not in kept
