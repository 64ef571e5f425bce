"""Prompts of other tools into a folder, and out of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from promptguard.errors import PromptError, PromptSyntaxError
from promptguard.templates.formats.converted import Converted
from promptguard.templates.formats.readers import FORMATS, read
from promptguard.templates.library import MAX_FILE_BYTES, PromptLibrary
from promptguard.templates.near import NAME, SUFFIX
from promptguard.templates.prompt import Prompt
from promptguard.templates.promptfile import parse
from promptguard.templates.sandbox import Sandbox
from promptguard.templates.shared_files import one_writer, replace_file


def import_file(
    library: PromptLibrary,
    file: str,
    *,
    name: str | None = None,
    of: str | None = None,
    dry_run: bool = False,
) -> Iterator[dict[str, Any]]:
    """Write the prompts of a file of another tool as versions of a folder; yields what was made of each.

    `name` is the prompt's, by default the file's own; `of` the format by name. With `dry_run` nothing is written. Raises
    PromptSyntaxError for what has no counterpart or could not be used afterwards, PromptError for what cannot be read or
    written.
    """
    if of is not None and of not in FORMATS:
        raise PromptError(f"--format {of}: known are {', '.join(FORMATS)}")
    text = _text_of(file)
    try:
        found = read(text, file, of)
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        if isinstance(error, PromptSyntaxError):
            raise
        raise PromptSyntaxError(f"{file}: it is not as its format has it ({type(error).__name__})") from None
    for number, converted in enumerate(found, 1):
        wanted = name if name is None or len(found) == 1 else f"{name}-{number}"
        yield _written(library, converted, file, wanted, dry_run=dry_run)


def _text_of(file: str) -> str:
    try:
        with Path(file).open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise PromptError(f"{file}: {error.strerror or error}") from None
    if len(data) > MAX_FILE_BYTES:
        raise PromptSyntaxError(f"{file}: a prompt file has at most {MAX_FILE_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PromptSyntaxError(f"{file}: the file is not UTF-8") from None


def _written(
    library: PromptLibrary, converted: Converted, file: str, wanted: str | None, *, dry_run: bool
) -> dict[str, Any]:
    name = wanted or _as_name(converted.name)
    if not NAME.fullmatch(name):
        raise PromptError(f"--name {name}: a name has small letters, digits, and _ . - with / between parts")
    text = converted.to_prompty(name)
    _try(text, file)
    try:
        with one_writer(library.directory):
            known = library.versions(name)
            version = str(int(known[-1].partition(".")[0]) + 1) if known else "1"
            path = library.directory / name / f"{version}{SUFFIX}"
            if not path.parent.resolve().is_relative_to(library.directory.resolve()):
                raise PromptError(
                    f"{path.parent} leads out of {library.directory}; a prompt must lie inside its folder"
                )
            if not dry_run:
                path.parent.mkdir(parents=True, exist_ok=True)
                replace_file(path, text.encode())
    except OSError as error:
        raise PromptError(f"{library.directory}: {error.strerror or error}") from None
    return {
        "from": file, "reference": f"{name}@{version}", "file": str(path), "notes": list(converted.notes),
        "dry_run": dry_run, "text": text,
    }  # fmt: skip


def _try(text: str, file: str) -> None:
    """Read and compile what is to be written; its mistakes are those of the file that it came from."""
    parsed = parse(text, file)
    Prompt(parsed, "imported", "1", Sandbox(), lambda: None)


def _as_name(stated: str) -> str:
    name = re.sub(r"[^a-z0-9_.-]+", "-", stated.lower()).strip("-._")
    return name or "prompt"


def exported(prompt: Prompt, to: str) -> str:
    """Return a version in the form of another tool. Raises PromptError for a form that is not written here."""
    if to == "prompty":
        return prompt.source
    if to != "promptfoo":
        raise PromptError(f"--format {to}: write prompty or promptfoo")
    messages = [{"role": role, "content": text} for role, text in prompt.messages]
    tests = [{"vars": dict(case.get("inputs", case))} for case in prompt.cases if isinstance(case, dict)]
    told: dict[str, Any] = {
        "description": prompt.description or f"{prompt.name}@{prompt.version}",
        "prompts": [
            {"label": f"{prompt.name}@{prompt.version}", "raw": json.dumps(messages, ensure_ascii=False)}
        ],
    }
    if tests:
        told["tests"] = tests
    return yaml.safe_dump(told, sort_keys=False, allow_unicode=True, width=120)
