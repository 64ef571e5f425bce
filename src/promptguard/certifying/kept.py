"""What an examination has so far, so that one which was interrupted goes on: features and counts, and no text.

A folder a run below the prompts' `.certify/`, which git ignores; readable by its owner alone, and removed when the run has
come to its end.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptguard.drift import PairVector
from promptguard.errors import PromptError
from promptguard.templates.shared_files import append_line, one_writer, whole_lines

FOLDER = ".certify"
_FILE = "run.jsonl"
_PATIENCE = 0.2
"""Seconds after which the same run counts as going on elsewhere."""


@dataclass(frozen=True, slots=True)
class KeptPair:
    """What one subject's pair came to: its features, or which side was lost."""

    vector: PairVector | None
    right: tuple[bool, bool] | None = None
    lost: str = ""
    changed: bool = False
    """whether the remedy changed the answer"""


@dataclass(slots=True)
class KeptStep:
    """One question that was asked, or one case that was looked at."""

    key: str
    pairs: dict[str, KeptPair] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    """of a case: subject -> why it failed, "" where it passed"""
    calls: int = 0
    usd: float = 0.0
    served: dict[str, list[str]] = field(default_factory=dict)
    tokens: dict[str, list[int]] = field(default_factory=dict)
    """side -> tokens of question and answer, and how many answers they are of"""


def name_of(*facts: object) -> str:
    """Return the name of a run: the same whenever the same is asked for."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:20]


def hashed(key: str) -> str:
    """Return how the file calls a question, whose own key may be its text."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:24]


class Kept:
    """The steps of one run on disk."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / _FILE

    def steps(self) -> list[KeptStep]:
        """Return what was done before, oldest first; what cannot be read ends the list."""
        try:
            lines = whole_lines(self._path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError):
            return []
        found: list[KeptStep] = []
        for line in lines:
            if not line.strip():
                continue
            try:
                found.append(_step(json.loads(line)))
            except (ValueError, KeyError, TypeError, AttributeError):
                break
        return found

    def add(self, step: KeptStep) -> None:
        """Write one step; on disk before this returns. Raises PromptError."""
        told = {
            "key": step.key,
            "pairs": {name: _told(pair) for name, pair in step.pairs.items()},
            "failures": step.failures, "calls": step.calls, "usd": step.usd, "served": step.served, "tokens": step.tokens,
        }  # fmt: skip
        try:
            if not self._path.exists():
                self._path.touch(mode=0o600)
            append_line(self._path, json.dumps(told))
        except OSError as error:
            raise PromptError(f"{self._path} cannot be written: {error.strerror or error}") from None

    def forget(self) -> None:
        """Remove them: the run has come to its end."""
        shutil.rmtree(self._directory, ignore_errors=True)


def _told(pair: KeptPair) -> dict[str, object]:
    vector = None if pair.vector is None else base64.b85encode(pair.vector.to_bytes()).decode()
    return {"vector": vector, "right": pair.right, "lost": pair.lost, "changed": pair.changed}


def _step(told: Mapping[str, Any]) -> KeptStep:
    pairs = {}
    for name, each in told["pairs"].items():
        vector = None if each["vector"] is None else PairVector.from_bytes(base64.b85decode(each["vector"]))
        right = None if each["right"] is None else (bool(each["right"][0]), bool(each["right"][1]))
        pairs[name] = KeptPair(vector, right, str(each["lost"]), bool(each["changed"]))
    return KeptStep(
        str(told["key"]), pairs, dict(told["failures"]), int(told["calls"]), float(told["usd"]), dict(told["served"]),
        dict(told["tokens"]),
    )  # fmt: skip


@contextmanager
def kept_in(prompts: Path, name: str, *, fresh: bool) -> Iterator[Kept]:
    """Hold the run of this name for this process alone. Raises PromptError where another one holds it."""
    root = prompts / FOLDER
    directory = root / name
    try:
        root.mkdir(mode=0o700, exist_ok=True)
        ignored = root / ".gitignore"
        if not ignored.exists():
            ignored.write_text("*\n", "utf-8")
        if fresh:
            shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise PromptError(
            f"{directory} cannot be written ({error.strerror or os.strerror(error.errno or 0)}): what an examination has so"
            " far is kept there, so that it can go on after an interruption"
        ) from None
    kept = Kept(directory)
    held = one_writer(directory, _PATIENCE)
    try:
        held.__enter__()
    except PromptError:
        raise PromptError(f"another process is at the same examination ({directory}); wait for it") from None
    try:
        yield kept
    finally:
        held.__exit__(None, None, None)
