"""Guides are run as they stand: their files are written, their Python is executed, their commands print what is shown.

| block | what is done with it |
|---|---|
| ```` ```console ```` | each `$ ` line is run; the lines below it must be what it prints, in order, words alone compared |
| ```` ```python ```` | executed, in one namespace a page |
| ```` ```prompty ```` | written to the path that its first line names as a comment |
| others | looked at by nobody |
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# (\S+)\n")


@dataclass(frozen=True)
class Block:
    """One block of a page."""

    language: str
    text: str

    @property
    def file(self) -> tuple[Path, str]:
        """Where a file is written, and what."""
        found = _FILE.match(self.text)
        assert found, f"the first line must name the file: {self.text[:80]}"
        return Path(found[1]), self.text[found.end() :]

    @property
    def commands(self) -> Iterator[tuple[str, list[str]]]:
        """Yield each command with the lines that it prints."""
        for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            command, *printed = part.splitlines()
            yield command, printed


def blocks(name: str) -> list[Block]:
    return [Block(*found) for found in _BLOCK.findall((GUIDES / name).read_text("utf-8"))]


def words(line: str) -> str:
    return " ".join(line.split())


def run_command(command: str) -> list[str]:
    """Run a command as a shell would, without one, and return what it says."""
    program, *arguments = shlex.split(command)
    run = (
        [sys.executable, "-m", "promptguard", *arguments]
        if program == "promptguard"
        else [program, *arguments]
    )
    done = subprocess.run(
        run, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=100,
        env={**os.environ, "COLUMNS": "200", "USER": "ann", "LOGNAME": "ann"},
    )  # fmt: skip
    return [words(line) for line in done.stdout.splitlines()]


def check(command: str, shown: list[str]) -> None:
    """Run a command, and find every line that is shown among what it says, in order; `...` stands for anything."""
    said = run_command(command)
    rest = iter(said)
    for line in filter(None, map(words, shown)):
        wanted = re.compile(".*".join(map(re.escape, line.split("..."))))
        assert any(wanted.match(each) for each in rest), f"{command}\nshows no {line!r} there:\n" + "\n".join(
            said
        )
