"""e-BH: which groups are named, and how often wrongly."""

import numpy as np
import pytest

from promptguard.drift import e_bh


def test_examples_by_hand():
    assert e_bh({}, 0.05) == set()
    assert e_bh({"a": 19.9}, 0.05) == set()
    assert e_bh({"a": 20.0}, 0.05) == {"a"}
    assert e_bh({"a": 39.0, "b": 1.0}, 0.05) == set()
    # the second lowers the bar of the first: 2 / (.05 * 2) = 20
    assert e_bh({"a": 39.0, "b": 20.0}, 0.05) == {"a", "b"}
    assert e_bh({"a": np.inf, "b": 0.0}, 0.05) == {"a"}


def test_share_of_wrong_names_stays_below_alpha():
    """Two-point e-values, the worst case: 1/p with probability p."""
    rng = np.random.default_rng(3)
    wrong = []
    for _ in range(4000):
        values = {f"null {i}": 100.0 * (rng.random() < 0.01) for i in range(10)}
        values |= {f"changed {i}": 500.0 for i in range(5)}
        named = e_bh(values, 0.1)
        wrong.append(sum(name.startswith("null") for name in named) / max(1, len(named)))
    assert np.mean(wrong) <= 0.1 + 3 * np.std(wrong) / 4000**0.5


@pytest.mark.parametrize(("evidence", "alpha"), [({"a": -1.0}, 0.1), ({"a": float("nan")}, 0.1), ({}, 0.0)])
def test_wrong_values_are_refused(evidence, alpha):
    with pytest.raises(ValueError, match=r"evidence|alpha"):
        e_bh(evidence, alpha)
