"""What is ours alone, in microseconds: hits measured below the SDK, and the handing over of a sampled call."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from typing import Any

import httpx2
from benchmarks.calls.sides import MESSAGES, OURS

import promptguard
from promptguard.background import Background

CALLS = 2000


def hit_below_the_sdk(url: str, cache: str) -> float:
    """Return the median time in µs from the HTTP client's hands to the last byte of the stored answer."""
    with tempfile.TemporaryDirectory() as directory:
        client = promptguard.guard(httpx2.Client(), cache=cache, ledger=directory)
        body = {"model": "gpt-4", "messages": MESSAGES, "temperature": 0}

        def request() -> Any:
            return client.build_request("POST", f"{url}/chat/completions", json=body, headers=_HEADERS)

        client.send(request()).read()
        kept = client._promptguard_ports.cache
        if cache == "disk":
            assert kept.flush(), "not written in time"
        took = []
        for made in [request() for _ in range(CALLS)]:
            if cache == "disk":
                kept._memory.clear()  # the tier before it
            began = time.perf_counter()
            response = client._transport.handle_request(made)
            for _ in response.stream:
                pass
            took.append(time.perf_counter() - began)
            assert response.headers["x-promptguard-cache"] == "hit", "not a hit"
        return statistics.median(took[CALLS // 10 :]) * 1e6


_HEADERS = {
    "authorization": "Bearer bench",
    "accept": "application/json",
    "user-agent": "OpenAI/Python 3.54.0",
    **{f"x-stainless-{name}": "something" for name in ("lang", "package-version", "os", "arch", "runtime")},
    "x-stainless-retry-count": "0",
}
"""as the SDK sends them"""


def offer(url: str) -> float:
    """Return the median time in µs that handing a sampled call to the background takes."""
    took: list[float] = []
    original = Background.offer

    def timed(self: Background, *given: Any) -> None:
        began = time.perf_counter()
        original(self, *given)
        took.append(time.perf_counter() - began)

    Background.offer = timed  # type: ignore[method-assign]
    try:
        side = OURS["shadow of all, failing"](url)
        for _ in range(300):
            side.plain()
    finally:
        Background.offer = original  # type: ignore[method-assign]
    return statistics.median(took) * 1e6


def main() -> None:
    url = sys.argv[1]
    print(hit_below_the_sdk(url, "memory"), hit_below_the_sdk(url, "disk"), offer(url))


if __name__ == "__main__":
    main()
