"""Planted causes on real answers: is the change found, dated and named?

`python benchmarks/detector_causes.py [streams a cell] [first seed] [--tuned] [--at-alarm]`

A stream begins with unedited pairs; from a random pair in 50..150 on, a share of the candidate's answers is edited (the
first edited pair *is* the onset). Without noise an unedited pair is one recorded answer twice; with noise half of the
pairs are two draws of one unchanged model at temperature 0.7, edited alike. The verdict is read 50 pairs after the alarm.
Seeds are split: even ones were looked at while the explanation was tuned, odd ones are what is reported.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import statistics
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np

from promptguard.demo.recordings import FAMILIES, Recordings
from promptguard.drift import Answer, PairMonitor, PairVector, Verdict, vectorise
from promptguard.drift.features.catalogue import INDEX
from promptguard.drift.features.labels import free_slot

DRAWS = Path(__file__).parent / "data"
SHARES = (0.1, 0.3, 1.0)
LONGEST, READ_AFTER, ALPHA = 300, 50, 0.01
REPORTED, TUNED = 1, 0
GERMAN = [
    "der",
    "die",
    "das",
    "und",
    "ist",
    "nicht",
    "eine",
    "Antwort",
    "auf",
    "diese",
    "Frage",
    "weil",
    "wir",
    "zuerst",
    "prüfen",
    "ob",
    "die",
    "Zahl",
    "durch",
    "kleinere",
    "teilbar",
    "wäre",
    "außerdem",
    "müssen",
    "für",
    "jeden",
    "Schritt",
    "größere",
    "Werte",
    "über",
    "möglich",
    "sein",
    "daher",
    "könnte",
    "man",
    "sagen",
    "dass",
    "es",
    "so",
    "bleibt",
]


VOWELS = str.maketrans("aeiou", "eioua")
NAMED = frozenset((
    "because", "therefore", "apologize", "unable", "cannot", "appropriate", "programming", "language", "assist",
    "provide", "fulfill", "comply",
))  # fmt: skip
"""words that features look for"""


@dataclass(frozen=True)
class Edit:
    """What is done to a candidate's answer, on which base, and the features that name it."""

    apply: Callable[[Answer], Answer]
    names: frozenset[str]
    base: Callable[[Answer], Answer] = lambda answer: answer


def _text(change: Callable[[str], str]) -> Callable[[Answer], Answer]:
    return lambda answer: Answer(change(answer.text), label=answer.label)


def _longer(text: str) -> str:
    """Add 15 % in the middle, words of another answer of the same kind: the opening and the ending stay."""
    words = text.split(" ")
    others = donors()[text]
    other = others[zlib.crc32(text.encode()) % len(others)].split()
    middle = len(words) // 2
    more = (other * 20)[: max(1, round(0.15 * len(words)))]
    return " ".join([*words[:middle], *more, *words[middle:]])


def _german(text: str) -> str:
    place = zlib.crc32(text.encode())
    return " ".join(GERMAN[(place + 7 * i) % len(GERMAN)] for i in range(max(6, len(text.split())))) + "."


def _reworded(text: str) -> str:
    """Exchange vowels in words of more than five letters: as long, as many words, nothing that has a name."""
    return "".join(
        part.translate(VOWELS) if part.isalpha() and len(part) > 5 and part.lower() not in NAMED else part
        for part in re.split(r"(\W+)", text)
    )


def _as_json(answer: Answer) -> Answer:
    return Answer(json.dumps({"answer": answer.text, "size": len(answer.text)}), label=answer.label)


def _labelled(answer: Answer) -> Answer:
    label = "yes" if zlib.crc32(answer.text.encode()) % 3 else "no"
    return Answer(f"[{label.title()}] {answer.text}", label=label)


def _negated(answer: Answer) -> Answer:
    return Answer(answer.text.replace("[Yes]", "[No]", 1), label="no")


EDITS = {
    "fence": Edit(_text(lambda text: f"```\n{text}\n```"), frozenset({"code_fence", "starts_with_fence"})),
    "refusal": Edit(
        _text(lambda _: "I'm sorry, but I can't assist with that request."), frozenset({"refusal"})
    ),
    "length": Edit(_text(_longer), frozenset({"length"})),
    "broken json": Edit(
        _text(lambda text: text[:-1]), frozenset({"json_valid", "json_keys", "json_schema"}), _as_json
    ),
    "json preamble": Edit(
        _text(lambda text: f"Here is the JSON you asked for:\n{text}"),
        frozenset({"json_valid", "json_keys", "json_schema"}),
        _as_json,
    ),
    "language": Edit(_text(_german), frozenset({"english_words", "non_ascii"})),
    "label": Edit(_negated, frozenset({"label:yes", "label:no"}), _labelled),
    "bold": Edit(_text(lambda text: f"**Answer:** {text}"), frozenset({"bold"})),
    "tool call": Edit(
        lambda answer: Answer("", tool_calls=[{"name": "look_up", "arguments": '{"q": "x"}'}], label=answer.label),
        frozenset({"tool_call", "tool_name", "tool_arguments_valid"}),
    ),
    "wording": Edit(_text(_reworded), frozenset({"wording"})),
}  # fmt: skip


@cache
def by_task() -> list[list[str]]:
    """Every recorded answer of the models before June 2023, a list a task and model."""
    found = []
    for task in ("prime", "sensitive", "leetcode"):
        recordings = Recordings(task)
        for _, before, _ in FAMILIES.values():
            texts = [recordings.answer(question, before).text for question in recordings.questions]
            found.append([text for text in texts if len(text) > 8])
    return found


@cache
def recorded() -> list[Answer]:
    """All of them."""
    return [Answer(text) for texts in by_task() for text in texts]


@cache
def donors() -> dict[str, list[str]]:
    """For every answer, the answers of its kind."""
    drawn = [answer.text for pair_ in draws() for answer in pair_]
    return {text: texts for texts in [drawn, *by_task()] for text in texts}


@cache
def draws() -> list[tuple[Answer, Answer]]:
    """Pairs of two draws of one model to one prompt; each draw is in one pair."""
    by_prompt: dict[str, list[str]] = {}
    for name in ("base_A", "base_B"):
        with gzip.open(DRAWS / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
            for line in map(json.loads, file):
                if line.get("temperature"):
                    by_prompt.setdefault(line["prompt_id"], []).append(line["text"])
    order = random.Random(0)
    found = []
    for texts in by_prompt.values():
        order.shuffle(texts)
        found += [(Answer(a), Answer(b)) for a, b in zip(texts[::2], texts[1::2], strict=False)]
    return found


@cache
def pair(edit: str, noisy: bool, place: int, edited: bool) -> tuple[PairVector, bool]:
    """Return one pair and whether the edit changed anything in it."""
    plan = EDITS[edit]
    first, second = draws()[place] if noisy else (recorded()[place],) * 2
    control, before = plan.base(first), plan.base(second)
    after = plan.apply(before) if edited else before
    return vectorise(control, after), after != before


def stream(edit: str, share: float, noise: bool, seed: int) -> tuple[Iterator[PairVector], int]:
    """Return a stream's pairs and its onset, counted from 1."""
    dice = random.Random(f"{edit} {share} {noise} {seed}")
    plain = iter(dice.sample(range(len(recorded())), LONGEST + 400))
    drawn = iter(dice.sample(range(len(draws())), min(len(draws()), LONGEST + 400)))
    onset = dice.randint(50, 150)

    def pairs() -> Iterator[PairVector]:
        for number in range(1, onset + LONGEST):
            changed = False
            while True:
                noisy = noise and dice.random() < 0.5
                edited = number == onset or (number > onset and dice.random() < share)
                vector, changed = pair(edit, noisy, next(drawn if noisy else plain), edited)
                if changed or number != onset:
                    break
            yield vector

    return pairs(), onset


def judge(edit: str, share: float, noise: bool, seed: int, read_after: int) -> tuple[Verdict, int]:
    """Return the verdict on one stream and its true onset."""
    pairs, onset = stream(edit, share, noise, seed)
    monitor = PairMonitor(alpha=ALPHA)
    alarm = None
    for vector in pairs:
        brief = monitor.observe(vector)
        alarm = brief.alarm_at
        if alarm is not None and brief.pairs >= alarm + read_after:
            break
    return monitor.explain(), onset


def run(
    streams_per_cell: int, seed: int, half: int = REPORTED, read_after: int = READ_AFTER
) -> list[dict[str, object]]:
    """Return a row a cell; `half` picks the seeds, `read_after` the pairs after the alarm at which it is read."""
    rows = []
    for noise in (False, True):
        for edit in EDITS:
            for share in SHARES:
                seeds = [2 * (seed + i) + half for i in range(streams_per_cell)]
                told = [judge(edit, share, noise, number, read_after) for number in seeds]
                rows.append({"edit": edit, "share": share, "noise": noise, **_summary(edit, told)})
    return rows


def _summary(edit: str, told: list[tuple[Verdict, int]]) -> dict[str, object]:
    # an alarm before the onset is a false alarm, not a finding
    found = [
        (verdict, onset)
        for verdict, onset in told
        if verdict.alarm_at is not None and verdict.alarm_at >= onset
    ]
    names = EDITS[edit].names
    # below the level nothing is said, and the share of streams in which something is stands beside
    firsts = [[change.feature for change in verdict.changes[:3]] for verdict, _ in found if verdict.changes]
    dated = [(verdict.onset, onset) for verdict, onset in found if verdict.onset is not None]
    missed: dict[str, int] = {}
    for first in firsts:
        if not names & set(first[:1]):
            missed[first[0] if first else "-"] = missed.get(first[0] if first else "-", 0) + 1
    return {
        "found": len(found) / len(told),
        "said": len(firsts) / len(found) if found else None,
        "top1": _share([bool(names & set(first[:1])) for first in firsts]),
        "top3": _share([bool(names & set(first)) for first in firsts]),
        "onset_error": statistics.median(abs(o.pair - true) for o, true in dated) if dated else None,
        "covered": _share([o.low <= true <= o.high for o, true in dated]),
        "width": statistics.median(o.high - o.low + 1 for o, _ in dated) if dated else None,
        "instead": missed,
    }


def _share(flags: list[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None


def oracle(
    edit: str, share: float, noise: bool, streams: int, seed: int, half: int, read_after: int = READ_AFTER
) -> float | None:
    """Return the median onset error of one who is told the feature and its rates before and after, and sees signs.

    What no method that reads signs can be expected to beat; over the streams that alarmed, read at the same time.
    """
    name = min(EDITS[edit].names)
    place = INDEX[f"label:{free_slot(name[6:])}" if name.startswith("label:") else name]
    seen = []
    for number in [2 * (seed + i) + half for i in range(streams)]:
        verdict, onset = judge(edit, share, noise, number, read_after)
        if verdict.alarm_at is not None and verdict.alarm_at >= onset:
            pairs = list(islice(stream(edit, share, noise, number)[0], verdict.pairs))
            moved = [int(vector.candidate[place]) - int(vector.control[place]) for vector in pairs]
            seen.append((np.sign(moved), onset, verdict.alarm_at))
    if not seen:
        return None
    before = np.concatenate([signs[: onset - 1] for signs, onset, _ in seen])
    after = np.concatenate([signs[onset - 1 :] for signs, onset, _ in seen])
    rates = [[max(float(np.mean(part == sign)), 1e-3) for part in (before, after)] for sign in (-1, 0, 1)]
    gains = np.array([np.log(new / old) for old, new in rates])
    errors = []
    for signs, onset, alarm_at in seen:
        score = np.cumsum(gains[signs + 1][::-1])[::-1][:alarm_at]
        errors.append(abs(int(np.argmax(score)) + 1 - onset))
    return statistics.median(errors)


TARGETS = (("top1", 0.9), ("top3", 0.98), ("covered", 0.9))


def main() -> None:
    """Print every cell, then how many of the cells with at least half alarms meet each target."""
    numbers = [int(argument) for argument in sys.argv[1:] if argument.isdigit()]
    streams, seed = (*numbers, 40, 0)[:2] if len(numbers) != 1 else (numbers[0], 0)
    half = TUNED if "--tuned" in sys.argv else REPORTED
    read_after = 0 if "--at-alarm" in sys.argv else READ_AFTER
    rows = run(streams, seed, half, read_after)
    print(
        f"{'edit':14s} share noise found  said top-1 top-3 onset error  90 % set covers (pairs)  named first instead"
    )
    for row in rows:
        shown = [
            f"{row[name]:5.2f}" if row[name] is not None else "    -"
            for name in ("found", "said", "top1", "top3")
        ]
        error = "-" if row["onset_error"] is None else f"{row['onset_error']:g}"
        covered = "-" if row["covered"] is None else f"{row['covered']:.2f} ({row['width']:g})"
        noise = "yes" if row["noise"] else "no"
        print(
            f"{row['edit']:14s} {row['share']:5.1f} {noise:5s} {' '.join(shown)} {error:>11s}  {covered:>23s}  "
            f"{row['instead'] or ''}"
        )
    judged = [row for row in rows if row["found"] >= 0.5]
    print(f"a cause is said in {statistics.mean(row['said'] for row in judged):.3f} of the alarms")
    for name, target in TARGETS:
        met = sum(row[name] is None or row[name] >= target for row in judged)
        mean = statistics.mean(row[name] for row in judged if row[name] is not None)
        print(f"{name:12s} mean {mean:.3f}; {met} of {len(judged)} cells at the target {target}")
    met = sum(row["onset_error"] <= 2 for row in judged)
    print(f"onset error  {met} of {len(judged)} cells at a median of at most 2 pairs")
    for row in judged:
        if row["onset_error"] > 2 and row["edit"] != "wording":  # which has no signs
            best = oracle(row["edit"], row["share"], row["noise"], streams, seed, half, read_after)
            print(
                f"             {row['edit']} {row['share']}, noise: {row['onset_error']:g}; an oracle's: {best:g}"
            )


if __name__ == "__main__":
    main()
