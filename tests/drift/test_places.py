"""Answers by place: JSON paths, tools and arguments are bet on, named, bounded, and told of only where they may be."""

import copy
import json
import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptguard.drift import Answer, PairMonitor, PairVector, vectorise
from promptguard.drift.betting.experts import SwapBet, difference
from promptguard.drift.features import facts as facts_module
from promptguard.drift.features import places
from promptguard.drift.history.register import EXPERTS, LAST, VALUES
from tests.drift import structured_stream as stream


def found(monitor, pairs, more=60):
    """Feed pairs until the alarm and some more; return (pairs until the alarm, the verdict)."""
    at = None
    for number, pair in enumerate(pairs, 1):
        if monitor.update(*pair).status == "drift" and at is None:
            at = number
        if at is not None and number >= at + more:
            break
    return at, monitor.explain()


def one_call(name):
    return lambda found: stream.as_tool(found, name)


@pytest.mark.parametrize(
    ("edit", "form", "within", "said"),
    [
        (stream.more_refunds, stream.as_json, 200, "`$.category` = `refund`"),
        (stream.dearer, stream.as_json, 18, "`$.amount` higher in 100 % of answers, lower in 0 %"),
        (stream.without_priority, stream.as_json, 80, "`$.priority` missing 0 % -> "),
        (stream.as_text, stream.as_json, 60, "`$.amount` a string 0 % -> "),
        (stream.null_amount, stream.as_json, 80, "`$.amount` null 0 % -> "),
        (stream.more_vips, stream.as_json, 150, "`$.customer.vip`"),
        (stream.one_tag_more, stream.as_json, 18, "`$.tags` longer in 100 % of answers, shorter in 0 %"),
        (stream.capitals, stream.as_json, 20, "`$.category` written in another way"),
        (stream.renamed, stream.as_json, 100, "`$.category` = `tech` 0 % -> "),
        (stream.other_order, stream.as_json, 18, "another order of keys"),
        (stream.without_tags, stream.as_tool, 80, "argument `tags` missing 0 % -> "),
        (stream.more_refunds, stream.as_tool, 250, "argument `category`"),
    ],
)
def test_a_change_at_one_place_is_found_and_named(edit, form, within, said):
    at, verdict = found(PairMonitor(), stream.pairs(f"{edit.__name__} {form.__name__}", 600, edit, form))
    assert at is not None
    assert at <= within
    assert said in verdict.sentence(), verdict.sentence()


def test_another_tool_is_named():
    rng = random.Random(5)

    def form(truth):
        return stream.as_tool(truth)

    pairs = [
        (
            first,
            second
            if rng.random() > 0.4
            else Answer("", tool_calls=[{**second.tool_calls[0], "name": "escalate"}]),
        )
        for first, second in stream.pairs("tools", 300, None, form)
    ]
    at, verdict = found(PairMonitor(), pairs)
    assert at is not None
    assert "`escalate`" in verdict.sentence()
    assert verdict.changes[0].kind == "tool"


def test_both_shares_are_of_the_pairs_they_name():
    rng = random.Random(3)
    monitor = PairMonitor()
    for number in range(200):
        base = {"priority": 2, "n": rng.random()}
        monitor.update(
            stream.as_json(base),
            stream.as_json({**base, "priority": 3 if number % 2 else 2, "n": rng.random()}),
        )
    change = next(each for each in monitor.explain().changes if each.feature == "$.priority:order")
    assert (change.control, change.candidate) == (0.0, pytest.approx(0.5, abs=0.02))
    assert change.difference == change.candidate - change.control
    told = change.turned()
    assert (told.control, told.candidate) == (change.candidate, change.control)


def test_unchanged_answers_are_quiet():
    false = 0
    for number in range(20):
        monitor = PairMonitor()
        form = stream.as_tool if number % 2 else stream.as_json
        for pair in stream.pairs(number, 150, None, form):
            monitor.update(*pair)
        false += monitor.explain().status == "drift"
    assert false <= 1  # at .01 a second one has a chance of 1.6 %


# -- the bet


def fed(vectors, learner=None):
    learner = learner or SwapBet()
    return [learner.score_then_learn(difference(vector)) for vector in vectors]


def test_swapping_the_sides_of_all_pairs_leaves_every_pay_off():
    vectors = [vectorise(*pair) for pair in stream.pairs("swap", 120, stream.more_refunds)]
    assert fed(vectors) == fed([vector.swapped() for vector in vectors])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 60), st.booleans())
def test_a_pair_and_its_swapped_one_pay_two_whatever_was_learned(seed, before, tools):
    form = stream.as_tool if tools else stream.as_json
    vectors = [vectorise(*pair) for pair in stream.pairs(seed, before + 1, stream.more_vips, form)]
    past, last = vectors[:-1], vectors[-1]
    pays = []
    for vector in (last, last.swapped()):
        learner = SwapBet()
        fed(past, learner)
        pays.append(np.exp(learner.score_then_learn(difference(vector))))
    assert sum(pays) == pytest.approx(2.0, abs=1e-9)
    assert min(pays) > 0.0


def test_capital_is_kept_whole_when_experts_are_born():
    learner = SwapBet()
    for pair in stream.pairs("mass", 200, stream.renamed):
        learner.score_then_learn(difference(vectorise(*pair)))
        held = float(learner.facts.weights.sum() + learner.facts.idle.sum())
        assert held == pytest.approx(1.0, abs=1e-4)
        assert float(learner.facts.weights.min()) >= 0.0


def test_no_pair_pays_less_than_what_a_lost_one_is_charged():
    learner, rng = SwapBet(), random.Random(2)
    for pair in stream.pairs("least", 150, stream.without_priority):
        vector = vectorise(*pair)
        for other in (vector, vector.swapped(), vectorise(Answer("text"), pair[rng.randrange(2)])):
            least, trial = learner.log_least, SwapBet.from_state(copy.deepcopy(learner.state_dict()))
            assert trial.score_then_learn(difference(other)) >= min(least, 0.0) - 1e-9
        learner.score_then_learn(difference(vector))


def test_text_alone_has_no_bets_on_places():
    vectors = [vectorise(Answer(f"so it is {n}"), Answer(f"so it was {n}" * 5)) for n in range(20)]
    learner = SwapBet()
    fed(vectors, learner)
    assert learner.facts is None
    assert not any(len(vector.facts) for vector in vectors)


def test_state_goes_on_bit_for_bit():
    all_pairs = [vectorise(*pair) for pair in stream.pairs("state", 200, stream.more_refunds)]
    whole, half = PairMonitor(), PairMonitor()
    for vector in all_pairs[:120]:
        whole.observe(vector)
        half.observe(vector)
    half = PairMonitor.from_state(json.loads(json.dumps(half.state_dict())))
    for vector in all_pairs[120:]:
        whole.observe(PairVector.from_bytes(vector.to_bytes()))
        half.observe(vector)
    assert whole.state_dict() == half.state_dict()
    assert whole.explain() == half.explain()


# -- bounds


def test_maps_keyed_by_ids_are_one_place():
    rng = random.Random(0)
    document = {
        "users": {f"u{rng.randrange(10**9)}": {"age": 3} for _ in range(40)},
        "days": {f"2025-11-{day:02d}": 1 for day in range(1, 20)},
        "many": {f"name{chr(97 + n // 26)}{chr(97 + n % 26)}": n for n in range(100)},
        "a b": 1,
        "x1": 2,
    }
    names = set(places.places_of_json(document))
    assert {"$.users.*.age", "$.days.*", "$.many.*", "$.a b", "$.x1"} <= names
    assert len(names) < 15


def test_places_values_and_vectors_are_bounded():
    rng = random.Random(1)
    monitor = PairMonitor()
    for _ in range(60):
        document = {
            "".join(rng.choice("abcdefgh") for _ in range(6)): rng.choice(["x", "y", 3]) for _ in range(60)
        }
        document["again"] = str(rng.randrange(200))
        vector = vectorise(stream.as_json(document), stream.as_json(dict(reversed(document.items()))))
        assert len(vector.facts) <= facts_module.MOST_RECORDS
        monitor.observe(vector)
    register = monitor._all.facts.register
    assert len(register.places) == LAST
    assert len(register.values) <= VALUES
    assert len(json.dumps(monitor.state_dict())) < 150_000


@pytest.mark.parametrize(
    "text",
    [
        "[" * 16_000 + "]" * 16_000,
        '{"a":' * 8_000 + "1" + "}" * 8_000,
        json.dumps({"a": [[1, 2, {"b": "c" * 500}]] * 400}),
        json.dumps({str(n): {"x": n} for n in range(2_000)}),
        '{"a": ' + "9" * 30_000 + "}",
        '{"a": 1e999, "b": NaN, "c": -Infinity}',
        '{"\\ud800": "\\ud800", "": "", "\\u0000": "\\u0000"}',
    ],
)
def test_hostile_documents_cost_little(text):
    began = time.process_time()
    vector = vectorise(Answer(text), Answer(text + " "))
    assert PairVector.from_bytes(vector.to_bytes()) == vector
    monitor = PairMonitor()
    monitor.observe(vector)
    monitor.explain()
    assert time.process_time() - began < 2.0  # some 20 ms


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)
        ),
        max_leaves=12,
    ),
    st.dictionaries(st.sampled_from("abc"), st.one_of(st.none(), st.text(max_size=4)), max_size=3),
)
def test_any_document_is_read_both_ways_alike(document, other):
    answers = [Answer(json.dumps(each)) for each in ({"top": document}, {"top": other})]
    vector, turned = vectorise(*answers), vectorise(*answers[::-1])
    assert vector.facts.swapped().to_bytes() == turned.facts.to_bytes()
    assert PairVector.from_bytes(vector.to_bytes()) == vector
    learner = SwapBet()
    learner.score_then_learn(difference(vector))
    assert learner.facts is None or len(learner.facts.weights) == EXPERTS


def test_arguments_that_are_no_json_are_read_too():
    odd = {1: "a", None: {"b": object()}, "c" * 50: 2, "d": (1, 2), "": 3}
    call = {"name": "t", "arguments": odd}
    vector = vectorise(Answer("", tool_calls=[call]), Answer("x", tool_calls=[call]))
    assert {"arguments.*", "arguments.d"} <= set(vector.facts.texts.values())


def test_damaged_records_are_refused():
    raw = vectorise(*next(stream.pairs(0, 1))).to_bytes()
    for damaged in (raw[:-1], raw + b"x", raw[: len(raw) // 2]):
        with pytest.raises(ValueError, match="pair vector"):
            PairVector.from_bytes(damaged)


# -- what may be told


def test_values_and_paths_stay_digests_unless_they_may_be_told():
    secret = {"the_name": "Ada Lovelace", "status": "open"}
    vector = vectorise(
        stream.as_json(secret),
        stream.as_json({**secret, "status": "closed"}),
        seed=b"key",
        may_tell=lambda place, value: value == "open",
    )
    raw = vector.to_bytes()
    assert b"open" in raw
    for kept in (b"Ada", b"the_name", b"closed"):
        assert kept not in raw


def test_a_change_is_told_without_a_name_where_none_may_be_told():
    monitor = PairMonitor()
    for pair in stream.pairs("unnamed", 60, stream.dearer):
        monitor.observe(vectorise(*pair, may_tell=lambda place, value: False))
    assert "a field (its name is not kept) higher in 100 % of answers" in monitor.explain().sentence()


def test_a_renamed_key_is_told_by_both_names():
    pairs = [
        (first, Answer(second.text.replace('"priority"', '"level"')))
        for first, second in stream.pairs("renamed key", 80)
    ]
    _, verdict = found(PairMonitor(), pairs)
    assert {"$.priority:missing", "$.level:there"} <= {change.feature for change in verdict.changes[:3]}


def test_json_in_a_code_fence_is_told_as_a_fence():
    rng = random.Random(8)
    pairs = [
        (first, Answer(f"```json\n{second.text}\n```") if rng.random() < 0.4 else second)
        for first, second in stream.pairs("fenced", 120)
    ]
    at, verdict = found(PairMonitor(), pairs)
    assert at is not None
    assert "code fence" in verdict.changes[0].phrase
