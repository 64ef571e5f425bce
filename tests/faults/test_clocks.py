"""A clock of the user's may fail at any moment after wrap(): nobody notices, and time goes on."""

from __future__ import annotations

import math
import time

import pytest
from openai import OpenAI

import promptguard
from promptguard.clocks import SteadyClock, check_clock
from promptguard.testing import FakeProvider

FAULTS = (ValueError("x"), SystemExit(3), GeneratorExit(), StopIteration(), RecursionError())


class Failing:
    """Tells the time until `fault` is set: an exception to raise, or what to return instead."""

    fault: object = None

    def __call__(self):
        if isinstance(self.fault, BaseException):
            raise self.fault
        return time.time() if self.fault is None else self.fault


@pytest.mark.sdk
@pytest.mark.parametrize("fault", [*FAULTS, math.nan, "noon", -1, 10**400], ids=repr)
def test_calls_pairs_and_flush_go_on(guarded, fault):
    clock = Failing()
    with FakeProvider({"gpt-4": lambda _: "fine", "other": lambda _: "fine"}) as provider:
        client = OpenAI(base_url=provider.url, api_key="k", max_retries=0)
        shadow = promptguard.Shadow("other", sample=1.0, repeat=0.0)
        promptguard.wrap(client, ledger=guarded, cache="memory", shadow=shadow, clock=clock)
        clock.fault = fault
        for number in range(3):
            messages = [{"role": "user", "content": f"question {number}"}]
            assert client.chat.completions.create(model="gpt-4", messages=messages).choices
        assert promptguard.flush(60.0)
        assert provider.asked("other") == 3
        client.close()


def test_time_goes_on_from_the_last_word():
    clock = Failing()
    clock.fault = 1000
    steady = check_clock(clock)
    assert isinstance(steady, SteadyClock)
    assert steady() == 1000.0
    clock.fault = ValueError()
    first = steady()
    assert 1000.0 <= first <= steady() < 1060.0
    clock.fault = 5000
    assert steady() == 5000.0


def test_an_interrupt_that_came_meanwhile_is_not_lost():
    clock = Failing()
    steady = check_clock(clock)
    clock.fault = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        steady()
