"""(f) False alarms in the field: days that differ, one answer in several pairs, answers lost on one side.

`benchmarks/days.py` says what the days are: each has a random effect, one has four times the usual one and the next is as
before. Every stream is judged at both levels by a monitor of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from benchmarks.days import Borders, Days, replayed
from benchmarks.detector.corpora import same_model_vectors
from benchmarks.detector.table import Row, Task, rate
from tests.drift.recorded import same_model_answers

from promptguard.drift import Answer, PairMonitor, SetMonitor, vectorise
from promptguard.report.pairs_file import PairLine
from promptguard.report.repeats import find_repeated
from promptguard.verdict import Mode

NAME = "field"
LEVELS = (0.05, 0.01)
SLICE = 10
"""streams a task"""
Alarms = tuple[bool, bool]
LOST = 120
"""characters; of longer answers some are lost on the candidate's side"""


def _pairs(stream: Iterator[tuple[int, str, str, str]], horizon: int | None = None) -> Alarms:
    """Judge (day, prompt, stored answer, today's)."""
    mode: Mode = "gate" if horizon is None else "monitor"
    monitors = [PairMonitor(level, mode, horizon=horizon) for level in LEVELS]
    for day, _, stored, today in stream:
        vector = vectorise(Answer(stored), Answer(today))
        for monitor in monitors:
            monitor.fold(vector, day=day)
    return _rang(monitors)


def _rang(monitors: list[PairMonitor] | list[SetMonitor]) -> Alarms:
    first, second = (monitor.brief().alarm_at is not None for monitor in monitors)
    return first, second


def _replay(rng: np.random.Generator, usual: float) -> Alarms:
    """1,000 stored answers, 1 to 14 days old, asked again over 20 days."""
    return _pairs(replayed(Days(int(rng.integers(2**31)), usual=usual, outlier=12), 50, 20))


def _border(rng: np.random.Generator, horizon: int | None = None) -> Alarms:
    """The same of one-word prompts whose first word moves daily."""
    days = Borders(int(rng.integers(2**31)), outlier=12)

    def stream() -> Iterator[tuple[int, str, str, str]]:
        for day in range(20):
            for prompt in rng.permutation(days.prompts).tolist() * 2:
                stored = day - int(rng.integers(1, 15))
                yield day, prompt, days.answer(prompt, stored), days.answer(prompt, day)

    return _pairs(stream(), horizon)


def _rounds(rng: np.random.Generator, banked: int) -> Alarms:
    """Rounds of 5 + 5 over 15 days, the stored answers of `banked` days; how much those differ is learned first."""
    days = Borders(int(rng.integers(2**31)), outlier=banked + 6)
    monitors = [SetMonitor(level) for level in LEVELS]
    stored = {
        prompt: [[days.answer(prompt, day) for _ in range(-(-75 // banked) + 5)] for day in range(banked)]
        for prompt in days.prompts
    }
    for monitor in monitors:
        monitor.learn_days(
            [
                [(_answers(found[day][:5]), _answers(found[day + 1][:5])) for found in stored.values()]
                for day in range(0, banked - 1, 2)
            ]
        )
    bank = {prompt: [text for day in found for text in day[5:]] for prompt, found in stored.items()}
    for texts in bank.values():
        rng.shuffle(texts)
    for day in range(banked, banked + 15):
        for prompt in days.prompts:
            old = _answers([bank[prompt].pop() for _ in range(5)])
            new = _answers([days.answer(prompt, day) for _ in range(5)])
            for monitor in monitors:
                monitor.update(old, new, day=day)
    return _rang(monitors)


def _answers(texts: list[str]) -> list[Answer]:
    return [Answer(text) for text in texts]


def _repeated(rng: np.random.Generator) -> Alarms:
    """One stored answer beside five of today's, as `promptguard analyze` judges such a file."""
    lines = []
    for prompt, answers in same_model_answers().items():
        texts = [answers[place] for place in rng.permutation(len(answers))[:6]]
        lines += [PairLine(0, {"text": texts[0]}, {"text": text}, prompt=prompt) for text in texts[1:]]
    found = find_repeated(lines)["candidate"]
    monitors, seen = [PairMonitor(level) for level in LEVELS], set()
    for place in rng.permutation(len(lines)):
        line = lines[place]
        if found.cluster(line) not in seen:
            seen.add(found.cluster(line))
            for monitor in monitors:
                monitor.update(Answer(line.control["text"]), Answer(line.candidate["text"]))
    return _rang(monitors)


def _lost(rng: np.random.Generator, share: float) -> Alarms:
    """1,000 pairs of one model; of the candidate's longer answers some are lost, `share` of all pairs."""
    monitors = [PairMonitor(level) for level in LEVELS]
    vectors = [vector for _, vector in same_model_vectors(rng)]
    long = [vector.counts[1][0] > LOST for vector in vectors]
    chance = min(1.0, share * len(long) / max(1, sum(long)))
    for vector, is_long in zip(vectors, long, strict=True):
        is_lost = is_long and rng.random() < chance
        for monitor in monitors:
            if is_lost:
                monitor.skip("candidate_error")
            else:
                monitor.fold(vector)
    return _rang(monitors)


CONFIGURATIONS = (
    ("days differ by .05, replay 1-14 days old", 300, _replay, (0.05,)),
    ("days differ by .10, replay 1-14 days old", 300, _replay, (0.1,)),
    ("one-word prompts on a border, replay 1-14 days old", 300, _border, ()),
    ("the same in rounds of sets, bank of eight days", 150, _rounds, (8,)),
    ("one stored answer beside five", 300, _repeated, ()),
    ("lost on one side: .1 %", 150, _lost, (0.001,)),
    ("lost on one side: 1 %", 150, _lost, (0.01,)),
    ("lost on one side: 10 %", 150, _lost, (0.1,)),
    ("one-word prompts on a border, replay, monitor", 300, _border, (1000,)),
)
"""(name, streams at scale 1, function, its arguments)"""
LIMITS = (("one-word prompts in rounds of sets, bank of one day", 80, _rounds, (1,)),)


def part(index: int, count: int, seed: int) -> tuple[int, list[Alarms]]:
    """Run `count` streams of one configuration; return its index and each stream's alarms."""
    _, _, function, arguments = (*CONFIGURATIONS, *LIMITS)[index]
    children = np.random.SeedSequence([seed, index]).spawn(count)
    return index, [function(np.random.default_rng(child), *arguments) for child in children]


def tasks(scale: float, seed: int) -> list[Task]:
    """Return what is to be run."""
    found = []
    for index, (_, full, *_rest) in enumerate((*CONFIGURATIONS, *LIMITS)):
        slices = max(1, round(full * scale / SLICE))
        found += [Task(part, (index, SLICE, seed * 10_000 + number)) for number in range(slices)]
    return found


def rows(results: list[tuple[int, list[Alarms]]]) -> list[Row]:
    """Return a line a configuration."""
    found: dict[int, list[Alarms]] = {}
    for index, values in results:
        found.setdefault(index, []).extend(values)
    return [_row(index, values) for index, values in sorted(found.items())]


def _row(index: int, values: list[Alarms]) -> Row:
    count = len(values)
    hits = [sum(value[place] for value in values) for place in (0, 1)]
    slack = [2 * math.sqrt(level * (1 - level) / count) for level in LEVELS]
    met = all(hit / count <= level + more for hit, level, more in zip(hits, LEVELS, slack, strict=True))
    figure = f"{' / '.join(rate(hit, count) for hit in hits)} ({count} streams)"
    if index < len(CONFIGURATIONS):
        return Row(
            CONFIGURATIONS[index][0], figure, "<= .05 / .01 + 2 s.e.", met, {"alarms": hits, "streams": count}
        )
    name = LIMITS[index - len(CONFIGURATIONS)][0]
    return Row(f"known limit: {name}", figure, "reported", None, {"alarms": hits, "streams": count})
