"""python -m benchmarks.lifetimes [clients|forks|gunicorn|files] [N]: everything without an argument; N is how many."""

from __future__ import annotations

import logging
import sys

from benchmarks.lifetimes import clients, files, forks


def _files(_count: int | None = None) -> bool:
    took, (wraps, caches) = files.locked(), files.at_once()
    files.crashes()
    return took <= 1.5 and wraps <= 1.0 and caches <= 2.0


PARTS = {"clients": clients.main, "forks": forks.forks, "gunicorn": forks.gunicorn, "files": _files}


def main(arguments: list[str]) -> int:
    """Run what is named, or everything; returns 0 where all figures are as they should be."""
    logging.disable(logging.CRITICAL)
    named = [name for name in PARTS if name in arguments] or list(PARTS)
    counts = [int(each) for each in arguments if each.isdigit()]
    return 0 if all([PARTS[name](*counts[:1]) for name in named]) else 1  # noqa: C419 - each of them runs


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
