"""Many processes and threads write to one ledger while transactions are held open: each pair is read once, in one order."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from benchmarks.fleet.telling import told
from tests.fleet.pairs import judged
from tests.fleet.servers import Server
from tests.fleet.test_commit_order import WRITER, calls_of, late

from promptguard.ledger.folds import Folds
from promptguard.ledger.rows import PairRow, StoredRow
from promptguard.ledger.store import Ledger

PROCESSES, THREADS, PAIRS = 8, 8, 60
HELD_SECONDS, EVERY_SECONDS = 5.0, 1.0


def held_open(address: str, stop: threading.Event, held: list[int]) -> None:
    """Begin a transaction every second that has written a pair, and commit each five seconds later."""
    ends: list[tuple[threading.Timer, Callable[[], None]]] = []
    while not stop.is_set():
        held.append(10**6 + len(held))
        finish = late(Ledger(address), held[-1])
        ends.append((threading.Timer(HELD_SECONDS, finish), finish))
        ends[-1][0].start()
        stop.wait(EVERY_SECONDS)
    for timer, _ in ends:
        timer.join()


def order(server: Server) -> bool:
    """Attack the order of commits; returns whether no pair was lost, doubled or passed over."""
    address = server.url(server.database())
    Ledger(address).open()
    running = [
        subprocess.Popen([sys.executable, "-c", WRITER, address, str(number), str(THREADS), str(PAIRS)])
        for number in range(PROCESSES)
    ]
    folds, stop = Folds(Ledger(address)), threading.Event()
    held: list[int] = []
    holding = threading.Thread(target=held_open, args=(address, stop, held))
    holding.start()
    found: list[int] = []
    last = waits = 0
    while any(each.poll() is None for each in running) or len(held) < 10:
        rows = folds.rows_after(last, 50)
        found += [row.call for row in rows]
        last = rows[-1].id if rows else last
        waits += folds.is_held_back
    stop.set()
    holding.join()
    # who goes on where the first look left off, and who begins anew
    rest = [row.call for row in rest_of(folds, last)]
    anew = calls_of(Folds(Ledger(address)))
    everything = sorted([*range(PROCESSES * THREADS * PAIRS), *held])
    with tempfile.TemporaryDirectory() as place:
        copy = Ledger(Path(place) / "copy")
        rows = [row_of(row) for row in rest_of(Folds(Ledger(address)), 0)]
        copy.write_pairs(rows)
        same = judged(address, seconds=1800) == judged(Path(place) / "copy", seconds=1800)
    good = sorted(anew) == everything and found + rest == anew and same
    good &= all(each.returncode == 0 for each in running)
    told(
        f"{PROCESSES} processes x {THREADS} threads: pairs, held open 5 s each", f"{len(anew):,}, {len(held)}"
    )
    told("  lost, twice", f"{len(set(everything) - set(anew))}, {len(anew) - len(set(anew))}", "0, 0")
    told(
        "  passed over by who read meanwhile",
        str(len(set(anew) - set(found + rest))),
        f"0 ({waits:,} looks were held back)",
    )
    told(
        "  same order for who takes over, same verdicts as SQLite",
        f"{found + rest == anew}, {same}",
        "True, True",
    )
    return good


def rest_of(folds: Folds, last: int) -> list[StoredRow]:
    """Return all rows after one, as the evaluator reads them."""
    found: list[StoredRow] = []
    while rows := folds.rows_after(last, 500):
        found += rows
        last = rows[-1].id
    return found


def row_of(row: StoredRow) -> PairRow:
    """Return a row as another ledger takes it."""
    return {name: value for name, value in row._mapping.items() if name != "id"}  # type: ignore[return-value]
