"""One verdict reads alike wherever it is shown: the sentence and the tables name the same side first."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from rich.console import Console

from promptguard.dashboard.words import sides
from promptguard.report.model import StreamReport
from promptguard.terminal.verdict import verdict_parts
from promptguard.verdict import Change, Onset, Verdict, words
from promptguard.verdict.alarm import Alarm
from promptguard.verdict.window import Since, Window

FLAG = Change(
    feature="refusal", kind="refusal", control=0.85, candidate=0.1, difference=-0.75, low=-0.8, high=-0.7,
    phrase="a refusal", binary=True, strength=9.0, effect_pairs=40, control_interval=(0.8, 0.9),
    candidate_interval=(0.05, 0.15), before=0.12, before_interval=(0.1, 0.2),
)  # fmt: skip
"""The control moved from 12 % to 85 %: an alias beside its pinned snapshot."""
LENGTH = replace(
    FLAG, feature="length", kind="shape", phrase="length", binary=False, unit="characters", control_units=650.0,
    candidate_units=3_120.0, low=None, high=None, effect_pairs=7,
)  # fmt: skip


def verdict(*changes, stream="candidate"):
    return Verdict(
        "drift", None, stream, "gate", 0.01, 100, {}, 20, 7.0, 2.0, onset=Onset(10, 9, 11), changes=changes
    )


def shown(value):
    out = Console(file=io.StringIO(), width=160, no_color=True)
    for part in verdict_parts(value):
        out.print(part)
    return out.file.getvalue()


def row(text, phrase):
    return next(line for line in text.splitlines() if line.strip().startswith(phrase))


def columns(text, *cells):
    return [text.index(cell) for cell in cells]


@pytest.mark.parametrize(
    ("told", "first", "second", "names"),
    [
        (verdict(FLAG), "10 %", "85 %", ("before", "after")),
        (verdict(replace(FLAG, before=0.84)), "85 %", "10 %", ("control", "candidate")),
        (verdict(replace(FLAG, before=None)), "85 %", "10 %", ("control", "candidate")),
        (verdict(FLAG, stream="replay"), "85 %", "10 %", ("before", "after")),
    ],
    ids=["the control moved", "the candidate differs", "no before", "stored answers are the older ones"],
)
def test_sentence_and_table_read_in_one_direction(told, first, second, names):
    assert f"{first} -> {second}" in told.sentence()
    text = shown(told)
    cells = columns(row(text, "a refusal"), first, second)
    assert cells == sorted(cells)
    assert words.directions(told) == names
    heading = columns(row(text, "what changed"), *names)
    assert heading == sorted(heading)


def test_the_page_names_the_sides_in_the_direction_of_the_figures():
    stream = StreamReport("candidate", 1, None, verdict(FLAG), "gpt-4", "gpt-4-0314", routed=False)
    assert sides(stream) == ("gpt-4-0314", "gpt-4")  # figures read 10 % -> 85 %
    still = replace(stream, verdict=verdict(replace(FLAG, before=None)))
    assert sides(still) == ("gpt-4", "gpt-4-0314")


def test_figures_are_in_units_where_people_have_some():
    assert words.figure(LENGTH, candidate=True) == "3,120 characters"
    assert words.figure(FLAG, candidate=False) == "85 %"
    assert words.figure(replace(LENGTH, unit=None), candidate=False) == "0.85"
    flag = replace(FLAG, unit="characters", control_units=12.0, candidate_units=1.0)
    assert words.figure(flag, candidate=False) == "85 % (12 characters)"


def test_an_interval_that_waits_says_for_how_many_pairs():
    assert words.difference_interval(LENGTH) == "pending: 7 of 30 pairs"
    assert words.difference_interval(FLAG) == "-0.80 to -0.70"
    assert words.rate_interval(FLAG, candidate=True) == "5-15 %"
    assert words.rate_interval(LENGTH, candidate=True) == ""  # the rate is shown in characters


def test_a_verdict_of_a_newer_version_is_read():
    told = verdict(FLAG, LENGTH).to_dict()
    newer = {**told, "mood": 1, "changes": [{**change, "colour": "red"} for change in told["changes"]]}
    assert Verdict.from_dict(newer) == Verdict.from_dict(told)
    assert Verdict.from_dict(told).to_dict() == told


@pytest.mark.parametrize(("group", "whose"), [("triage@3", "triage@3"), ("", "all prompts together")])
def test_an_alarm_is_one_line_for_a_log(group, whose):
    alarm = Alarm(
        group=group, model="gpt-4\n(mine)", stream="candidate", time=datetime(2026, 11, 26, tzinfo=UTC), call=7, pairs=30,
        log10_evidence=5.1, sentence="Answers shrank.", undo="promptguard acknowledge x",
    )  # fmt: skip
    assert str(alarm) == (
        f"{whose} (gpt-4 (mine), candidate stream): Answers shrank. Once it is known: promptguard acknowledge x"
    )


def test_what_pairs_could_show_is_said_once_for_spans_of_which_it_is_the_same():
    since = (
        Since(3600.0, 0, 1.0),
        Since(21_600.0, 0, 1.0),
        Since(86_400.0, 50, 1.0),
        Since(604_800.0, 99, 0.32),
    )
    assert words.window_words(Window(0.0, 36_000.0, 3600.0, since), 72_000.0) == (
        "first pair 20 h ago, last 10 h ago; pairs that could show a change that began 1 h or 6 h ago: 0 (any could hide), "
        "1 d ago: 50 (any could hide), 7 d ago: 99 (under 32 % of answers could hide)"
    )
