"""A ledger that many processes feed: what a writer, an evaluator, a server with 100 connections and a reader carry.

    python -m benchmarks.fleet capacity [--pairs 1000000] [--groups 50] [--processes 1000] [--seconds 30]

The server is a real PostgreSQL that waits for its disk, on this machine, beside what is measured. Targets stand beside
figures.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from benchmarks.fleet.telling import told
from benchmarks.ledger import vectors
from sqlalchemy import Engine
from tests.fleet.servers import Server

from promptguard.background.engine import Background
from promptguard.core.options import Drift
from promptguard.directories import Database, check_ledger, ledger_place
from promptguard.ledger.engines import postgres, postgres_connections
from promptguard.ledger.engines.postgres_connections import Connections
from promptguard.ledger.folds import Folds
from promptguard.ledger.rows import PairRow
from promptguard.ledger.store import Ledger
from promptguard.ledger.trouble import LedgerUnavailable
from promptguard.ledger.writer import Writer

VECTORS = vectors(b"s" * 16)
WRITTEN = 40_000
JUDGED = 20_000


def pair(number: int, groups: int, rng: random.Random) -> PairRow:
    return {
        "stream": "candidate", "epoch": 1, "group": f"prompt-{rng.randrange(groups)}@1", "at": 1.7e9 + number,
        "call": number, "outcome": "compared", "reason": "", "asked": "m", "control_model": "m", "candidate_model": "n",
        "vector": VECTORS[number % len(VECTORS)], "usd": 0.001, "input_tokens": 300, "output_tokens": 200, "latency": 1.0,
    }  # fmt: skip


def writing(place: str | Path, name: str, target: str) -> None:
    """Measure what one process's writer commits a second, of pairs that are handed to it as fast as it takes them."""
    ledger, rng = Ledger(place), random.Random(1)
    ledger.open()
    rows = [pair(number, 50, rng) for number in range(WRITTEN)]
    writer = Writer(ledger, lambda: None, print)
    began = time.perf_counter()
    for start in range(0, WRITTEN, 10_000):
        for row in rows[start : start + 10_000]:
            writer.put_pair(row)
        assert writer.flush(120)
    took = time.perf_counter() - began
    writer.close(5)
    assert not writer.dropped
    told(f"one writer, {name}: pairs a second", f"{WRITTEN / took:,.0f}", target)


def several_writers(address: str, count: int) -> None:
    """Measure what several processes commit a second together."""
    program = (
        "import sys, random, time\nfrom benchmarks.fleet.capacity import pair\n"
        "from promptguard.ledger.store import Ledger\n"
        "from promptguard.ledger.writer import Writer\n"
        "rng = random.Random(int(sys.argv[2]))\nrows = [pair(n, 50, rng) for n in range(10000)]\n"
        "ledger = Ledger(sys.argv[1]); ledger.open()\nwriter = Writer(ledger, lambda: None, lambda w, e: print(w, e))\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "[writer.put_pair(row) for row in rows]\nassert writer.flush(120)\nprint('done', flush=True)\n"
    )
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, address, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    for each in running:
        assert each.stdout is not None
        each.stdout.readline()
    began = time.perf_counter()
    for each in running:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()
    for each in running:
        assert each.stdout is not None
        assert each.stdout.readline().strip() == "done"
    took = time.perf_counter() - began
    for each in running:
        each.communicate()
    told(f"{count} processes write at once, PostgreSQL: pairs a second", f"{count * 10_000 / took:,.0f}")


def judging(place: str | Path, name: str, groups: int) -> None:
    """Measure how many pairs a second one evaluator folds, reads and writes out, beside nothing else."""
    ledger, rng = Ledger(place), random.Random(2)
    ledger.open()
    for start in range(0, JUDGED, 1000):
        ledger.write_pairs([pair(number, groups, rng) for number in range(start, start + 1000)])
    began, cpu = time.perf_counter(), time.process_time()
    background = Background(
        ledger_place(place), Drift(), (), record_content=None, queue=1, threads=1, wall=lambda: 1.7e9 + JUDGED
    )
    assert background.evaluator.flush(600)
    took, used = time.perf_counter() - began, time.process_time() - cpu
    background.close(10)
    figure = f"{JUDGED / took:,.0f}"
    told(
        f"one evaluator, {groups} groups, {name}: pairs a second",
        figure,
        f"({1e6 * used / JUDGED:.0f} µs of CPU a pair)",
    )


class Simulated:
    """What a wrapped process does to a database while it runs: looks for news, and now and then commits pairs.

    Its connections are its own, as they would be in a process of its own.
    """

    def __init__(self, database: Database, number: int) -> None:
        self.ledger = Ledger(database)
        own, first = Connections(database), postgres_connections.connections(database)
        # A thousand processes compile their statements on a hundred machines, not on this one: what is compiled is shared.
        made = first._sql
        own._sql = Engine(made.pool.recreate(), made.dialect, made.url, hide_parameters=True)
        own._sql._compiled_cache = made._compiled_cache
        assert isinstance(self.ledger.engine, postgres.PostgresEngine)
        self.ledger.engine._connections = own
        self.rng = random.Random(number)
        self.waits: list[float] = []
        self.refused = self.written = 0
        self.why: Counter[str] = Counter()

    def run(self, until: float, every: float) -> None:
        time.sleep(self.rng.uniform(0, every))
        number = 0
        while time.monotonic() < until:
            began = time.perf_counter()
            try:
                self.ledger.occurrences_after(0)
                self.ledger.take_lease("evaluator", str(id(self)), 0.0, 15.0)
                Folds(self.ledger).progress()
                number += 1
                self.ledger.write_pairs(
                    [pair(number, 50, self.rng)] * 5, str(id(self)), range(5 * number, 5 * number + 5)
                )
                self.written += 5
            except LedgerUnavailable as error:
                self.refused += 1
                self.why[error.trouble.kind] += 1
            self.waits.append(time.perf_counter() - began)
            time.sleep(every)


def crowd(server: Server, address: str, processes: int, seconds: float, every: float) -> None:
    """Measure whether so many processes get on with 100 connections, and how long a round of one of them takes."""
    database = check_ledger(address)
    assert isinstance(database, Database)
    Ledger(database).open()
    threading.stack_size(256 * 1024)
    each = [Simulated(database, number) for number in range(processes)]
    for one in each:
        one.ledger.open()
        one.ledger.close()
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=one.run, args=(until, every)) for one in each]
    most = 0
    with psycopg.connect(server.url("postgres", user="postgres"), autocommit=True) as looking:
        for thread in threads:
            thread.start()
        while time.monotonic() < until:
            found = looking.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'").fetchone()
            most = max(most, found[0] if found else 0)
            time.sleep(0.5)
    for thread in threads:
        thread.join()
    waits = sorted(wait for one in each for wait in one.waits)
    told(f"{processes} processes (simulated): connections at most", str(most), "< 100")
    told(
        f"  rounds (one every {every:g} s) that came to nothing",
        f"{sum(one.refused for one in each)} of {len(waits)}",
        str(dict(sum((one.why for one in each), Counter()))),
    )
    told(
        "  a round (look, lease, progress, 5 pairs): median, p99",
        f"{1e3 * statistics.median(waits):.0f} ms, {1e3 * waits[int(0.99 * len(waits))]:.0f} ms",
    )
    told("  pairs a second, all together", f"{sum(one.written for one in each) / seconds:,.0f}")


def reading(address: str, pairs: int, groups: int) -> None:
    """Measure `promptguard status` and pages on a database with so many pairs."""
    ledger, rng = Ledger(address), random.Random(3)
    ledger.open()
    began = time.perf_counter()
    for start in range(0, pairs, 5000):
        ledger.write_pairs([pair(number, groups, rng) for number in range(start, min(pairs, start + 5000))])
    told(f"filling with {pairs:,} pairs: pairs a second", f"{pairs / (time.perf_counter() - began):,.0f}")
    began = time.perf_counter()
    background = Background(
        ledger_place(address),
        Drift(),
        (),
        record_content=None,
        queue=1,
        threads=1,
        wall=lambda: 1.7e9 + pairs,
    )
    assert background.evaluator.flush(3600)
    background.close(10)
    told(
        f"judging all of them ({groups} groups): pairs a second",
        f"{pairs / (time.perf_counter() - began):,.0f}",
    )
    environment = {**os.environ, "PROMPTGUARD_LEDGER": address}
    times = [
        timed(lambda: subprocess.run(
            [sys.executable, "-m", "promptguard", "status"], env=environment, stdout=subprocess.DEVNULL, check=False
        ))
        for _ in range(5)
    ]  # fmt: skip
    told("promptguard status, the whole command", f"{statistics.median(times):.2f} s", "≤ 1 s")
    from promptguard.report.overview import read_overview
    from promptguard.report.pairs import Filter, read_pairs

    told("  the overview alone", f"{timed(lambda: read_overview(address)):.3f} s")
    told("  a page of pairs", f"{timed(lambda: read_pairs(address, Filter())):.3f} s")


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@contextmanager
def serving() -> Iterator[Server]:
    server = Server(is_safe=True)
    try:
        yield server
    finally:
        server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--groups", type=int, default=50)
    parser.add_argument("--processes", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument(
        "--every", type=float, default=15.0, help="seconds between rounds of a simulated process"
    )
    parser.add_argument("--only", default="", help="writers, judging, crowd or reading")
    given = parser.parse_args()
    with serving() as server, tempfile.TemporaryDirectory() as place:

        def fresh() -> str:
            return server.url(server.database())

        if given.only in {"", "writers"}:
            writing(Path(place) / "written", "SQLite", ">= 3,000")
            writing(fresh(), "PostgreSQL", ">= 8,000")
            several_writers(fresh(), 4)
        if given.only in {"", "judging"}:
            for groups in (1, 50, 500):
                judging(Path(place) / f"judged{groups}", "SQLite", groups)
                judging(fresh(), "PostgreSQL", groups)
        if given.only in {"", "crowd"}:
            crowd(server, fresh(), given.processes, given.seconds, given.every)
            postgres_connections._known.clear()
        if given.only in {"", "reading"}:
            reading(fresh(), given.pairs, given.groups)


if __name__ == "__main__":
    main()
