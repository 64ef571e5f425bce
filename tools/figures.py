"""Print what can be counted of the package's shape: `Any`, circles of imports, unwanted imports that the rules catch.

    python tools/figures.py [--folders]

Run it with the environment that `make .venv/.test` builds. Nothing else uses it.
"""

from __future__ import annotations

import argparse
import io
import sys
import tokenize
from collections import Counter
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "promptguard"
SOURCE = ROOT / "src" / PACKAGE


def count_any(source: str) -> int:
    """Return how often `Any` stands in code, imports left out."""
    names, imported = 0, False
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME and token.string in {"import", "from"}:
            imported = imported or not token.line[: token.start[1]].strip()
        elif token.type == tokenize.NEWLINE:
            imported = False
        elif token.type == tokenize.NAME and token.string == "Any" and not imported:
            names += 1
    return names


def anys() -> tuple[Counter[str], Counter[str]]:
    """Return how often `Any` stands in each folder, and how many lines it has."""
    names: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for path in SOURCE.rglob("*.py"):
        folder = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        source = path.read_text("utf-8")
        names[folder] += count_any(source)
        lines[folder] += source.count("\n")
    return names, lines


def circles(upstream: Mapping[str, set[str]]) -> set[frozenset[str]]:
    """Return the groups of modules that import each other; `upstream` is all that each one leads to."""
    groups = {
        frozenset({name} | {other for other in leads if name in upstream[other]})
        for name, leads in upstream.items()
    }
    return {group for group in groups if len(group) > 1}


def import_circles(*, rooms: bool) -> set[frozenset[str]]:
    """Return the circles among modules, or among the rooms of the package; imports for types alone do not count."""
    graph = grimp.build_graph(PACKAGE, exclude_type_checking_imports=True, cache_dir=None)
    if rooms:
        for room in graph.find_children(PACKAGE):
            graph.squash_module(room)
    return circles({name: graph.find_upstream_modules(name) for name in graph.modules})


class Outcomes:
    """A plugin of pytest's that counts outcomes of tests."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self.counts[report.outcome] += 1


def probes() -> tuple[int, int]:
    """Return how many of the unwanted imports are caught, and how many are tried."""
    outcomes = Outcomes()
    tests = ROOT / "tests" / "test_import_rules.py"
    with redirect_stdout(io.StringIO()):
        pytest.main(
            ["-q", "-k", "an_unwanted_import", "--rootdir", str(ROOT), str(tests)], plugins=[outcomes]
        )
    return outcomes.counts["passed"], outcomes.counts.total()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folders", action="store_true", help="`Any` by folder as well")
    options = parser.parse_args()
    names, lines = anys()
    if options.folders:
        for folder, count in names.most_common():
            if count:
                print(f"  {folder:20} {count:5} in {lines[folder]:6} lines")
    all_lines = lines.total()
    print(f"Any: {names.total()} in {all_lines} lines, {1000 * names.total() / all_lines:.1f} a thousand")
    for what, rooms in (("rooms", True), ("modules", False)):
        found = import_circles(rooms=rooms)
        print(f"import circles among {what}: {len(found)}")
        for group in sorted(map(sorted, found)):
            print(f"  {', '.join(group)}")
    caught, tried = probes()
    print(f"unwanted imports caught: {caught} of {tried}")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
