"""Sampled calls that are no pair yet when their process, or the last client, ends: counted, spent, and no false alarm."""

from __future__ import annotations

import contextlib
import itertools
import random
import sqlite3
import threading
import time
from types import SimpleNamespace

import pytest
from openai import OpenAI

import promptguard
from promptguard.background.engine import open_backgrounds
from promptguard.background.folding import Fold
from promptguard.background.sides import given_up, not_judged
from promptguard.core.options import Drift
from promptguard.drift import Answer, vectorise
from promptguard.shadow.reorder import ReorderBuffer
from promptguard.testing import FakeProvider
from promptguard.testing.provider import Fault
from promptguard.verdict.reasons import PROCESS_ENDED
from tests.servers import until


@pytest.fixture
def provider():
    with FakeProvider(
        {
            "gpt-4": lambda _: "Yes.",
            "old": lambda _: "No.",
            "hanging": lambda _: Fault(kind="hang", seconds=60),
        }
    ) as running:
        yield running
        running.stopping.set()


def wrapped(provider, ledger, model, **budget):
    shadow = promptguard.Shadow(
        model=model, sample=1.0, repeat=0.0, budget=promptguard.Budget(calls_per_minute=None, **budget)
    )
    client = promptguard.wrap(OpenAI(base_url=provider.url, api_key="k"), ledger=ledger, shadow=shadow)
    (background,) = open_backgrounds()
    return client, background


def ask(client, number, **more):
    question = [{"role": "user", "content": f"Is {number} even?"}]
    return client.chat.completions.create(model="gpt-4", messages=question, **more)


def outcomes(ledger):
    """How many rows there are of each outcome and reason, whether they cost anything, and how many have answers."""
    with contextlib.closing(sqlite3.connect(ledger / "ledger.sqlite3")) as file:
        return file.execute(
            "SELECT outcome, reason, count(*), sum(usd) > 0, count(vector) FROM pair GROUP BY 1, 2 ORDER BY 1, 2"
        ).fetchall()


def ordering():
    released = []
    return released, ReorderBuffer(released.append, time.monotonic, lambda *known: f"abandoned {known}")


def test_open_places_tell_what_they_wait_for_and_outcomes_behind_are_not_judged():
    released, order = ordering()
    paired, slow, behind, asking = (order.open(group) for group in "abcd")
    order.open("e", "turn")
    order.renew(asking)
    order.complete(paired, "paired")
    order.complete(behind, "paired too")
    order.end(lambda *known: f"lost {known}", lambda outcome: f"not judged: {outcome}")
    order.complete(slow, "too late")
    order.end(lambda *known: f"again {known}", str)
    assert released == [
        "paired",
        "lost ('b', 'first')",
        "not judged: paired too",
        "lost ('d', 'second')",
        "lost ('e', 'turn')",
    ]
    assert order.pending == 0


def test_a_place_that_is_too_old_tells_what_it_waited_for():
    released = []
    order = ReorderBuffer(released.append, lambda: 0.0, lambda *known: known)
    order.open("g", "turn")
    order.renew(order.open("g"))
    order.open("g")
    order.abandon_older(-1.0)
    assert released == [("g", "turn"), ("g", "second"), ("g", "first")]


def test_an_end_does_not_wait_for_who_listens_and_hangs():
    go, begun = threading.Event(), threading.Event()

    def release(_):
        begun.set()
        go.wait(60)

    order = ReorderBuffer(release, time.monotonic, lambda *known: known)
    thread = threading.Thread(target=order.complete, args=(order.open("g"), "paired"))
    thread.start()
    assert begun.wait(60)
    with pytest.raises(TimeoutError):
        order.end(lambda *known: known, lambda outcome: outcome)
    go.set()
    thread.join()


@pytest.mark.sdk
def test_calls_that_wait_for_a_second_answer_are_counted(provider, guarded):
    client, background = wrapped(provider, guarded, "hanging")
    for number in range(6):
        ask(client, number)
    until(lambda: provider.asked("hanging"))
    client.close()
    background.close(3.0)
    assert outcomes(guarded) == [("candidate_error", "process ended", 6, 0, 0)]


@pytest.mark.sdk
def test_pairs_behind_an_answer_that_is_still_read_are_lost_with_what_they_cost_and_flush_says_so(
    provider, guarded
):
    price = promptguard.Price(input=1000.0, output=1000.0)
    client, background = wrapped(provider, guarded, "old", price=price)
    read = ask(client, 0, stream=True)
    for number in range(1, 4):
        ask(client, number)
    until(lambda: background.pairing.places.held == 3)
    client.close()
    assert not promptguard.flush(5.0)
    background.close(3.0)
    assert not background.flush(0.1), "nor is it true afterwards"
    assert outcomes(guarded) == [
        ("candidate_error", "process ended", 3, 1, 0),
        ("control_error", "process ended", 1, 0, 0),
    ]
    read.close()


@pytest.mark.sdk
def test_pairs_behind_a_place_that_was_given_up_are_pairs(provider, guarded):
    client, background = wrapped(provider, guarded, "old")
    places = background.pairing.places
    slot = places.order("candidate").open("g")
    for number in range(3):
        ask(client, number)
    until(lambda: places.held == 3)
    background.give_up("candidate", slot, "g")
    client.close()
    background.close(3.0)
    assert outcomes(guarded) == [("compared", "", 3, 0, 3), ("dropped", "fault", 1, 0, 0)]


def pairs_of_a_process(rng, is_charged):
    """The rows of a process that makes a call of `plan`, then one of `answer`, and ends .4 s after its last answer.

    Both models are the same: an answer of `plan` takes 2 s, one of `answer` .3 or 3 s, by its length. What is no pair by
    then is told as the library does, or as nobody's loss.
    """

    def lost(group, missing):
        return row(group, given_up("candidate", missing) if is_charged else "dropped", PROCESS_ENDED)

    released = []
    order = ReorderBuffer(released.append, time.monotonic, lost)
    plan, answer = order.open("plan"), order.open("answer")
    first, second = rng.choice((0.3, 3.0)), rng.choice((0.3, 3.0))
    end = 2.0 + first + 0.4
    order.renew(plan)
    if end >= 4.0:
        order.complete(plan, row("plan", "compared", vector=vector_of(rng, 2.0, 2.0)))
    order.renew(answer)
    if end >= 2.0 + first + second:
        order.complete(answer, row("answer", "compared", vector=vector_of(rng, first, second)))
    order.end(lost, not_judged if is_charged else lambda told: row(told["group"], "dropped"))
    return released


def row(group, outcome, reason="", vector=None):
    return {
        "stream": "candidate", "epoch": 0, "group": group, "outcome": outcome, "reason": reason, "vector": vector,
        "asked": "m", "control_model": "m", "candidate_model": "m", "banked_call": None, "banked_at": None,
    }  # fmt: skip


def vector_of(rng, *seconds):
    answers = (Answer(" ".join(rng.choices(("alpha", "beta", "gamma"), k=round(20 * s)))) for s in seconds)
    return vectorise(*answers, seed=b"s" * 16).to_bytes()


def rings(*, is_charged, processes=400):
    """Whether an alarm rings for a model that is compared with itself."""
    rng, fold, numbers = random.Random(1), Fold(Drift()), itertools.count(1)
    for _ in range(processes):
        for told in pairs_of_a_process(rng, is_charged):
            number = next(numbers)
            known = {"vector": None, **told, "id": number, "at": 1e9 + number, "call": number}
            if fold.take(SimpleNamespace(**known)) is not None:
                return True
    return False


def test_what_an_end_selects_rings_no_alarm():
    assert rings(is_charged=False), "told as nobody's loss it would"
    assert not rings(is_charged=True)


@pytest.mark.sdk
def test_a_call_that_is_answered_after_its_client_was_closed_is_a_lost_answer(provider, guarded):
    client, background = wrapped(provider, guarded, "old")
    read = ask(client, 0, stream=True)
    client._client._transport._promptguard_ports.asker = (
        None  # as closing it does, while the answer is still read
    )
    for _ in read:
        pass
    client.close()
    background.close(3.0)
    assert outcomes(guarded) == [("candidate_error", "client closed", 1, 0, 0)]


def test_a_fresh_answer_that_is_missing_beside_a_stored_one_is_the_candidates():
    told = [given_up(stream, "first") for stream in ("candidate", "repeat", "replay")]
    assert told == ["control_error", "control_error", "candidate_error"]
    assert given_up("replay", "turn") == "dropped", "a stored question that nobody was asked"
