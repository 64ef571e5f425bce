"""A process that is killed at any line of a write leaves the old or the new behind, and the next writer goes on."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# The child is killed as it is about to run its n-th line of the files that write; it is a program of its own, as pytest has
# threads, which do not fork well.
PROGRAM = """
import json, os, shutil, signal, sys
from pathlib import Path
from promptguard.templates import labels, lock, shared_files, certificates
from promptguard.templates.certificates import Certificate
from promptguard.templates.library import open_library

root, kind = Path(sys.argv[1]), sys.argv[2]
FILES = {module.__file__ for module in (labels, lock, shared_files, certificates)}
ACTS = {
    "label": lambda library: library.label("triage@2", "production", by="killed"),
    "rollback": lambda library: library.rollback("triage", by="killed"),
    "certificate": lambda library: library.certify(Certificate("triage", "1", "m", "certified", by="killed")),
    "lock": lambda library: library.get("triage@2").render(),
}

def made(folder):
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "triage").mkdir(parents=True)
    for version in (1, 2, 3):
        (folder / "triage" / f"{version}.prompty").write_text(f"user:\\nversion {version}")
    library = open_library(folder)
    library.get("triage@3").render()
    library.label("triage@3", "production", by="first")
    library.label("triage@1", "production", by="second")
    library.certify(Certificate("triage", "2", "m", "drifted", by="first"))
    return library

def killed_at(folder, line):
    child = os.fork()
    if child == 0:
        left = [line]
        def local(frame, event, _):
            if event == "line":
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return local
        sys.settrace(lambda frame, event, _: local if frame.f_code.co_filename in FILES else None)
        ACTS[kind](open_library(folder))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def state(folder):
    library = open_library(folder)
    return {
        "moves": [move.by for move in library.history()],
        "stands": library.labels("triage")["production"],
        "certificates": [line.by for line in library.certificates()],
        "locked": sorted(library.locked),
        "lost_texts": sorted(key for key in library.locked if library.locked_text(key) is None),
    }

found, line = [], 1
while True:
    made(root / "prompts")
    code = killed_at(root / "prompts", line)
    seen = state(root / "prompts")
    open_library(root / "prompts").label("triage@3", "staging", by="later")
    found.append({"code": code, "seen": seen, "after": state(root / "prompts")})
    if code == 0:
        break
    line += int(sys.argv[3])
print(json.dumps(found))
"""
OLD = {
    "moves": ["first", "second"], "stands": "1", "certificates": ["first"], "locked": ["triage@3"], "lost_texts": [],
}  # fmt: skip
NEW = {
    "label": {"moves": ["first", "second", "killed"], "stands": "2"},
    "rollback": {"moves": ["first", "second", "killed"], "stands": "3"},
    "certificate": {"certificates": ["first", "killed"]},
    "lock": {"locked": ["triage@2", "triage@3"]},
}


@pytest.mark.parametrize("kind", NEW)
def test_a_crash_at_some_line_leaves_the_old_or_the_new(tmp_path, kind):
    _check(tmp_path, kind, step=7)


@pytest.mark.slow
@pytest.mark.parametrize("kind", NEW)
def test_a_crash_at_any_line_leaves_the_old_or_the_new(tmp_path, kind):
    _check(tmp_path, kind, step=1)


def _check(tmp_path, kind, step):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), kind, str(step)], capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    runs = json.loads(done.stdout)
    assert [run["code"] for run in runs] == [-9] * (len(runs) - 1) + [0]
    assert len(runs) > 60 // step
    states = {"old": OLD, "new": {**OLD, **NEW[kind]}}
    seen = [next((name for name in states if states[name] == run["seen"]), str(run["seen"])) for run in runs]
    assert set(seen) == {"old", "new"}
    assert seen[-1] == "new"
    assert all(run["after"]["moves"] == [*run["seen"]["moves"], "later"] for run in runs)
    assert all(run["after"]["certificates"] == run["seen"]["certificates"] for run in runs)
