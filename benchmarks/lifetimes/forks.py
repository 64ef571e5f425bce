"""Forks amid transactions, and servers that fork their workers after wrapping: no hang, no damage, no pair lost."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import openai

import promptguard

SERVE = """
import sys
from promptguard.testing import FakeProvider
provider = FakeProvider({"gpt-4": lambda _: "fine", "other": lambda _: "fine"}).start()
print(provider.url, flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def provider_elsewhere() -> Iterator[str]:
    """Serve in a process of its own, which no fork slows down; yields its address."""
    serving = subprocess.Popen(
        [sys.executable, "-c", SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert serving.stdout is not None
    assert serving.stdin is not None
    try:
        yield serving.stdout.readline().strip()
    finally:
        serving.stdin.close()
        serving.wait(10.0)


HANGS = 20.0
"""Seconds after which a child counts as hanging."""


def wrapped(url: str, ledger: Path) -> openai.OpenAI:
    """Return a client whose calls are all paired."""
    budget = promptguard.Budget(calls_per_minute=None)
    return promptguard.wrap(
        openai.OpenAI(base_url=url, api_key="k", max_retries=0),
        ledger=ledger,
        cache="disk",
        shadow=promptguard.Shadow(model="other", sample=1.0, repeat=0.0, budget=budget, queue=2000),
    )


def ask(client: openai.OpenAI, text: str) -> float:
    """Ask one question; returns the seconds it took."""
    began = time.monotonic()
    client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": text}])
    return time.monotonic() - began


def found_in(ledger: Path) -> tuple[int, str]:
    """Return the compared pairs of a ledger, and what SQLite says of its file."""
    with contextlib.closing(sqlite3.connect(ledger / "ledger.sqlite3")) as connection:
        pairs = connection.execute("SELECT count(*) FROM pair WHERE outcome = 'compared'").fetchone()[0]
        return int(pairs), str(connection.execute("PRAGMA integrity_check").fetchone()[0])


def _child(client: openai.OpenAI, number: int, calls: int, wants_pairs: bool) -> None:
    """Make calls in a forked child and leave as a worker does, its calls paired."""
    first = ask(client, f"child {number} first")
    for each in range(calls - 1):
        ask(client, f"child {number} {each}")
    done = promptguard.flush(HANGS - 5.0) if wants_pairs else True
    os.write(_REPORT[1], f"{first:.4f} {done}\n".encode())


_REPORT = (0, 0)


def _run_children(
    client: openai.OpenAI, count: int, calls: int, wants_pairs: bool
) -> tuple[list[float], int, int]:
    """Fork `count` children, one after another; returns first calls' seconds, children that hung, unflushed ones."""
    global _REPORT  # noqa: PLW0603 - the children write there
    _REPORT = os.pipe()
    hung = 0
    for number in range(count):
        pid = os.fork()
        if pid == 0:
            signal.alarm(int(HANGS))
            code = 1
            try:
                _child(client, number, calls, wants_pairs)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        hung += os.waitstatus_to_exitcode(status) != 0
    os.close(_REPORT[1])
    with os.fdopen(_REPORT[0]) as told:
        lines = [line.split() for line in told]
    return [float(first) for first, _ in lines], hung, sum(done != "True" for _, done in lines)


def forks(count: int = 200, calls: int = 2) -> bool:
    """Fork while threads call and the ledger is written all the time; print figures, return whether all is well."""
    with provider_elsewhere() as url:
        bare = openai.OpenAI(base_url=url, api_key="k", max_retries=0)
        bare_first, _, _ = _run_children(bare, min(count, 50), calls, wants_pairs=False)
        ledger = Path(tempfile.mkdtemp()) / "ledger"
        # The parent calls through another client: a connection that both sides of a fork use is the SDK's own trouble.
        client, parents = wrapped(url, ledger), wrapped(url, ledger)
        # The SDK's first call of all takes locks of Python's own (platform.uname): a fork amid it hangs without us, too.
        over, asked = threading.Event(), [ask(parents, "first of all")]

        def keep_busy(number: int) -> None:
            while not over.is_set():
                asked.append(ask(parents, f"parent {number} {len(asked)}"))
                time.sleep(0.03)

        threads = [threading.Thread(target=keep_busy, args=(number,)) for number in range(2)]
        [thread.start() for thread in threads]
        first, hung, unflushed = _run_children(client, count, calls, wants_pairs=True)
        over.set()
        [thread.join() for thread in threads]
        flushed = promptguard.flush(60.0)
        pairs, integrity = found_in(ledger)
    expected = count * calls + len(asked)
    slower = (
        sorted(first)[int(0.99 * (len(first) - 1))] - sorted(bare_first)[int(0.99 * (len(bare_first) - 1))]
    )
    print(
        f"{count} forks: hung or failed {hung}, unflushed children {unflushed}, pairs {pairs} of {expected}, "
        f"ledger {integrity}, parent flushed {flushed}; first call of a child, p99: wrapped {max(first):.3f} s at most, "
        f"{slower:+.3f} s over bare",
        flush=True,
    )
    return hung == 0 and pairs == expected and integrity == "ok" and slower <= 0.1


APPLICATION = """
import os, pathlib
from benchmarks.lifetimes.forks import wrapped
import openai
url, ledger = os.environ["PROVIDER"], os.environ.get("LEDGER")
def made():
    return wrapped(url, pathlib.Path(ledger)) if ledger else openai.OpenAI(base_url=url, api_key="k", max_retries=0)
# Another client: workers that share a connection of the master's would read each other's answers, wrapped or not.
loading, client = made(), made()
loading.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "while it loads"}])
def app(environ, start_response):
    text = environ["QUERY_STRING"]
    answer = client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": text}])
    start_response("200 OK", [("content-type", "text/plain")])
    return [answer.choices[0].message.content.encode()]
"""


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _requested(port: int, count: int) -> tuple[list[float], int]:
    """Send requests from four threads; returns their seconds and how many failed."""
    took: list[float] = []
    failed: list[str] = []

    def send(thread: int) -> None:
        for number in range(count // 4):
            began = time.monotonic()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/?{thread}-{number}", timeout=HANGS).read()
            except OSError as error:
                failed.append(str(error))
            took.append(time.monotonic() - began)

    threads = [threading.Thread(target=send, args=(thread,)) for thread in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return took, len(failed)


def _served(
    command: list[str], environment: dict[str, str], port: int, requests: int
) -> tuple[list[float], int, float]:
    """Start a server, send requests, end it in order; returns their seconds, failures, and the seconds of the end."""
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 30.0
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
                break
            time.sleep(0.02)
        took, failed = _requested(port, requests)
        time.sleep(1.0)
    finally:
        began = time.monotonic()
        server.terminate()
        server.wait(30.0)
    return took, failed, time.monotonic() - began


def gunicorn(starts: int = 100, requests: int = 120) -> bool:
    """Start `gunicorn --preload -w 4` again and again; print figures, return whether all is well."""
    if importlib.util.find_spec("gunicorn") is None:
        raise SystemExit("gunicorn is not installed: pip install gunicorn")
    damaged = lost = failures = 0
    all_took: dict[bool, list[float]] = {True: [], False: []}
    last_end = 0.0
    place = Path(tempfile.mkdtemp())
    (place / "served_application.py").write_text(APPLICATION)
    with provider_elsewhere() as url:
        for number in range(starts):
            for ledger in (None, place / f"ledger{number}"):
                port = _free_port()
                environment = {**os.environ, "PROVIDER": url, "PYTHONPATH": f"{place}:{Path.cwd()}"}
                if ledger is not None:
                    environment["LEDGER"] = str(ledger)
                command = [
                    sys.executable,
                    "-m",
                    "gunicorn",
                    "--preload",
                    "-w",
                    "4",
                    "-b",
                    f"127.0.0.1:{port}",
                ]
                took, failed, end = _served([*command, "served_application:app"], environment, port, requests)
                all_took[ledger is not None] += took
                if ledger is None:
                    continue
                failures, last_end = failures + failed, max(last_end, end)
                pairs, integrity = found_in(ledger)
                damaged += integrity != "ok" or bool(list(ledger.glob("*.damaged-*")))
                lost += requests + 1 - pairs
    told = {}
    for is_wrapped, took in all_took.items():
        ordered = sorted(took)
        told[is_wrapped] = ordered[-1], ordered[int(0.99 * (len(ordered) - 1))]
    print(
        f"{starts} starts of gunicorn --preload -w 4, {requests} requests each: failed {failures}, damaged ledgers "
        f"{damaged}, pairs lost {lost}; slowest request {told[True][0]:.3f} s, bare {told[False][0]:.3f} s; p99 "
        f"{told[True][1]:.3f} s, bare {told[False][1]:.3f} s; longest end {last_end:.1f} s",
        flush=True,
    )
    return not (damaged or lost or failures) and told[True][0] <= told[False][0] + 0.1
