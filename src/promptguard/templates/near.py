"""Files of prompts that lie beside the place where they would be found, and where they belong."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from promptguard.templates.labels import FILE as LABELS
from promptguard.templates.lock import KEPT

SUFFIX = ".prompty"
NAME = re.compile(
    r"(?!(?:lock\.json|(?:labels|certificates)\.jsonl)(?:/|\Z))[a-z0-9][a-z0-9_.-]*(/[a-z0-9][a-z0-9_.-]*)*"
)
"""Names of prompts; those of the folder's own files are none."""
VERSION = re.compile(r"(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8})){0,3}")
_OTHERS = (".j2", ".jinja", ".jinja2", ".prompt", ".txt", ".md", ".yaml", ".yml", ".json")
_SPELLED = re.compile(r"(?:version|ver|v)[ _.-]*([0-9][0-9.]*)", re.IGNORECASE)
_NO_NAME = re.compile(r"[^a-z0-9_.-]+")
MOST_FILES = 100_000


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A file that no name leads to. `path` and `should_be` are relative to the folder; `name` is the prompt's."""

    path: str
    name: str
    should_be: str
    why: str

    def sentence(self) -> str:
        """Return what is wrong and what mends it."""
        if not self.path.endswith(SUFFIX):
            return f"{self.path} is {self.why}: `promptguard prompts import {self.path}` makes {self.should_be} of it"
        return f"{self.path} is not found by any name ({self.why}): move it to {self.should_be}"


def misplaced(directory: Path) -> Iterator[Misplaced]:
    """Yield what looks like a prompt below `directory` and is none, in the order of names; reads no file."""
    seen = 0
    for place, folders, files in os.walk(directory):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != KEPT)
        for file in sorted(files):
            seen += 1
            if seen > MOST_FILES:
                return
            path = os.path.relpath(os.path.join(place, file), directory).replace(os.sep, "/")  # noqa: PTH118
            found = _looked_at(path)
            if found is not None:
                yield found


def _looked_at(path: str) -> Misplaced | None:
    folder, _, file = path.rpartition("/")
    stem, suffix = Path(file).stem, Path(file).suffix
    if suffix.lower() != SUFFIX:
        if (
            suffix.lower() not in _OTHERS
            or file in (LABELS, "lock.json")
            or file.lower().startswith("readme")
        ):
            return None
        name = _as_name(f"{folder}/{stem}" if folder else stem)
        return Misplaced(path, name, f"{name}/1{SUFFIX}", "no prompt file of this folder's form")
    if not folder:
        name = _as_name(stem)
        return Misplaced(path, name, f"{name}/1{SUFFIX}", "a prompt is a folder of versions")
    name, version = _as_name(folder), _as_version(stem)
    if NAME.fullmatch(folder) and VERSION.fullmatch(stem) and suffix == SUFFIX:
        return None
    if version is None:
        inner = _as_name(f"{folder}/{stem}")
        return Misplaced(path, inner, f"{inner}/1{SUFFIX}", f"{stem!r} is no version such as 1 or 1.2")
    why = (
        "names are small letters, digits, and _ . -"
        if not NAME.fullmatch(folder)
        else f"{file!r} is no version"
    )
    return Misplaced(path, name, f"{name}/{version}{SUFFIX}", why)


def _as_name(path: str) -> str:
    parts = (_NO_NAME.sub("-", part.lower()).strip("-._") for part in path.split("/"))
    return "/".join(part for part in parts if part) or "prompt"


def _as_version(stem: str) -> str | None:
    spelled = _SPELLED.fullmatch(stem)
    digits = (spelled[1] if spelled else stem).strip(".")
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9}){0,3}", digits):
        return None
    return ".".join(str(int(part)) for part in digits.split("."))
