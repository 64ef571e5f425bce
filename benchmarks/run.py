"""Ratios measured side by side: `make bench`.

Each figure compares a wrapped with a bare openai client over loopback, in alternating blocks of one run, as CPU time
of this process; the server runs in another process. bare/bare shows what the machine's noise makes of "no difference".
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from openai import OpenAI

import promptguard
from promptguard.background.engine import open_backgrounds

SERVER = """
import sys
from promptguard.testing import FakeProvider
answer = lambda question: "word " * 60
with FakeProvider({"gpt-4": answer, "gpt-4-0314": answer}, chunk_words=1) as provider:
    print(provider.url, flush=True)
    sys.stdin.read()
"""
MESSAGES = [{"role": "user", "content": "Is 17077 a prime number? " * 20}]
BLOCKS, CALLS = 21, 40


def plain(client: OpenAI) -> None:
    client.chat.completions.create(model="gpt-4", messages=MESSAGES, temperature=0)


def streamed(client: OpenAI) -> None:
    for _ in client.chat.completions.create(model="gpt-4", messages=MESSAGES, temperature=0, stream=True):
        pass


def ratio(call: Callable[[OpenAI], None], first: OpenAI, second: OpenAI) -> tuple[float, float]:
    """Return the median ratio of CPU time a call, second to first, and the first's CPU time in milliseconds."""
    for client in (first, second):
        for _ in range(10):
            call(client)
    ratios, base = [], []
    for block in range(BLOCKS):
        times = {}
        for client in (first, second) if block % 2 else (second, first):
            began = time.process_time()
            for _ in range(CALLS):
                call(client)
            times[id(client)] = time.process_time() - began
        ratios.append(times[id(second)] / times[id(first)])
        base.append(times[id(first)] / CALLS * 1e3)
    return statistics.median(ratios), statistics.median(base)


def imported(statement: str) -> float:
    runs = []
    for _ in range(7):
        code = f"import time; began = time.perf_counter(); {statement}; print(time.perf_counter() - began)"
        runs.append(
            float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        )
    return statistics.median(runs)


def main() -> None:
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    url = server.stdout.readline().strip()
    made = lambda: OpenAI(base_url=url, api_key="bench")  # noqa: E731
    rows: list[tuple[str, float]] = []
    with tempfile.TemporaryDirectory() as directory:
        idle = promptguard.wrap(made())
        shadowed = promptguard.wrap(
            made(),
            ledger=directory,
            shadow=promptguard.Shadow(model="gpt-4-0314", sample=0.01),
            record_content=False,
        )
        hit = promptguard.wrap(made(), cache="memory")
        for name, call in (("plain", plain), ("SSE, 60 chunks", streamed)):
            noise, base = ratio(call, made(), made())
            print(f"{name}: a bare call takes {base:.2f} ms CPU")
            rows += [
                (f"{name}: bare/bare", noise),
                (f"{name}: wrapped, nothing asked for", ratio(call, made(), idle)[0]),
                (f"{name}: shadow of 1 %", ratio(call, made(), shadowed)[0]),
                (f"{name}: memory hit", ratio(call, made(), hit)[0]),
            ]
        promptguard.flush()
        for background in open_backgrounds():
            background.close()
    rows.append(
        ("import promptguard / import openai", imported("import promptguard") / imported("import openai"))
    )
    server.communicate("")
    for name, value in rows:
        print(f"{name:45s} x{value:.3f}")
    if "--json" in sys.argv:
        print(json.dumps(dict(rows)))


if __name__ == "__main__":
    main()
