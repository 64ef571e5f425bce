"""Whether all groups together have reached a threshold is answered quickly, and as the sum over all of them would."""

from __future__ import annotations

import random

import pytest

from promptguard.drift.betting.evidence import Union


@pytest.mark.parametrize("mode", ["gate", "monitor"])
@pytest.mark.parametrize(("mean", "spread"), [(-0.005, 0.15), (0.01, 0.15), (0.01, 0.6), (-0.2, 0.6)])
def test_the_quick_answer_is_the_exact_one(mode, mean, spread):
    rng = random.Random(f"{mode} {mean} {spread}")
    union, looked = Union(mode), 0
    for _ in range(6000):
        union.pay(f"g{rng.randrange(60)}", rng.gauss(-0.01, 0.1), rng.gauss(mean, spread))
        bar = rng.uniform(-2.0, 14.0)
        quick = union.reaches(bar)
        looked += union._log is not None
        assert quick == (union._mean() >= bar)
    assert looked < 6000 or union.log > 14.0


def test_a_restored_union_answers_alike():
    rng = random.Random(5)
    union = Union("monitor")
    for _ in range(2000):
        union.pay(f"g{rng.randrange(60)}", rng.gauss(-0.01, 0.1), rng.gauss(0.0, 0.3))
    again = Union.from_state("monitor", union.state_dict())
    for _ in range(2000):
        group, together, own = f"g{rng.randrange(60)}", rng.gauss(-0.01, 0.1), rng.gauss(0.0, 0.3)
        union.pay(group, together, own)
        again.pay(group, together, own)
        bar = rng.uniform(0.0, 14.0)
        assert union.reaches(bar) == again.reaches(bar)
        assert union.log == again.log
