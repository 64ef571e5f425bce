"""Run every side against the bare client and print the ratios beside their targets."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.calls.table import Row, plain_text, write_page

COUNTS = {"plain": 40, "streamed": 12, "threads": 96, "tasks": 64, "ordinary": 12}
APART = {"threads": 5.5, "tasks": 5.5}
"""Seconds between the rounds of many calls at once: HTTP clients drop idle connections after 5 s. Within them, httpx
spends three times as much on looking through idle ones as on the calls, and who came late looked four times as fast."""
PEERS = (
    "langfuse",
    "openinference",
    "litellm",
    "langchain",
    "PromptGuard, memory hit",
    "langchain over PromptGuard, memory hit",
    "langchain, memory hit",
    "langchain, SQLite hit",
    "litellm, memory hit",
    "litellm, disk hit",
    "hishel, SQLite hit",
)
FIRST_CLIENT = "import openai, tempfile; client = openai.OpenAI(api_key='k'); place = tempfile.mkdtemp()"
FIRST_WRAP = "import promptguard; promptguard.wrap(client, ledger=place, shadow=promptguard.Shadow(model='gpt-4-0314'))"
SHADOWS = ("shadow of all, slow", "shadow of all, failing", "shadow of all, black hole")


@dataclass
class Blocks:
    """What one side's blocks of one kind of call took."""

    cpu: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)


class Side:
    """A side's process."""

    def __init__(self, python: str, name: str, url: str) -> None:
        self.name = name
        errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - as long as the process
        self.process = subprocess.Popen(
            [python, "-W", "ignore", "-m", "benchmarks.calls.worker", name, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=_environment(),
        )
        self._errors = errors
        said = self._heard()
        self.can: list[str] = said.get("can", [])
        self.missing: str = said.get("missing", "")
        """why it makes no calls, or not all of them"""
        self.blocks: dict[str, Blocks] = {}

    def run(self, what: str, count: int, *, counted: bool = True) -> None:
        if self.missing:
            return
        assert self.process.stdin is not None
        self.process.stdin.write(f"{what} {count}\n")
        self.process.stdin.flush()
        said = self._heard()
        self.missing = said.get("missing", "")
        if counted and not self.missing:
            blocks = self.blocks.setdefault(what, Blocks())
            blocks.cpu.append(said["cpu"])
            blocks.took += said["took"]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

    def _heard(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):
                heard: dict[str, Any] = json.loads(line)
                return heard
        self._errors.seek(0)
        lines = self._errors.read().split("\n")
        return {"missing": next((line for line in reversed(lines) if line.strip()), "ended")}


def _environment() -> dict[str, str]:
    # Otherwise it asks the network for prices, and waits.
    return {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}


@contextmanager
def provider() -> Iterator[str]:
    """Serve in a process of its own; gives its URL."""
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.calls.server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    try:
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.wait()


def compare(python: str, names: tuple[str, ...], whats: tuple[str, ...], rounds: int, url: str) -> list[Side]:
    """Run blocks of each kind on each side in turn; the first side is what the others are compared with."""
    with ExitStack() as open_sides:
        sides = []
        for name in names:
            _say(f"starting: {name}")
            side = Side(python, name, url)
            open_sides.callback(side.close)
            sides.append(side)
        for what in whats:
            able = [side for side in sides if what in side.can]
            for side in able:
                side.run(what, COUNTS[what], counted=False)
            for turn in range(min(rounds, 8) if what in APART else rounds):
                _say(f"{what}: round {turn + 1} of {rounds}")
                time.sleep(APART.get(what, 0.0))
                for side in able if turn % 2 else reversed(able):
                    side.run(what, COUNTS[what])
        return sides


def ratio(side: Side, base: Side, what: str) -> float | None:
    """Return the median over rounds of CPU time, side to base; None where it cannot do that."""
    if what not in side.blocks or side.missing:
        return None
    pairs = zip(side.blocks[what].cpu, base.blocks[what].cpu, strict=True)
    return statistics.median(ours / bare for ours, bare in pairs)


def ratios(sides: list[Side], what: str, targets: dict[str, str], label: str) -> list[Row]:
    """Return a row a side for one kind of call."""
    base, *others = sides
    rows = []
    for side in others:
        found = ratio(side, base, what)
        if found is not None:
            rows.append(Row(label, side.name, f"×{found:.3f}", targets.get(side.name, "")))
        elif side.missing:
            rows.append(Row(label, side.name, "does not run", side.missing.partition(". ")[0]))
    return rows


def latencies(sides: list[Side]) -> list[Row]:
    """Return p50 and p99 of the application's own call while its shadow misbehaves, to the bare client's."""
    base, *others = sides
    rows = []
    for side in others:
        p50, p99 = (_quantile(side, q) / _quantile(base, q) for q in (0.50, 0.99))
        target = "" if side.name.startswith("bare") else "≤ ×1.02 / ×1.10"
        rows.append(Row("call of 50 ms, p50 / p99", side.name, f"×{p50:.3f} / ×{p99:.3f}", target))
    return rows


def _quantile(side: Side, q: float) -> float:
    took = sorted(side.blocks["ordinary"].took)
    return took[min(len(took) - 1, int(q * len(took)))]


def imported(statement: str, before: str = "pass") -> float:
    """Return the seconds that a statement takes in a new process, the median of seven, after what comes `before` it."""
    timed = f"began = time.perf_counter(); {statement}; print(time.perf_counter() - began, flush=True)"
    code = f"import os, time; {before}; {timed}"
    # Modules are compiled where a wheel is installed; a container may forbid it for a clone's.
    compiling = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    runs = []
    for _ in range(7):
        command = [sys.executable, "-c", f"{code}; os._exit(0)"]
        done = subprocess.run(command, capture_output=True, check=True, env=compiling)
        runs.append(float(done.stdout))
    return statistics.median(runs)


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def own_rows(url: str, rounds: int) -> list[Row]:
    """Return the rows about PromptGuard alone, with the SDK of this environment."""
    names = ("bare", "bare, again", "wrapped", "wrapped, spans and metrics recorded", "a hand-written span")
    sides = compare(
        sys.executable,
        (*names, "shadow of 1 %", "memory hit", "disk hit"),
        ("plain", "streamed", "threads", "tasks"),
        rounds,
        url,
    )
    plain = {
        "wrapped": "≤ ×1.03",
        "wrapped, spans and metrics recorded": "≤ ×1.08",
        "disk hit": "≤ ×0.75",
    }
    many = {"wrapped": "≤ ×1.05"}
    rows = ratios(sides, "plain", plain, "plain call")
    rows += ratios(sides, "streamed", {"wrapped": "≤ ×1.04"}, "stream of 60 chunks")
    rows += ratios(sides, "threads", many, "32 threads")
    rows += ratios(sides, "tasks", many, "64 tasks")
    rows += latencies(compare(sys.executable, ("bare", "bare, again", *SHADOWS), ("ordinary",), rounds, url))
    _say("below the SDK")
    inside = [sys.executable, "-m", "benchmarks.calls.inside", url]
    told = subprocess.run(inside, capture_output=True, text=True, check=True).stdout.split()
    memory, disk, offer = (float(value) for value in told)
    rows += [
        Row("below the SDK", "memory hit", f"{memory:.0f} µs", "≤ 40 µs"),
        Row("below the SDK", "disk hit", f"{disk:.0f} µs", "≤ 100 µs"),
        Row("below the SDK", "offer to the shadow queue", f"{offer:.1f} µs", "≤ 10 µs"),
    ]
    _say("telemetry")
    tracing = [sys.executable, "-m", "benchmarks.calls.tracing", url]
    told = subprocess.run(tracing, capture_output=True, text=True, check=True).stdout.split()
    ours, by_hand, free, library = (float(value) for value in told)
    rows += [
        Row("telemetry", "recorded / a span and two metrics by hand", f"×{ours / by_hand:.2f}", "≤ ×1.5"),
        Row("telemetry", "recorded by util-genai / the same by hand", f"×{library / by_hand:.2f}", ""),
        Row("telemetry", "a span and two metrics by hand", f"{by_hand:.0f} µs", ""),
        Row("telemetry", "without an SDK", f"{free:.1f} µs", "≤ 5 µs"),
    ]
    openai = imported("import openai")
    rows += [
        Row("import", "promptguard / openai", f"×{imported('import promptguard') / openai:.3f}", "≤ ×0.2"),
        Row(
            "import",
            "the first wrap(), with a shadow / openai",
            f"×{imported(FIRST_WRAP, FIRST_CLIENT) / openai:.3f}",
            "",
        ),
    ]
    return rows


def peer_rows(url: str, rounds: int, python: str) -> list[Row]:
    """Return the same calls through other libraries, beside PromptGuard with the same SDK."""
    names = ("bare", "bare, again", "wrapped", "wrapped, spans and metrics recorded", *PEERS)
    sides = compare(python, names, ("plain", "streamed", "tasks"), rounds, url)
    rows = ratios(sides, "plain", {}, "plain call, beside others")
    rows += ratios(sides, "streamed", {}, "stream, beside others")
    return rows + ratios(sides, "tasks", {}, "64 tasks, beside others")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.calls", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="blocks of each side and kind (default 15)")
    parser.add_argument("--peers", metavar="PYTHON", help="interpreter of the environment of other libraries")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the rows there too")
    parser.add_argument(
        "--page", metavar="FILE", type=Path, help="write the rows as a page of the documentation"
    )
    chosen = parser.parse_args()
    with provider() as url:
        rows = own_rows(url, chosen.rounds)
        if chosen.peers:
            rows += peer_rows(url, chosen.rounds, chosen.peers)
    _say("")
    print(plain_text(rows))
    if chosen.json:
        chosen.json.write_text(json.dumps([vars(row) for row in rows], indent=1, ensure_ascii=False) + "\n")
    if chosen.page:
        write_page(chosen.page, rows)


if __name__ == "__main__":
    main()
