"""Long checks through the whole library: real SDK, real HTTP, real ledger. `make soak` runs all of them.

python benchmarks/soak.py seeds [N]       the demo with a switch: pairs after it until each alarm rings
python benchmarks/soak.py quiet [N]       the demo with --no-switch: no alarm may ring
python benchmarks/soak.py null [N]        a real model at temperature 0.7, unchanged: N runs of 200 pairs
"""

from __future__ import annotations

import gzip
import json
import logging
import random
import sys
import tempfile
import time
from pathlib import Path

from openai import OpenAI

import promptguard
from promptguard.background.engine import open_backgrounds
from promptguard.demo.story import Options, run
from promptguard.ledger.store import Ledger
from promptguard.testing import FakeProvider

HERE = Path(__file__).parent
NULL_PAIRS = 200


def alarms(directory: Path, switch_call: int | None) -> dict[str, int]:
    """Return stream → pairs after the switch until its first alarm."""
    ledger = Ledger(directory)
    rows = [row for row in _all_pairs(ledger) if row.outcome == "compared" and row.call >= (switch_call or 0)]
    found: dict[str, int] = {}
    for noted in ledger.occurrences_after(0):
        if noted["kind"] == "alarm":
            until = noted["detail"]["pair_id"]
            count = sum(1 for row in rows if row.stream == noted["stream"] and row.id <= until)
            found.setdefault(noted["stream"], count)
    ledger.close()
    return found


def _all_pairs(ledger: Ledger) -> list:
    rows: list = []
    while more := ledger.pairs_after(rows[-1].id if rows else 0):
        rows += more
    return rows


def demo(count: int, *, switch: bool) -> bool:
    good = True
    for seed in range(1, count + 1):
        with tempfile.TemporaryDirectory() as directory:
            began = time.monotonic()
            where = Path(directory) / "ledger"
            outcome = run(Options(seed=seed, switch=switch, ledger=where))
            rang = alarms(where, outcome.switch_call)
            acted = outcome.phases["acted"]
            good &= (rang.get("candidate", 99) <= 30 and rang.get("replay", 99) <= 40) if switch else not rang
            print(
                f"seed {seed:2d}  switch at call {outcome.switch_call}  pairs to alarm {rang or 'none'}  "
                f"usable after acting {acted.usable}/{acted.calls} (bare {acted.usable_without})  "
                f"{time.monotonic() - began:.0f} s",
                flush=True,
            )
    print("as promised" if good else "NOT as promised")
    return good


def null(count: int) -> bool:
    """Serve one model's own draws on both sides; at most one alarm in 20 runs is expected at .01."""
    pools: dict[str, list[str]] = {}
    for name in ("base_A", "base_B"):
        for line in gzip.decompress((HERE / "data" / f"{name}.jsonl.gz").read_bytes()).splitlines():
            row = json.loads(line)
            if row["temperature"] > 0:
                pools.setdefault(row["prompt"], []).append(row["text"])
    prompts, rang = sorted(pools), 0
    for seed in range(1, count + 1):
        rng = random.Random(seed)
        answer = lambda question, rng=rng: rng.choice(pools[question.text])  # noqa: E731
        with (
            tempfile.TemporaryDirectory() as directory,
            FakeProvider({"smol": answer, "smol-pinned": answer}) as provider,
        ):
            client = promptguard.wrap(
                OpenAI(base_url=provider.url, api_key="null"),
                ledger=directory,
                shadow=promptguard.Shadow(
                    model="smol-pinned",
                    sample=1.0,
                    repeat=0.0,
                    budget=promptguard.Budget(calls_per_minute=None),
                ),
                drift=promptguard.Drift(alpha=0.01, split={"candidate": 1.0}, horizon=NULL_PAIRS),
                seed=seed,
            )
            for number in range(NULL_PAIRS):
                message = {"role": "user", "content": rng.choice(prompts)}
                client.chat.completions.create(model="smol", messages=[message], temperature=0.7)
                if number % 50 == 49:
                    promptguard.flush(20.0)
            told = next(iter(promptguard.verdicts(directory)))
            for background in open_backgrounds():
                background.close()
            client.close()
        rang += told.status == "drift"
        print(
            f"run {seed:2d}  {told.status}  {told.pairs} pairs  log10 evidence {told.log10_evidence:.2f}",
            flush=True,
        )
    print(f"{rang} alarms in {count} runs of {NULL_PAIRS} pairs at .01")
    return rang <= max(1, count // 20)


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    which = sys.argv[1] if len(sys.argv) > 1 else "all"
    many = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    checks = {
        "seeds": lambda: demo(many, switch=True),
        "quiet": lambda: demo(many, switch=False),
        "null": lambda: null(many),
    }
    results = [check() for name, check in checks.items() if which in {"all", name}]
    sys.exit(0 if all(results) else 1)
