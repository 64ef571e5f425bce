"""What can find nothing is known before it has found nothing."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptguard import Budget, Cache, Drift, Price, Replay, Route, Shadow
from promptguard.core.feasibility import is_alias, of_model, of_settings, pairs_at_least

DAYS = 30 * 86400.0
PINNED = "gpt-4o-2024-08-06"


def priced(model):
    return not model.startswith("my-")


def said(shadow=None, replay=None, drift=None, actions=(), cache=None):
    return of_settings(
        shadow, replay, drift or Drift(), actions=actions, cache=cache, kept=DAYS, priced=priced
    )


@pytest.mark.parametrize(
    "name",
    [
        "gpt-4", "gpt-4o", "gpt-4o-mini", "o3", "chatgpt-4o-latest", "claude-sonnet-4", "claude-3-5-sonnet-latest",
        "gemini-2.5-pro", "openai/gpt-4o", "models/gemini-2.5-flash", "mistral-large-latest", "command-r-plus",
        "my-model-latest", "GPT-4",
    ],
)  # fmt: skip
def test_names_that_providers_move(name):
    assert is_alias(name)


@pytest.mark.parametrize(
    "name",
    [
        PINNED, "gpt-4-0314", "gpt-4o-2024-08-60", "gpt-3.5-turbo-0125", "claude-3-5-sonnet-20241022", "gemini-1.5-pro-002",
        "anthropic.claude-3-5-sonnet-20240620-v1:0", "claude-3-opus@20240229", "mistral-large-2407", "command-r-08-2024",
        "ft:gpt-4o:acme::abc", "gemini-2.5-flash-preview-05-20", "my-finetune-2", "llama3:8b", "qwen2.5", "deployment",
    ],
)  # fmt: skip
def test_names_that_stay_or_that_nobody_knows(name):
    assert not is_alias(name)


def test_ordinary_settings_say_nothing():
    assert said(Shadow(PINNED)) == said(Shadow("gpt-4")) == said(replay=Replay()) == said() == []
    assert said(Shadow(PINNED, budget=Budget(usd_per_day=5)), Replay(placebo=PINNED)) == []
    assert said(Shadow("my-2", budget=Budget(usd_per_day=5, price=Price(1, 2)))) == []
    assert said(replay=Replay(share=0), cache=Cache(reask=0.1)) == []
    assert said(Shadow(PINNED, budget=Budget(calls_per_day=18)), actions=(Route(PINNED),)) == []


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"shadow": Shadow(PINNED, sample=0)}, "Shadow(sample=0) asks nothing"),
        ({"shadow": Shadow(PINNED, repeat=1)}, "only the same model again"),
        (
            {"shadow": Shadow(PINNED, budget=Budget(calls_per_day=0))},
            "Shadow(budget=Budget(calls_per_day=0)) lets no call",
        ),
        ({"shadow": Shadow(PINNED, budget=Budget(usd_per_day=0))}, "usd_per_day=0"),
        ({"shadow": Shadow(PINNED, budget=Budget(calls_per_minute=0))}, "calls_per_minute=0"),
        ({"shadow": Shadow(PINNED, budget=Budget(calls_per_day=5))}, "below the 18 pairs"),
        (
            {"shadow": Shadow("my-2", budget=Budget(usd_per_day=5))},
            "price=promptguard.Price(input=..., output=...)",
        ),
        ({"replay": Replay(share=0)}, "stores nothing"),
        ({"replay": Replay(after=0)}, "of one moment"),
        ({"replay": Replay(after="0 s")}, "of one moment"),
        ({"replay": Replay(after="31d")}, "longer than stored questions are kept (30 days)"),
        ({"replay": Replay(budget=Budget(calls_per_day=0))}, "Replay(budget=Budget(calls_per_day=0))"),
        ({"replay": Replay(placebo="gpt-4")}, "Replay(placebo='gpt-4') has no date"),
        ({"actions": (print,)}, "nothing to act on"),
        ({"actions": (Route(PINNED),)}, "nothing to act on"),
        ({"shadow": Shadow(PINNED), "actions": (Route("gpt-4o"),)}, "Route(to='gpt-4o') has no date"),
    ],
)
def test_what_cannot_work_is_said_once_with_the_way_out(settings, text):
    (sentence,) = said(**settings)
    assert text in sentence


@pytest.mark.parametrize(
    ("asked", "settings", "text"),
    [
        ("gpt-4o", {"shadow": Shadow("gpt-4o")}, "is the model that the application asks"),
        (PINNED, {"shadow": Shadow(PINNED), "replay": Replay()}, "is the model that the application asks"),
        ("gpt-4o", {"shadow": Shadow("gpt-4")}, "both are names without a date"),
        ("claude-sonnet-4", {"shadow": Shadow("claude-opus-4")}, "add replay=Replay()"),
        ("my-1", {"shadow": Shadow(PINNED, budget=Budget(usd_per_day=5))}, "no price is known for 'my-1'"),
        ("my-1", {"replay": Replay(budget=Budget(usd_per_day=5))}, "no price is known for 'my-1'"),
        (PINNED, {"shadow": Shadow("gpt-4o"), "actions": (Route(PINNED),)}, "it changes nothing"),
    ],
)
def test_what_shows_with_the_first_model_asked(asked, settings, text):
    found = of_model(
        asked,
        settings.get("shadow"),
        settings.get("replay"),
        actions=settings.get("actions", ()),
        priced=priced,
    )
    assert [text in each for each in found] == [True]


@pytest.mark.parametrize(
    ("asked", "settings"),
    [
        ("gpt-4o", {"shadow": Shadow(PINNED)}),
        (PINNED, {"shadow": Shadow("gpt-4o")}),
        ("gpt-4o", {"shadow": Shadow("gpt-4"), "replay": Replay()}),
        ("gpt-4o", {"replay": Replay()}),
        ("gpt-4o", {"shadow": Shadow("gpt-4o", repeat=1)}),  # wanted: the instrument is tested
        ("my-1", {"shadow": Shadow(PINNED, repeat=0, budget=Budget(usd_per_day=5))}),
    ],
)
def test_what_can_work_says_nothing(asked, settings):
    assert (
        of_model(asked, settings.get("shadow"), settings.get("replay"), actions=(Route("o"),), priced=priced)
        == []
    )


@given(st.floats(1e-6, 0.99), st.integers(1, 10_000), st.sampled_from(["gate", "monitor"]))
def test_no_alarm_rings_below_the_least_number_of_pairs(alpha, horizon, mode):
    drift = Drift(alpha=alpha, horizon=horizon, mode=mode)
    least = pairs_at_least(drift, "candidate")
    bar = (horizon if mode == "monitor" else 1) / drift.alpha_of("candidate")
    assert 2.0**least >= bar * (1 - 1e-9)
    assert least == 1 or 2.0 ** (least - 1) < bar * (1 + 1e-9)
    assert math.isfinite(least)
    assert pairs_at_least(Drift(split={"candidate": 1.0}), "replay") == 0
