"""Read a folder of other people's `.prompty` files, and compare the messages with those of Microsoft's own implementation.

    python tools/prompty_corpus.py FOLDER [--all]

Each distinct file is `loaded` as it is, `converted` (`promptguard prompts import`), or `refused` with the reason. Where
both this library and the package `prompty` render a file, with the values that it names itself and made up ones else,
their messages are `equal` or they `differ`. Exit code 1 where some differ. Run it with the environment that
`make .venv/.test` builds, or with one that has prompty 0.1, whose files the second version does not all load.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import prompty

from promptguard.errors import PromptError
from promptguard.templates.importing import import_file
from promptguard.templates.library import open_library
from promptguard.templates.near import NAME
from promptguard.templates.prompt import Prompt

MADE_UP: Mapping[str, object] = {
    "string": "some text", "integer": 7, "number": 1.5, "boolean": True, "array": ["one", "two"],
    "object": {"key": "value"},
    "thread": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day"}],
    "image": "https://example.com/a.png", "file": "https://example.com/a.pdf", "audio": "data:audio/wav;base64,UklGRg==",
}  # fmt: skip
Messages = list[tuple[str, str]]


@dataclass(frozen=True)
class Found:
    """What one file came to."""

    outcome: str
    why: str = ""
    compared: str = ""
    """equal, differ, or why there is nothing to compare"""
    detail: str = ""


def distinct(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, each content once."""
    seen: set[bytes] = set()
    for path in sorted(folder.rglob("*.prompty")):
        key = hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).digest()
        if key not in seen:
            seen.add(key)
            yield path


def looked_at(path: Path, room: Path) -> Found:
    """Load a file, or convert it, and compare its messages."""
    prompts = room / "prompts"
    name = _name(path)
    place = prompts / name / f"{_version(path)}.prompty"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(path.read_bytes())
    try:
        return compared(open_library(prompts).get(name), path, "loaded", "")
    except PromptError as error:
        why = _short(error)
    place.unlink()
    try:
        made = list(import_file(open_library(prompts), str(path), name="it"))
    except PromptError as error:
        return Found("refused", why, detail=f"import: {_short(error)}")
    return compared(open_library(prompts).get(made[0]["reference"]), path, "converted", why)


def _name(path: Path) -> str:
    """Return the name of the folder that the file belongs in: the one it states, where a folder can be called that."""
    stated = re.search(r"^name:[ \t]*([\w./-]+)[ \t]*$", path.read_text("utf-8"), re.MULTILINE)
    return stated[1] if stated and NAME.fullmatch(stated[1]) else "it"


def _version(path: Path) -> str:
    stated = re.search(
        r"^metadata:\n(?:[ \t]+.*\n)*?[ \t]+version: ['\"]?([\d.]+)['\"]?[ \t]*$",
        path.read_text("utf-8"),
        re.MULTILINE,
    )
    return stated[1] if stated else "1"


def compared(prompt: Prompt, path: Path, outcome: str, why: str) -> Found:
    """Render on both sides, with the same values."""
    text = path.read_text("utf-8")
    try:
        agent = _loaded(path, text)
    except Exception as error:  # noqa: BLE001 - the reference may raise anything
        return Found(outcome, why, "the reference does not load it", _short(error))
    values = values_of(prompt, {**_sample_file(path, text), **stated_values(agent)})
    try:
        theirs = [_plain(each) for each in prompty.prepare(agent, values)]
    except Exception as error:  # noqa: BLE001 - as above
        return Found(outcome, why, "the reference does not render it", _short(error))
    try:
        ours = [(each["role"], _text(each["content"])) for each in prompt.render(**values).messages]
    except PromptError as error:
        return Found(outcome, why, "only the reference renders it", _short(error))
    if ours == theirs:
        return Found(outcome, why, "equal")
    return Found(outcome, why, "differ", _difference(ours, theirs))


def _loaded(path: Path, text: str) -> Any:
    """Load a file with the reference, which wants the variables of the environment that it names to be set."""
    for variable in re.findall(r"\$\{env:(\w+)", text):
        os.environ.setdefault(variable, "some-text")
    for _ in range(10):
        try:
            return prompty.load(str(path))
        except Exception as error:  # its kind differs from version to version
            missing = re.search(r"Variable (\w+) not found", str(error))
            if missing is None:
                raise
            os.environ[missing[1]] = "some-text"  # of a file beside it
    raise ValueError("too many variables of the environment")


def stated_values(agent: Any) -> Mapping[str, object]:
    """Return the values that a file names itself, as the reference has read them: version 2, else version 1."""
    if isinstance(getattr(agent, "sample", None), dict):
        return dict(agent.sample)
    inputs = agent.inputs or ()
    if isinstance(inputs, dict):
        return {name: getattr(each, "default", None) for name, each in inputs.items()}
    return {each.name: each.default for each in inputs}


def _sample_file(path: Path, text: str) -> Mapping[str, object]:
    """Return the values of the file that `sample: file:...` names; none where it is not there."""
    named = re.search(r"^sample:[ \t]*(?:\$\{)?file:([\w./-]+)\}?[ \t]*$", text, re.MULTILINE)
    file = path.parent / named[1] if named else None
    return json.loads(file.read_text("utf-8")) if file is not None and file.exists() else {}


def _plain(message: Any) -> tuple[str, str]:
    if isinstance(message, dict):
        return message["role"], _text(message["content"])
    return message.role, "".join(getattr(part, "value", "") or "" for part in message.parts)


def values_of(prompt: Prompt, stated: Mapping[str, object]) -> dict[str, object]:
    """Return a value for each variable: the file's own, else a made-up one of its kind."""
    return {
        name: stated[name] if stated.get(name) is not None else MADE_UP.get(each.kind, "some text")
        for name, each in prompt.inputs.items()
    }


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return str(content or "")


def _difference(ours: Messages, theirs: Messages) -> str:
    for at, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        if one != other:
            return f"message {at + 1}: here {json.dumps(one)[:300]}; there {json.dumps(other)[:300]}"
    return f"{len(ours)} messages here, {len(theirs)} there"


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def main() -> None:
    """Print a line a file, and the sums."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--all", action="store_true", help="print the files that load and are equal, too")
    asked = parser.parse_args()
    outcomes: Counter[str] = Counter()
    comparisons: Counter[str] = Counter()
    for path in distinct(asked.folder.resolve()):
        with tempfile.TemporaryDirectory() as room:
            found = looked_at(path, Path(room))
        outcomes[found.outcome] += 1
        comparisons[found.compared or "refused"] += 1
        if asked.all or found.outcome != "loaded" or found.compared != "equal":
            told = [found.outcome, found.why, found.compared, found.detail]
            print(f"{path.relative_to(asked.folder.resolve())}: {'; '.join(filter(None, told))}")
    print(
        f"{outcomes.total()} distinct files: "
        + ", ".join(f"{count} {what}" for what, count in outcomes.most_common())
    )
    print("messages: " + ", ".join(f"{count} {what}" for what, count in comparisons.most_common()))
    sys.exit(bool(comparisons["differ"]))


if __name__ == "__main__":
    main()
