"""Background calls ask for log-probabilities where both sides of a pair can have them; the application's never do."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from openai import OpenAI

import promptguard
from promptguard.testing import FakeProvider, Fault, Served

pytestmark = pytest.mark.sdk
CALLS = 12


def certain(model, refuses=(), status=400):
    def answer(question):
        if question.body.get("logprobs") and model in refuses:
            return Fault("status", status=status)
        return Served(f"{model} says so", logprobs=(-0.5, -0.25) if model == "m" else (-1.5, -0.75))

    return answer


def run(guarded, *, refuses=(), status=400, calls=CALLS, **options):
    """Return what the provider received as (model, asked for log-probabilities), the rows, and calls and USD spent."""
    from promptguard.background.engine import open_backgrounds

    models = {model: certain(model, refuses, status) for model in ("m", "other")}
    shadow = promptguard.Shadow(
        **{"model": "other", "sample": 1.0, "repeat": 0.999999, "workers": 1, **options},
        budget=promptguard.Budget(calls_per_minute=None, calls_per_day=10_000),
    )
    with FakeProvider(models) as provider:
        client = OpenAI(base_url=provider.url, api_key="k", max_retries=0)
        promptguard.wrap(client, ledger=guarded, shadow=shadow)
        for number in range(calls):
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": f"{number}?"}])
        assert promptguard.flush(60.0)
        ledger = open_backgrounds()[0].ledger
        rows = [row for row in ledger.pairs_after(0) if row.outcome == "compared"]
        spent = ledger.calls_reserved(datetime.now(UTC).strftime("%Y-%m-%d"), "shadow")
        client.close()
        asked = [(each.model, bool(json.loads(each.raw).get("logprobs"))) for each in provider.received]
    return asked, rows, spent


def carried(rows):
    """How many candidate pairs have a fact of log-probabilities."""
    from promptguard.drift import PairVector
    from promptguard.drift.features.facts import digest_of
    from promptguard.drift.features.places import CERTAINTY

    wanted = digest_of(CERTAINTY, b"")
    vectors = [PairVector.from_bytes(row.vector) for row in rows if row.stream == "candidate"]
    return sum(wanted in vector.facts.places.tolist() for vector in vectors)


def test_both_background_calls_ask_and_the_pair_has_them(guarded):
    asked, rows, spent = run(guarded, logprobs="always")
    assert sorted(asked) == sorted([("m", False), ("m", True), ("other", True)] * CALLS)
    assert carried(rows) == CALLS
    assert spent == 2 * CALLS


@pytest.mark.parametrize("logprobs", ["auto", "never"])
def test_servers_that_are_not_known_to_give_them_are_not_asked(guarded, logprobs):
    asked, rows, _ = run(guarded, logprobs=logprobs)
    assert not any(wanted for _, wanted in asked)
    assert carried(rows) == 0


def test_nothing_is_asked_where_one_side_is_the_applications(guarded):
    asked, rows, _ = run(guarded, logprobs="always", repeat=0.0)
    assert sorted(asked) == sorted([("m", False), ("other", False)] * CALLS)
    assert carried(rows) == 0


@pytest.mark.parametrize("status", [400, 403, 422])
@pytest.mark.parametrize("refuses", [("m",), ("other",), ("m", "other")])
def test_a_refusal_costs_no_pair_and_no_budget_and_is_remembered(guarded, refuses, status):
    asked, rows, spent = run(guarded, logprobs="always", refuses=refuses, status=status)
    streams = [row.stream for row in rows]
    assert (streams.count("candidate"), streams.count("repeat")) == (CALLS, CALLS)
    assert spent == 2 * CALLS
    assert carried(rows) == 0
    for model in refuses:  # a candidate is not asked for what its control does not have
        assert asked.count((model, True)) == (0 if model == "other" and "m" in refuses else 1)
    assert asked.count(("other", False)) + asked.count(("other", True)) <= CALLS + 1


def test_a_pinned_snapshot_is_asked_for_them_now_and_the_application_is_not(guarded):
    replay = promptguard.Replay(share=1.0, placebo="other", placebo_share=1.0, logprobs="always")
    with FakeProvider({model: certain(model) for model in ("m", "other")}) as provider:
        client = OpenAI(base_url=provider.url, api_key="k", max_retries=0)
        promptguard.wrap(client, ledger=guarded, replay=replay)
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "?"}])
        assert promptguard.flush(60.0)
        client.close()
        asked = [(each.model, bool(json.loads(each.raw).get("logprobs"))) for each in provider.received]
    assert asked == [("m", False), ("other", True)]


def test_a_question_that_is_refused_either_way_condemns_nobody():
    from promptguard.background.certainty import Certainty
    from promptguard.core.background_call import BackgroundResponse

    sent = []

    def send(body):
        sent.append(dict(body))
        return BackgroundResponse(error="status_400: messages")

    asker = Certainty()
    for _ in range(2):
        told = asker.ask(
            send, {"model": "m"}, how="always", protocol="openai_chat", origin="http://x", model="m"
        )
        assert told.error == "status_400: messages"
    assert sent == [{"model": "m", "logprobs": True}, {"model": "m"}] * 2


def test_a_question_is_sent_again_only_where_the_minute_has_a_place():
    from promptguard.background.certainty import Certainty
    from promptguard.core.background_call import BackgroundResponse

    sent = []

    def send(body):
        sent.append(dict(body))
        return BackgroundResponse(error="status_400: logprobs")

    told = Certainty().ask(
        send,
        {"model": "m"},
        how="always",
        protocol="openai_chat",
        origin="http://x",
        model="m",
        place=lambda: "rate",
    )
    assert told.error == "not_asked: rate"
    assert sent == [{"model": "m", "logprobs": True}]


def test_a_model_that_refuses_every_question_is_not_asked_twice_for_ever():
    from promptguard.background.certainty import Certainty
    from promptguard.core.background_call import BackgroundResponse

    asker, sent = Certainty(), []

    def send(body):
        sent.append(dict(body))
        return BackgroundResponse(error="status_400: temperature")

    for _ in range(12):
        asker.ask(send, {"model": "m"}, how="always", protocol="openai_chat", origin="http://x", model="m")
    assert [body.get("logprobs", False) for body in sent] == [True, False] * 10 + [False] * 2


@pytest.mark.parametrize(
    ("protocol", "body", "told"),
    [
        ("openai_chat", {"a": 1}, {"a": 1, "logprobs": True}),
        ("openai_chat", {"logprobs": False}, None),
        ("openai_responses", {"a": 1}, {"a": 1, "include": ["message.output_text.logprobs"]}),
        ("openai_responses", {"include": ["x"]}, {"include": ["x", "message.output_text.logprobs"]}),
        ("openai_responses", {"include": ["message.output_text.logprobs"]}, None),
        (
            "gemini",
            {"generationConfig": {"topP": 1}},
            {"generationConfig": {"topP": 1, "responseLogprobs": True}},
        ),
        ("gemini", {"generationConfig": {"responseLogprobs": True}}, None),
        ("anthropic_messages", {"a": 1}, None),
    ],
)
def test_each_protocol_asks_in_its_own_words(protocol, body, told):
    from promptguard.wire.logprobs import asking

    assert asking(protocol, body) == told


@pytest.mark.parametrize(
    ("protocol", "origin", "model", "known"),
    [
        ("openai_chat", "https://api.openai.com", "gpt-4o-mini-2024-07-18", True),
        ("openai_chat", "https://eu.api.openai.com", "gpt-4.1", True),
        ("openai_chat", "https://name.openai.azure.com", "gpt-4o", True),
        ("openai_responses", "https://api.openai.com", "gpt-4.1-mini", True),
        ("openai_chat", "https://api.openai.com", "gpt-5", False),
        ("openai_chat", "https://api.openai.com", "o3-mini", False),
        ("openai_chat", "https://api.openai.com", "gpt-4o-search-preview", False),
        ("openai_chat", "https://api.openai.com.evil.example", "gpt-4o", False),
        ("openai_chat", "http://localhost:8000", "gpt-4o", False),
        ("gemini", "https://us-central1-aiplatform.googleapis.com", "gemini-2.5-flash", True),
        ("gemini", "https://generativelanguage.googleapis.com", "gemini-2.5-flash", False),
        ("gemini", "https://aiplatform.googleapis.com", "gemini-2.5-flash-preview-05-20", False),
        ("anthropic_messages", "https://api.anthropic.com", "claude", False),
    ],
)
def test_auto_asks_only_who_is_known_to_give_them(protocol, origin, model, known):
    from promptguard.wire.logprobs import known_to_give

    assert known_to_give(protocol, origin, model) is known
