"""python -m benchmarks.faults [caller|background]: the whole sweep; prints counts, and exits 1 where a fault was seen."""

from __future__ import annotations

import itertools
import logging
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.faults.sweep import (
    BACKGROUND,
    CALLER,
    ON_CALLERS,
    RAISED,
    Result,
    background_sweep,
    provider,
    sweep,
    works_again,
)


def _show(name: str, found: Result, began: float, *, alive: bool = True) -> bool:
    print(
        f"{name}: {found.faults} faults, {len(found.different)} seen by callers, "
        f"{len(found.dead) + (not alive)} after which something no longer worked, {time.monotonic() - began:.0f} s",
        flush=True,
    )
    for line in (*found.different, *found.dead):
        print(f"    {line}", flush=True)
    return alive and not found.different and not found.dead


def main(arguments: list[str]) -> int:
    """Sweep callers' paths in four ways, then every operation of background threads; returns the exit code."""
    logging.disable(logging.CRITICAL)
    fine, place = [True], Path(tempfile.mkdtemp())
    with provider() as running:
        url = running.url
        if "background" not in arguments:
            for error, is_async, stream in itertools.product(ON_CALLERS, (False, True), (False, True)):
                name = f"{error.__name__} {'async' if is_async else 'sync'} {'stream' if stream else 'plain'}"
                began, ledger = time.monotonic(), place / name
                found = sweep(CALLER, error, url, ledger, is_async=is_async, stream=stream)
                fine.append(_show(f"caller's path, {name}", found, began, alive=works_again(url, ledger)))
        if "caller" not in arguments:
            for error in RAISED:
                began = time.monotonic()
                found = background_sweep(BACKGROUND, [error], url, place / "background")
                fine.append(_show(f"background, {error.__name__}", found, began))
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
