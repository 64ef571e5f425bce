"""`python -m benchmarks.fleet [NAME...]`: exit 1 where a promise is not kept.

capacity       pairs a second, connections, pages (arguments of its own: python -m benchmarks.fleet capacity --help)
order          8 processes x 8 threads write, transactions are held open five seconds
takeover       who judges is killed 20 times
nulls, delays  alarms of 200 runs on which nothing changed; pairs until a change is found; eight writers
days           a day of 10^6 pairs dropped or deleted, a table of as many divided
outage         the database is away for ten minutes amid traffic (--seconds)
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from benchmarks.fleet import capacity
from benchmarks.fleet.budgets import budgets
from benchmarks.fleet.days import days
from benchmarks.fleet.full import full
from benchmarks.fleet.kills import kills
from benchmarks.fleet.order import order
from benchmarks.fleet.outage import outage
from benchmarks.fleet.promise import delays, nulls
from benchmarks.fleet.takeover import takeover
from tests.fleet.servers import Server


def on_a_server(run: Callable[[Server], bool]) -> bool:
    server = Server()
    try:
        return run(server)
    finally:
        server.close()


CAMPAIGNS: dict[str, Callable[[argparse.Namespace], bool]] = {
    "order": lambda _: on_a_server(order),
    "takeover": lambda _: on_a_server(takeover),
    "nulls": lambda _: on_a_server(nulls),
    "delays": lambda _: on_a_server(delays),
    "kills": lambda _: on_a_server(kills),
    "days": lambda _: on_a_server(days),
    "full": lambda _: full(),
    "budgets": lambda _: on_a_server(budgets),
    "outage": lambda given: outage(given.seconds),
}


def main() -> None:
    if sys.argv[1:2] == ["capacity"]:
        del sys.argv[1]
        capacity.main()
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CAMPAIGNS))
    parser.add_argument("--seconds", type=float, default=600.0, help="how long the database is away")
    given = parser.parse_args()
    results = {name: CAMPAIGNS[name](given) for name in given.names or CAMPAIGNS}
    print(
        *(f"{name}: {'as promised' if good else 'NOT as promised'}" for name, good in results.items()),
        sep="\n",
    )
    sys.exit(0 if all(results.values()) else 1)


if __name__ == "__main__":
    main()
