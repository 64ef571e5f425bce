"""What `Shadow(repeat=...)` costs and brings: sampled calls and background calls until the alarm, for several shares.

`python -m benchmarks.repeat_share [orders]`

Streams of the small model's recorded changes, in random order; a call that is drawn has a second control. *noisy*: two
draws of one model at temperature 0.7 differ; *steady*: the model says the same whenever it is asked, as at temperature 0,
so the second control is the control once more. The last rows are streams on which nothing changed, 500 calls each.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
from benchmarks.detector.corpora import CHANGES
from benchmarks.detector.triples import BAR, texts

from promptguard.core.options import Repeat, Shadow
from promptguard.core.repeats import RepeatShare
from promptguard.drift import vectorise
from promptguard.drift.betting.experts import Difference, difference
from promptguard.drift.betting.group import Group

SHARES: tuple[Repeat, ...] = (0.0, 0.1, 0.999, "auto")
UNCHANGED, QUIET = "unchanged", 500


@cache
def calls(version: str, steady: bool) -> list[Difference]:
    """All calls of a change, or of none."""
    again, found = texts("base_B"), []
    for prompt, before in texts("base_A").items():
        turned = before if steady else before[1:] + before[:1]
        after = turned if version == UNCHANGED else texts(version)[prompt]
        for first, second, candidate in zip(before, again[prompt], after, strict=True):
            other = first if steady else second
            found.append(difference(vectorise(first, candidate, repeat=other)))
    return found


def run(stream: list[Difference], repeat: Repeat, draw: Callable[[], float]) -> tuple[float, int]:
    """Return sampled calls until the alarm (infinity without one), and the background calls that were made."""
    group, share, asked = Group("gate"), RepeatShare(Shadow("m", repeat=repeat), lambda: 0.0), 0
    for count, seen in enumerate(stream, 1):
        drawn = draw() < share.share  # before anything is known of this call
        asked += 1 + drawn
        share.paid(group.bet(seen if drawn else replace(seen, triple=None)))
        if group.process.log >= BAR:
            return count, asked
    return math.inf, asked


def quantiles(values: list[float]) -> str:
    """Return median and 95th percentile."""
    ordered = sorted(values)
    told = (statistics.median(ordered), ordered[math.ceil(0.95 * len(ordered)) - 1])
    return " / ".join(f"{value:g}" for value in told)


def show(name: str, streams: list[list[Difference]], seed: int) -> None:
    """Print one row for each share."""
    for repeat in SHARES:
        rng = np.random.default_rng(seed)
        found = [run(stream, repeat, rng.random) for stream in streams]
        delays, asked = [delay for delay, _ in found], [float(made) for _, made in found]
        late = sum(math.isfinite(delay) for delay in delays) / len(delays)
        print(
            f"{name:28s} repeat={repeat!s:6s} alarm after {quantiles(delays):>11s} sampled calls ({late:4.0%}), "
            f"{quantiles(asked):>11s} background calls"
        )


def main() -> None:
    """Print the table."""
    orders = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    for steady in (False, True):
        for version in CHANGES[:4] if not steady else CHANGES[:2]:
            rng, found = np.random.default_rng(1), calls(version, steady)
            streams = [[found[place] for place in rng.permutation(len(found))] for _ in range(orders)]
            show(f"{version}, {'steady' if steady else 'noisy'}", streams, 2)
    for steady in (False, True):
        rng, found = np.random.default_rng(3), calls(UNCHANGED, steady)
        streams = [[found[place] for place in rng.permutation(len(found))[:QUIET]] for _ in range(orders)]
        show(f"{UNCHANGED}, {'steady' if steady else 'noisy'}", streams, 4)


if __name__ == "__main__":
    main()
