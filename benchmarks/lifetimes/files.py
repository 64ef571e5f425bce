"""Ledgers that others hold, that many processes make at once, and processes that are killed amid their work."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.lifetimes.forks import found_in

from promptguard.testing import FakeProvider

STARTED = """
import pathlib, sys, time, logging
logging.disable(50)
import openai, promptguard
from benchmarks.lifetimes.forks import wrapped, ask
"""

LOCKED = (
    STARTED
    + """
url, *ledgers = sys.argv[1:]
clients = [wrapped(url, pathlib.Path(ledger)) for ledger in ledgers]
for client in clients:
    ask(client, "one")
print(time.time(), flush=True)
"""
)


def locked(count: int = 5) -> float:
    """Return the seconds that a process takes to end that uses `count` ledgers which another holds."""
    place = Path(tempfile.mkdtemp())
    with (
        FakeProvider({"gpt-4": lambda _: "fine", "other": lambda _: "fine"}) as provider,
        contextlib.ExitStack() as held,
    ):
        ledgers = [place / str(number) for number in range(count)]
        for ledger in ledgers:
            ledger.mkdir()
            connection = held.enter_context(contextlib.closing(sqlite3.connect(ledger / "ledger.sqlite3")))
            connection.execute("BEGIN EXCLUSIVE")
        ran = subprocess.run(
            [sys.executable, "-c", LOCKED, provider.url, *map(str, ledgers)],
            capture_output=True,
            text=True,
            check=True,
        )
        took = time.time() - float(ran.stdout)
    print(f"{count} locked ledgers: the process ends within {took:.2f} s", flush=True)
    return took


AT_ONCE = (
    STARTED
    + """
import random
url, ledger, start = sys.argv[1:]
wrapped(url, pathlib.Path(ledger + "-first")).close()  # what is imported by then is not measured
time.sleep(max(0.0, float(start) - time.time()))
began = time.monotonic()
client = wrapped(url, pathlib.Path(ledger))
took = time.monotonic() - began
cache = client._client._transport._promptguard_ports.cache
while cache._reading is None and time.monotonic() - began < 30:
    time.sleep(0.005)
print(took, time.monotonic() - began)
"""
)


def at_once(count: int = 8) -> tuple[float, float]:
    """Return the longest wrap(), and the longest until a cache on disk was there, of processes that make one ledger."""
    ledger = Path(tempfile.mkdtemp()) / "ledger"
    with FakeProvider({"gpt-4": lambda _: "fine", "other": lambda _: "fine"}) as provider:
        start = time.time() + 12.0
        command = [sys.executable, "-c", AT_ONCE, provider.url, str(ledger), str(start)]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
        told = [each.communicate()[0].split() for each in running]
    wraps, caches = max(float(each[0]) for each in told), max(float(each[1]) for each in told)
    print(
        f"{count} processes on a new ledger: wrap() {wraps:.2f} s at most, cache on disk {caches:.2f} s",
        flush=True,
    )
    return wraps, caches


CRASHING = (
    STARTED
    + """
import itertools, os
url, ledger = sys.argv[1:]
client = wrapped(url, pathlib.Path(ledger))
for number in itertools.count():
    ask(client, f"{os.getpid()} {number}")
"""
)


def crashes(times: int = 20, seconds: float = 4.0) -> tuple[int, int]:
    """Return how many paid second answers are in the ledger, and how many were paid for, of processes that are killed."""
    ledger = Path(tempfile.mkdtemp()) / "ledger"
    with FakeProvider({"gpt-4": lambda _: "fine", "other": lambda _: "fine"}) as provider:
        for _ in range(times):
            running = subprocess.Popen([sys.executable, "-c", CRASHING, provider.url, str(ledger)])
            time.sleep(seconds)
            running.send_signal(signal.SIGKILL)
            running.wait()
        paid = provider.asked("other")
        survived, integrity = found_in(ledger)
    print(
        f"{times} crashes amid work: {survived} of {paid} paid second answers survive, ledger {integrity}",
        flush=True,
    )
    return survived, paid
