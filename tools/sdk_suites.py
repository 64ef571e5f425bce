"""Run openai's and anthropic's own test suites bare and through `wrap`, and list the tests that come out otherwise.

python tools/sdk_suites.py [--sdk openai] [--mode cache] [--workers N]

Their sources are fetched from the package index in the version of `constraints/sdk-suites.txt`, into the environment's
own folder: nothing of theirs is kept in this repository. Tests below `tests/api_resources` need a mock server of theirs
and are left out. A test counts as different only if it is so again when it runs with the other different ones alone.
Differences that are meant are in `tools/sdk_suites_expected.toml`, each with its reason; any other is an error.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

import environments

ENVIRONMENT = environments.ROOT / ".venv-sdk-suites"
PYTHON = ENVIRONMENT / "bin" / "python"
SOURCES = ENVIRONMENT / "sources"
EXPECTED = Path(__file__).with_name("sdk_suites_expected.toml")
MODES = {"plain": "bare", "cache": "bare", "telemetry": "bare-telemetry"}
"""mode → what it is compared with: anthropic itself acts otherwise where an application records its spans"""
NEEDS_A_MOCK_SERVER = "tests/api_resources"
MOST_RUN_AGAIN = 300
EARLY_PLUGINS = {"openai": [], "anthropic": ["-p", "tests._alias_httpx"]}
"""What their own `addopts` load; the rest of it is about speed and is replaced."""

Outcomes = dict[str, tuple[str, str]]
"""node id of a test → its outcome, and the last line of what it said"""


@dataclass(frozen=True)
class Ran:
    """One run of a suite."""

    outcomes: Outcomes
    constructed: int
    wrapped: int
    spans: int
    refused: dict[str, int]


@dataclass(frozen=True)
class Difference:
    """A test that comes out otherwise through `wrap`."""

    test: str
    mode: str
    bare: tuple[str, str]
    wrapped: tuple[str, str]
    reason: str | None
    """why it is meant, or None"""

    def __str__(self) -> str:
        said = self.reason or f"UNEXPECTED: {self.wrapped[1] or self.bare[1]}"
        return f"  {self.mode:10} {self.bare[0]} -> {self.wrapped[0]}  {self.test}\n{'':13}{said}"


def source(sdk: str) -> Path:
    """Return the folder of the SDK's sources in the locked version, fetched if need be."""
    lines = (environments.CONSTRAINTS / "sdk-suites.txt").read_text("utf-8").splitlines()
    version = next(line.partition("==")[2] for line in lines if line.startswith(f"{sdk}=="))
    folder = SOURCES / f"{sdk}-{version}"
    if not folder.exists():
        SOURCES.mkdir(exist_ok=True)
        subprocess.run(
            [PYTHON, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", sdk,
             "--dest", SOURCES, f"{sdk}=={version}"], check=True,
        )  # fmt: skip
        with tarfile.open(SOURCES / f"{sdk}-{version}.tar.gz") as archive:
            archive.extractall(SOURCES, filter="data")
    if not (folder / "tests").is_dir():
        sys.exit(f"the source distribution of {sdk} {version} carries no tests")
    return folder


def run(sdk: str, mode: str, workers: str, tests: list[str] | None = None) -> Ran:
    """Run the suite, or some of its tests, in one mode."""
    with tempfile.TemporaryDirectory() as directory:
        results = Path(directory) / "results.json"
        command = [
            PYTHON, "-m", "pytest", "-q", "--no-header", "--tb=short", "-o", "addopts=", *EARLY_PLUGINS[sdk],
            "-p", "sdk_suite_plugin", "-p", "no:cacheprovider", "--timeout=90", "-n", workers, "--dist", "loadfile",
            *(tests or ["tests", f"--ignore={NEEDS_A_MOCK_SERVER}"]),
        ]  # fmt: skip
        ours = {
            "SDK_SUITE_MODE": mode,
            "SDK_SUITE_RESULTS": str(results),
            "SDK_SUITE_SDK": sdk,
            "PYTHONPATH": str(Path(__file__).parent),
        }
        log = ENVIRONMENT / f"{sdk}-{mode}{'-again' if tests else ''}.log"
        with log.open("w") as stream:
            subprocess.run(
                command,
                cwd=source(sdk),
                env={**os.environ, **ours},
                stdout=stream,
                stderr=stream,
                check=False,
            )
        if not results.exists():
            sys.exit(f"{sdk}, {mode}: the suite did not run to its end; see {log}")
        outcomes = {test: tuple(found) for test, found in json.loads(results.read_text("utf-8")).items()}
        counts = [json.loads(each.read_text("utf-8")) for each in Path(directory).glob("*.counts")]
    refused: dict[str, int] = {}
    for count in counts:
        for why, times in count["refused"].items():
            refused[why] = refused.get(why, 0) + times
    summed = {name: sum(count[name] for count in counts) for name in ("constructed", "wrapped", "spans")}
    return Ran(outcomes, **summed, refused=refused)


def compare(sdk: str, modes: list[str], workers: str) -> list[Difference]:
    """Run a suite bare and in each mode, print what came of it, and return the differences."""
    print(f"{sdk} {source(sdk).name.rpartition('-')[2]}", flush=True)
    baselines: dict[str, Ran] = {}
    found = []
    for mode in modes:
        baseline = MODES[mode]
        if baseline not in baselines:
            baselines[baseline] = run(sdk, baseline, workers)
            print(f"  {baseline:14} {_counted(baselines[baseline].outcomes)}", flush=True)
        bare = baselines[baseline]
        ran = run(sdk, mode, workers)
        spans = f", {ran.spans} spans" if mode == "telemetry" else ""
        print(
            f"  {mode:14} {_counted(ran.outcomes)}; {ran.wrapped} of {ran.constructed} clients wrapped{spans}"
        )
        for why, times in sorted(ran.refused.items()):
            print(f"{'':13}{times} not wrapped: {why}")
        differences = _differing(bare.outcomes, ran.outcomes)
        if differences:
            some = sorted(differences)[:MOST_RUN_AGAIN]
            alone, again = run(sdk, baseline, "0", some), run(sdk, mode, "0", some)
            differences = _differing(alone.outcomes, again.outcomes)
        found += [
            Difference(test, mode, *outcomes, _reason(sdk, mode, test))
            for test, outcomes in sorted(differences.items())
        ]
        sys.stdout.flush()
    return found


def _counted(outcomes: Outcomes) -> str:
    kinds = [outcome for outcome, _ in outcomes.values()]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in ("passed", "failed", "error", "skipped"))


def _differing(bare: Outcomes, wrapped: Outcomes) -> dict[str, tuple[tuple[str, str], tuple[str, str]]]:
    missing = ("missing", "")
    return {
        test: (bare.get(test, missing), wrapped.get(test, missing))
        for test in bare.keys() | wrapped.keys()
        if bare.get(test, missing)[0] != wrapped.get(test, missing)[0]
    }


def _reason(sdk: str, mode: str, test: str) -> str | None:
    for entry in tomllib.loads(EXPECTED.read_text("utf-8"))["difference"]:
        if entry["sdk"] == sdk and mode in entry["modes"] and fnmatch.fnmatchcase(test, entry["test"]):
            return str(entry["reason"])
    return None


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sdk", action="append", choices=EARLY_PLUGINS, help="one of them alone")
    parser.add_argument("--mode", action="append", choices=MODES, help="one of them alone")
    parser.add_argument("--workers", default="2", help="processes of pytest")
    given = parser.parse_args()
    found = []
    for sdk in given.sdk or list(EARLY_PLUGINS):
        differences = compare(sdk, given.mode or list(MODES), given.workers)
        print("\n".join(map(str, differences)) or "  no difference")
        found += differences
    unexpected = [each for each in found if each.reason is None]
    print(f"{len(found)} differences, {len(unexpected)} of them unexpected")
    return int(bool(unexpected))


if __name__ == "__main__":
    sys.exit(main())
