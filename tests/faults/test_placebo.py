"""A pinned snapshot asked again beside the model tells a change of the model from a change of everything."""

from __future__ import annotations

import time

import pytest
from openai import OpenAI

import promptguard
from promptguard.background.engine import open_backgrounds
from promptguard.testing import FakeProvider

pytestmark = pytest.mark.sdk
UNLIMITED = promptguard.Budget(calls_per_minute=None)
BEFORE, AFTER = "Yes, of course: here is the plan you asked for.", "no"


def told(guarded, *, pinned_changes):
    """Play 40 stored questions; `m` answers otherwise after the hour, the pinned snapshot only if told to."""
    now = [1_000_000.0]

    def answer(question, *, steady):
        return BEFORE if steady or now[0] < 1_003_000.0 else AFTER

    models = {
        "m": lambda q: answer(q, steady=False),
        "pinned": lambda q: answer(q, steady=not pinned_changes),
    }
    with FakeProvider(models) as provider:
        client = OpenAI(base_url=provider.url, api_key="k", max_retries=0)
        promptguard.wrap(
            client,
            ledger=guarded,
            replay=promptguard.Replay(
                share=1.0, after="1h", placebo="pinned", placebo_share=1.0, budget=UNLIMITED
            ),
            drift=promptguard.Drift(mode="gate"),
            clock=lambda: now[0],
        )
        for number in range(40):
            ask = [{"role": "user", "content": f"question {number}"}]
            client.chat.completions.create(model="m", messages=ask, temperature=0.5)
        assert promptguard.flush(100.0)
        now[0] += 7200.0
        background = open_backgrounds()[0]
        deadline = time.monotonic() + 60.0
        while background.ledger.banked_count() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert promptguard.flush(100.0)
        asked = provider.asked("pinned")
        client.close()
    return {verdict.stream: verdict for verdict in promptguard.verdicts(guarded, clock=lambda: now[0])}, asked


def test_a_changed_model_is_told_and_the_placebo_stays_quiet(guarded):
    verdicts, asked = told(guarded, pinned_changes=False)
    assert asked == 80
    assert verdicts["replay"].status == "drift"
    assert verdicts["placebo"].status == "no_drift"
    assert verdicts["placebo"].pairs == 40


def test_when_the_pinned_snapshot_changes_too_it_is_not_the_model(guarded):
    verdicts, _ = told(guarded, pinned_changes=True)
    assert verdicts["placebo"].status == "drift"
    assert verdicts["replay"].status == "unmeasured"
    assert verdicts["replay"].reason == "failed placebo"


def test_a_placebo_names_a_model():
    with pytest.raises(promptguard.ConfigurationError, match="placebo"):
        promptguard.Replay(placebo="")


def test_what_the_cap_a_minute_would_refuse_is_not_taken(guarded):
    now = [1_000_000.0]
    with FakeProvider({"m": lambda _: BEFORE}) as provider:
        client = OpenAI(base_url=provider.url, api_key="k", max_retries=0)
        promptguard.wrap(
            client,
            ledger=guarded,
            replay=promptguard.Replay(share=1.0, after="1h", budget=promptguard.Budget(calls_per_minute=5)),
            clock=lambda: now[0],
        )
        for number in range(12):
            ask = [{"role": "user", "content": f"question {number}"}]
            client.chat.completions.create(model="m", messages=ask)
        assert promptguard.flush(100.0)
        now[0] += 7200.0
        ledger = open_backgrounds()[0].ledger
        deadline = time.monotonic() + 60.0
        while ledger.banked_count() > 7 and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.3)  # room for several more polls, and for less than one more call of the cap
        assert promptguard.flush(100.0)
        assert {row.outcome for row in ledger.pairs_after(0)} == {"compared"}
        assert 6 <= ledger.banked_count() <= 7
        client.close()
