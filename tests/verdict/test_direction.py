"""Everything reads from the reference to the model asked today: sentence, table, JSON and sign."""

import json
import random
import re

from promptguard.drift import Answer, PairMonitor
from promptguard.terminal.verdict import show_verdicts
from promptguard.verdict import Change, Verdict


def prose(rng, lower):
    return f"{rng.choice('ABCDEFGH' if not lower else 'abcdefgh')} " + " ".join(
        rng.choice(["one", "two", "three", "four", "five"]) for _ in range(30)
    )


def watch(moves, stream="candidate", count=260):
    """One side loses its capitals after 120 pairs."""
    rng, monitor = random.Random(1), PairMonitor(stream=stream)
    for number in range(count):
        moved = number >= 120
        sides = (
            Answer(prose(rng, lower=moved and moves == "control")),
            Answer(prose(rng, lower=moved and moves == "candidate")),
        )
        monitor.update(*sides)
    return monitor.explain()


def rates(text):
    """The first two shares in a text."""
    found = re.search(r"(\d+)(?:\.\d+)? %\D{1,40}?(\d+)(?:\.\d+)? %", text)
    return int(found[1]), int(found[2])


def test_a_moved_control_reads_from_what_stayed_to_what_is_asked_today(capsys):
    verdict = watch("control")
    change = next(each for each in verdict.to_dict()["changes"] if each["feature"] == "starts_upper")
    assert verdict.to_dict()["direction"] == {"from": "candidate", "to": "control"}
    assert (change["from"], change["to"]) == (change["candidate"], change["control"])
    assert change["difference"] > 0  # by name: candidate - control
    first, last = rates(verdict.sentence())
    assert first > last
    show_verdicts([verdict], {})
    row = next(
        line
        for line in capsys.readouterr().out.splitlines()
        if "capital at the start" in line and "%" in line
    )
    shown = [int(each) for each in re.findall(r"(\d+)(?:\.\d+)? %", row)]
    assert (shown[0] > shown[1]) == (first > last)


def test_a_moved_candidate_reads_from_control_to_candidate():
    verdict = watch("candidate")
    told = verdict.to_dict()
    assert told["direction"] == {"from": "control", "to": "candidate"}
    first, last = rates(verdict.sentence())
    assert first > last


def test_a_stored_answer_is_the_reference_whichever_side_seems_to_move():
    for moves in ("control", "candidate"):
        verdict = watch(moves, "replay")
        assert verdict.direction == ("control", "candidate")
        change = next(each for each in verdict.changes if each.feature == "starts_upper")
        told = next(each for each in verdict.to_dict()["changes"] if each["feature"] == "starts_upper")
        assert (told["from"], told["to"]) == (round(change.control, 6), round(change.candidate, 6))


def test_chance_turns_no_sentence_round():
    """A change from the first pair on has no before to speak of: the control stays the reference."""
    turned = 0
    for seed in range(10):
        rng, monitor = random.Random(seed), PairMonitor()
        for _ in range(120):
            monitor.update(Answer(prose(rng, lower=False)), Answer(prose(rng, lower=rng.random() < 0.4)))
        turned += monitor.explain().direction != ("control", "candidate")
    assert turned == 0


def test_what_is_told_both_ways_is_turned_round_whole():
    rng, monitor = random.Random(2), PairMonitor()
    for number in range(240):
        base = {"n": rng.random(), "priority": 3}
        now = {**base, "priority": 4} if number >= 120 and rng.random() < 0.6 else base
        monitor.update(Answer(json.dumps(now)), Answer(json.dumps(base)))
    verdict = monitor.explain()
    assert verdict.direction == ("candidate", "control")
    assert re.search(r"`\$.priority` higher in \d\d % of answers, lower in 0 %", verdict.sentence()), (
        verdict.sentence()
    )
    assert Verdict.from_dict(json.loads(json.dumps(verdict.to_dict()))).sentence() == verdict.sentence()


def test_a_value_that_is_not_kept_is_turned_round_as_a_whole():
    hidden = "a value that is not kept"
    change = Change(
        feature="$.s:switch", kind="json", control=0.1, candidate=0.6, difference=0.5, low=None, high=None, phrase="",
        binary=True, strength=1.0, effect_pairs=0, control_interval=(0.0, 1.0), candidate_interval=(0.0, 1.0),
        pattern=f"`$.s` `yes` -> {hidden} in {{1}} of answers, back in {{0}}",
    )  # fmt: skip
    turned = change.turned().pattern
    assert turned.count(hidden) == 1
    assert change.turned().turned().pattern.count(hidden) == 1
