"""Guides are run as they stand: their files are written, their commands print what is shown.

| block | what is done with it |
|---|---|
| ```` ```console ```` | each `$ ` line is run; the lines below it must be what it prints, in order, words alone compared |
| with a path after the language | written to that path |
| others | looked at by nobody |
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
_BLOCK = re.compile(r"^```(\w*) ?(\S*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One block of a page."""

    language: str
    path: str
    text: str

    def write(self) -> None:
        """Write it to its path, below the working directory."""
        path = Path(self.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text, "utf-8")

    @property
    def commands(self) -> Iterator[tuple[str, list[str]]]:
        """Yield each command with the lines that it prints."""
        for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            command, *printed = part.splitlines()
            yield command, printed


def blocks(name: str) -> list[Block]:
    return [Block(*found) for found in _BLOCK.findall((GUIDES / name).read_text("utf-8"))]


_NOW = re.escape("just now")
"""On a busy machine it was some seconds ago."""


def words(line: str) -> str:
    return " ".join(line.split())


def run_command(command: str) -> list[str]:
    """Run a command in a shell, and return what it says."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["/bin/bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=100,
        env={**os.environ, "PATH": path, "COLUMNS": "200"},
    )  # fmt: skip
    return [words(line) for line in done.stdout.splitlines()]


def check(command: str, shown: list[str]) -> None:
    """Run a command, and find every line that is shown among what it says, in order; `...` stands for anything."""
    said = run_command(command)
    rest = iter(said)
    for line in filter(None, map(words, shown)):
        wanted = re.compile(
            ".*".join(map(re.escape, line.split("..."))).replace(_NOW, rf"(?:{_NOW}|[0-9]+ (?:s|min) ago)")
        )
        assert any(wanted.match(each) for each in rest), f"{command}\nshows no {line!r} there:\n" + "\n".join(
            said
        )
