"""A folder of prompts: names, versions, labels, and the lock that keeps a used version as it was.

::

    prompts/
        triage/1.prompty  triage/2.prompty      versions of the prompt `triage`
        mail/reply/1.prompty                    a name may have parts
        labels.jsonl                            append-only: {"name": ..., "label": ..., "to": "2", ...}
        lock.json                               digest of every version that was used
"""

from __future__ import annotations

import json
import os
import re
import stat
import threading
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from promptguard.core.mistakes import checked_call, nearest, refused, shown
from promptguard.errors import ConfigurationError, PromptError, PromptSyntaxError, UnknownPrompt
from promptguard.templates.lock import Lock
from promptguard.templates.prompt import Prompt
from promptguard.templates.promptfile import parse
from promptguard.templates.remembered import Remembered
from promptguard.templates.sandbox import Sandbox

SUFFIX = ".prompty"
MAX_FILE_BYTES = 1_000_000
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*(/[a-z0-9][a-z0-9_.-]*)*")
_VERSION = re.compile(r"(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8})){0,3}")
_LABEL = re.compile(r"[a-z][a-z0-9_-]*")


@checked_call
def open_library(directory: str | Path) -> PromptLibrary:
    """Open the folder of prompts at `directory`; raises ConfigurationError when there is none, or it is no path."""
    return PromptLibrary(directory)


class _Loaded(NamedTuple):
    prompt: Prompt
    path: str


class PromptLibrary:
    """The prompts below one directory; thread-safe. New versions and labels are seen at once."""

    def __init__(self, directory: str | Path) -> None:
        if not isinstance(directory, (str, PathLike)) or "\0" in str(directory) or not str(directory):
            raise refused(
                "prompts(directory)", directory, 'the path of a folder of prompts, such as "prompts"'
            )
        self.directory = Path(directory)
        try:
            is_there = self.directory.is_dir()
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "no path of this machine"
            raise ConfigurationError(f"prompts(directory={shown(str(directory))}): {why}") from None
        if not is_there:
            example = self.directory / "triage" / f"1{SUFFIX}"
            raise ConfigurationError(
                f"{self.directory} is no directory of prompts; make one with a file {example}"
            )
        self._root = self.directory.resolve()
        self._sandbox = Sandbox()
        self._lock = Lock(self.directory / "lock.json")
        self._loaded: dict[tuple[str, str], _Loaded] = {}
        self._loading = threading.Lock()
        self._versions: Remembered[tuple[str, ...]] = Remembered(_list_versions)
        self._moves: Remembered[tuple[tuple[str, str, str], ...]] = Remembered(_read_moves)

    @property
    def compiled(self) -> int:
        """Templates compiled so far; rendering never moves it."""
        return self._sandbox.compiled

    @checked_call
    def get(self, reference: str) -> Prompt:
        """Return a prompt by `name@version`, `name@label`, or `name` for its highest version.

        Raises ConfigurationError for what is no text, UnknownPrompt (saying what there is), PromptSyntaxError, or
        PromptChanged for a version that was used before with other content.
        """
        if not isinstance(reference, str):
            raise refused("get(reference)", reference, '"name@version", "name@label" or "name"')
        name, at, wanted = reference.partition("@")
        loaded = self._loaded.get((name, wanted))
        if loaded is not None and os.path.exists(loaded.path):  # noqa: PTH110 - a Path would take twice as long
            return loaded.prompt
        versions = self.versions(name)
        if not versions:
            names = self.names()
            hint = _hint(name, names)
            raise UnknownPrompt(
                f"there is no prompt {name!r} in {self.directory}{hint}; there are: {', '.join(names) or 'none'}"
            )
        version = self._version(name, wanted, versions) if at else versions[-1]
        loaded = self._loaded.get((name, version))
        if loaded is None:
            with self._loading:
                loaded = self._loaded.get((name, version))
                if loaded is None:
                    path = self.directory / name / f"{version}{SUFFIX}"
                    loaded = self._loaded[name, version] = _Loaded(self._load(name, version, path), str(path))
        return loaded.prompt

    @checked_call
    def names(self) -> list[str]:
        """Return the names of all prompts, sorted."""
        found = {
            path.parent.relative_to(self.directory).as_posix() for path in self.directory.rglob(f"*{SUFFIX}")
        }
        return sorted(name for name in found if _NAME.fullmatch(name) and self.versions(name))

    @checked_call
    def versions(self, name: str) -> list[str]:
        """Return the versions of a prompt, lowest first; empty when there is no such prompt."""
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            return []
        try:
            return list(self._versions.read(os.path.join(self.directory, name)))  # noqa: PTH118 - on every get()
        except OSError:
            return []

    @checked_call
    def labels(self, name: str) -> Mapping[str, str]:
        """Return label -> version of a prompt, as the last lines of labels.jsonl have it."""
        path = self.directory / "labels.jsonl"
        try:
            moves = self._moves.read(str(path))
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise PromptSyntaxError(f"{path}: the labels cannot be read: {error}") from None
        return {label: version for of, label, version in moves if of == name}

    def _version(self, name: str, wanted: str, versions: list[str]) -> str:
        if wanted in versions:
            return wanted
        labels = self.labels(name)
        version = labels.get(wanted)
        if version is None:
            there = ", ".join(versions) + (f"; labels: {', '.join(sorted(labels))}" if labels else "")
            raise UnknownPrompt(
                f"{name} in {self.directory} has no version or label {wanted!r}{_hint(wanted, [*labels, *versions])}; "
                f"versions: {there}"
            )
        if version not in versions:
            raise UnknownPrompt(
                f"{name}@{wanted} stands for version {version}, which is not in {self.directory / name}"
            )
        return version

    def _load(self, name: str, version: str, path: Path) -> Prompt:
        file = parse(self._read(path), str(path))
        stated = file.front.metadata.get("version")
        if stated is not None and str(stated) != version:
            raise PromptSyntaxError(
                f"{path}: metadata.version is {stated}, but the file is named {version}{SUFFIX}"
            )
        if file.front.name not in ("", name):
            raise PromptSyntaxError(f"{path}: name is {file.front.name}, but the folder says {name}")
        key = f"{name}@{version}"
        self._lock.verify(key, file.digest, path)
        return Prompt(file, name, version, self._sandbox, lambda: self._lock.record(key, file.digest, path))

    def _read(self, path: Path) -> str:
        """Read a regular file that really lies below the root (no symlink may lead out)."""
        try:
            real = path.resolve(strict=True)
            if not real.is_relative_to(self._root):
                raise PromptError(
                    f"{path} leads out of {self.directory}; a prompt must lie inside its library"
                )
            if not stat.S_ISREG(real.stat().st_mode):
                raise PromptError(f"{path} is not a regular file")
            with real.open("rb") as stream:
                data = stream.read(MAX_FILE_BYTES + 1)
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of symlinks
            raise PromptError(f"{path} cannot be read: {error}") from None
        if len(data) > MAX_FILE_BYTES:
            raise PromptSyntaxError(f"{path}: a prompt file has at most {MAX_FILE_BYTES} bytes")
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise PromptSyntaxError(f"{path}:{line}: the file is not UTF-8") from None


def _hint(given: str, known: list[str]) -> str:
    meant = nearest(given, known)
    return "" if meant is None else f" (did you mean {meant!r}?)"


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _list_versions(directory: str) -> tuple[str, ...]:
    stems = [path.stem for path in Path(directory).iterdir() if path.suffix == SUFFIX]
    return tuple(sorted((stem for stem in stems if _VERSION.fullmatch(stem)), key=_order))


def _read_moves(path: str) -> tuple[tuple[str, str, str], ...]:
    lines = Path(path).read_text("utf-8").splitlines()
    return tuple(
        _label_line(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()
    )


def _label_line(line: str, where: str) -> tuple[str, str, str]:
    try:
        move = json.loads(line)
        name, label, version = move["name"], move["label"], str(move["to"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise PromptSyntaxError(
            f'{where}: not a label; a line is {{"name": ..., "label": ..., "to": ...}}'
        ) from None
    if not isinstance(name, str) or not isinstance(label, str) or not _LABEL.fullmatch(label):
        raise PromptSyntaxError(
            f"{where}: a label begins with a letter and has letters, digits, - and _ only"
        )
    return name, label, version
