"""Run the suite in its environments, all of them whatever the first one says, and print a line for each at the end.

python tools/suites.py test|newest|lowest|soak|load [--workers N] [arguments of pytest ...]

test     openai 3, then the tests that run the SDK again with openai 2
newest   whatever is newest today; what fails is listed as news from upstream and is no failure of ours
lowest   the lowest versions that pyproject.toml allows
soak     the campaigns that take long (marker `slow`)
load     `test` in the first environment, with four busy processes beside it
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import environments

BUSY_PROCESSES = 4
QUICK = "not slow and not upstream"


@dataclass(frozen=True)
class Suite:
    """A run of pytest: in which environment, and which tests."""

    name: str
    directory: str
    marked: str
    more: tuple[str, ...] = ()


SUITES = {
    "test": [
        Suite("openai 3", ".venv", QUICK),
        Suite("openai 2", ".venv-openai2", f"sdk and not once and {QUICK}"),
    ],
    "newest": [Suite("newest versions", ".venv-newest", "not slow")],
    # Old versions beside new ones that they depend on: what these have deprecated is no news of ours.
    "lowest": [
        Suite("lowest versions", ".venv-lowest", QUICK, ("--old-versions",)),
    ],
    "soak": [Suite("long campaigns", ".venv", "slow and not upstream")],
    "load": [Suite("under load", ".venv", QUICK)],
}


@dataclass(frozen=True)
class Outcome:
    """What one run of pytest came to; `broken` holds the failed tests, each with the first line of its reason."""

    name: str
    code: int
    passed: int
    skipped: int
    broken: list[tuple[str, str]]
    seconds: float

    @property
    def failed(self) -> int:
        """Tests that failed; a run that could not be made, or was interrupted, counts as one."""
        return len(self.broken) or int(self.code != 0)

    def __str__(self) -> str:
        return f"{self.name}: {counted([self])}, {self.skipped} skipped in {self.seconds:.0f} s"


def counted(outcomes: list[Outcome]) -> str:
    return f"{sum(each.passed for each in outcomes)} passed, {sum(each.failed for each in outcomes)} failed"


def run(suite: Suite, workers: str, arguments: list[str]) -> Outcome:
    began = time.monotonic()
    print(f"== {suite.name} ({suite.directory}) ==", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        results = Path(directory) / "results.xml"
        parallel = ["-n", workers, "--dist", "worksteal"] if workers != "0" else []
        command = [
            environments.ROOT / suite.directory / "bin" / "python", "-m", "pytest", "-m", suite.marked, *parallel,
            f"--junit-xml={results}", *suite.more, *arguments,
        ]  # fmt: skip
        code = subprocess.run(command, cwd=environments.ROOT, check=False, env=_compiling()).returncode
        return _read(results, suite.name, code, time.monotonic() - began)


def _compiling() -> dict[str, str]:
    """Return an environment in which modules are compiled once, and not by each of the many processes that tests start.

    Containers often forbid it by PYTHONDONTWRITEBYTECODE; an installed wheel has its modules compiled all the same.
    """
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _read(results: Path, name: str, code: int, seconds: float) -> Outcome:
    if not results.exists():
        return Outcome(name, code or 1, 0, 0, [], seconds)
    passed = skipped = 0
    broken = []
    for case in ElementTree.parse(results).iter("testcase"):  # noqa: S314 - pytest has just written it
        reason = next((each for each in case if each.tag in {"failure", "error"}), None)
        if reason is not None:
            said = (reason.get("message") or "").strip().splitlines()
            broken.append((f"{case.get('classname')}::{case.get('name')}", said[0] if said else reason.tag))
        elif case.find("skipped") is not None:
            skipped += 1
        else:
            passed += 1
    return Outcome(name, code, passed, skipped, broken, seconds)


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for each in running:
            each.kill()
            each.wait()


def tell_upstream(suite: Suite, outcome: Outcome) -> None:
    print("\nversions that differ from the constraints:")
    for line in environments.changes(environments.ROOT / suite.directory, ["test", "sdks"]) or ["none"]:
        print(f"  {line}")
    print("\nwhat they change:")
    for test, reason in outcome.broken or [("nothing", "the suite passes")]:
        print(f"  {test}: {reason}")
    print()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=SUITES)
    parser.add_argument("--workers", default="2", help="processes of pytest; 0: in this one")
    given, arguments = parser.parse_known_args()
    suites = SUITES[given.what]
    with busy(BUSY_PROCESSES if given.what == "load" else 0):
        outcomes = [run(suite, given.workers, arguments) for suite in suites]
    if given.what == "newest":
        tell_upstream(suites[0], outcomes[0])
    print()
    for outcome in outcomes:
        print(outcome)
    print(counted(outcomes), flush=True)
    if given.what == "newest":  # tests that fail are the news that was asked for
        return int(outcomes[0].code not in {0, 1})
    return int(any(outcome.code for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
