"""What one process alone may do, or keep, is told alike by both databases."""

from __future__ import annotations

import pytest

from promptguard.ledger.prompts import StoredPrompts, StoredVersion
from promptguard.ledger.rollouts import Rollouts
from promptguard.ledger.store import Ledger


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request, tmp_path):
    if request.param == "sqlite":
        return Ledger(tmp_path / "ledger")
    return Ledger(request.getfixturevalue("database"))


def test_a_question_is_claimed_once(ledger):
    assert ledger.claim("candidate", 1, ("a", "b"))
    assert not ledger.claim("candidate", 1, ("c", "a"))
    assert ledger.claim("candidate", 1, ("c",)), "a claim that fails takes nothing"
    assert ledger.claim("candidate", 2, ("a",))


def test_the_first_outcome_of_a_unit_is_kept(ledger):
    row = {"rollout": 1, "unit": b"u", "step": 0, "treated": 1, "at": 1.0}
    other = {**row, "unit": b"v"}
    assert Rollouts(ledger).put([row, other]) == 2
    assert Rollouts(ledger).put([{**row, "treated": 0}, {**row, "unit": b"w"}]) == 1


def test_a_version_that_was_pushed_stays(ledger):
    prompts = StoredPrompts(ledger)
    first, second = StoredVersion("1", b"one"), StoredVersion("2", b"two")
    assert prompts.put({("ask", "1"): first}, at=1.0, by="") == {}
    assert prompts.put({("ask", "1"): second}, at=2.0, by="") == {("ask", "1"): first}
