"""A process that writes is killed a thousand times at any moment: what was acknowledged to it is there, and once.

Each is a fork of this process, so that a cycle is the writing and not the importing.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.fleet.telling import told
from tests.fleet.pairs import pair
from tests.fleet.servers import Server

from promptguard.ledger.store import Ledger
from promptguard.ledger.writer import Writer

CYCLES, LONGEST_S, APART = 1000, 0.1, 10_000


def ignored(_where: str, _error: BaseException) -> None:
    """Say nothing of a ledger that is busy: what counts is what was acknowledged."""


def write(place: str | Path, first: int, acknowledged: int) -> None:
    """Write pairs for ever, in the killed process; say after each flush how far it came."""
    writer = Writer(Ledger(place), lambda: None, ignored)
    while True:
        for _ in range(20):
            writer.put_pair(pair(first))
            first += 1
        if writer.flush(30):
            os.write(acknowledged, f"{first}\n".encode())


def cycle(place: str | Path, first: int, wait: float) -> int:
    """Start a writer, kill it `wait` seconds after its first flush; returns up to where pairs were acknowledged."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            write(place, first, writing)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading) as lines:
        line = lines.readline()
        time.sleep(wait)
        os.kill(child, signal.SIGKILL)
        told_to = [line, *lines.readlines()]
    os.waitpid(child, 0)
    return max(int(each) for each in told_to if each.endswith("\n"))


def killed(place: str | Path, name: str, cycles: int) -> bool:
    """Kill writers of a ledger; returns whether nothing was lost or doubled."""
    Ledger(place).open()
    rng, acknowledged = random.Random(cycles), set[int]()
    for number in range(cycles):
        first = number * APART
        acknowledged |= set(range(first, cycle(place, first, rng.uniform(0.0, LONGEST_S))))
        if number % 100 == 99:
            sys.stderr.write(f"{name}: {number + 1} cycles\n")
    last = Writer(Ledger(place), lambda: None, ignored)
    last.put_pair(pair(cycles * APART))
    assert last.flush(60)
    last.close(5)
    found = [row.call for row in Ledger(place).pairs_after(0, 10**7)]
    lost, twice = len(acknowledged - set(found)), len(found) - len(set(found))
    told(
        f"{cycles} kills of a writer, {name}: acknowledged, lost, twice",
        f"{len(acknowledged):,}, {lost}, {twice}",
        "0, 0",
    )
    return not lost and not twice


def kills(server: Server) -> bool:
    """Kill writers of both engines."""
    with tempfile.TemporaryDirectory() as place:
        results = [
            killed(server.url(server.database()), "PostgreSQL", CYCLES),
            killed(place, "SQLite", CYCLES),
        ]
    return all(results)
