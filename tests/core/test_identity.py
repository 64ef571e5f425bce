"""Facts of identity from rows made by hand: the time of each answer, who gave it, and what must be said of that."""

from __future__ import annotations

import itertools
import random
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptguard.core.identity import IdentityObservation, identity_facts, is_form_of

HOUR = 3600.0


def sightings(answers, asked="gpt-4", attribute="model"):
    """Count (moment, value) as the ledger does: by value and hour."""
    rows = {}
    for at, value in answers:
        first, _, calls = rows.get((value, at // HOUR), (at, at, 0))
        rows[value, at // HOUR] = (first, at, calls + 1)
    made = []
    for (value, _), (first, last, calls) in rows.items():
        said = {
            "model": "",
            "fingerprint": "",
            "service_tier": "",
            "region": "",
            "backend": "",
            attribute: value,
        }
        made.append(
            IdentityObservation("https://x", asked, **said, first_at=first, last_at=last, calls=calls)
        )
    random.Random(3).shuffle(made)
    return made


def told(answers, kind=None, attribute="model", **more):
    found = identity_facts(sightings(answers, attribute=attribute, **more))
    return [f for f in found if f.attribute == attribute and (kind is None or f.kind == kind)]


def steady(value, since, until, every=60.0):
    return [(since + every * n, value) for n in range(int((until - since) / every))]


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        ("gpt-4", "gpt-4"), ("gpt-4", "gpt-4-0613"), ("gpt-4o", "gpt-4o-2024-08-06"), ("gpt-4o-mini", "openai/gpt-4o-mini"),
        ("claude-3-5-sonnet-latest", "claude-3-5-sonnet-20241022"), ("claude-3-5-sonnet", "claude-3-5-sonnet@20240620"),
        ("models/gemini-1.5-pro", "gemini-1.5-pro-002"), ("gemini-2.5-flash", "gemini-2.5-flash-preview-05-20"),
        ("mistral-large-latest", "mistral-large-2411"), ("llama3", "llama3:latest"), ("GPT-4", "gpt-4-1106-preview"[:10]),
        ("anthropic.claude-3-haiku", "anthropic.claude-3-haiku-v1:0"), ("llama3:latest", "llama3"),
    ],
)  # fmt: skip
def test_forms_of_a_name(asked, served):
    assert is_form_of(asked, served)


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        ("gpt-4", "gpt-4o"), ("gpt-4", "gpt-4-turbo"), ("gpt-4", "gpt-4-turbo-2024-04-09"), ("gpt-4o", "gpt-4o-mini"),
        ("gpt-4", "gpt-45"), ("prod-chat", "gpt-4o-2024-08-06"), ("gpt-4-0613", "gpt-4"), ("gpt-4-0314", "gpt-4-0613"),
        ("llama3:70b", "llama3:8b"),
    ],
)  # fmt: skip
def test_other_names(asked, served):
    assert not is_form_of(asked, served)


def test_an_alias_that_resolves_and_a_name_that_is_another_are_different_facts():
    resolved, rewritten = told([(1.0, "gpt-4-0613"), (2.0, "gpt-4o"), (3.0, "gpt-4-0613")])[:2]
    assert (resolved.kind, resolved.value, resolved.answers, resolved.since, resolved.until) == (
        "resolved", "gpt-4-0613", 2, 1.0, 3.0,
    )  # fmt: skip
    assert (rewritten.kind, rewritten.value, rewritten.answers) == ("rewritten", "gpt-4o", 1)


def test_what_says_nothing_is_not_reported_and_no_change():
    facts = told(
        [*steady("a", 0, 5 * HOUR), *steady("", 5 * HOUR, 9 * HOUR), *steady("a", 9 * HOUR, 12 * HOUR)]
    )
    assert [f.kind for f in facts] == ["rewritten", "not_reported"]
    assert facts[1].answers == 240
    kinds = {f.attribute: f.kind for f in identity_facts(sightings([(1.0, "m")]))}
    assert kinds == {
        "model": "rewritten",
        **dict.fromkeys(("fingerprint", "service_tier", "region", "backend"), "not_reported"),
    }


def test_a_change_lies_between_the_last_of_the_old_and_the_first_of_the_new():
    (change,) = told([*steady("old", 0, 5 * HOUR), *steady("new", 6 * HOUR, 9 * HOUR)], "changed")
    assert (change.before, change.after) == (("old",), ("new",))
    assert (change.since, change.until) == (5 * HOUR - 60, 6 * HOUR)
    assert not told([*steady("old", 0, 5 * HOUR), *steady("new", 6 * HOUR, 9 * HOUR)], "mixture")


def test_calls_in_flight_at_a_switch_are_no_mixture():
    answers = [*steady("old", 0, 2.5 * HOUR, 1.0), *steady("new", 2.5 * HOUR - 1.5, 5 * HOUR, 1.0)]
    assert [f.kind for f in told(sorted(answers))] == ["rewritten", "rewritten", "changed"]


def test_a_rollout_is_a_mixture_and_then_a_change():
    rng = random.Random(1)
    mixed = [
        (at, "new" if rng.random() < (at / HOUR - 10) / 10 else "old")
        for at, _ in steady("", 10 * HOUR, 20 * HOUR)
    ]
    answers = [*steady("old", 0, 10 * HOUR), *mixed, *steady("new", 20 * HOUR, 30 * HOUR)]
    (mixture,), (change,) = told(answers, "mixture"), told(answers, "changed")
    assert 10 * HOUR <= mixture.since <= 12 * HOUR
    assert 18 * HOUR <= mixture.until <= 20 * HOUR
    assert 0.3 < mixture.shares["new"] < 0.7
    assert sum(mixture.shares.values()) == pytest.approx(1.0)
    assert not mixture.ongoing
    assert (change.since, change.until) == (mixture.since, mixture.until)


def test_an_early_gap_of_a_rollout_is_no_end_of_it():
    """What is most of the answers later on was a small part of them then."""
    early = [(10 * HOUR + 60 * n, "new" if n % 60 < 3 else "old") for n in range(61)]
    mixed = [(11 * HOUR + 120 + 60 * n, "new" if n % 2 else "old") for n in range(60)]
    facts = told([*steady("old", 0, 10 * HOUR), *early, *mixed, *steady("new", 13 * HOUR, 60 * HOUR)])
    assert [f.kind for f in facts] == ["rewritten", "rewritten", "mixture", "changed"]


def test_a_stray_answer_of_the_old_one_takes_no_change_back():
    answers = [*steady("old", 0, 3 * HOUR), *steady("new", 3 * HOUR, 20 * HOUR), (15 * HOUR + 30, "old")]
    assert [f.kind for f in told(sorted(answers))][2:] == ["changed", "mixture"]


def test_before_a_rollout_is_over_it_is_an_ongoing_mixture_and_no_change():
    rng = random.Random(2)
    mixed = [(at, "new" if rng.random() < 0.3 else "old") for at, _ in steady("", 10 * HOUR, 20 * HOUR)]
    answers = [*steady("old", 0, 10 * HOUR), *mixed]
    assert not told(answers, "changed")
    (mixture,) = told(answers, "mixture")
    assert mixture.ongoing


@pytest.mark.parametrize("every", [5.0, 600.0, 9000.0])
@pytest.mark.parametrize("count", [2, 3, 8])
def test_fingerprints_in_rotation_are_one_mixture_however_sparse_the_calls(count, every):
    for seed in range(20):
        rng = random.Random(seed)
        answers = [(every * n, f"fp_{rng.randrange(count)}") for n in range(600)]
        facts = told(answers, attribute="fingerprint")
        assert [f.kind for f in facts] == ["mixture"]
        assert len(facts[0].shares) == count


def test_a_change_stays_told_when_the_old_one_begins_to_come_back():
    answers = [
        *steady("a", 0, 2 * HOUR),
        *steady("b", 2 * HOUR, 4 * HOUR),
        *steady("a", 4 * HOUR, 4 * HOUR + 180),
    ]
    (change,) = (f for f in told(answers, "changed") if f.before == ("a",))
    assert (change.after, change.since, change.until) == (("b",), 2 * HOUR - 60, 2 * HOUR)


@pytest.mark.parametrize("minutes", [3, 40, 700])
def test_fingerprints_that_answer_in_bursts_are_in_rotation_too(minutes):
    """A connection, a region or a night stays with one of them: every call is no draw of its own."""
    rng = random.Random(5)
    answers, at = [], 0.0
    for _ in range(200):
        value, until = f"fp_{rng.randrange(4)}", at + 60 * minutes * rng.expovariate(1)
        answers += steady(value, at, until, minutes)
        at = until
    facts = told(answers, attribute="fingerprint")
    assert [f.kind for f in facts] == ["mixture"]


def rotation(rng):
    values = range(rng.choice((2, 3, 5)))
    weights = [rng.random() + 0.02 for _ in values]
    return [str(value) for value in rng.choices(values, weights, k=400)]


def rollout(rng):
    old, mixed, new = rng.randint(50, 600), rng.randint(50, 600), rng.randint(250, 600)
    return ["a"] * old + ["b" if rng.random() < (n + 1) / mixed else "a" for n in range(mixed)] + ["b"] * new


def switch(rng):
    return ["a"] * rng.randint(20, 600) + ["b"] * rng.randint(20, 600)


@pytest.mark.parametrize(
    ("happening", "expected"),
    [(rotation, ["mixture"]), (rollout, ["mixture", "changed"]), (switch, ["changed"])],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_happens_is_told_and_nothing_else(happening, expected):
    """200 of each, at paces at which they take more than the hour that is the ledger's resolution."""
    for seed in range(200):
        rng = random.Random(seed)
        every, values = rng.choice((120.0, 1800.0, 7200.0)), happening(rng)
        facts = told([(every * n, value) for n, value in enumerate(values)], attribute="fingerprint")
        assert [f.kind for f in facts] == expected, seed


def test_a_year_of_many_fingerprints_is_told_at_once():
    rng = random.Random(1)
    made = []
    for hour, value in itertools.product(range(8760), range(10)):
        first = hour * HOUR + rng.random() * 600
        who = ("gpt-4-0613", f"fp_{value + hour // 2000 * 10}", "default", "", "")
        made.append(
            IdentityObservation("o", "gpt-4", *who, first, first + rng.random() * 3000, rng.randint(1, 50))
        )
    began = time.process_time()
    facts = [f for f in identity_facts(made) if f.attribute == "fingerprint"]
    assert [f.kind for f in facts] == ["mixture", *("changed", "mixture") * 4]
    assert all(len(f.before) == len(f.after) == 10 for f in facts if f.kind == "changed")
    assert time.process_time() - began < 10


def test_a_change_that_is_taken_back_is_two_changes():
    answers = [
        *steady("a", 0, 9 * HOUR),
        *steady("b", 9 * HOUR, 14 * HOUR),
        *steady("a", 14 * HOUR, 20 * HOUR),
    ]
    assert [(f.before, f.after) for f in told(answers, "changed")] == [(("a",), ("b",)), (("b",), ("a",))]
    assert not told(answers, "mixture")


def test_a_rotation_that_is_replaced_is_a_change_of_all_of_them():
    rng = random.Random(4)
    answers = [(60.0 * n, f"fp_{rng.randrange(2) + 2 * (n >= 900)}") for n in range(1800)]
    facts = told(answers, attribute="fingerprint")
    assert [f.kind for f in facts] == ["mixture", "changed", "mixture"]
    assert (facts[1].before, facts[1].after) == (("fp_0", "fp_1"), ("fp_2", "fp_3"))


def test_a_stray_answer_is_a_small_share_and_no_change():
    answers = [*steady("a", 0, 9 * HOUR), (4 * HOUR + 30, "b")]
    assert [f.kind for f in told(answers)] == ["rewritten", "rewritten", "mixture"]
    (mixture,) = told(answers, "mixture")
    assert mixture.shares["b"] == pytest.approx(1 / 541)


def test_equal_names_at_two_servers_are_apart():
    one = sightings(steady("a", 0, HOUR))
    other = [
        IdentityObservation("https://y", *[getattr(row, n) for n in IdentityObservation.__slots__[1:]])
        for row in sightings(steady("b", 0, HOUR))
    ]
    assert not [f for f in identity_facts(one + other) if f.kind in {"mixture", "changed"}]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 40), st.integers(0, 5), st.integers(1, 50), st.sampled_from(("", "a", "b", "c"))
        ),
        max_size=12,
    )
)
def test_any_rows_give_facts_in_order_that_add_up(rows):
    made = [
        IdentityObservation(
            "o", "gpt-4", value, "", "", "", "", 600.0 * start, 600.0 * (start + length), calls
        )
        for start, length, calls, value in rows
    ]
    facts = [f for f in identity_facts(made) if f.attribute == "model"]
    named = [f for f in facts if f.kind in {"resolved", "rewritten", "not_reported"}]
    assert sum(f.answers for f in named) == sum(row.calls for row in made)
    changes = [f for f in facts if f.kind == "changed"]
    assert all(one.after == two.before or set(one.after) & set(two.before) for one, two in pairwise(changes))
    for fact in facts:
        assert fact.since <= fact.until
        assert fact.kind != "changed" or not set(fact.before) & set(fact.after)
        assert fact.kind != "mixture" or (
            len(fact.shares) > 1 and sum(fact.shares.values()) == pytest.approx(1.0)
        )
