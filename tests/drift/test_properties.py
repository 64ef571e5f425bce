"""Laws that hold for every input: swap invariance, replay, state, and any text."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptguard.drift import Answer, LabelRule, PairMonitor, PairVector, vectorise

FRAGMENTS = [
    "I'm sorry, but I can't",
    "```python\nx = 1\n```",
    '{"a": 1, "b": [2]}',
    "**bold** - list\n- x\n1. y",
    "Yes.",
    "[No]",
]
anything = st.text(st.characters(), max_size=60)  # lone surrogates and NUL included
texts = st.one_of(anything, st.lists(st.sampled_from(FRAGMENTS), max_size=3).map("\n".join))
calls = st.lists(
    st.dictionaries(
        st.sampled_from(["name", "arguments", "function", "input", "id"]),
        st.one_of(anything, st.none(), st.integers(), st.dictionaries(anything, anything, max_size=2)),
        max_size=3,
    ),
    max_size=2,
)
answers = st.builds(
    Answer,
    texts,
    finish_reason=st.one_of(st.none(), st.sampled_from(["stop", "length", "content_filter"]), anything),
    tool_calls=calls,
    refusal=st.one_of(st.none(), anything),
    label=st.one_of(st.none(), st.sampled_from(["yes", "no", "YES"]), anything),
)
references = st.one_of(st.none(), st.sampled_from(["yes", "no"]), anything)
rows = st.lists(
    st.tuples(answers, answers, st.sampled_from([None, "a", "b"]), references), min_size=1, max_size=14
)
modes = st.sampled_from([{"mode": "gate"}, {"mode": "monitor", "horizon": 50}])
quick = settings(max_examples=40, deadline=None)


def path(monitor, stream):
    return [monitor.observe(vector, group).log10_evidence for vector, group in stream]


@quick
@given(rows, modes)
def test_swapping_the_sides_of_every_pair_leaves_the_evidence(stream, mode):
    straight, swapped = PairMonitor(alpha=0.3, **mode), PairMonitor(alpha=0.3, **mode)
    for control, candidate, group, reference in stream:
        first = straight.update(control, candidate, group, reference=reference)
        second = swapped.update(candidate, control, group, reference=reference)
        assert first.log10_evidence == pytest.approx(second.log10_evidence, abs=1e-9)
        assert (first.status, first.alarm_at) == (second.status, second.alarm_at)


@quick
@given(answers, answers, references)
def test_vector_of_swapped_sides_is_the_exact_negation(control, candidate, reference):
    assert (
        vectorise(candidate, control, reference=reference)
        == vectorise(control, candidate, reference=reference).swapped()
    )


@quick
@given(rows, modes)
def test_replay_from_bytes_and_from_state_equals_live(stream, mode):
    live, replayed, resumed = (PairMonitor(alpha=0.3, **mode) for _ in range(3))
    for control, candidate, group, reference in stream:
        live.update(control, candidate, group, reference=reference)
        packed = vectorise(control, candidate, reference=reference).to_bytes()
        assert len(packed) <= 800 + 3 * 192
        vector = PairVector.from_bytes(packed)
        assert vector.to_bytes() == packed
        replayed.observe(vector, group)
        resumed = PairMonitor.from_state(json.loads(json.dumps(resumed.state_dict(), allow_nan=False)))
        resumed.observe(vector, group)
    assert replayed.state_dict() == live.state_dict()
    assert resumed.state_dict() == live.state_dict()
    assert resumed.explain() == live.explain()


@quick
@given(rows, modes)
def test_no_content_raises_and_every_verdict_is_json(stream, mode):
    rule = LabelRule("any", "1", {"yes": "(?i)yes", "no": r"\bno\b"})
    monitor = PairMonitor(alpha=0.6, labels=rule, **mode)
    for control, candidate, group, reference in stream:
        monitor.update(control, candidate, group, prompt=control.text, reference=reference)
    json.dumps(monitor.explain().to_dict(), allow_nan=False)


@quick
@given(st.binary(max_size=900))
def test_no_bytes_but_a_vector_are_read(data):
    with pytest.raises(ValueError, match="data"):
        PairVector.from_bytes(data)


@quick
@given(st.data())
def test_damaged_vector_is_refused_or_another_vector(data):
    packed = bytearray(vectorise(Answer("a [Yes]", label="yes"), Answer("b"), reference="no").to_bytes())
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        vector = PairVector.from_bytes(bytes(packed))
    except ValueError:
        return
    PairMonitor().observe(vector)


def test_a_hashed_difference_of_minus_128_is_impossible():
    packed = bytearray(vectorise(Answer("yes, " * 20), Answer("no, never")).to_bytes())
    packed[-1] = 0x80  # the last byte of the hash: these answers have no labels, and say nothing by place
    with pytest.raises(ValueError, match="impossible values"):
        PairVector.from_bytes(bytes(packed))
