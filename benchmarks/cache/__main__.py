"""`python -m benchmarks.cache [NAME...] [--scale S]`: the long form of the cache's campaigns; exit 1 on any violation.

At scale 1: 100,000 mutations, 10,000 tampered entries, cuts at every byte, 10,000 calls at once.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.cache import cuts, keys, stampede, tampering


def mutated(scale: float) -> bool:
    good = True
    for told, run, count in (
        ("bodies with one field changed; wrong = a wrong hit", keys.body_mutations, 80_000),
        ("requests with another head; wrong = a wrong hit", keys.head_mutations, 20_000),
        ("same questions written otherwise; wrong = a miss", keys.permutations, 20_000),
        ("askers told apart; wrong = a shared key", keys.principals, 2_000),
    ):
        figures = run(int(count * scale))
        print(f"{told}: {figures}", flush=True)
        good &= figures.wrong == 0
    return good


def tampered(scale: float) -> bool:
    with tempfile.TemporaryDirectory() as directory:
        figures = tampering.campaign(int(10_000 * scale), Path(directory) / "cache")
    print(figures, flush=True)
    return figures.executed == figures.wrong == 0 and figures.memory_mb < 128


def cut(scale: float) -> bool:  # noqa: ARG001 - always every byte
    good = True
    for kind in cuts.WHOLE:
        figures = cuts.campaign(kind)
        print(f"{kind}: {figures}", flush=True)
        good &= figures.stored == figures.added_errors == 0
    return good


def stampedes(scale: float) -> bool:
    count, good = int(10_000 * scale), True
    for name, run, arguments, upstream in (
        ("tasks", stampede.tasks, {}, 1),
        ("tasks, leader cancelled", stampede.tasks, {"bad": 1, "how": "cancel"}, 2),
        ("tasks, leader fails", stampede.tasks, {"bad": 1}, 2),
        ("tasks, 5 variants", stampede.tasks, {"sampled": True, "variants": 5, "temperature": 1}, 5),
        ("threads", stampede.threads, {}, 1),
        ("threads, leader fails", stampede.threads, {"bad": 1}, 2),
        ("threads, leader's thread ends", stampede.threads, {"bad": 1, "how": "exit"}, 2),
        ("threads, leader gets 503", stampede.threads, {"bad": 1, "how": "status"}, 2),
    ):
        figures = run(count, **arguments)
        print(f"{name}: {figures}", flush=True)
        good &= figures.upstream == upstream and figures.hung == 0
        good &= figures.answered == count - int(arguments.get("bad", 0))
    return good


CAMPAIGNS: dict[str, Callable[[float], bool]] = {
    "keys": mutated,
    "tampering": tampered,
    "cuts": cut,
    "stampede": stampedes,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cache", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CAMPAIGNS))
    parser.add_argument("--scale", type=float, default=1.0)
    chosen = parser.parse_args()
    logging.disable(logging.WARNING)
    results = [CAMPAIGNS[name](chosen.scale) for name in chosen.names or CAMPAIGNS]
    print("as promised" if all(results) else "NOT as promised")
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
