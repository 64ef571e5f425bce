"""The environments of this repository: what is installed in each, and in which versions.

python tools/environments.py build DIRECTORY GROUP [--versions locked|lowest|newest] [--each]
python tools/environments.py lock [NAME ...]            resolve anew, all files or some (`make constraints`)
python tools/environments.py changes DIRECTORY NAME ... versions installed that these constraints do not name

A group is one of `[dependency-groups]` in pyproject.toml, which holds ranges. The versions of a group are in
`constraints/`, one file an environment: what was green yesterday is green today, whatever was published since.
Needs nothing but the standard library, because it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:
    sys.exit("PromptGuard needs Python 3.11 or newer: make PYTHON=python3.12 ...")

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints"
TOOLS = ROOT / ".venv-tools"
OLDEST_PYTHON = "3.11"
LOCKS = {
    # They share one environment: whatever is installed first, nothing is replaced by the next.
    "test": ["demo", "demo-llm", "test"],
    "test-openai2": ["test-openai2"],
    "sdks": ["sdks"],
    "sdks-previous": ["sdks-previous"],
    "frameworks": ["frameworks"],
    "frameworks-openai2": ["frameworks-openai2"],
    "peers": ["peers"],
    "sdk-suites": ["sdk-suites"],
    "lowest": ["lowest"],
    "telemetry": ["telemetry"],
    "telemetry-previous": ["telemetry-previous"],
    "telemetry-genai": ["telemetry-genai"],
    "telemetry-genai-previous": ["telemetry-genai-previous"],
}
"""Each file of constraints, and the groups that it is for."""
_HEADER = """\
# Versions for the environment `{name}` of this repository, for Python {python} and newer.
# Made by `make constraints` from the ranges in pyproject.toml{how}; not edited by hand.
# Users of the package are not bound by it: the wheel has ranges.
"""
_PIP = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-build-isolation"]


def requirements(group: str) -> list[str]:
    """Return what a group asks for, with the groups that it includes."""
    found: list[str] = []
    for entry in _pyproject()["dependency-groups"][group]:
        found += requirements(entry["include-group"]) if isinstance(entry, dict) else [entry]
    return found


def build(directory: Path, group: str, versions: str, *, each: bool) -> None:
    """Make an environment, or add to it.

    With `each`, what does not install is said and left out: a library we only compare with may not exist for this
    machine.
    """
    python = directory / "bin" / "python"
    if not python.exists():
        print(f"making {directory} ...", flush=True)
        venv.create(directory, with_pip=True)
    limits = _limits(group, versions)
    print(f"installing `{group}` ({versions} versions) ...", flush=True)
    ours, others = [], []
    for requirement in requirements(group):
        extras = re.match(r"promptguard-shadow(\[.*\])?$", requirement)
        if extras:
            ours += ["-e", f"{ROOT}{extras[1] or ''}"]
        else:
            others.append(requirement)
    # The build backend first, so that its version is ours as well and not whatever is newest.
    _run(python, [*_PIP, *limits, *requirements("build")])
    if not each:
        _run(python, [*_PIP, *limits, *ours, *others])
        return
    _run(python, [*_PIP, *limits, *ours])
    for requirement in others:
        if subprocess.run([python, *_PIP, *limits, requirement], check=False).returncode:
            print(f"{requirement} does not install here; it is left out", file=sys.stderr)


def lock(names: list[str]) -> None:
    """Resolve groups for all supported versions of Python, and write the files of constraints."""
    uv = TOOLS / "bin" / "uv"
    if not uv.exists():
        venv.create(TOOLS, with_pip=True)
        _run(
            TOOLS / "bin" / "python", ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"]
        )
    CONSTRAINTS.mkdir(exist_ok=True)
    for name, groups in LOCKS.items():
        if names and name not in names:
            continue
        lowest = name == "lowest"
        lines = _resolve(uv, ["build", *groups], "lowest-direct" if lowest else "highest")
        header = _HEADER.format(name=name, python=OLDEST_PYTHON, how=", the lowest of each" if lowest else "")
        path = CONSTRAINTS / f"{name}.txt"
        path.write_text(header + "".join(f"{line}\n" for line in lines), "utf-8")
        print(f"{path.relative_to(ROOT)}: {len(lines)} packages", flush=True)


def changes(directory: Path, names: list[str]) -> list[str]:
    """Return `name: locked → installed` for what an environment has in a version that no file of constraints names."""
    done = subprocess.run(
        [directory / "bin" / "python", "-m", "pip", "list", "--format=json", "--disable-pip-version-check"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    installed = {_normal(each["name"]): each["version"] for each in json.loads(done.stdout)}
    locked: dict[str, set[str]] = {}
    for line in (
        line for name in names for line in (CONSTRAINTS / f"{name}.txt").read_text("utf-8").splitlines()
    ):
        if not line.startswith("#"):
            name, version = line.partition(";")[0].strip().split("==")
            locked.setdefault(_normal(name), set()).add(version)
    return [
        f"{name}: {' or '.join(sorted(locked[name]))} → {version}"
        for name, version in sorted(installed.items())
        if name in locked and version not in locked[name]
    ]


def _resolve(uv: Path, groups: list[str], resolution: str) -> list[str]:
    asked = [line for group in groups for each in requirements(group) for line in _expanded(each)]
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory) / "requirements.in"
        source.write_text("\n".join(asked), "utf-8")
        command = [
            uv, "pip", "compile", "--quiet", "--universal", "--python-version", OLDEST_PYTHON, "--no-header",
            "--no-annotate", "--no-emit-index-url", "--no-emit-find-links", "--resolution", resolution, source,
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(groups)}: {done.stderr}")
    return _plain(done.stdout.splitlines())


def _plain(lines: list[str]) -> list[str]:
    """Leave markers only where they choose between versions: a constraint on what nobody installs does nothing."""
    names = [line.partition("==")[0] for line in lines]
    return [
        line if names.count(name) > 1 else line.partition(" ;")[0]
        for name, line in zip(names, lines, strict=True)
    ]


def _expanded(requirement: str) -> list[str]:
    """Return what our own package asks for where a group names it with extras."""
    ours = re.match(r"promptguard-shadow(?:\[(.*)\])?$", requirement)
    if not ours:
        return [requirement]
    project = _pyproject()["project"]
    extras = [each.strip() for each in (ours[1] or "").split(",") if each]
    return [
        *project["dependencies"],
        *(one for each in extras for one in project["optional-dependencies"][each]),
    ]


def _pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def _limits(group: str, versions: str) -> list[str]:
    if versions == "newest":
        return []
    return ["-c", str(CONSTRAINTS / "lowest.txt" if versions == "lowest" else _file(group))]


def _file(group: str) -> Path:
    return CONSTRAINTS / next(f"{name}.txt" for name, groups in LOCKS.items() if group in groups)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _run(python: Path, arguments: list[str]) -> None:
    code = subprocess.run([python, *arguments], check=False).returncode
    if code:
        sys.exit(code)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    building = commands.add_parser("build")
    building.add_argument("--versions", choices=["locked", "lowest", "newest"], default="locked")
    building.add_argument(
        "--each", action="store_true", help="install one by one, and leave out what does not install"
    )
    commands.add_parser("lock").add_argument("names", nargs="*", choices=[*LOCKS, []])
    changing = commands.add_parser("changes")
    for each in (building, changing):
        each.add_argument("directory", type=Path)
    building.add_argument("group")
    changing.add_argument("names", nargs="+", choices=LOCKS)
    given = parser.parse_args()
    if given.command == "lock":
        lock(given.names)
    elif given.command == "build":
        build(given.directory, given.group, given.versions, each=given.each)
    else:
        print("\n".join(changes(given.directory, given.names)))


if __name__ == "__main__":
    main()
