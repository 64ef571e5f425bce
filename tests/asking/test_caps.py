"""Which call a cap lets through never depends on what a call was answered, nor on how long that took."""

from __future__ import annotations

import threading

import pytest
from openai import OpenAI

import promptguard
from promptguard.background.engine import open_backgrounds
from promptguard.shadow.budget import BudgetLimiter
from promptguard.testing import FakeProvider

pytestmark = pytest.mark.sdk


def ask(client, text):
    client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}])


def shadowing(provider, ledger, budget, **options):
    shadow = promptguard.Shadow(
        **{"model": "other", "sample": 1.0, "repeat": 0.0, "budget": budget, **options}
    )
    client = OpenAI(base_url=provider.url, api_key="k", max_retries=0)
    return promptguard.wrap(client, ledger=ledger, shadow=shadow)


def outcomes():
    return [(row.stream, row.outcome, row.reason) for row in open_backgrounds()[0].ledger.pairs_after(0)]


def test_the_last_place_of_a_minute_is_of_the_call_that_began_first_not_of_the_shortest_answer(guarded):
    asked, go_on = threading.Event(), threading.Event()

    def answer(question):
        if question.text == "long":
            asked.set()
            assert go_on.wait(60.0)
        return f"an answer to {question.text}"

    with FakeProvider({"m": answer, "other": lambda question: f"as for {question.text}"}) as provider:
        client = shadowing(provider, guarded, promptguard.Budget(calls_per_minute=1))
        long = threading.Thread(target=ask, args=(client, "long"))
        long.start()
        assert asked.wait(60.0)
        ask(client, "short")
        go_on.set()
        long.join()
        assert promptguard.flush(60.0)
        assert [each.model for each in provider.received].count("other") == 1
        assert b"long" in next(each.raw for each in provider.received if each.model == "other")
        assert [outcome for _, outcome, _ in outcomes()] == ["compared"]
        client.close()


def test_a_candidate_for_which_its_second_control_has_left_nothing_is_a_loss_and_not_nothing(guarded):
    with FakeProvider({"m": lambda _: "Yes.", "other": lambda _: "Yes."}) as provider:
        budget = promptguard.Budget(calls_per_minute=None, calls_per_day=1)
        client = shadowing(provider, guarded, budget, repeat=0.999999)
        ask(client, "?")
        assert promptguard.flush(60.0)
        assert sorted(outcomes()) == [
            ("candidate", "candidate_error", "not_asked: budget"),
            ("repeat", "compared", ""),
        ]
        client.close()


def test_a_question_that_had_its_pair_takes_no_place(guarded):
    with FakeProvider({"m": lambda _: "Yes.", "other": lambda _: "Yes."}) as provider:
        client = shadowing(provider, guarded, promptguard.Budget(calls_per_minute=2))
        for text in ("one", "one", "one", "two"):
            messages = [{"role": "user", "content": text}]
            client.chat.completions.create(model="m", messages=messages, temperature=0)
            assert promptguard.flush(60.0)
        assert [outcome for _, outcome, _ in outcomes()].count("compared") == 2
        client.close()


def test_a_place_that_was_taken_is_not_taken_again():
    limiter = BudgetLimiter(
        promptguard.Budget(calls_per_minute=2), None, "shadow", lambda: 0.0, lambda: 0.0, lambda *_: None
    )
    assert limiter.take_place() is None
    assert not isinstance(limiter.reserve("m", 1, 1, placed=True), str)
    assert limiter.room() == 1
    assert limiter.take_place() is None
    assert limiter.take_place() == "rate" == limiter.reserve("m", 1, 1)
    limiter.give_place_back()
    assert limiter.room() == 1
