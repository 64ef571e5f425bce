"""The promise itself, in short: on streams where nothing changed, alarms are as rare as promised.

The streams are those of `make bench-detector`, shorter and fewer; seeds are fixed, and a count fails when the binomial tail
at the promised level lies below one in a thousand.
"""

import math

import numpy as np
import pytest
from benchmarks.detector import nulls
from benchmarks.detector.corpora import same_model

from tests.drift.test_promises import most_alarms
from tests.marks import spread

pytestmark = pytest.mark.statistical

LENGTH = 200
STREAMS = 40


def alarms(values: list[float], level: float) -> int:
    return sum(value >= -math.log(level) for value in values)


def keeps_promise(values: list[float]) -> bool:
    """Whether the highest evidences of null streams are compatible with the promise at .05 and .01."""
    return all(alarms(values, level) <= most_alarms(len(values), level) for level in nulls.LEVELS)


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(nulls, "LENGTH", LENGTH)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    "index", spread(range(len(nulls.CONFIGURATIONS)), 6), ids=lambda index: nulls.CONFIGURATIONS[index][0]
)
def test_unchanged_streams_rarely_alarm(index):
    _, values = nulls.part(index, STREAMS, seed=31)
    assert keeps_promise(values)


@pytest.mark.slow
@pytest.mark.usefixtures("short")
def test_all_unchanged_streams_together_alarm_at_most_as_often_as_promised():
    """Another seed, and no slack for a single configuration to hide in."""
    values = [value for index in range(len(nulls.CONFIGURATIONS)) for value in nulls.part(index, 10, 37)[1]]
    assert len(values) >= 200
    assert keeps_promise(values)


def test_an_answer_is_used_once_in_the_same_model_streams():
    """The streams themselves keep the rule that the promise rests on."""
    rng = np.random.default_rng(3)
    first, second = nulls.halves(same_model(), rng)
    used = [id(answer) for side in (first, second) for answers in side.values() for answer in answers]
    assert len(used) == len(set(used)) == 2000
    told = [id(answer) for _, *sides in nulls.rounds(first, second, rng) for side in sides for answer in side]
    assert len(told) == len(set(told)) == 2000
