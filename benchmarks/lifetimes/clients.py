"""Clients made, used and let go: nothing may be left over of them, however many there were and however they went."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import itertools
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import openai

import promptguard
from promptguard.testing import FakeProvider

KINDS = ("disk", "shadow", "replay", "all")
WAYS = ("closed", "dropped", "unwrapped")
FIRST = 10
MOST_MEGABYTES = 10.0
"""What a thousand wrapped clients may hold in the end beyond as many bare ones."""
_NUMBERS = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Left:
    """What the process holds."""

    threads: int
    descriptors: int
    megabytes: float


def held() -> Left:
    """Return what the process holds now, garbage collected.

    What the allocator keeps of freed memory is given back first: it is as much as the most that was ever held at once.
    """
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Left(threading.active_count(), len(list(Path("/proc/self/fd").iterdir())), pages * 4096 / 2**20)


def options(kind: str, ledger: Path) -> dict[str, Any]:
    """Return the arguments of wrap() for one kind: disk, shadow, replay or all."""
    budget = promptguard.Budget(calls_per_minute=None)
    every: dict[str, Any] = {
        "cache": "disk",
        "shadow": promptguard.Shadow(model="other", sample=1.0, repeat=0.0, budget=budget),
        "replay": promptguard.Replay(after="1h", share=1.0),
    }
    chosen = {"disk": ("cache",), "shadow": ("shadow",), "replay": ("replay",), "all": tuple(every)}[kind]
    return {"ledger": ledger, **{name: every[name] for name in chosen}}


def _question() -> list[Any]:
    return [{"role": "user", "content": f"question {next(_NUMBERS)}"}]


def use_one(url: str, kind: str, ledger: Path, way: str) -> None:
    """Make a client, ask one question, and let it go in one of WAYS."""
    client = openai.OpenAI(base_url=url, api_key="k", max_retries=0)
    if kind != "bare":
        promptguard.wrap(client, **options(kind, ledger))
    client.chat.completions.create(model="gpt-4", messages=_question())
    if way == "unwrapped":
        promptguard.unwrap(client)
    if way != "dropped":
        client.close()


async def use_one_async(url: str, kind: str, ledger: Path, way: str) -> None:
    """Do as `use_one` does, on this event loop."""
    client = openai.AsyncOpenAI(base_url=url, api_key="k", max_retries=0)
    if kind != "bare":
        promptguard.wrap(client, **options(kind, ledger))
    await client.chat.completions.create(model="gpt-4", messages=_question())
    if way == "unwrapped":
        promptguard.unwrap(client)
    if way != "dropped":
        await client.close()


def _many(url: str, kind: str, ledger: Path, way: str, count: int, *, is_async: bool) -> None:
    async def run() -> None:
        for _ in range(count):
            await use_one_async(url, kind, ledger, way)

    if is_async:
        asyncio.run(run())
    else:
        for _ in range(count):
            use_one(url, kind, ledger, way)


def settled(seconds: float = 20.0) -> Left:
    """Wait until what is shared has been closed by its caretakers, and return what is held."""
    promptguard.flush(seconds)
    best, until = held(), time.monotonic() + seconds
    quiet = time.monotonic()
    while time.monotonic() < until and time.monotonic() - quiet < 4.5:
        now = held()
        if (now.threads, now.descriptors) < (best.threads, best.descriptors):
            best, quiet = now, time.monotonic()
        time.sleep(0.1)
    return held()


def grown(url: str, kind: str, way: str, count: int, *, is_async: bool) -> tuple[Left, Left]:
    """Return what is held after FIRST clients, and after `count` of them."""
    ledger = Path(tempfile.mkdtemp()) / "ledger"
    _many(url, kind, ledger, way, FIRST, is_async=is_async)
    before = settled()
    _many(url, kind, ledger, way, count - FIRST, is_async=is_async)
    return before, settled()


def one(url: str, kind: str, way: str, count: int, is_async: bool) -> None:
    """Print what one kind and way holds before and after, as JSON; runs in a process of its own."""
    before, after = grown(url, kind, way, count, is_async=is_async)
    json.dump([asdict(before), asdict(after)], sys.stdout)


def measured(url: str, kind: str, way: str, count: int, *, is_async: bool) -> tuple[Left, Left]:
    """Return what `one` prints."""
    code = (
        f"from benchmarks.lifetimes.clients import one; one({url!r}, {kind!r}, {way!r}, {count}, {is_async})"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    before, after = json.loads(done.stdout)
    return Left(**before), Left(**after)


def main(count: int = 1000, kinds: tuple[str, ...] = KINDS, ways: tuple[str, ...] = WAYS) -> bool:
    """Print a line for each kind and way; returns whether nothing was left over anywhere.

    Memory is held against bare clients of the same way: the SDK's own grow by some 16 MiB a thousand.
    """
    fine = True
    bare: dict[tuple[bool, str], float] = {}
    with FakeProvider({"gpt-4": lambda _: "fine", "other": lambda _: "fine"}) as provider:
        for kind, is_async, way in itertools.product(("bare", *kinds), (False, True), ways):
            began = time.monotonic()
            before, after = measured(provider.url, kind, way, count, is_async=is_async)
            grew = after.megabytes - before.megabytes
            allowed = bare.setdefault((is_async, way), grew) + MOST_MEGABYTES
            ok = (
                after.threads <= before.threads
                and after.descriptors <= before.descriptors
                and grew <= allowed
            )
            fine = fine and ok
            name = f"{kind} {'async' if is_async else 'sync'} {way}"
            print(
                f"{name:24} {count} clients: threads {before.threads} → {after.threads}, descriptors "
                f"{before.descriptors} → {after.descriptors}, memory {before.megabytes:.1f} → {after.megabytes:.1f} MiB "
                f"(at most +{allowed:.1f}), {time.monotonic() - began:.0f} s{'' if ok else '  TOO MUCH'}",
                flush=True,
            )
            provider.received.clear()
    return fine


if __name__ == "__main__":
    sys.exit(0 if main(*map(int, sys.argv[1:2])) else 1)
