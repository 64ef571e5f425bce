"""What the detector costs: `python benchmarks/detector_cost.py [pairs]`. Prints each figure beside its target.

Times are the best of several runs of CPU time in this process; memory is what tracemalloc sees. `pairs` (default
1,000,000) is the length of the stream that has to be folded in constant memory.
"""

from __future__ import annotations

import gc
import json
import random
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable
from itertools import cycle, islice
from pathlib import Path

from promptguard.demo.recordings import FAMILIES, TASKS, Recordings
from promptguard.drift import Answer, PairMonitor, PairVector, vectorise

GROUPS = 10
PAIRS = 575
"""as many as can be held row by row, and then some: a group is never larger before an alarm"""
FILE_PAIRS, FILE_TEXT = 1000, 2048
PATHS, IDS = 49, 5
"""of a JSON answer: as many as a group tells apart, some of them ids that are new each time"""


def answers(task: str, family: str) -> list[tuple[Answer, Answer]]:
    recordings = Recordings(task)
    _, before, after = FAMILIES[family]
    return [
        (Answer(recordings.answer(question, before).text), Answer(recordings.answer(question, after).text))
        for question in recordings.questions
    ]


def ordinary(count: int) -> list[tuple[str, str]]:
    """Pairs of 2 KB texts, cut from recorded answers end to end."""
    text = " ".join(first.text for first, _ in answers("prime", "gpt-4"))
    places = range(0, len(text) - 2 * FILE_TEXT, 97)
    return [
        (text[at : at + FILE_TEXT], text[at + FILE_TEXT : at + 2 * FILE_TEXT])
        for at in islice(cycle(places), count)
    ]


def documents(count: int) -> list[PairVector]:
    """Pairs of JSON answers of PATHS paths, a tenth of whose values differ."""
    rng = random.Random(0)

    def document() -> dict[str, object]:
        ids = {f"id_{number}": f"{rng.getrandbits(48):x}" for number in range(IDS)}
        rest = range(IDS, PATHS)
        return ids | {f"field_{at}": rng.randint(1, 5) if at % 3 else rng.choice("abcd") for at in rest}

    found = []
    for _ in range(count):
        first, other = document(), document()
        second = {key: other[key] if rng.random() < 0.1 else value for key, value in first.items()}
        found.append(vectorise(Answer(json.dumps(first)), Answer(json.dumps(second))))
    return found


def best(work: Callable[[], object], runs: int = 7) -> float:
    times = []
    for _ in range(runs):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)


def observing(vectors: list[PairVector], groups: Iterable[str]) -> float:
    """Return microseconds a pair."""
    monitor = PairMonitor()
    names = list(islice(cycle(groups), len(vectors)))
    for vector, name in zip(vectors, names, strict=True):
        monitor.observe(vector, name)

    def fold() -> None:
        for vector, name in zip(vectors, names, strict=True):
            monitor.observe(vector, name)

    return best(fold) / len(vectors) * 1e6


def featuring(pairs: list[tuple[Answer, Answer]]) -> float:
    """Return microseconds a KB (1,024 characters) of answer."""
    size = sum(len(first.text) + len(second.text) for first, second in pairs) / 1024
    return best(lambda: [vectorise(first, second) for first, second in pairs]) / size * 1e6


def memory(vectors: list[PairVector], mode: str, pairs: int) -> tuple[float, float]:
    """Return KB a group in memory and in JSON, from the difference that ten more groups make."""
    sizes = []
    for groups in (1, 1 + GROUPS):
        gc.collect()
        tracemalloc.start()
        monitor = PairMonitor(alpha=1e-300 if mode == "quiet" else 0.01)
        for number in range(pairs):
            for group in range(groups):
                monitor.observe(vectors[(number * groups + group) % len(vectors)], f"group {group}")
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        sizes.append((held, len(json.dumps(monitor.state_dict()))))
    # the first group shares its memory with the whole until there is a second
    return tuple((many - one) / 1024 / (GROUPS + 1) for one, many in zip(*sizes, strict=True))


def million(vectors: list[PairVector], pairs: int) -> list[tuple[int, float, float]]:
    """Return (pairs, KB in memory, KB of JSON) at a few lengths of one stream."""
    told, coins = [], random.Random(0)
    gc.collect()
    tracemalloc.start()
    monitor = PairMonitor(alpha=0.01, mode="monitor", horizon=10**9)
    for number, vector in enumerate(islice(cycle(vectors), pairs), 1):
        monitor.observe(vector if coins.random() < 0.5 else vector.swapped())
        if number in (2000, pairs // 10, pairs):
            gc.collect()
            held = tracemalloc.get_traced_memory()[0] / 1024
            told.append((number, held, len(json.dumps(monitor.state_dict())) / 1024))
    tracemalloc.stop()
    return told


def analysing() -> float:
    """Return seconds of `promptguard analyze` on 1,000 pairs of 2 KB texts, start included."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pairs.jsonl"
        rows = [{"control": {"text": a}, "candidate": {"text": b}} for a, b in ordinary(FILE_PAIRS)]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        times = []
        for _ in range(5):
            began = time.perf_counter()
            command = [sys.executable, "-m", "promptguard", "analyze", str(file)]
            subprocess.run(command, check=False, capture_output=True)
            times.append(time.perf_counter() - began)
    return min(times)


def show(name: str, value: float, unit: str, target: float) -> None:
    print(f"{name:58s} {value:8.1f} {unit:9s} target {target:g}  {'met' if value <= target else 'MISSED'}")


def main() -> None:
    prime = [vectorise(first, second) for family in FAMILIES for first, second in answers("prime", family)]
    show("observe, one group", observing(prime, ["one"]), "us/pair", 60)
    show("observe, 20 groups in turn", observing(prime, [f"group {n}" for n in range(20)]), "us/pair", 60)
    structured = documents(400)
    show(f"observe, JSON of {PATHS} paths", observing(structured, ["one"]), "us/pair", 120)
    for task in TASKS:
        for family in FAMILIES:
            show(f"features of {task}, {family}", featuring(answers(task, family)), "us/KB", 150)
    texts = [(Answer(first), Answer(second)) for first, second in ordinary(300)]
    show("features of 2 KB of ordinary text", featuring(texts), "us/KB", 150)
    prose = [vectorise(first, second) for family in FAMILIES for first, second in answers("leetcode", family)]
    for what, vectors, most in (("", prose, 32), (f" of {PATHS} paths", structured, 64)):
        held, state = memory(vectors, "quiet", PAIRS)
        show(f"memory of a group{what} after {PAIRS} pairs, no alarm", held, "KB", most)
        print(f"{'its state as JSON':58s} {state:8.1f} KB")
    held, state = memory(prime, "ringing", 3 * PAIRS)
    print(f"{f'memory of a group {3 * PAIRS} pairs after an alarm':58s} {held:8.1f} KB")
    print(f"{'its state as JSON':58s} {state:8.1f} KB")
    show("promptguard analyze, 1,000 pairs of 2 KB, start included", 1000 * analysing(), "ms", 1000)
    for pairs, held, state in million(prime, int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000):
        print(f"one stream after {pairs:9,d} pairs: {held:8.1f} KB in memory, {state:8.1f} KB as JSON")


if __name__ == "__main__":
    main()
