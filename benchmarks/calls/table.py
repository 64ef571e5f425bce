"""The rows of the benchmark, as text and as a page."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

PAGE = """# What a call costs
Written by `make bench`: CPU time of a process that makes the call, compared block by block with the bare `openai`
client's over loopback. *bare, again* is the noise of the machine. A bare call of half a kilobyte takes about a
millisecond there; over a network, with a model that thinks, all of this is far below what can be seen.

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
    lines = [f"| {row.what} | {row.side} | {row.figure} | {row.target} |" for row in rows]
    path.write_text(PAGE + "\n".join(lines) + "\n")
