"""A folder of prompts: names, versions, labels, and the lock that keeps a used version as it was.

::

    prompts/
        triage/1.prompty  triage/2.prompty      versions of the prompt `triage`
        mail/reply/1.prompty                    a name may have parts
        labels.jsonl                            where labels such as `production` stand, append-only (labels.py)
        certificates.jsonl                      on which models versions are known to work, append-only (certificates.py)
        lock.json  .locked/                     digest and text of every version that was used
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from promptguard.core.canonical import canonical_json
from promptguard.core.mistakes import checked_call, nearest, refused, shown
from promptguard.core.rollouts import Table, unit_of
from promptguard.errors import ConfigurationError, PromptError, PromptSyntaxError, UnknownPrompt
from promptguard.templates.certificates import LASTS, Certificate, Certificates, matrix
from promptguard.templates.labels import Labels, Move
from promptguard.templates.lock import Lock
from promptguard.templates.near import NAME, SUFFIX, VERSION, misplaced
from promptguard.templates.prompt import Call, Prompt
from promptguard.templates.promptfile import parse
from promptguard.templates.remembered import Remembered
from promptguard.templates.rendered import UNIT
from promptguard.templates.sandbox import Sandbox
from promptguard.templates.variants import chosen

MAX_FILE_BYTES = 1_000_000


@checked_call
def open_library(directory: str | Path, certificates_last: float = LASTS) -> PromptLibrary:
    """Open the folder of prompts at `directory`; raises ConfigurationError when there is none, or it is no path.

    `certificates_last` is the age in seconds from which on a certificate has expired.
    """
    return PromptLibrary(directory, certificates_last)


_MOST_OPENED = 64
_opened: dict[str, None] = {}


def opened() -> list[str]:
    """Return the folders that this process has opened, as absolute paths: the last ones, where there were many."""
    return list(_opened)


_NO_ROLLOUTS = Table()


def nothing_rolled_out() -> Table:
    """Return a table of no rollouts."""
    return _NO_ROLLOUTS


class _Loaded(NamedTuple):
    prompt: Prompt
    path: str


class PromptLibrary:
    """The prompts below one directory; thread-safe. New versions and labels are seen at once."""

    def __init__(
        self,
        directory: str | Path,
        certificates_last: float = LASTS,
        rollouts: Callable[[], Table] = nothing_rolled_out,
    ) -> None:
        """Open the folder; `rollouts` gives what is being rolled out, which `render` and `get(unit=...)` ask."""
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
        self._root = Path(os.path.realpath(self.directory))
        _opened.setdefault(str(self._root))
        while len(_opened) > _MOST_OPENED:
            del _opened[next(iter(_opened))]
        self._sandbox = Sandbox()
        self._lock = Lock(self.directory / "lock.json")
        self._loaded: dict[tuple[str, str], _Loaded] = {}
        self._loading = threading.Lock()
        self._versions: Remembered[tuple[str, ...]] = Remembered(_list_versions)
        self._labels = Labels(self.directory)
        self._certificates = Certificates(self.directory)
        self.certificates_last = certificates_last
        """age in seconds from which on a certificate has expired"""
        self._rollouts = rollouts

    @property
    def place(self) -> str:
        """Where these prompts are, as a text that opens them from any directory."""
        return str(self._root)

    @property
    def compiled(self) -> int:
        """Templates compiled so far; rendering never moves it."""
        return self._sandbox.compiled

    @checked_call
    def get(self, reference: str, *, unit: str | int | None = None) -> Prompt:
        """Return a prompt by `name@version`, `name@label`, or `name` for its highest version.

        With `unit`, whose prompt it is, or inside `with promptguard.unit(...)`, a label or name stands for the version that
        the unit gets while one is rolled out; calls rendered from it are the rollout's evidence. "" is no unit.

        Raises ConfigurationError for what is no text (a unit may be a whole number), UnknownPrompt (saying what there is),
        PromptSyntaxError, or PromptChanged for a version that was used before with other content.
        """
        if not isinstance(reference, str):
            raise refused("get(reference)", reference, '"name@version", "name@label" or "name"')
        whose = (None if unit is None else unit_of(unit)) or UNIT.get()
        prompt = self._get(reference)
        is_plain = whose is None or not self._is_staged(reference)
        return prompt if is_plain or whose is None else self._of_unit(reference, prompt, whose)

    def _get(self, reference: str) -> Prompt:
        name, at, wanted = reference.partition("@")
        loaded = self._loaded.get((name, wanted))
        if loaded is not None and os.path.exists(loaded.path):  # noqa: PTH110 - a Path would take twice as long
            return loaded.prompt
        versions = self._there(name)
        version = self._version(name, wanted, versions) if at else versions[-1]
        loaded = self._loaded.get((name, version))
        if loaded is None:
            with self._loading:
                loaded = self._loaded.get((name, version))
                if loaded is None:
                    path = self.directory / name / f"{version}{SUFFIX}"
                    loaded = self._loaded[name, version] = _Loaded(self._load(name, version, path), str(path))
        return loaded.prompt

    def _is_staged(self, reference: str) -> bool:
        """Whether a rollout decides which version a name or label stands for."""
        prompts = self._rollouts().prompts
        if not prompts or not isinstance(reference, str):
            return False
        name, _, label = reference.partition("@")
        rollout = prompts.get(name)
        # By name alone a version that was rolled back stays the highest: it is given to nobody.
        return rollout is not None and (
            label in ("", rollout.label) if rollout.is_live else not label and rollout.state != "done"
        )

    def _of_unit(self, reference: str, prompt: Prompt, unit: str) -> Prompt:
        """Return the version of a unit, where `reference` alone stands for `prompt`. What cannot be opened is not used."""
        table, (name, at, wanted) = self._rollouts(), reference.partition("@")
        version, staged = table.version(name, wanted if at else None, prompt.version, unit)
        try:
            if version != prompt.version:
                prompt = self._get(f"{name}@{version}")
            if staged is None:
                return prompt
            before = self._get(f"{name}@{staged.before}") if staged.is_treated else None
        except PromptError:
            return prompt
        return prompt.staged(staged, before)

    @checked_call
    def render(
        self,
        reference: str,
        /,
        model: str | None = None,
        *,
        unit: str | int | None = None,
        **variables: object,
    ) -> Call:
        """Render a prompt by `name@label`, or another reference, in the version that a unit gets while one is rolled out.

        `unit` says whose rendering it is (a user, a conversation): it keeps its version. By default that is the one of
        `with promptguard.unit(...)`, else each question is a unit of its own.

        Where the version meant is not certified on `model`, another one that names it in its `models:` and is certified
        there takes its place; where there is none, a warning is logged, once a version and model. A version written out
        (`name@3`), or that a rollout gives, is never exchanged. `model` and variables are those of `Prompt.render`.
        Raises what `get()` and `Prompt.render()` raise.

        >>> call = library.render("triage@production", unit="user-17", ticket=ticket)  # doctest: +SKIP
        """
        whose = None if unit is None else unit_of(unit)
        if not self._is_staged(reference):
            prompt = self.get(reference)
        else:
            prompt = self.get(reference, unit=whose or UNIT.get() or _question(variables))
            reference = f"{prompt.name}@{prompt.version}"
        if model is not None:
            prompt = chosen(self, prompt, reference, model)
        return prompt.render(model, **variables)

    @checked_call
    def names(self) -> list[str]:
        """Return the names of all prompts, sorted."""
        return sorted(self.all_versions())

    def all_versions(self) -> dict[str, list[str]]:
        """Return name -> versions, lowest first, of all prompts: one walk through the folder."""
        found: dict[str, list[str]] = {}
        for directory, folders, files in os.walk(self.directory):
            folders[:] = [name for name in folders if NAME.fullmatch(name)]
            stems = [file.removesuffix(SUFFIX) for file in files if file.endswith(SUFFIX)]
            versions = sorted((stem for stem in stems if VERSION.fullmatch(stem)), key=_order)
            name = os.path.relpath(directory, self.directory).replace(os.sep, "/")
            if versions and NAME.fullmatch(name):
                found[name] = versions
        return found

    @checked_call
    def versions(self, name: str) -> list[str]:
        """Return the versions of a prompt, lowest first; empty when there is no such prompt."""
        if not isinstance(name, str) or not NAME.fullmatch(name):
            return []
        try:
            return list(self._versions.read(os.path.join(self.directory, name)))  # noqa: PTH118 - on every get()
        except OSError:
            return []

    @checked_call
    def labels(self, name: str) -> Mapping[str, str]:
        """Return label -> version of a prompt, as the last moves have it."""
        return self._labels.of(name)

    @checked_call
    def history(self, name: str | None = None) -> Sequence[Move]:
        """Return every move of a label, oldest first: of one prompt, or of all.

        Raises UnknownPrompt for a name that there is not, PromptSyntaxError for a file of labels that cannot be read.
        """
        moves = self._labels.moves()
        if name is None:
            return moves
        self._there(name)
        return tuple(move for move in moves if move.name == name)

    @checked_call
    def label(
        self, reference: str, label: str, *, why: str = "", by: str = "", only_from: str | None = None
    ) -> Move:
        """Put a label on a version; running processes see it at their next `get()`.

        `reference` is "name@version", or "name@label" for where another label stands; `why` and `by` are kept in the
        history. With `only_from`, a label that stands on another version than that one stays there. Returns the move; where
        the label stands there already, the last one. Raises UnknownPrompt, PromptSyntaxError or PromptChanged for a version
        that could not be used, and PromptError for a label that cannot be one or stays, or a folder that cannot be written.
        """
        prompt = self._get(reference)
        return self._labels.move(prompt.name, label, prompt.version, by=by, why=why, only_from=only_from)

    @checked_call
    def rollback(
        self, name: str, label: str = "production", *, to: str | None = None, why: str = "", by: str = ""
    ) -> Move:
        """Put a label back where it stood before its last move, or on the version `to` of its own history.

        Twice goes two moves back. Returns the move. Raises UnknownPrompt where there is no such prompt or label, or the
        label never stood elsewhere, and PromptError where the folder cannot be written.
        """
        self._there(name)
        target = to if to is not None else self._labels.earlier(name, label)
        if target is not None and target != self.labels(name).get(label):
            self.get(f"{name}@{target}")  # what could not be used must not be rolled back to
        return self._labels.roll_back(name, label, to=to, by=by, why=why)

    @checked_call
    def certificates(self, name: str | None = None) -> Sequence[Certificate]:
        """Return every examination and withdrawal, oldest first: of one prompt, or of all.

        Raises UnknownPrompt for a name that there is not, PromptSyntaxError for a file that cannot be read.
        """
        lines = self._certificates.history()
        if name is None:
            return lines
        self._there(name)
        return tuple(line for line in lines if line.name == name)

    @checked_call
    def matrix(self, name: str, models: Sequence[str] = ()) -> dict[str, dict[str, Certificate]]:
        """Return what is known of every version of a prompt on every model: version -> model -> certificate.

        Models are `models` and those that certificates name. Raises UnknownPrompt, and PromptSyntaxError as `certificates`.
        """
        lines = self._certificates.standing(name)
        return matrix(lines, name, self._there(name), models, time.time(), self.certificates_last)

    def certificate(self, name: str, version: str, model: str) -> Certificate:
        """Return what is known of one version on one model, by the name asked for or the one that answers.

        `untested` where nothing is.
        """
        known = self._certificates.standing(name)
        found = [line for line in known.values() if line.version == version and line.is_of(model)]
        newest = max(found, key=lambda line: (line.model == model, line.at), default=None)
        line = newest or Certificate(name, version, model, "untested")
        return line.at_time(time.time(), self.certificates_last)

    @checked_call
    def certify(self, certificate: Certificate) -> Certificate:
        """Append what an examination came to; returns it as it is written. Raises UnknownPrompt, PromptError."""
        self.get(certificate.reference)
        return self._certificates.add(certificate)

    @checked_call
    def withdraw(self, reference: str, model: str, *, why: str, by: str = "") -> Sequence[Certificate]:
        """Withdraw what certifies "name@version" on a model; returns what was written, empty where nothing stands.

        Raises PromptError where nothing can be written.
        """
        name, _, version = reference.partition("@")
        return self._certificates.withdraw(name, version, model, why=why, by=by)

    def earlier(self, name: str, label: str = "production") -> str | None:
        """Return the version on which `rollback` would put a label; None where there is none."""
        return self._labels.earlier(name, label)

    @property
    def locked(self) -> Mapping[str, str]:
        """Version -> digest of those that were used; raises PromptSyntaxError where lock.json cannot be read."""
        return self._lock.known

    def locked_text(self, reference: str) -> str | None:
        """Return the text of a version as it was when it was first used; None where it was never, or is not kept."""
        digest = self.locked.get(reference)
        return None if digest is None else self._lock.kept(digest)

    def _there(self, name: str) -> list[str]:
        versions = self.versions(name)
        if not versions:
            names = self.names()
            beside = next((each for each in misplaced(self.directory) if _alike(each.name, name)), None)
            hint = f": {beside.sentence()}" if beside else _hint(str(name), names)
            raise UnknownPrompt(
                f"there is no prompt {name!r} in {self.directory}{hint}; there are: {_listed(names)}"
            )
        return versions

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
        # what no folder can be called, "Basic Prompt" say, is a title
        if file.front.name != name and NAME.fullmatch(file.front.name):
            raise PromptSyntaxError(f"{path}: name is {file.front.name}, but the folder says {name}")
        key = f"{name}@{version}"
        self._lock.verify(key, file.digest, path, file.text)
        return Prompt(
            file, name, version, self._sandbox, lambda: self._lock.record(key, file.digest, path, file.text)
        )

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


def _question(variables: Mapping[str, object]) -> str:
    """Return what tells one rendering from another, where no unit is given."""
    try:
        return canonical_json(dict(variables)).hex()
    except (ValueError, TypeError, RecursionError):
        # render() will say what is wrong with them, or they hold other values than JSON's
        return repr(sorted(variables))


def _alike(first: str, second: object) -> bool:
    return isinstance(second, str) and first.casefold() == second.casefold()


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return ", ".join(names[:_MOST_LISTED]) + more or "none"


_MOST_LISTED = 30


def _hint(given: str, known: list[str]) -> str:
    meant = nearest(given, known)
    return "" if meant is None else f" (did you mean {meant!r}?)"


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _list_versions(directory: str) -> tuple[str, ...]:
    stems = [path.stem for path in Path(directory).iterdir() if path.suffix == SUFFIX]
    return tuple(sorted((stem for stem in stems if VERSION.fullmatch(stem)), key=_order))
