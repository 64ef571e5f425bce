"""How a change went on: sharp, gradual, or taken back."""

from __future__ import annotations

import json

import numpy as np
import pytest

from promptguard.drift import Answer, PairMonitor, Verdict, vectorise

SAME = vectorise(Answer("Yes, it is one."), Answer("Yes, it is one."))
CHANGED = vectorise(Answer("Yes, it is one."), Answer("I am sorry, but I cannot help with that."))
BACK = CHANGED.swapped()


def told(shares, *, stream="candidate", then=SAME):
    """Judge pairs of which each is changed with its share, else as `then` says."""
    random, monitor = np.random.default_rng(5), PairMonitor(stream=stream)
    for _ in range(60):
        monitor.fold(SAME)
    for share in shares:
        if share < 0:
            monitor.fold(BACK if random.random() < -share else SAME)
        else:
            monitor.fold(CHANGED if random.random() < share else SAME)
    verdict = monitor.verdict()
    assert verdict.status == "drift"
    return verdict


def test_a_sharp_change_has_no_course():
    assert told([1.0] * 150).course is None
    assert told([0.4] * 200).course is None
    assert told([1.0] * 30).course is None, "too few pairs to tell"


def test_a_gradual_change_is_told_with_what_it_grew_from_and_to():
    course = told(np.linspace(0.0, 1.0, 240)).course
    assert course is not None
    assert course.kind == "gradual"
    assert course.first < 0.45
    assert course.last > 0.7


def test_a_change_that_was_taken_back_is_told_with_the_pair():
    verdict = told([1.0] * 60 + [0.0] * 60)
    assert verdict.course is not None
    assert verdict.course.kind == "taken_back"
    assert abs(verdict.course.pair - 121) <= 2
    assert verdict.sentence().endswith(f"It was taken back at about pair {verdict.course.pair}.")
    assert Verdict.from_dict(json.loads(json.dumps(verdict.to_dict()))).course == verdict.course


def test_stored_answers_that_are_used_up_are_no_return():
    """In replay new is compared with new once the old answers are used: only a turn says that the change was taken back."""
    assert told([1.0] * 60 + [0.0] * 60, stream="replay").course is None
    course = told([1.0] * 60 + [-0.7] * 60, stream="replay").course
    assert course is not None
    assert course.kind == "taken_back"


@pytest.mark.parametrize("seed", range(12))
def test_what_stands_is_not_called_gradual_or_over(seed):
    random, monitor = np.random.default_rng(seed), PairMonitor()
    for number in range(260):
        monitor.fold(CHANGED if number >= 60 and random.random() < 0.5 else SAME)
    assert monitor.verdict().course is None
