"""The rows of the benchmark, as text and as a page."""

from __future__ import annotations

import importlib.metadata
import itertools
import os
import platform
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
PAGE = """# What a call costs
Written by `make bench` on {measured}.

CPU time of a process that makes the call, compared block by block with the bare `openai` client's over loopback;
*p50 / p99* is time on the clock. *bare, again* is the noise of the machine: what lies within it is nothing. A bare call
of half a kilobyte takes about a millisecond there; over a network, with a model that thinks, all of this is far below
what can be seen. The first `wrap()` of a process imports what it needs.

Other libraries are measured with openai 2, which litellm still needs, and send their telemetry nowhere. hishel keys by
URL and needs a server's permission to cache; both were added for it here. LangChain's cache answers above the SDK.

| what | side | figure | target |
|---|---|---|---|
"""


@dataclass
class Row:
    """One figure."""

    what: str
    side: str
    figure: str
    target: str


def plain_text(rows: list[Row]) -> str:
    lines = []
    for what, group in itertools.groupby(rows, key=lambda row: row.what):
        lines.append(what)
        lines += [f"  {row.side:42s} {row.figure:>18s}   {row.target}" for row in group]
    return "\n".join(lines)


def write_page(path: Path, rows: list[Row]) -> None:
    lines = [f"| {row.what} | {row.side} | {row.figure} | {_against(row)} |" for row in rows]
    path.write_text(PAGE.format(measured=_measured()) + "\n".join(lines) + "\n")


def _against(row: Row) -> str:
    """Return the target, and whether it was missed; what a side that does not run says stands there as it is."""
    found, wanted = ([float(number) for number in _NUMBER.findall(text)] for text in (row.figure, row.target))
    if not row.target.startswith("≤"):
        return row.target
    missed = any(figure > target for figure, target in zip(found, wanted, strict=False))
    return f"{row.target}{' (missed)' * missed}"


def _measured() -> str:
    """Return when and on what these figures were measured."""
    commit = _said_by_git("rev-parse", "--short", "HEAD") or "unknown"
    changed = " and changes" if _said_by_git("status", "--porcelain", "--untracked-files=no") else ""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("openai", "httpx2"))
    at = time.strftime("%Y-%m-%d", time.gmtime())
    python = platform.python_version()
    return f"{at}, commit {commit}{changed}: {os.cpu_count()} cores, Python {python}, {versions}"


def _said_by_git(*arguments: str) -> str:
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:
        return ""
