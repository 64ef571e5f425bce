"""Eight writers on one ledger: how often an alarm rings where nothing changed, and how soon where something did.

Times are simulated: a run is a week of pairs. Answers are draws of one unchanged model at temperature 0.7
(benchmarks/data); from a change on, every fifth answer of the second model is a refusal.
"""

from __future__ import annotations

import math
import random
import statistics
import tempfile
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from benchmarks.fleet.telling import told
from tests.drift.recorded import same_model_answers
from tests.fleet.servers import Server

from promptguard.background.engine import Background
from promptguard.core.options import Drift
from promptguard.directories import ledger_place
from promptguard.drift import Answer, vectorise
from promptguard.ledger.rows import PairRow
from promptguard.ledger.store import Ledger
from promptguard.ledger.writer import Writer

WRITERS, RUNS, PAIRS = 8, 200, 200
LEVELS = (0.05, 0.01)
CHANGES, BEFORE, AFTER, SHARE = 20, 150, 200, 0.2
WEEK, START = 7 * 86_400.0, 1.7e9
REFUSAL = "I am sorry, but I cannot help with that."


@cache
def vector(prompt: int, one: int, other: int | None) -> bytes:
    draws = list(same_model_answers().values())[prompt]
    second = REFUSAL if other is None else draws[other]
    return vectorise(Answer(draws[one]), Answer(second), seed=b"s" * 16).to_bytes()


def pairs(rng: random.Random, count: int, changed: bool = False) -> list[PairRow]:
    """Return pairs of one unchanged model, or with a share of refusals on the second side."""
    sizes, found = [len(each) for each in same_model_answers().values()], []
    for number in range(count):
        prompt = rng.randrange(len(sizes))
        refuses = changed and rng.random() < SHARE
        other = None if refuses else rng.randrange(sizes[prompt])
        row: PairRow = {
            "stream": "candidate", "epoch": 1, "group": f"prompt {prompt % 5}@1", "at": START + number * WEEK / count,
            "call": number, "outcome": "compared", "reason": "", "asked": "m", "control_model": "m",
            "candidate_model": "n", "vector": vector(prompt, rng.randrange(sizes[prompt]), other),
        }  # fmt: skip
        found.append(row)
    return found


def written(address: str, rows: Sequence[PairRow]) -> None:
    """Write rows with as many writers as there are processes in a fleet, at once."""
    writers = [Writer(Ledger(address), lambda: None, print) for _ in range(WRITERS)]

    def put(place: int) -> None:
        for row in rows[place::WRITERS]:
            writers[place].put_pair(row)

    threads = [threading.Thread(target=put, args=(place,)) for place in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for writer in writers:
        assert writer.flush(600)
        writer.close(10)
        assert not writer.dropped


def alarm(place: str | Path, alpha: float, count: int) -> int | None:
    """Judge a ledger; returns how many pairs there were until its first alarm, None without one."""
    drift = Drift(alpha=alpha, split={"candidate": 1.0}, horizon=count)
    background = Background(
        ledger_place(place), drift, (), record_content=None, queue=1, threads=1, wall=lambda: START + WEEK
    )
    assert background.evaluator.flush(1800)
    background.close(10)
    ledger = Ledger(place)
    rang = [each["detail"]["pair_id"] for each in ledger.occurrences_after(0) if each["kind"] == "alarm"]
    rows = ledger.pairs_after(0, 10**6)
    assert len(rows) == count
    return sum(row.id <= rang[0] for row in rows) if rang else None


def nulls(server: Server) -> bool:
    """Judge runs on which nothing changed, at two levels."""
    good, address = True, server.url(server.database())
    for alpha in LEVELS:
        rang = 0
        for run in range(RUNS):
            place = f"{address}&schema=null{int(1000 * alpha)}_{run}"
            written(place, pairs(random.Random(run), PAIRS))
            rang += alarm(place, alpha, PAIRS) is not None
        most = RUNS * alpha + 2 * math.sqrt(RUNS * alpha * (1 - alpha))
        told(
            f"{RUNS} null runs of {PAIRS} pairs by {WRITERS} writers at {alpha}: alarms",
            str(rang),
            f"<= {most:.1f}",
        )
        good &= rang <= most
    return good


def delays(server: Server) -> bool:
    """Compare after how many pairs a change is found, written by many and by one."""
    many, one, address = [], [], server.url(server.database())
    for run in range(CHANGES):
        rng = random.Random(10_000 + run)
        before, after = pairs(rng, BEFORE), pairs(rng, AFTER, changed=True)
        place = f"{address}&schema=change{run}"
        for rows in (before, after):
            written(place, rows)
        with tempfile.TemporaryDirectory() as directory:
            Ledger(directory).write_pairs([*before, *after])
            for found, where in ((many, place), (one, directory)):
                at = alarm(where, 0.01, BEFORE + AFTER)
                found.append(math.inf if at is None else at - BEFORE)
    told(
        f"{CHANGES} changes of a fifth of answers: pairs until found, median",
        f"{statistics.median(many):.0f}", f"by one process {statistics.median(one):.0f}",
    )  # fmt: skip
    told("  not found within 200 pairs", str(many.count(math.inf)), f"by one process {one.count(math.inf)}")
    told("  more pairs than by one process, over the runs that both found", *differences(many, one))
    return math.isfinite(statistics.median(one)) and statistics.median(many) <= 1.2 * statistics.median(one)


def differences(many: Sequence[float], one: Sequence[float]) -> tuple[str, str]:
    found = sorted(a - b for a, b in zip(many, one, strict=True) if math.isfinite(a) and math.isfinite(b))
    if not found:
        return "none", "of them"
    return f"{statistics.mean(found):+.1f}", f"on average; {found[0]:+.0f} to {found[-1]:+.0f}"
