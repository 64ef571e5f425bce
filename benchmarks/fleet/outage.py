"""The database is away for minutes amid traffic: what callers notice, beside the same application whose database is up.

Two applications run side by side, each a process with a database server of its own, so that whatever else the machine does
happens to both.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fleet.telling import told
from tests.fleet.servers import Server

from promptguard.ledger.store import Ledger
from promptguard.testing import FakeProvider

CALLS_A_SECOND = 20
MOST = 1.10
"""What the p99 of callers may be times that beside a database which is up."""

APPLICATION = """
import json, sys, threading, time
import promptguard
from openai import OpenAI
url, address, every = sys.argv[1], sys.argv[2], float(sys.argv[3])
budget = promptguard.Budget(calls_per_minute=None)
client = promptguard.wrap(
    OpenAI(base_url=url, api_key="k", max_retries=0), ledger=address,
    shadow=promptguard.Shadow(model="n", sample=1.0, repeat=0.0, budget=budget),
)
stop, begins = threading.Event(), time.monotonic()
threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
number = failed = 0
while not stop.is_set():
    due = begins + number * every
    time.sleep(max(0.0, due - time.monotonic()))
    began = time.perf_counter()
    try:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": f"ask {number}"}])
    except Exception as error:
        failed += 1
        print(repr(error), file=sys.stderr)
    print(json.dumps([time.time(), time.perf_counter() - began]), flush=True)
    number += 1
print(json.dumps({"failed": failed, "flushed": promptguard.flush(90)}), flush=True)
"""


@dataclass(frozen=True)
class Seen:
    """What an application saw: (when, seconds) of each call, how many failed, whether all was written in the end."""

    calls: list[tuple[float, float]]
    failed: int
    flushed: bool

    def p99(self, since: float, until: float) -> tuple[float, float, float]:
        """Return median, p99 and the slowest call of a time, in seconds."""
        waits = sorted(took for at, took in self.calls if since <= at < until)
        return statistics.median(waits), waits[int(0.99 * len(waits))], waits[-1]


def answered(_: object) -> str:
    time.sleep(0.05)
    return "Yes."


def application(url: str, address: str, place: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", APPLICATION, url, address, str(1 / CALLS_A_SECOND)],
        stdin=subprocess.PIPE, stdout=(place / "out").open("w"), stderr=(place / "err").open("w"), text=True,
        env={**os.environ, "PROMPTGUARD_LOCAL": str(place / "local")},
    )  # fmt: skip


def ended(process: subprocess.Popen[str], place: Path) -> Seen:
    process.communicate("\n", timeout=300)
    *calls, last = map(json.loads, (place / "out").read_text().splitlines())
    return Seen([(at, took) for at, took in calls], last["failed"], last["flushed"])


def outage(seconds: float) -> bool:
    """Stop one of two servers for `seconds`, kill it again as it is back; returns whether callers noticed nothing."""
    servers, before = [Server(is_safe=True) for _ in range(2)], min(60.0, seconds)
    models = dict.fromkeys(("m", "n"), answered)
    with FakeProvider(models) as provider, tempfile.TemporaryDirectory() as made:
        addresses = [each.url(each.database()) for each in servers]
        places = [Path(made) / name for name in ("up", "away")]
        for place in places:
            place.mkdir()
        for address in addresses:
            Ledger(address).open()
        running = [
            application(provider.url, address, place)
            for address, place in zip(addresses, places, strict=True)
        ]
        began = time.time()
        time.sleep(before)
        servers[1].stop("immediate")
        away = time.time()
        most = 0
        while time.time() < away + seconds:
            time.sleep(min(5.0, seconds / 10))
            most = max(most, sum(each.stat().st_size for each in (places[1] / "local").rglob("*.pairs")))
        back = time.time()
        servers[1].start()
        time.sleep(before / 2)
        servers[1].stop("immediate")
        servers[1].start()
        time.sleep(before / 2)
        up, hit = (ended(process, place) for process, place in zip(running, places, strict=True))
        found = [Ledger(address).pairs_after(0, 10**6) for address in addresses]
        for server in servers:
            server.close()
    good = up.failed == hit.failed == 0 and hit.flushed
    told(
        f"database away for {seconds:.0f} s: calls, that failed",
        f"{len(hit.calls)}, {hit.failed}",
        "0 failed",
    )
    for name, since, until in (
        ("before", began + 5, away),
        ("away", away, back),
        ("back, killed once", back, time.time()),
    ):
        (mine, p99, slowest), (theirs, other, its) = hit.p99(since, until), up.p99(since, until)
        told(
            f"  {name}: p50, p99, slowest (ms)",
            f"{1e3 * mine:.1f}, {1e3 * p99:.1f}, {1e3 * slowest:.0f}",
            f"up all along {1e3 * theirs:.1f}, {1e3 * other:.1f}, {1e3 * its:.0f}: p99 x{p99 / other:.2f}, target {MOST}",
        )
        good &= name != "away" or p99 / other <= MOST
    compared = [row.call for row in found[1] if row.outcome == "compared"]
    twice = len(compared) - len(set(compared))
    told(
        "  pairs compared, there twice, rows in all",
        f"{len(compared)}, {twice}, {len(found[1])}",
        f"up: {len(found[0])}",
    )
    told("  waiting on disk at most", f"{most:,} bytes", "64 MiB")
    rows = {row.call for row in found[1] if row.at < away - 5}
    lost = [row.call for row in found[0] if row.at < away - 5 and row.call not in rows and row.call < 100]
    told("  calls of before without a row", str(len(lost)), "0")
    return good and not twice and len(found[1]) == len(hit.calls)
