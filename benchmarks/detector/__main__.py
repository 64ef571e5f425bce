"""`python -m benchmarks.detector [--minutes N] [--rows NAME...] [--json FILE] [--seed N] [--jobs N]`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

# many small products: threads of a linear algebra library would only get into each other's way
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from benchmarks.detector import changes, delays, field, fleet, nulls, outside, placed, rivals, triples  # noqa: E402
from benchmarks.detector.table import Row, rendered  # noqa: E402

STUDIES: dict[str, Any] = {
    module.NAME: module for module in (nulls, field, placed, delays, triples, changes, fleet, rivals, outside)
}
MINUTES_AT_SCALE_ONE = 12


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detector", description=__doc__)
    parser.add_argument(
        "--minutes", type=float, default=10, help="about how long two jobs may take: 10 or 90"
    )
    parser.add_argument("--rows", nargs="+", choices=list(STUDIES), default=list(STUDIES), metavar="NAME",
                        help=f"only these: {', '.join(STUDIES)}")  # fmt: skip
    parser.add_argument("--json", type=Path, help="also write every figure here")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    return parser.parse_args(arguments)


def main() -> None:
    chosen = options()
    scale, began = chosen.minutes / MINUTES_AT_SCALE_ONE, time.monotonic()
    results: dict[str, list[Any]] = {}
    with ProcessPoolExecutor(chosen.jobs) as pool:
        waiting: dict[Future[Any], tuple[str, int]] = {}
        for name in chosen.rows:
            tasks = STUDIES[name].tasks(scale, chosen.seed)
            results[name] = [None] * len(tasks)
            for place, task in enumerate(tasks):
                waiting[pool.submit(task.function, *task.arguments)] = (name, place)
        for done, future in enumerate(as_completed(waiting), 1):
            name, place = waiting[future]
            results[name][place] = future.result()
            print(
                f"\r{done}/{len(waiting)} {name:20s} {time.monotonic() - began:5.0f} s",
                end="",
                file=sys.stderr,
            )
    print(file=sys.stderr)
    rows: list[Row] = []
    for name in chosen.rows:
        told = STUDIES[name].rows(results[name])
        print(f"## {name}\n{rendered(told)}\n")
        rows += told
    judged = [row for row in rows if row.met is not None]
    print(f"{sum(bool(row.met) for row in judged)} of {len(judged)} targets met; "
          f"seed {chosen.seed}, {chosen.minutes:g}-minute form, {(time.monotonic() - began) / 60:.1f} minutes")  # fmt: skip
    if chosen.json:
        figures = [{**vars(row), "data": row.data} for row in rows]
        chosen.json.write_text(json.dumps(figures, default=str, indent=1))


if __name__ == "__main__":
    main()
