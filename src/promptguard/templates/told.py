"""What there is to say of a folder of prompts, as plain values: for terminals, programs and pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from promptguard.core.word_diff import Runs, merged
from promptguard.errors import PromptChanged, PromptError, UnknownPrompt
from promptguard.templates.library import PromptLibrary
from promptguard.templates.prompt import Prompt

Told = dict[str, Any]
"""As the commands print it with --json."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version and its file's text."""

    reference: str
    text: str

    def until(self, other: Version) -> Runs:
        """Return what both have, what went and what came."""
        return merged(self.text, other.text)


def told_list(library: PromptLibrary) -> list[Told]:
    """Return a row a prompt: name, versions, labels, and which versions were used."""
    used = library.locked
    moves = library.history()
    labels: dict[str, dict[str, str]] = {}
    for move in moves:
        labels.setdefault(move.name, {})[move.label] = move.version
    return [
        {
            "name": name,
            "versions": versions,
            "labels": labels.get(name, {}),
            "used": [version for version in versions if f"{name}@{version}" in used],
            "certificates": _statuses(library, name),
        }
        for name, versions in sorted(library.all_versions().items())
    ]


def told_prompt(library: PromptLibrary, prompt: Prompt) -> Told:
    """Return what there is to say of one version."""
    labels = [label for label, version in library.labels(prompt.name).items() if version == prompt.version]
    reference = f"{prompt.name}@{prompt.version}"
    return {
        "name": prompt.name,
        "version": prompt.version,
        "labels": sorted(labels),
        "digest": prompt.digest,
        "used": reference in library.locked,
        "file": prompt.filename,
        "description": prompt.description,
        "models": list(prompt.models),
        "certificates": [line.to_dict() for line in library.matrix(prompt.name)[prompt.version].values()],
        "inputs": {
            name: {"kind": each.kind, "required": each.is_required, "description": each.description}
            for name, each in prompt.inputs.items()
        },
        "messages": [{"role": role, "template": text} for role, text in prompt.messages],
    }


def told_matrix(library: PromptLibrary, name: str) -> Told:
    """Return what is known of every version of a prompt on every model that a certificate, or a file, names."""
    found = library.matrix(name, models_named(library, name))
    return {
        "name": name,
        "versions": list(found),
        "models": list(next(iter(found.values()), {})),
        "labels": dict(library.labels(name)),
        "cells": {
            version: {model: line.to_dict() for model, line in row.items()} for version, row in found.items()
        },
    }


def models_named(library: PromptLibrary, name: str) -> tuple[str, ...]:
    """Return the models that the files of a prompt name, in full: its own and those of `models:`."""
    models: dict[str, None] = {}
    for version in library.versions(name):
        try:
            prompt = library.get(f"{name}@{version}")
        except PromptError:
            continue  # `lint` says what is wrong with it
        for model in (prompt.model, *prompt.models):
            if model and not set(model) & set("*?["):
                models[model] = None
    return tuple(models)


def _statuses(library: PromptLibrary, name: str) -> Told:
    """Return version -> model -> status, of what certificates name."""
    return {
        version: {model: line.status for model, line in row.items()}
        for version, row in library.matrix(name).items()
        if row
    }


def compared(library: PromptLibrary, reference: str, other: str | None) -> tuple[Version, Version]:
    """Return the two versions that a comparison is of, the earlier one first where one is given.

    Raises UnknownPrompt where there is no such version, or nothing to compare it with.
    """
    if other is not None:
        return _version(library, reference), _version(library, other)
    name, _, version = reference.partition("@")
    try:
        second = _version(library, reference)
    except PromptChanged:
        kept, now = library.locked_text(reference), library.directory / name / f"{version}.prompty"
        if kept is None:
            raise
        return Version(f"{reference} as it was used", kept), Version(
            f"{reference} as it is now", now.read_text("utf-8")
        )
    name, _, version = second.reference.partition("@")
    earlier = library.versions(name)[: library.versions(name).index(version)]
    if not earlier:
        raise UnknownPrompt(f"{second.reference} is the first version; name another one to compare it with")
    return _version(library, f"{name}@{earlier[-1]}"), second


def _version(library: PromptLibrary, reference: str) -> Version:
    prompt = library.get(reference)
    return Version(f"{prompt.name}@{prompt.version}", prompt.source)
