"""Print, for each way out x SDK x kind x second model, how many calls succeed and what happens to their 99th percentile.

python -m benchmarks.proxies [--calls 100] [--sample 1.0] [--sdk openai]

Exit 1 where a wrapped client loses a call that a bare one has. Every call is sampled, which is twenty times the default.
Times are of this machine; what a bare client measures against a bare one is printed beside them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.conformance.adapters import ADAPTERS
from tests.conformance.routes import NEED_A_FACTORY, env_proxy, routes
from tests.conformance.test_proxies import SDKS, Outbound

import promptguard
from promptguard.testing import ForwardProxy

WARM_UP = 10
"""Calls before any is timed: the first sampled one has the background work import what it needs."""
PROXY = "PROMPTGUARD_BENCH_PROXY"
SECOND = ("fine", "hanging", "refusing")


@dataclass(frozen=True)
class Measured:
    """What came of some calls."""

    succeeded: int
    p50: float
    """seconds"""
    p99: float


class Calls(Outbound):
    """The same calls as the tests make, timed."""

    def __init__(self, *made: Any, calls: int) -> None:
        super().__init__(*made)
        self.calls = calls

    def measure(self, client: Any) -> Measured:
        """Make the calls one after the other; the first few warm up and are not timed."""
        took: list[float] = []

        async def concurrent() -> None:
            for _ in range(self.calls + WARM_UP):
                began = time.perf_counter()
                with contextlib.suppress(Exception):
                    await self.adapter.achat(client)
                    took.append(time.perf_counter() - began)
            with contextlib.suppress(Exception):
                await self.adapter.aclose(client)

        def blocking() -> None:
            for _ in range(self.calls + WARM_UP):
                began = time.perf_counter()
                with contextlib.suppress(Exception):
                    self.adapter.chat(client)
                    took.append(time.perf_counter() - began)

        if self.is_async:
            asyncio.run(concurrent())
        else:
            blocking()
        timed = sorted(took[WARM_UP:]) or [float("nan")]
        return Measured(len(took), timed[len(timed) // 2], timed[min(len(timed) - 1, int(len(timed) * 0.99))])


def measure(cell: Sequence[str], calls: int, sample: float) -> int:
    """Measure one cell and print its line; 1 where the wrapped client lost a call."""
    adapter_name, route_name, kind, second = cell
    is_async = kind == "async"
    adapter = next(each for each in ADAPTERS if each.name == adapter_name)
    route = next(each for each in routes(is_async) if each.__name__ == route_name)
    proxy = _Running(os.environ[PROXY])
    for name in ("HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"):
        os.environ.pop(name, None)
    if route is env_proxy:
        os.environ["HTTP_PROXY"] = os.environ["http_proxy"] = proxy.url
    logging.getLogger("promptguard").setLevel(logging.ERROR)
    outbound = Calls(adapter, route, proxy, is_async, calls=calls)
    budget = promptguard.Budget(calls_per_minute=None)
    factory = outbound.client if route in NEED_A_FACTORY else None
    shadow = promptguard.Shadow(model=second, sample=sample, repeat=0.0, budget=budget, client=factory)
    bare = outbound.measure(outbound.client())
    again = outbound.measure(outbound.client())
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as ledger:
        wrapped = outbound.measure(adapter.wrap(outbound.client(), ledger=ledger, shadow=shadow))
    print(
        f"{adapter_name:13} {kind:5} {route_name:15} second {second:9} succeeded: bare {bare.succeeded}, wrapped "
        f"{wrapped.succeeded}   p50 x{wrapped.p50 / again.p50:.2f} (bare x{again.p50 / bare.p50:.2f})   "
        f"p99 x{wrapped.p99 / again.p99:.2f} (bare x{again.p99 / bare.p99:.2f}, {again.p99 * 1e3:.1f} ms)",
        flush=True,
    )
    return int(wrapped.succeeded < bare.succeeded)


class _Running(ForwardProxy):
    """A proxy that runs elsewhere."""

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def url(self) -> str:
        return self._url


def main() -> int:
    """Run the matrix, each cell in a process of its own; 1 where a wrapped client lost a call."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--sample", type=float, default=1.0)
    parser.add_argument("--sdk", action="append")
    parser.add_argument("--cell", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cell:
        return measure(options.cell, options.calls, options.sample)
    chosen = [a.name for a in ADAPTERS if a.name in (options.sdk or SDKS) and a.missing() is None]
    cells = [
        (name, route.__name__, "async" if is_async else "sync", second)
        for name in chosen
        for is_async in (False, True)
        for route in routes(is_async)
        for second in SECOND
    ]
    lost = 0
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.proxies.server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        env = {**os.environ, PROXY: server.stdout.readline().strip()}
        for cell in cells:
            numbers = ["--calls", str(options.calls), "--sample", str(options.sample)]
            command = [sys.executable, "-m", "benchmarks.proxies", *numbers, "--cell", *cell]
            lost += subprocess.run(command, env=env, check=False).returncode != 0
        server.terminate()
    print(f"{len(cells)} cells, {lost} in which the wrapped client lost a call")
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())
