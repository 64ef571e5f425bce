"""Who judges is killed twenty times amid pairs: how long until another one does, and whether the verdict is the same."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.fleet.telling import told
from sqlalchemy import select
from tests.fleet.pairs import judged, story
from tests.fleet.servers import Server

from promptguard.ledger import schema
from promptguard.ledger.store import Ledger

KILLS, PAIRS = 20, 40
MOST_SECONDS = 30.0

EVALUATOR = """
import sys
from promptguard.background import evaluating
evaluating.SNAPSHOT_PAIRS, evaluating.SNAPSHOT_SECONDS = 20, 0.0
from tests.fleet.pairs import background
found = background(sys.argv[1])
print(found.evaluator._lease[1], flush=True)
sys.stdin.read()
"""


class Evaluators:
    """Two processes that would judge, of which one does."""

    def __init__(self, address: str) -> None:
        self.ledger, self.address = Ledger(address), address
        self.running: dict[str, subprocess.Popen[str]] = {}
        for _ in range(2):
            self.start()

    def start(self) -> None:
        process = subprocess.Popen(
            [sys.executable, "-c", EVALUATOR, self.address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        self.running[process.stdout.readline().strip()] = process

    def active(self, besides: str = "") -> str:
        """Wait for one that has the lease, another than `besides`."""
        table = schema.lease
        query = select(table.c.holder).where(table.c.name == "evaluator")
        while True:
            with self.ledger.reading() as connection:
                holder = connection.execute(query).scalar_one_or_none()
            if holder in self.running and holder != besides:
                return str(holder)
            time.sleep(0.1)

    def end(self, holder: str) -> None:
        process = self.running.pop(holder)
        process.kill()
        process.communicate()


def takeover(server: Server) -> bool:
    """Kill who judges, again and again; returns whether another one did in time, to the same verdict."""
    address = server.url(server.database())
    ledger, rows = Ledger(address), story(PAIRS * (KILLS + 1))
    ledger.write_pairs(rows[:PAIRS])
    evaluators, waits = Evaluators(address), []
    for number in range(1, KILLS + 1):
        holder = evaluators.active()
        ledger.write_pairs(rows[PAIRS * number : PAIRS * number + PAIRS // 2])
        time.sleep(0.05 * (number % 8))  # at another moment of its work each time
        evaluators.end(holder)
        began = time.monotonic()
        ledger.write_pairs(rows[PAIRS * number + PAIRS // 2 : PAIRS * (number + 1)])
        evaluators.active(besides=holder)
        waits.append(time.monotonic() - began)
        evaluators.start()
    for holder in list(evaluators.running):
        evaluators.end(holder)
    ledger.drop_lease("evaluator", _holder(ledger))
    with tempfile.TemporaryDirectory() as place:
        Ledger(Path(place) / "whole").write_pairs(rows)
        killed, whole = judged(address, seconds=1800), judged(Path(place) / "whole", seconds=1800)
    other = sorted(each for each in killed.keys() | whole.keys() if killed.get(each) != whole.get(each))
    told(
        f"evaluator killed {KILLS} times: another one judges after (s)",
        f"{min(waits):.1f} to {max(waits):.1f}",
        "<= 30",
    )
    told(
        "  verdicts that are not the same as without a kill, to the bit", f"{len(other)} of {len(whole)}", "0"
    )
    for each in other:
        told(f"    {each}", f"{killed.get(each)!r} {whole.get(each)!r}")
    return not other and max(waits) <= MOST_SECONDS


def _holder(ledger: Ledger) -> str:
    with ledger.reading() as connection:
        return str(
            connection.execute(
                select(schema.lease.c.holder).where(schema.lease.c.name == "evaluator")
            ).scalar_one()
        )
