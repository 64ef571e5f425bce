"""A hard cap over four hosts that share a ledger: what was really asked, and what it did cost, counted by the provider.

Each host is a process with a directory of its own. Midway the database is killed and comes back, and so is a host.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from benchmarks.fleet.telling import told
from tests.fleet.servers import Server

from promptguard.ledger.store import Ledger
from promptguard.testing import FakeProvider, Fault, Served

HOSTS, WORKERS, MINUTE = 4, 4, 60.0
SECONDS, RATE_SECONDS = 20.0, 130.0
OUTPUT_USD = 10.0
"""USD per million tokens of answers; questions are free, so that the provider can count to the cent."""
LIMIT = 100
"""`max_tokens` of every question: what is reserved for an answer"""
IN_FLIGHT = HOSTS * WORKERS

HOST = """
import json, os, sys, time
import promptguard
from openai import OpenAI
url, address, name, budget, until = sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4]), float(sys.argv[5])
price = promptguard.Price(0.0, budget.pop("price")) if "price" in budget else None
budget = promptguard.Budget(**{"calls_per_minute": None, **budget}, price=price)
client = promptguard.wrap(
    OpenAI(base_url=url, api_key=name, max_retries=0), ledger=address,
    shadow=promptguard.Shadow(model="n", sample=1.0, repeat=0.0, budget=budget, workers=int(sys.argv[6])),
)
number = 0
while time.time() < until:
    asked = [{"role": "user", "content": f"{os.getpid()} asks {number}"}]
    client.chat.completions.create(model="m", messages=asked, max_tokens=100)
    number += 1
    time.sleep(0.02)
promptguard.flush(30)
"""


class Counted:
    """A provider that counts what the second model is asked: (when, by whom, tokens of the answer)."""

    def __init__(self, *, says_usage: bool) -> None:
        self.asked: list[tuple[float, str, int]] = []
        self._says_usage = says_usage

    def answer(self, question: object) -> Served | Fault:
        headers: Mapping[str, str] = question.headers  # type: ignore[attr-defined]
        tokens = 20 + 7 * len(self.asked) % 80
        self.asked.append((time.time(), headers.get("authorization", ""), tokens))
        if self._says_usage:
            return Served("Yes.", output_tokens=tokens)
        message = {"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}
        body = {"id": "c", "object": "chat.completion", "created": 1, "model": "n", "choices": [message]}
        return Fault("garbage", body=json.dumps(body).encode(), headers={"content-type": "application/json"})

    @property
    def usd(self) -> float:
        return sum(tokens for _, _, tokens in self.asked) * OUTPUT_USD / 1e6

    def most_of_a_minute(self) -> int:
        """Return the most calls of one host within any sixty seconds."""
        by_host: dict[str, list[float]] = defaultdict(list)
        for at, who, _ in self.asked:
            by_host[who].append(at)
        return max(
            sum(at <= other < at + MINUTE for other in times) for times in by_host.values() for at in times
        )


def asked_by_hosts(
    server: Server,
    budget: Mapping[str, float],
    seconds: float,
    *,
    says_usage: bool = True,
    restarts: bool = True,
) -> Counted:
    """Let four hosts ask for a while under one budget; returns what the provider counted."""
    counted, address = Counted(says_usage=says_usage), server.url(server.database())
    Ledger(address).open()
    until = time.time() + seconds
    with (
        FakeProvider({"m": lambda _: "Yes.", "n": counted.answer}) as provider,
        tempfile.TemporaryDirectory() as made,
    ):

        def start(number: int) -> subprocess.Popen[bytes]:
            place = Path(made) / f"host{number}"
            place.mkdir(exist_ok=True)
            told_to = [provider.url, address, f"host{number}", json.dumps(budget), str(until), str(WORKERS)]
            environment = {
                **os.environ,
                "PROMPTGUARD_LOCAL": str(place),
                "PYTHONPATH": os.pathsep.join(sys.path),
            }
            return subprocess.Popen([sys.executable, "-c", HOST, *told_to], cwd=place, env=environment)

        running = [start(number) for number in range(HOSTS)]
        trouble = threading.Timer(
            seconds / 3, lambda: (server.stop("immediate"), time.sleep(1.0), server.start())
        )
        if restarts:
            trouble.start()
            time.sleep(seconds / 2)
            running[0].kill()
            running[0].wait()
            running[0] = start(0)
        for process in running:
            process.wait()
        if restarts:
            trouble.join()
    return counted


def budgets(server: Server) -> bool:
    """Hold caps in USD, in calls a day and in calls a minute against what the provider counted."""
    cap, good = 0.05, True
    reserved = LIMIT * OUTPUT_USD / 1e6
    for what, more in (("usage told", {}), ("no usage told", {"says_usage": False})):
        found = asked_by_hosts(server, {"usd_per_day": cap, "price": OUTPUT_USD}, SECONDS, **more)
        told(
            f"{HOSTS} hosts, ${cap} a day, {what}: USD, calls",
            f"{found.usd:.5f}, {len(found.asked)}",
            f"<= {cap}",
        )
        good &= 0.0 < found.usd <= cap + IN_FLIGHT * reserved
    found = asked_by_hosts(server, {"calls_per_day": 150}, SECONDS)
    told(f"{HOSTS} hosts, 150 calls a day: calls", str(len(found.asked)), "<= 150")
    good &= 0 < len(found.asked) <= 150
    found = asked_by_hosts(server, {"usd_per_day": cap}, SECONDS)
    told(f"{HOSTS} hosts, ${cap} a day, price unknown: calls", str(len(found.asked)), "0")
    good &= not found.asked
    found = asked_by_hosts(server, {"calls_per_minute": 30}, RATE_SECONDS, restarts=False)
    most = found.most_of_a_minute()
    told(
        "30 calls a minute and process: most of one within any 60 s, all",
        f"{most}, {len(found.asked)}",
        "<= 30",
    )
    return good and 0 < most <= 30 + WORKERS
