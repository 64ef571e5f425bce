"""Many equal calls at one moment, by threads and by tasks: how many go upstream, and whether anybody is left hanging."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
from benchmarks.cache.cuts import PLAIN, URL

import promptguard

QUESTION = {"model": "gpt-4", "messages": [{"role": "user", "content": "?"}]}
PATIENCE = 120.0


@dataclass
class Figures:
    """What a campaign found."""

    calls: int = 0
    upstream: int = 0
    answered: int = 0
    failed: int = 0
    """calls that ended with an exception of their own: a leader that was cancelled or failed"""
    hung: int = 0
    longest_gap: float = 0.0
    """seconds the event loop did not come round"""
    seconds: float = 0.0

    def __str__(self) -> str:
        gap = f", loop away {1000 * self.longest_gap:.0f} ms at most" if self.longest_gap else ""
        return (
            f"{self.calls} calls: {self.upstream} upstream, {self.answered} answered, {self.failed} failed, "
            f"{self.hung} hung, {self.seconds:.1f} s{gap}"
        )


class Gate(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """A provider whose first `bad` answers are failures; none is given before everybody waits."""

    def __init__(self, bad: int = 0, how: str = "error") -> None:
        self.upstream = 0
        self.bad = bad
        self.how = how
        self.arrived = threading.Event()
        self.open = threading.Event()
        self._lock = threading.Lock()

    def _turn(self) -> int:
        with self._lock:
            self.upstream += 1
            self.arrived.set()
            return self.upstream

    def _answer(self, turn: int) -> httpx.Response:
        if turn <= self.bad and self.how == "error":
            raise httpx.ConnectError("refused")
        if turn <= self.bad and self.how == "status":
            return httpx.Response(503, content=b"busy")
        if turn <= self.bad and self.how == "exit":
            raise SystemExit(0)
        headers = {"content-type": "application/json"}
        return httpx.Response(200, headers=headers, stream=httpx.ByteStream(PLAIN))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        turn = self._turn()
        assert self.open.wait(PATIENCE)
        return self._answer(turn)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        turn = self._turn()
        if turn <= self.bad and self.how == "cancel":
            await asyncio.sleep(PATIENCE)
        while not self.open.is_set():
            await asyncio.sleep(0.01)
        return self._answer(turn)


def threads(count: int, bad: int = 0, how: str = "error", temperature: float = 0, **cache: object) -> Figures:
    """Ask one question on `count` threads at once."""
    gate, figures = Gate(bad, how), Figures(calls=count)
    client = promptguard.guard(
        httpx.Client(transport=gate, timeout=PATIENCE),
        cache=promptguard.Cache(**cache),
        ledger=_ledger(cache),
    )
    ended: list[str] = []

    def ask() -> None:
        try:
            response = client.post(URL, json={**QUESTION, "temperature": temperature})
            ended.append("fine" if response.content == PLAIN else "failed")
        except (httpx.HTTPError, SystemExit):
            ended.append("failed")

    before = threading.stack_size(256 * 1024)
    try:
        running = [threading.Thread(target=ask, daemon=True) for _ in range(count)]
        began = time.monotonic()
        for thread in running:
            thread.start()
    finally:
        threading.stack_size(before)
    while not _all_there(client, gate, count) and time.monotonic() < began + PATIENCE:
        time.sleep(0.01)
    gate.open.set()
    deadline = time.monotonic() + PATIENCE
    for thread in running:
        thread.join(max(0.0, deadline - time.monotonic()))
    figures.seconds = time.monotonic() - began
    return _counted(figures, gate, ended)


def tasks(count: int, bad: int = 0, how: str = "error", temperature: float = 0, **cache: object) -> Figures:
    """Ask one question in `count` tasks of one loop at once; with how="cancel", each bad leader is cancelled."""
    return asyncio.run(_tasks(count, bad, how, {**QUESTION, "temperature": temperature}, cache))


async def _tasks(
    count: int, bad: int, how: str, question: dict[str, object], cache: dict[str, object]
) -> Figures:
    gate, figures = Gate(bad, how), Figures(calls=count)
    client = promptguard.guard(
        httpx.AsyncClient(transport=gate, timeout=PATIENCE),
        cache=promptguard.Cache(**cache),
        ledger=_ledger(cache),
    )
    ended: list[str] = []
    body = json.dumps(question).encode()
    leaders: list[asyncio.Task[None]] = []
    turn = gate._turn

    def noted() -> int:
        leaders.append(asyncio.current_task())  # type: ignore[arg-type]
        return turn()

    gate._turn = noted  # type: ignore[method-assign]

    async def ask() -> None:
        try:
            response = await client.post(URL, content=body, headers={"content-type": "application/json"})
            ended.append("fine" if response.content == PLAIN else "failed")
        except (httpx.HTTPError, asyncio.CancelledError):
            ended.append("failed")

    began = time.monotonic()
    running = [asyncio.create_task(ask()) for _ in range(count)]
    watch = asyncio.create_task(_heartbeat(figures))
    while len(leaders) < 1:
        await asyncio.sleep(0.01)
    while not _all_there(client, gate, count) and time.monotonic() < began + PATIENCE:
        await asyncio.sleep(0.01)
    figures.longest_gap = 0.0  # starting so many tasks at once is the test's doing
    for number in range(bad if how == "cancel" else 0):
        leaders[number].cancel()
        while len(leaders) < number + 2:
            await asyncio.sleep(0.01)
    gate.open.set()
    await asyncio.wait(running, timeout=PATIENCE)
    watch.cancel()
    figures.seconds = time.monotonic() - began
    return _counted(figures, gate, ended)


def _ledger(cache: dict[str, object]) -> str:
    """Return where counts of a cache outside the process go; nothing is written for one in memory."""
    return (
        str(Path(tempfile.gettempdir()) / f"promptguard-stampede-{os.getpid()}")
        if "url" in cache
        else ".promptguard"
    )


def _all_there(client: httpx.Client | httpx.AsyncClient, gate: Gate, count: int) -> bool:
    """Whether every call is upstream or waits for one that is: then the stampede is complete."""
    shared = client._transport._promptguard_ports._single_flight  # type: ignore[union-attr]
    calls = list(shared._calls.values()) if shared is not None else []
    waiting = sum(len(call.event._cond._waiters) + sum(map(len, call.futures.values())) for call in calls)
    return gate.upstream + waiting >= count


async def _heartbeat(figures: Figures) -> None:
    last = time.perf_counter()
    while True:
        await asyncio.sleep(0.005)
        now = time.perf_counter()
        figures.longest_gap = max(figures.longest_gap, now - last - 0.005)
        last = now


def _counted(figures: Figures, gate: Gate, ended: list[str]) -> Figures:
    figures.upstream = gate.upstream
    figures.answered = ended.count("fine")
    figures.failed = ended.count("failed")
    figures.hung = figures.calls - len(ended)
    return figures
