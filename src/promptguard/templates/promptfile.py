"""One `.prompty` file: front matter, then messages under role markers (Prompty v2).

The body is split into messages **before** anything is rendered, and each message is rendered alone: whatever
a variable holds, even a line that says `system:`, it can never open a message of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from promptguard.core.canonical import digest
from promptguard.errors import PromptSyntaxError
from promptguard.templates import safeyaml

Kind = Literal["string", "integer", "number", "boolean", "array", "object", "any"]

_OTHER_NAMES = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "list": "array",
    "dict": "object",
}
_ROLE = re.compile(r"(system|developer|user|assistant):[ \t]*")
_IDENTIFIER = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*")
_FENCE = re.compile(r"---[ \t]*")


class Input(BaseModel):
    """One variable of a prompt."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind = "any"
    description: str = ""
    required: bool | None = None
    """None: required unless there is a default"""
    default: object = None
    sample: object = None

    @model_validator(mode="before")
    @classmethod
    def _other_spellings(cls, value: object) -> object:
        """Read `number: integer`, `number:` and `type: int` as well."""
        if value is None or isinstance(value, str):
            value = {"kind": value or "any"}
        if isinstance(value, dict):
            value = dict(value)
            kind = value.pop("type", None) or value.get("kind", "any")
            value["kind"] = _OTHER_NAMES.get(kind, kind) if isinstance(kind, str) else kind
        return value

    @property
    def has_default(self) -> bool:
        """Whether the file gives a default, be it null."""
        return "default" in self.model_fields_set

    @property
    def is_required(self) -> bool:
        """Whether render() must be given this variable."""
        return not self.has_default if self.required is None else self.required and not self.has_default


class FrontMatter(BaseModel):
    """What stands between the `---` lines. A key not listed here is refused: it would be a silent typo."""

    model_config = ConfigDict(extra="forbid")

    kind: str = "prompt"
    name: str = ""
    description: str = ""
    authors: list[str] = Field(default_factory=list)
    tags: list[str] = Field(default_factory=list)
    metadata: dict[str, object] = Field(default_factory=dict)
    template: object = None
    model: object = None
    inputs: dict[str, Input] | None = None
    outputs: object = None
    tools: object = None
    sample: object = None
    labels: dict[str, str] = Field(default_factory=dict)
    cases: list[object] = Field(default_factory=list)
    models: list[str] = Field(default_factory=list)

    @field_validator("inputs")
    @classmethod
    def _names_are_identifiers(cls, inputs: dict[str, Input] | None) -> dict[str, Input] | None:
        for name in inputs or ():
            if not _IDENTIFIER.fullmatch(name) or name in ("self", "model"):
                raise ValueError(f"{name!r} cannot name a variable (`model` is render()'s own)")
        return inputs

    @field_validator("labels")
    @classmethod
    def _rules_compile(cls, labels: dict[str, str]) -> dict[str, str]:
        for label, rule in labels.items():
            try:
                re.compile(rule)
            except re.error as error:
                raise ValueError(f"the rule of {label!r} is no regular expression: {error}") from None
            if len(rule) > 1_000:
                raise ValueError(f"the rule of {label!r} is longer than 1000 characters")
        return labels

    @field_validator("template")
    @classmethod
    def _jinja2_only(cls, template: object) -> object:
        stated = template.get("format", "jinja2") if isinstance(template, dict) else template or "jinja2"
        kind = stated.get("kind", "jinja2") if isinstance(stated, dict) else stated
        if kind != "jinja2":
            raise ValueError(f"template format {kind!r} is not available; write jinja2")
        return template

    @field_validator("metadata")
    @classmethod
    def _version_is_no_fraction(cls, metadata: dict[str, object]) -> dict[str, object]:
        if not isinstance(metadata.get("version", ""), int | str):
            raise ValueError(
                'version must be a whole number or quoted text: "1.10", since 1.10 would be read as 1.1'
            )
        return metadata


@dataclass(frozen=True)
class PromptFile:
    """A parsed file; nothing is compiled yet."""

    filename: str
    text: str
    """the file as it is"""
    front: FrontMatter
    raw: Mapping[str, object]
    """the front matter as written"""
    messages: tuple[tuple[str, str, int], ...]
    """role, template text, line it begins at"""

    @cached_property
    def digest(self) -> str:
        """Digest of the canonical content: front matter as data, and the messages.

        Comments, the order of keys and line endings (git may change them on check-out) are no content. The
        order of `labels` is, since their rules are tried in turn.
        """
        content = {
            "front": dict(self.raw),
            "labels": list(self.front.labels),
            "messages": [[role, text] for role, text, _ in self.messages],
        }
        return digest("prompt", content)


def parse(text: str, filename: str) -> PromptFile:
    """Parse a `.prompty` file; raises PromptSyntaxError as `file:line: what is wrong`."""
    lines = text.replace("\r\n", "\n").split("\n")
    if not _FENCE.fullmatch(lines[0]):
        raise PromptSyntaxError(f"{filename}:1: the file must begin with a line `---` and its front matter")
    end = next((at for at in range(1, len(lines)) if _FENCE.fullmatch(lines[at])), None)
    if end is None:
        raise PromptSyntaxError(f"{filename}:1: the front matter has no closing line `---`")
    raw = safeyaml.load("\n".join(lines[1:end]), filename, first_line=2)
    try:
        front = FrontMatter.model_validate(raw)
    except ValidationError as error:
        raise PromptSyntaxError(f"{filename}:{_explain(error, lines[:end])}") from None
    return PromptFile(filename, text, front, raw, _messages(lines, end + 1, filename))


def _messages(lines: list[str], start: int, filename: str) -> tuple[tuple[str, str, int], ...]:
    """Split the body; blank lines around a message's text belong to the file, not to the message."""
    marks = [at for at in range(start, len(lines)) if _ROLE.fullmatch(lines[at])]
    before = next((at for at in range(start, marks[0] if marks else len(lines)) if lines[at].strip()), None)
    if before is not None or not marks:
        where = len(lines) if before is None else before + 1
        raise PromptSyntaxError(
            f"{filename}:{where}: the text must follow a role line: `system:`, `user:` or `assistant:`"
        )
    messages = []
    for at, following in zip(marks, [*marks[1:], len(lines)], strict=True):
        first, last = at + 1, following
        while first < last and not lines[first].strip():
            first += 1
        while last > first and not lines[last - 1].strip():
            last -= 1
        if first == last:
            raise PromptSyntaxError(f"{filename}:{at + 1}: this message is empty")
        role = lines[at].rstrip().removesuffix(":")
        messages.append((role, "\n".join(lines[first:last]), first + 1))
    return tuple(messages)


def _explain(error: ValidationError, lines: list[str]) -> str:
    """Say the first mistake with the line of the key it concerns, as near as the keys allow."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = [str(part) for part in first["loc"]]
    line = 1
    for part in path:
        key = re.compile(rf"\s*[\"']?{re.escape(part)}[\"']?\s*:.*")
        line = next((at for at in range(line, len(lines)) if key.fullmatch(lines[at])), line - 1) + 1
    if first["type"] == "extra_forbidden":
        known = ", ".join(Input.model_fields if len(path) > 1 else FrontMatter.model_fields)
        return f"{line}: {'.'.join(path)} is not known here; known are {known}"
    return f"{line}: {'.'.join(path)}: {first['msg'].removeprefix('Value error, ')}"
