"""What is wrong with a folder of prompts, all of it at once: what `get()` would raise, and what would surprise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from promptguard.errors import PromptError
from promptguard.templates.labels import FILE
from promptguard.templates.library import PromptLibrary
from promptguard.templates.near import misplaced

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing. An `error` fails when it is used, a `warning` works and is hardly meant; `where` is a version or file."""

    level: Level
    where: str
    message: str


def lint(library: PromptLibrary) -> Iterator[Finding]:
    """Yield what is wrong: every version is read and compiled, nothing is rendered and nothing recorded as used."""
    known = library.all_versions()
    for name, versions in sorted(known.items()):
        for version in versions:
            yield from _of_version(library, f"{name}@{version}")
    yield from _of_labels(library, known)
    yield from _of_the_lock(library, known)
    for each in misplaced(library.directory):
        yield Finding("warning", each.path, each.sentence())


def _of_version(library: PromptLibrary, reference: str) -> Iterator[Finding]:
    try:
        prompt = library.get(reference)
    except PromptError as error:
        yield Finding("error", reference, str(error))
        return
    for name in sorted(set(prompt.inputs) - prompt.read):
        yield Finding("warning", reference, f"the input {name!r} is declared, and no message uses it")
    for number, problem in prompt.wrong_cases():
        yield Finding("error", reference, f"case {number}: {problem}")


def _of_labels(library: PromptLibrary, known: dict[str, list[str]]) -> Iterator[Finding]:
    try:
        moves = library.history()
    except PromptError as error:
        yield Finding("error", FILE, str(error))
        return
    for name, label in dict.fromkeys((move.name, move.label) for move in moves):
        stands = library.labels(name)[label]
        if name not in known:
            yield Finding(
                "warning", f"{name}@{label}", f"{FILE} has a label of {name!r}, and there is no such prompt"
            )
        elif stands not in known[name]:
            there = ", ".join(known[name])
            yield Finding(
                "error",
                f"{name}@{label}",
                f"it stands on version {stands}, which is not there; there are: {there}",
            )


def _of_the_lock(library: PromptLibrary, known: dict[str, list[str]]) -> Iterator[Finding]:
    try:
        used = library.locked
    except PromptError as error:
        yield Finding("error", "lock.json", str(error))
        return
    for reference in sorted(used):
        name, _, version = reference.partition("@")
        if version not in known.get(name, ()):
            yield Finding("warning", reference, "it was used before, and its file is not there anymore")
