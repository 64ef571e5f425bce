"""10^5 distinct system prompts: what the groups cost in memory and on the caller's path, and whether a change is found.

    python -m benchmarks.groups [--prompts 100000]

The prompts differ in words that no mask catches, so that every one of them would be a group. Every call is paired and
judged by the detector itself; from the middle on, a share of the candidate's answers is another.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import random
import resource
import statistics
import time
from pathlib import Path

from promptguard.drift import Answer, PairMonitor
from promptguard.grouping import OTHER, Groups

TARGET_MB = 50.0


def resident_mb() -> float:
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def word(number: int) -> str:
    """A word without a digit, another one for every number."""
    return "".join(chr(97 + int(digit)) for digit in str(number))


def instructions(number: int, distinct: bool):
    text = f"You write about {word(number)}." if distinct else "You write about the sea."
    return ({"role": "system", "content": text + " Answer in two sentences, and never use a list." * 8},)


def run(prompts: int, distinct: bool) -> dict[str, object]:
    """Pair `prompts` calls; the candidate answers otherwise in 60 % of the second half."""
    draws = random.Random(7)
    groups, monitor = Groups(500), PairMonitor(alpha=0.001, mode="gate")
    logging.getLogger("promptguard").setLevel(logging.ERROR)
    before, times, alarm, other = resident_mb(), [], None, 0
    for number in range(prompts):
        asked = instructions(number, distinct)
        began = time.thread_time()
        group = groups.of_instructions(asked)
        times.append(time.thread_time() - began)
        other += group == OTHER
        same = draws.choice(("It is calm today.", "The water is grey, and cold."))
        changed = number >= prompts // 2 and draws.random() < 0.6
        theirs = "No." if changed else draws.choice(("It is calm today.", "The water is grey, and cold."))
        verdict = monitor.update(control=Answer(same), candidate=Answer(theirs), group=group)
        if verdict.status == "drift" and alarm is None:
            alarm = number
    return {
        "groups": len(groups) + (other > 0),
        "under (other)": other,
        "MB": round(resident_mb() - before, 1),
        "us of CPU a call (median)": round(statistics.median(times) * 1e6, 1),
        "us of CPU a call (p99)": round(sorted(times)[int(0.99 * len(times))] * 1e6, 1),
        "alarm": alarm,
        "pairs after the change": None if alarm is None else alarm - prompts // 2,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=100_000)
    prompts = parser.parse_args().prompts
    run(100, distinct=True)
    one, many = run(prompts, distinct=False), run(prompts, distinct=True)
    print(json.dumps({"one prompt": one, f"{prompts} prompts": many}, indent=2))
    more = float(str(many["MB"])) - float(str(one["MB"]))
    late = many["pairs after the change"]
    found = isinstance(late, int) and late >= 0
    print(f"memory over one prompt: {more:.1f} MB (target {TARGET_MB:.0f}); change found: {found}")
    if more > TARGET_MB or not found:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
