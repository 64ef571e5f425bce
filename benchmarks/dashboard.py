"""The local page over a million pairs of 500 prompts: time at the server, size, and first paint in a browser.

    python -m benchmarks.dashboard [--pairs 1000000] [--groups 500] [--directory DIR] [--no-browser]

Every page is asked for over HTTP of a server of its own, the median of 20; beside it what a file of the same size takes.
A directory that holds the ledger of an earlier run is used again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import sqlite3
import statistics
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from urllib.parse import quote

from benchmarks.ledger import WORDS, judged

from promptguard.drift import Answer, vectorise
from promptguard.ledger.store import Ledger

CHROMIUM = Path("/usr/bin/chromium")
TIMES, TARGET_MS, TARGET_KB, TARGET_PAINT = 20, 100, 200, 500
CHANGED = 12
"""prompts of all that change in the last tenth of their pairs"""
NAMES = ("stream", "epoch", "group", "at", "call", "outcome", "reason", "asked", "control_model", "candidate_model",
         "control_served", "candidate_served", "vector", "usd", "input_tokens", "output_tokens", "latency")  # fmt: skip


def fill(place: Path, pairs: int, groups: int) -> None:
    """Write 79 days of pairs, in bulk: most prompts quiet, some changed, some lost; the newest with texts."""
    ledger = Ledger(place)
    rng = random.Random(3)
    quiet, moved = _vectors(ledger.seed, rng)
    began, step = time.time() - 79.5 * 86400, 79 * 86400 / pairs
    models = ("gpt-4", "gpt-4", "gpt-4-0314", "gpt-4-0613", "gpt-4-0314")

    def row(number: int) -> tuple[object, ...]:
        group = number % groups
        changed = group % (groups // CHANGED or 1) == 3 and number > 0.9 * pairs
        lost = rng.random() < 0.01
        vector = None if lost else (moved if changed else quiet)[rng.randrange(len(quiet))]
        outcome, reason = ("dropped", "budget: calls_per_minute") if lost else ("compared", "")
        return (
            "candidate", 1, f"team-{group % 9}/prompt-{group}@{1 + group % 3}", began + number * step, number, outcome,
            reason, *models, vector, 0.001, 100, 50, 0.3 + 0.4 * rng.random(),
        )  # fmt: skip

    with contextlib.closing(sqlite3.connect(ledger.engine.path)) as database, database:
        columns, marks = ", ".join(f'"{name}"' for name in NAMES), ", ".join("?" * len(NAMES))
        database.executemany(
            f"INSERT INTO pair ({columns}) VALUES ({marks})", (row(number) for number in range(pairs))
        )
        database.execute(
            "INSERT INTO tally SELECT stream, outcome, reason, count(*), sum(usd), sum(input_tokens), sum(output_tokens),"
            " min(at), max(at) FROM pair GROUP BY stream, outcome, reason"
        )
        _beside(database, rng, pairs)


def _vectors(seed: bytes, rng: random.Random, count: int = 1500) -> tuple[list[bytes], list[bytes]]:
    def answer(low: int = 5, high: int = 60) -> Answer:
        return Answer(" ".join(rng.choices(WORDS, k=rng.randint(low, high))))

    still = [vectorise(answer(), answer(), seed=seed) for _ in range(count)]
    quiet = [each.to_bytes() for pair in still for each in (pair, pair.swapped())]
    moved = [vectorise(answer(2, 9), answer(), seed=seed).to_bytes() for _ in range(2 * count)]
    return quiet, moved


def _beside(database: sqlite3.Connection, rng: random.Random, pairs: int) -> None:
    """Texts of the newest pairs, who answered, what days cost, and what was counted."""
    now = time.time()
    texts = (
        (
            number,
            json.dumps([{"role": "user", "content": " ".join(rng.choices(WORDS, k=80))}]).encode(),
            " ".join(rng.choices(WORDS, k=200)).encode(),
            " ".join(rng.choices(WORDS, k=200)).encode(),
        )
        for number in range(max(1, pairs - 60_000), pairs + 1)
    )
    database.executemany(
        "INSERT INTO content (pair_id, question, control, candidate) VALUES (?, ?, ?, ?)", texts
    )
    hour = int(now // 3600)
    database.executemany(
        "INSERT INTO sighting (origin, asked, model, fingerprint, service_tier, region, backend, hour, first_at, last_at,"
        " calls) VALUES (?, ?, ?, ?, '', '', '', ?, ?, ?, ?)",
        [
            ("https://api.example.com", asked, served, f"fp_{(hour - back) // 400}", hour - back,
             (hour - back) * 3600.0, (hour - back) * 3600.0 + 3500, 40)
            for asked, served in (("gpt-4", "gpt-4-0613"), ("gpt-4-0314", "gpt-4-0314"), ("gpt-4o", "gpt-4o-2024-08-06"))
            for back in range(79 * 24)
        ],
    )  # fmt: skip
    days = [time.strftime("%Y-%m-%d", time.gmtime(now - back * 86400)) for back in range(80)]
    database.executemany("INSERT INTO spend VALUES (?, ?, ?)", [(day, 12_500, 12.5) for day in days])
    database.executemany(
        "INSERT INTO budget VALUES (?, 'shadow', ?, ?)", [(day, 12_500, 12.5) for day in days]
    )
    counted = {
        ("cache", "hit"): 812_000, ("cache", "miss"): 1_400_000, ("cache", "bypass: temperature above 0"): 90_000,
        ("cache saved tokens", "gpt-4: input"): 8e7, ("cache saved tokens", "gpt-4: output"): 4e7,
        ("not paired", "budget: calls_per_minute"): pairs / 100, ("not paired", "cut by length"): 4_100,
        ("not read", "no known protocol"): 320,
    }  # fmt: skip
    database.executemany(
        "INSERT INTO counter VALUES (?, ?, ?)", [(*key, value) for key, value in counted.items()]
    )


def pages(group: str) -> dict[str, str]:
    """Return the pages by name."""
    one = quote(group)
    return {
        "overview": "/",
        "overview, search": "/?q=prompt-4",
        "prompt, changed": f"/prompt?group={one}",
        "prompt, quiet": f"/prompt?group={quote('team-1/prompt-1@2')}",
        "pairs of a prompt": f"/pairs?group={one}",
        "pairs of all": "/pairs",
        "identities": "/identities",
        "cost and latency": "/cost",
        "not measured": "/unmeasured",
        "actions": "/actions",
    }


def measure(base: str, path: str) -> tuple[float, int, float, float]:
    """Return medians of a page: milliseconds with the network, bytes, milliseconds at the server, and those of CPU."""
    times, said, cpu, size = [], [], [], 0
    for _ in range(TIMES):
        began = time.perf_counter()
        with urllib.request.urlopen(base + path, timeout=60) as answer:
            size = len(answer.read())
            told = [float(each.partition("dur=")[2]) for each in answer.headers["Server-Timing"].split(",")]
            cpu.append(told[0])
            said.append(told[1])
        times.append(1e3 * (time.perf_counter() - began))
    return statistics.median(times), size, statistics.median(said), statistics.median(cpu)


def first_paint(base: str, path: str) -> float:
    """Return the milliseconds to first contentful paint in headless Chromium, the median of 5 fresh tabs."""
    from playwright.sync_api import sync_playwright

    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        for _ in range(6):
            tab = browser.new_page(viewport={"width": 1280, "height": 900})
            tab.goto(base + path)
            # asked again and again: the page's own policy lets nothing wait within it
            paint = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
            while (at := tab.evaluate(paint)) is None:
                tab.wait_for_timeout(20)
            found.append(float(at))
            tab.close()
        browser.close()
    return statistics.median(found[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--groups", type=int, default=500)
    parser.add_argument(
        "--directory", help="where the ledger is, or is made (default: a temporary directory)"
    )
    parser.add_argument("--no-browser", action="store_true")
    parser.add_argument("--only-make", action="store_true", help="make the ledger and end")
    given = parser.parse_args()
    place = Path(given.directory or tempfile.mkdtemp(prefix="promptguard-bench-"))
    if not (place / "ledger.sqlite3").exists():
        fill(place, given.pairs, given.groups)
        judged(place)
    if not given.only_make:
        _report(place, given.pairs, given.groups, browser=not given.no_browser)
    if given.directory is None:
        shutil.rmtree(place)


def _report(place: Path, pairs: int, groups: int, *, browser: bool) -> None:
    from promptguard.dashboard.serving import bound, server_of

    listening = bound("127.0.0.1", 0)
    server = server_of(str(place))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    base = f"http://127.0.0.1:{listening.getsockname()[1]}"
    while not server.started:
        time.sleep(0.02)
    began = time.perf_counter()
    urllib.request.urlopen(base + "/", timeout=60).read()
    print(f"{pairs} pairs of {groups} prompts; first request {1e3 * (time.perf_counter() - began):.0f} ms")
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{'page':22s} {'at the server':>14s} {'of it CPU':>10s} {'with the network':>17s} {'size':>9s}")
    for name, path in pages("team-3/prompt-3@1").items():
        took, size, said, cpu = measure(base, path)
        print(f"{name:22s} {said:11.1f} ms {cpu:7.1f} ms {took:14.1f} ms {size / 1e3:6.1f} kB")
    print(
        f"targets: every page {TARGET_MS} ms at the server; overview {TARGET_KB} kB; first paint {TARGET_PAINT} ms"
    )
    if browser and CHROMIUM.exists():
        for name in ("overview", "prompt, changed"):
            print(f"first paint, {name}: {first_paint(base, pages('team-3/prompt-3@1')[name]):.0f} ms")
    server.should_exit = True
    thread.join(10)


if __name__ == "__main__":
    main()
