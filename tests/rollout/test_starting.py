"""Two that begin a rollout of one subject at the same moment: one of them does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from promptguard.errors import ConfigurationError
from promptguard.ledger.rollouts import Rollouts
from promptguard.rollout.starting import Plan, start

PLAN = Plan("model:gpt-4", before=None, to="gpt-4-0613", guards=("usable",))


def test_one_that_begins_a_moment_before_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = Rollouts.begin

    def second(self: Rollouts, **given: Any) -> int:
        begin(self, **{name: value for name, value in given.items() if name != "check"})
        return begin(self, **given)

    monkeypatch.setattr(Rollouts, "begin", second)
    with pytest.raises(ConfigurationError, match=r"rollout 1 of model:gpt-4 .* is running: end it first"):
        start(tmp_path / "ledger", PLAN, by="ann", why="")
    monkeypatch.undo()
    with pytest.raises(ConfigurationError, match="rollout 1 of"):
        start(tmp_path / "ledger", PLAN, by="ben", why="")
