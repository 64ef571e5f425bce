"""What the page of prompts shows: names, versions, labels, what is known of each on each model, and how two differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from promptguard.core.word_diff import Runs, merged, words_of
from promptguard.errors import PromptError, PromptGuardError
from promptguard.sources.address import address_of
from promptguard.sources.library import open_as_set
from promptguard.templates.certificates import Certificate
from promptguard.templates.labels import Move
from promptguard.templates.library import PromptLibrary
from promptguard.templates.told import models_named

MOST_PROMPTS = 500
MOST_LINES = 200
MOST_WORDS = 1_500
"""Words of a file that are compared: the time grows faster than the words."""


@dataclass(frozen=True, slots=True)
class PromptRow:
    """One prompt in the list."""

    name: str
    versions: tuple[str, ...]
    """lowest first"""
    labels: tuple[tuple[str, str], ...]
    """label and version"""
    known: tuple[Certificate, ...]
    """of the newest version and of those that have labels"""


@dataclass(frozen=True, slots=True)
class PromptList:
    """All prompts of a folder. `problem` says why there are none."""

    directory: str
    rows: tuple[PromptRow, ...] = ()
    more: int = 0
    """prompts that are not shown"""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version, newest first in the page, with what is known of it on each model."""

    version: str
    labels: tuple[str, ...]
    digest: str
    used: bool
    problem: str
    cells: tuple[Certificate, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """How two versions' files differ, word by word."""

    first: str
    second: str
    runs: Runs
    cut: bool
    """whether the files are longer than what is compared"""
    problem: str = ""
    """why they cannot be compared"""

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return all(kind == "same" for kind, _ in self.runs)


@dataclass(frozen=True, slots=True)
class PromptPage:
    """Everything of one prompt."""

    name: str
    directory: str
    models: tuple[str, ...]
    rows: tuple[VersionRow, ...]
    moves: tuple[Move, ...]
    """newest first"""
    lines: tuple[Certificate, ...]
    """examinations and withdrawals, newest first"""
    difference: Difference | None
    messages: tuple[tuple[str, str], ...]
    """role and template of the version shown"""
    shown: str
    """the version whose messages are shown"""


def read_list(directory: str) -> PromptList:
    """Return the prompts of a folder; what is wrong with it is said in the value."""
    try:
        library = _library(directory)
        known = sorted(library.all_versions().items())
        rows = tuple(_row(library, name, versions) for name, versions in known[:MOST_PROMPTS])
    except PromptGuardError as error:
        return PromptList(directory, problem=str(error))
    return PromptList(directory, rows, max(0, len(known) - MOST_PROMPTS))


def read_page(directory: str, name: str, first: str = "", second: str = "") -> PromptPage | None:
    """Return one prompt, with how `second` differs from `first` (by default the newest from the one before).

    None where there is no prompt of that name. Raises PromptGuardError for a folder that cannot be read.
    """
    library = _library(directory)
    versions = library.versions(name)
    if not versions:
        return None
    later = second if second in versions else versions[-1]
    place = versions.index(later)
    earlier = first if first in versions else versions[place - 1] if place else ""
    models = models_named(library, name)
    matrix = library.matrix(name, models)
    return PromptPage(
        name=name,
        directory=directory,
        models=tuple(next(iter(matrix.values()), {})),
        rows=tuple(
            _version(library, name, version, tuple(matrix[version].values()))
            for version in reversed(versions)
        ),
        moves=tuple(reversed(library.history(name)))[:MOST_LINES],
        lines=tuple(reversed(library.certificates(name)))[:MOST_LINES],
        difference=_difference(library, name, earlier, later) if earlier and earlier != later else None,
        messages=_messages(library, f"{name}@{later}"),
        shown=later,
    )


def _library(source: str) -> PromptLibrary:
    """Return a library that sees what stands there now; what comes from a repository or ledger is opened once."""
    return open_as_set(source) if address_of(source) is None else _mirrored(source)


_mirrored = lru_cache(maxsize=8)(open_as_set)


def _row(library: PromptLibrary, name: str, versions: Sequence[str]) -> PromptRow:
    labels = tuple(sorted(library.labels(name).items()))
    wanted = {versions[-1], *(version for _, version in labels)}
    matrix = library.matrix(name)
    known = tuple(
        line
        for version in reversed(versions)
        if version in wanted
        for line in matrix[version].values()
        if line.at
    )
    return PromptRow(name, tuple(versions), labels, known)


def _version(library: PromptLibrary, name: str, version: str, cells: tuple[Certificate, ...]) -> VersionRow:
    labels = tuple(sorted(label for label, stands in library.labels(name).items() if stands == version))
    digest, problem = "", ""
    try:
        digest = library.get(f"{name}@{version}").digest
    except PromptError as error:
        problem = str(error)
    return VersionRow(version, labels, digest, f"{name}@{version}" in library.locked, problem, cells)


def _difference(library: PromptLibrary, name: str, first: str, second: str) -> Difference:
    references = f"{name}@{first}", f"{name}@{second}"
    try:
        sides = [words_of(library.get(reference).source) for reference in references]
    except PromptError as error:
        return Difference(*references, (), cut=False, problem=str(error))
    short = ["".join(words[:MOST_WORDS]) for words in sides]
    cut = any(len(each) > MOST_WORDS for each in sides)
    return Difference(*references, merged(short[0], short[1]), cut)


def _messages(library: PromptLibrary, reference: str) -> tuple[tuple[str, str], ...]:
    try:
        return library.get(reference).messages
    except PromptError:
        return ()
