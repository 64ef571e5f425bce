"""A ledger of a million pairs in 500 groups: folding, a restart, status, report, the file, and what calls notice of it.

    python -m benchmarks.ledger [--pairs 1000000] [--groups 500] [--directory DIR]

Each figure stands beside its target and beside a bare figure of this machine at this moment.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from promptguard.background import snapshots
from promptguard.background.acting import Acting
from promptguard.background.delivery import Delivery
from promptguard.background.evaluating import SNAPSHOT_PAIRS, Evaluator
from promptguard.core.options import Drift
from promptguard.core.policy import State
from promptguard.drift import Answer, PairMonitor, PairVector, vectorise
from promptguard.ledger.store import Ledger

WORDS = [
    "the",
    "a",
    "model",
    "answer",
    "yes",
    "no",
    "because",
    "therefore",
    "42",
    "prime",
    "number",
    "list",
    "of",
    "things",
]
VECTORS = 3000


def vectors(seed: bytes) -> list[bytes]:
    rng = random.Random(7)

    def answer() -> Answer:
        return Answer(" ".join(rng.choices(WORDS, k=rng.randint(5, 60))))

    made = [vectorise(answer(), answer(), seed=seed) for _ in range(VECTORS // 2)]
    # Each as often with its sides exchanged: nothing changed, and nothing alarms.
    return [each.to_bytes() for pair in made for each in (pair, pair.swapped())]


def fill(place: Path, pairs: int, groups: int) -> list[bytes]:
    """Write pairs as the library would have over three months, in bulk."""
    ledger = Ledger(place)
    made = vectors(ledger.seed)
    names = ("stream", "epoch", "group", "at", "call", "outcome", "reason", "asked", "control_model", "candidate_model",
             "control_served", "candidate_served", "vector", "usd", "input_tokens", "output_tokens", "latency")  # fmt: skip
    began, rng = time.time() - 80 * 86400, random.Random(3)
    step = 79 * 86400 / pairs
    models = ("gpt-4", "gpt-4", "gpt-4-0314", "gpt-4-0613", "gpt-4-0314")
    rows = (
        ("candidate", 1, f"prompt-{n % groups}@1", began + n * step, n, "compared", "", *models,
         made[rng.randrange(VECTORS)], 0.001, 100, 50, 0.5)
        for n in range(pairs)
    )  # fmt: skip
    with contextlib.closing(sqlite3.connect(ledger.engine.path)) as database, database:
        columns, marks = ", ".join(f'"{name}"' for name in names), ", ".join("?" * len(names))
        database.executemany(f"INSERT INTO pair ({columns}) VALUES ({marks})", rows)
        database.execute(
            "INSERT INTO tally SELECT stream, outcome, reason, count(*), sum(usd), sum(input_tokens), sum(output_tokens),"
            " min(at), max(at) FROM pair GROUP BY stream, outcome, reason"
        )
    return made


def evaluator(place: Path) -> Evaluator:
    ledger = Ledger(place)
    return Evaluator(
        ledger,
        Drift(),
        Acting(ledger, State(), (), time.time, Delivery(ledger, "bench", lambda *_: None)),
        holder=str(random.random()),
        emit=lambda _event: None,
        on_fault=lambda operation, error: print("fault:", operation, repr(error)),
        wall=time.time,
    )


def judged(place: Path) -> tuple[float, float]:
    """Judge everything; returns seconds on the clock and of CPU until the verdict is written."""
    this = evaluator(place)
    began, cpu = time.perf_counter(), time.process_time()
    this.start()
    assert this.flush(3600.0)
    took = time.perf_counter() - began, time.process_time() - cpu
    this.stop()
    this.join(time.monotonic() + 60.0)
    return took


def bare_fold(made: list[bytes], groups: int, pairs: int = 20_000) -> float:
    """Return microseconds of CPU that the detector alone takes for a pair."""
    read = [PairVector.from_bytes(each) for each in made]
    monitor = PairMonitor(0.004, "monitor", horizon=1000)
    for number in range(2 * groups):
        monitor.fold(read[number % VECTORS], f"g{number % groups}")
    began = time.process_time()
    for number in range(pairs):
        monitor.fold(read[number % VECTORS], f"g{number % groups}")
    return 1e6 * (time.process_time() - began) / pairs


def command(*arguments: str) -> float:
    """Return the seconds that a command takes, the quickest of five; modules are compiled, as installing a wheel does."""
    compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    times = []
    for _ in range(5):
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "promptguard", *arguments], capture_output=True, check=False, env=compiled
        )
        assert done.returncode in {0, 1, 3}, done.stderr
        times.append(time.perf_counter() - began)
    return min(times)


PROVIDER = """
import promptguard.testing, time
with promptguard.testing.FakeProvider({"m": lambda _: "fine"}) as provider:
    print(provider.url, flush=True)
    time.sleep(600)
"""


def calls_during_folds(place: Path, pairs: int, groups: int, rounds: int = 5) -> list[tuple[float, float]]:
    """Return the 99th percentile of calls, in milliseconds, with nothing to fold and while pairs are folded, each round."""
    fill(place / "busy", pairs, groups)
    provider = subprocess.Popen([sys.executable, "-c", PROVIDER], stdout=subprocess.PIPE, text=True)
    assert provider.stdout is not None
    url = provider.stdout.readline().strip()
    found = []
    for number in range(rounds):
        busy = place / f"busy-{number}"
        shutil.copytree(place / "busy", busy)
        found.append((_calls(url, place / f"quiet-{number}"), _calls(url, busy)))
    provider.kill()
    return found


CALLER = """
import os, statistics, sys, time
from openai import OpenAI
import promptguard
import contextlib

url, place, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
client = OpenAI(base_url=url, api_key="k")
promptguard.wrap(client, ledger=place, replay=promptguard.Replay(share=1e-9))  # no call is kept
times = []
until = time.perf_counter() + seconds
while time.perf_counter() < until:
    began = time.perf_counter()
    client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    times.append(time.perf_counter() - began)
print(1e3 * statistics.quantiles(times, n=100)[98], flush=True)
os._exit(0)  # it would judge everything before it ends, beside the next round
"""


def _calls(url: str, place: Path, seconds: float = 8.0) -> float:
    """Return the 99th percentile of calls one after another, in ms, by a client whose evaluator folds a ledger."""
    command = [sys.executable, "-c", CALLER, url, str(place), str(seconds)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def steady(place: Path, seconds: float = 20.0) -> tuple[float, float]:
    """Return the shares of a core that judging and saving take at a pair a second, in a ledger of many groups.

    Every group has had a pair before: the first one of each is explained anew, at some milliseconds. A snapshot of what
    changed is due once in 500 pairs; its share is what one of all groups takes, by 500 seconds.
    """
    ledger = Ledger(place)
    made = vectors(ledger.seed)
    row = {
        "stream": "candidate", "epoch": 1, "outcome": "compared", "reason": "", "asked": "gpt-4", "control_model": "gpt-4",
        "candidate_model": "gpt-4-0314",
    }  # fmt: skip
    first = [
        {**row, "group": f"prompt-{number}@1", "at": time.time(), "call": number, "vector": made[number]}
        for number in range(500)
    ]
    ledger.write_pairs(first)
    # and saved: else the snapshot of 500 groups, due once in 500 pairs, falls into these few seconds or does not
    judged(place)
    this = evaluator(place)
    this.start()
    assert this.flush(600.0)
    began, cpu = time.perf_counter(), time.process_time()
    number = 0
    while time.perf_counter() - began < seconds:
        group = f"prompt-{number % 500}@1"
        ledger.write_pairs(
            [{**row, "group": group, "at": time.time(), "call": number, "vector": made[number]}]
        )
        this.wake()
        number += 1
        time.sleep(1.0)
    share = (time.process_time() - cpu) / (time.perf_counter() - began)
    this.stop()
    this.join(time.monotonic() + 60.0)
    snapshots.mark_unsaved(this._fold)
    cpu = time.process_time()
    snapshots.parts_of(this._fold, between=lambda: None)
    return share, (time.process_time() - cpu) / SNAPSHOT_PAIRS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--groups", type=int, default=500)
    parser.add_argument("--directory", help="where to work (default: a temporary directory)")
    given = parser.parse_args()
    place = Path(given.directory or tempfile.mkdtemp(prefix="promptguard-bench-"))
    made = fill(place / "big", given.pairs, given.groups)
    print(f"{given.pairs} pairs in {given.groups} groups")
    size = (place / "big" / "ledger.sqlite3").stat().st_size / 1e9
    print(f"file                      {size:.2f} GB (target 1.1 for 10^6 pairs)")
    alone = bare_fold(made, given.groups)
    _, cpu = judged(place / "big")
    print(
        f"fold, all included        {1e6 * cpu / given.pairs:.0f} us of CPU a pair (target 120; detector alone {alone:.0f})"
    )
    restart, _ = judged(place / "big")
    print(f"restart to verdict        {restart:.2f} s (target 2)")
    nothing = command("--version")
    ledger = ("--ledger", str(place / "big"))
    status = command("status", *ledger)
    print(f"status                    {status:.2f} s (target .5; a command that does nothing {nothing:.2f})")
    report = command("report", *ledger, "-o", str(place / "report.html"))
    print(f"report                    {report:.2f} s (target 2)")
    judging, saving = steady(place / "big")
    print(
        f"judging a pair a second   {100 * (judging + saving):.1f} % of a core (target 3; {100 * saving:.1f} of it saves)"
    )
    rounds = calls_during_folds(place, 100_000, given.groups)
    times = ", ".join(f"{quiet:.2f} -> {busy:.2f}" for quiet, busy in rounds)
    ratio = statistics.median(busy / quiet for quiet, busy in rounds)
    print(
        f"p99 of calls amid a fold  x{ratio:.2f} (target 1.10; median of {len(rounds)} rounds, ms: {times})"
    )
    if given.directory is None:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
