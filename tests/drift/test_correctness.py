"""Right and wrong are bet on wherever there is a reference; short answers are labels without a rule."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptguard.drift import Answer, LabelRule, PairMonitor
from promptguard.drift.features.correctness import is_right, short_answer

LETTERS = LabelRule("letter", "1", {letter: f"answer is {letter}" for letter in "ABCD"})


def exam(form, options, *, wrong=0.33, labels=None, seed=0, count=300):
    """Feed pairs in which the candidate is wrong in a share of the answers; return (alarm, verdict)."""
    rng, monitor = random.Random(seed), PairMonitor(labels=labels)
    for _ in range(count):
        truth = rng.choice(options)
        said = truth if rng.random() > wrong else rng.choice([each for each in options if each != truth])
        monitor.update(Answer(form.format(truth)), Answer(form.format(said)), reference=truth)
    return monitor.explain()


@pytest.mark.parametrize(
    ("form", "options", "labels"),
    [
        ("The answer is {}", "ABCD", None),
        ("The answer is {}", "ABCD", LETTERS),
        ("{}", "ABCD", None),
        ("The result is {}.", [str(number) for number in range(100)], None),
        ("{}", [str(number) for number in range(100)], None),
    ],
)
def test_wrong_answers_are_found_and_called_wrong(form, options, labels):
    verdict = exam(form, options, labels=labels)
    assert verdict.status == "drift"
    assert verdict.alarm_at <= 90
    assert verdict.changes[0].kind == "right"
    assert "right -> wrong in " in verdict.sentence()
    assert "wrong -> right in 0 %" in verdict.sentence()
    assert verdict.ability.control.accuracy.value == 1.0
    assert verdict.ability.candidate.accuracy.value == pytest.approx(0.67, abs=0.1)


def test_answers_as_right_as_before_are_quiet():
    assert exam("The answer is {}", "ABCD", wrong=0.0).status == "no_drift"
    rng, monitor = random.Random(1), PairMonitor()
    for _ in range(300):
        truth, *said = (rng.choice("ABCD") for _ in range(3))
        monitor.update(*(Answer(f"The answer is {each}") for each in said), reference=truth)
    assert monitor.explain().status == "no_drift"


@pytest.mark.parametrize("labels", [LETTERS, None])
def test_permuted_labels_move_no_share_and_are_found(labels):
    rng, monitor = random.Random(2), PairMonitor(labels=labels)
    form = "The answer is {}" if labels else "{}"
    for _ in range(150):
        truth = rng.choice("ABCD")
        monitor.update(Answer(form.format(truth)), Answer(form.format("BCDA"["ABCD".index(truth)])))
    verdict = monitor.explain()
    assert verdict.status == "drift"
    assert verdict.alarm_at <= 60
    assert any("switch" in change.feature for change in verdict.changes)
    assert " -> " in verdict.changes[0].phrase


def test_a_closed_set_of_short_answers_is_recognised_as_labels():
    rng, monitor = random.Random(3), PairMonitor()
    for _ in range(200):
        said = rng.choice(["billing", "refund", "technical"])
        moved = "refund" if rng.random() < 0.3 else said
        monitor.update(Answer(f"{said.title()}."), Answer(moved))
    told = [change.phrase for change in monitor.explain().changes]
    assert any("`refund`" in phrase for phrase in told), told


def test_a_closed_set_of_sentences_is_too():
    rng, monitor = random.Random(4), PairMonitor()
    for _ in range(300):
        said = rng.choice(["billing", "refund", "technical"])
        moved = "refund" if rng.random() < 0.4 else said
        monitor.update(*(Answer(f"This ticket should be classified as {each}.") for each in (said, moved)))
    verdict = monitor.explain()
    assert "classified as refund`" in verdict.sentence(), verdict.sentence()


@pytest.mark.parametrize(
    ("text", "reference", "right"),
    [
        ("[Yes]", "yes", True),
        ("**No.**", "no", True),
        ("Yes, it is a prime.", "yes", True),
        ("No", "yes", False),
        ("It is nothing", "no", False),
        ("The total is $1,234.50.", "1234.5", True),
        ("3 + 4 = 7", "7", True),
        ("7 apples and 3 pears", "7", False),
        ("The answer is (C).", "C", True),
        ("C, because A and B are wrong; D", "C", True),
        ("A bad idea", "C", False),
        ("The capital is Paris, of course.", "Paris", True),
        ("Comparison", "Paris", False),
        ('{"city": "Paris"}', "paris", True),
        ("", "yes", False),
        ("anything", "", False),
        ("", "", True),
        ("x" * 100_000 + " 42", "42", True),
    ],
)
def test_an_answer_is_right_by_a_rule_that_does_not_know_the_side(text, reference, right):
    assert is_right(text, None, reference) is right


def test_a_label_decides_where_there_is_one():
    assert is_right("the text says no", "Yes", "yes")
    assert not is_right("yes", "no", "yes")


@given(st.text(max_size=80), st.text(max_size=20))
def test_no_text_raises(text, reference):
    is_right(text, None, reference)
    assert len(short_answer(text)) <= 48
