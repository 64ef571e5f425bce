"""One side, in its own process: reads "<what> <how many>" lines, makes the calls, prints what they took."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from benchmarks.calls.sides import OURS, Side

THREADS, TASKS = 32, 64


def find(name: str) -> Callable[[str], Side]:
    if name in OURS:
        return OURS[name]
    from benchmarks.calls.peers import PEERS

    return PEERS[name]


def run(side: Side, what: str, count: int, loop: asyncio.AbstractEventLoop) -> list[float]:
    """Make `count` calls; return the seconds each took where they came one after another."""
    took = []
    if what == "threads":
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda _: side.plain(), range(count)))
    elif what == "tasks":
        task = side.task
        assert task is not None

        async def all_of_them() -> None:
            await asyncio.gather(*(task() for _ in range(count)))

        loop.run_until_complete(all_of_them())
    else:
        call = getattr(side, what)
        for _ in range(count):
            began = time.perf_counter()
            call()
            took.append(time.perf_counter() - began)
    return took


def main() -> None:
    _, name, url = sys.argv
    try:
        side = find(name)(url)
    except ImportError as error:
        print(json.dumps({"missing": str(error)}), flush=True)
        return
    can = [what for what in ("plain", "streamed", "ordinary") if getattr(side, what) is not None]
    print(
        json.dumps({"can": [*can, "threads", *(["tasks"] if side.task is not None else [])]}),
        flush=True,
    )
    loop = asyncio.new_event_loop()
    for line in sys.stdin:
        what, count = line.split()
        cpu, wall = time.process_time(), time.perf_counter()
        took = run(side, what, int(count), loop)
        told = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "took": took}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
