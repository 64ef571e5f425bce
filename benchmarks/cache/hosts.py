"""Two hosts and one server of Valkey: how many of their equal calls go upstream, and what a server that dies costs a call.

Each host is a process with a ledger of its own; the provider and the server are on loopback.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

import promptguard
from promptguard.testing import FakeProvider, Question, Served

SECRET = "a secret that both hosts know"
THREADS = 50
BODY = {"model": "gpt-4", "messages": [{"role": "user", "content": "the same"}]}


@dataclass
class Figures:
    """What a campaign found."""

    calls: int = 0
    upstream: int = 0
    wrong: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.calls} equal calls of two processes: {self.upstream} upstream, {self.wrong} wrong answers, "
            f"{self.seconds:.1f} s"
        )


def equal_calls(count: int, url: str, place: Path) -> Figures:
    """Have two processes ask one question `count` times together, beginning at the same moment."""
    figures = Figures(calls=count)
    with FakeProvider({"gpt-4": lambda question: Served(f"said {question.text}", delay=1.0)}) as provider:
        environment = {**os.environ, "PROMPTGUARD_SECRET": SECRET}
        hosts = [
            subprocess.Popen(
                [sys.executable, "-m", __name__, provider.url, url, str(place / f"ledger{number}"), str(count // 2)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
            )
            for number in range(2)
        ]  # fmt: skip
        for host in hosts:
            assert host.stdout is not None
            assert host.stdout.readline() == "ready\n"
        began = time.monotonic()
        for host in hosts:
            assert host.stdin is not None
            host.stdin.write("\n")
            host.stdin.flush()
        for host in hosts:
            answered, wrong = json.loads(host.communicate(timeout=300)[0])
            figures.wrong += wrong + (count // 2 - answered)
        figures.seconds = time.monotonic() - began
        figures.upstream = provider.asked("gpt-4")
    return figures


def _host(provider: str, url: str, ledger: str, count: int) -> None:
    client = promptguard.guard(
        httpx.Client(timeout=120), cache=promptguard.Cache("redis", url=url), ledger=ledger
    )
    cache = client._transport._promptguard_ports.cache
    while cache._reading is None:
        time.sleep(0.01)
    print("ready", flush=True)
    sys.stdin.readline()
    found: list[bool] = []

    def ask() -> None:
        for _ in range(count // THREADS):
            answer = client.post(f"{provider}/chat/completions", json=BODY).json()
            found.append(answer["choices"][0]["message"]["content"] == "said the same")

    running = [threading.Thread(target=ask) for _ in range(THREADS)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    print(json.dumps([len(found), found.count(False)]), flush=True)


@dataclass
class Waits:
    """What calls took, in milliseconds: with no cache, and with one whose server is as `how` says."""

    how: str
    without: list[float]
    with_server: list[float]
    failed: int = 0

    @property
    def added(self) -> float:
        """Return the most that a call took longer than the slowest without a cache."""
        return max(self.with_server) - max(self.without)

    def __str__(self) -> str:
        return (
            f"server {self.how}: {len(self.with_server)} calls, {_told(self.with_server)}; without a cache "
            f"{_told(self.without)}; at most {max(0.0, self.added):.0f} ms more, {self.failed} failed"
        )


def _told(times: list[float]) -> str:
    ordered = sorted(times)
    return f"{ordered[len(ordered) // 2]:.1f} ms (p99 {ordered[int(0.99 * len(ordered))]:.1f}, most {ordered[-1]:.1f})"


def with_server(how: str, act: object, count: int, url: str, place: Path) -> Waits:
    """Make `count` different calls one after the other; after a tenth of them `act` is done to the server."""
    assert callable(act)

    def said(question: Question) -> str:
        return f"said {question.text}"

    with FakeProvider({"gpt-4": said}) as provider:
        bare = httpx.Client(timeout=30)
        client = promptguard.guard(
            httpx.Client(timeout=30), cache=promptguard.Cache("redis", url=url), ledger=place
        )
        cache = client._transport._promptguard_ports.cache
        deadline = time.monotonic() + 10
        while cache._reading is None and time.monotonic() < deadline:
            time.sleep(0.01)
        waits = Waits(how, [], [])
        for number in range(count):
            if number == count // 10:
                act()
            body = {**BODY, "messages": [{"role": "user", "content": str(number)}]}
            for times, asking in ((waits.without, bare), (waits.with_server, client)):
                began = time.perf_counter()
                answer = asking.post(f"{provider.url}/chat/completions", json=body)
                times.append(1000 * (time.perf_counter() - began))
                waits.failed += answer.json()["choices"][0]["message"]["content"] != f"said {number}"
        cache.close()
    return waits


if __name__ == "__main__":
    _host(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
