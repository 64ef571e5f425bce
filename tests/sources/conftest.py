"""Every test has a cache directory of its own: copies of sources lie there."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    return home


def write(folder: Path, name: str, version: str, text: str = "Sort the ticket.") -> Path:
    path = folder / name / f"{version}.prompty"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"---\nname: {name}\n---\nsystem:\n{text}\n")
    return path


def git(repository: Path, *command: str) -> None:
    """Run git as somebody who has a name."""
    person = {
        f"GIT_{role}_{what}": "a@example.com"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    asked = ["git", "-C", str(repository), *command]
    subprocess.run(asked, check=True, capture_output=True, env={**os.environ, **person})
