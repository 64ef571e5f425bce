"""Which of many groups changed is named at report time, once the whole has alarmed."""

import random

import jsonschema
import pytest

from promptguard.drift import Answer, PairMonitor, Verdict
from tests.drift.recorded import ROOT

SCHEMA = ROOT / "docs" / "reference" / "verdict.schema.json"


def told(mode, changing, groups=8, rounds=40):
    rng = random.Random(3)
    monitor = PairMonitor(0.01, mode, horizon=1000 if mode == "monitor" else None)
    for _ in range(rounds):
        for number in range(groups):
            words = [f"answer {rng.randrange(100)}", f"answer {rng.randrange(100)}"]
            candidate = f"```\n{words[1]}\n```" if number in changing else words[1]
            monitor.update(Answer(words[0]), Answer(candidate), f"g{number}")
    return monitor.verdict()


@pytest.mark.parametrize("mode", ["gate", "monitor"])
def test_the_changed_groups_are_named_and_no_other(mode):
    verdict = told(mode, {1, 4, 6})
    assert set(verdict.named) == {"g1", "g4", "g6"}
    assert Verdict.from_dict(verdict.to_dict()).named == verdict.named


@pytest.mark.parametrize("mode", ["gate", "monitor"])
def test_nobody_is_named_where_nothing_changed(mode):
    assert told(mode, set()).named == ()


def test_one_group_alone_needs_no_name():
    assert told("gate", {0}, groups=1).named == ()


def test_the_schema_knows_names():
    import json

    jsonschema.validate(told("gate", {2}).to_dict(), json.loads(SCHEMA.read_text()))
