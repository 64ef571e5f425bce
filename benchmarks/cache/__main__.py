"""`python -m benchmarks.cache [NAME...] [--scale S]`: the long form of the cache's campaigns; exit 1 on any violation.

At scale 1: 100,000 mutations, 10,000 tampered entries, cuts at every byte, 10,000 calls at once.
"""

from __future__ import annotations

import argparse
import functools
import logging
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.cache import cuts, hosts, keys, stampede, tampering
from tests.servers import Valkey

from promptguard.core.options import Cache

STORE: dict[str, str] = {}
"""Arguments of `Cache`: none for memory and disk, as each campaign has them."""
NOISE_MS = 25.0
"""What the slowest of a thousand calls varies by on a busy machine, with and without a cache."""


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
    count = int(10_000 * scale)
    with tempfile.TemporaryDirectory() as directory:
        if STORE:
            figures = tampering.campaign_on_server(count, STORE["url"])
        else:
            figures = tampering.campaign(count, Path(directory) / "cache")
    print(figures, flush=True)
    return figures.executed == figures.wrong == 0 and figures.memory_mb < 128


def cut(scale: float) -> bool:  # noqa: ARG001 - always every byte
    good = True
    for kind in cuts.WHOLE:
        with tempfile.TemporaryDirectory() as directory:
            figures = cuts.campaign(kind, ledger=directory, cache=Cache(**STORE))
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
        figures = run(count, **arguments, **(STORE and {**STORE, "tenant": name}))
        print(f"{name}: {figures}", flush=True)
        good &= figures.upstream == upstream and figures.hung == 0
        good &= figures.answered == count - int(arguments.get("bad", 0))
    return good


def shared(scale: float) -> bool:
    """What only a cache has that hosts share; alone with `--store`."""
    if not STORE:
        return True
    good = True
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        place = Path(directory)
        figures = hosts.equal_calls(int(10_000 * scale), STORE["url"], place)
        print(figures, flush=True)
        good &= (figures.upstream, figures.wrong) == (1, 0)
        for how, act in (
            ("up", lambda _server: None),
            ("killed", lambda server: server.kill()),
            ("hanging", lambda server: server.signal(signal.SIGSTOP)),
            ("restarted", lambda server: (server.kill(), server.start())),
        ):
            server, count = Valkey(place / how), int(1_000 * scale)
            waits = hosts.with_server(how, functools.partial(act, server), count, server.url, place)
            server.kill()
            print(waits, flush=True)
            good &= waits.failed == 0 and waits.added <= 50.0 + NOISE_MS
    return good


CAMPAIGNS: dict[str, Callable[[float], bool]] = {
    "keys": mutated,
    "tampering": tampered,
    "cuts": cut,
    "stampede": stampedes,
    "hosts": shared,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cache", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CAMPAIGNS))
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument(
        "--store", choices=("own", "valkey"), default="own", help="valkey: on a server started for it"
    )
    chosen = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as directory:
        server = Valkey(Path(directory)) if chosen.store == "valkey" else None
        if server is not None:
            STORE.update(kind="redis", url=server.url)
        try:
            results = [CAMPAIGNS[name](chosen.scale) for name in chosen.names or CAMPAIGNS]
        finally:
            if server is not None:
                server.kill()
    print("as promised" if all(results) else "NOT as promised")
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
