"""One `.prompty` file: front matter, then messages under role lines (Prompty v2, and what came before it).

The body is cut into messages **before** anything is rendered (`roles`), and what a variable holds, even a line that says
`system:`, can never open a message of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from promptguard.core.canonical import digest
from promptguard.core.mistakes import nearest
from promptguard.errors import PromptSyntaxError
from promptguard.templates import safeyaml
from promptguard.templates.inputs import IDENTIFIER, Input, by_name, of_any_kind
from promptguard.templates.languages import language_of, to_jinja2
from promptguard.templates.requests import Settings, settings_of
from promptguard.templates.roles import Body, split

_FENCE = re.compile(r"[ \t]*(---|\+\+\+)[ \t]*")


class FrontMatter(BaseModel):
    """What stands between the `---` lines. Keys that are not known are kept and do nothing."""

    model_config = ConfigDict(extra="allow")

    kind: str = "prompt"
    name: str = ""
    description: str = ""
    metadata: dict[str, object] = Field(default_factory=dict)
    template: object = None
    model: object = None
    inputs: dict[str, Input] | None = None
    outputs: dict[str, Input] | None = None
    tools: object = None
    sample: object = None
    labels: dict[str, str] = Field(default_factory=dict)
    """label of an answer -> regular expression; also spelled `classes`, which says what it is"""
    cases: list[object] = Field(default_factory=list)
    models: list[str] = Field(default_factory=list)
    tolerance: float | None = Field(default=None, gt=0.0, lt=1.0)

    @model_validator(mode="before")
    @classmethod
    def _as_mappings(cls, stated: object) -> object:
        if not isinstance(stated, dict):
            return stated
        told = dict(stated)
        if "classes" in told:
            if "labels" in told:
                raise ValueError("give `classes` or its older spelling `labels`, not both")
            told["labels"] = told.pop("classes")
        for name, older in (("inputs", "inputSchema"), ("outputs", "outputSchema")):
            schema = told.pop(older, None)
            if isinstance(schema, dict) and name not in told:
                told[name] = schema.get("properties")
            told[name] = by_name(told[name]) if name in told else None
        sample = told.get("sample")
        if told["inputs"] is None and isinstance(sample, dict):
            told["inputs"] = {name: {"kind": "any"} for name in sample}
        elif isinstance(told["inputs"], dict):
            told["inputs"] = {name: of_any_kind(entry) for name, entry in told["inputs"].items()}
        return {name: value for name, value in told.items() if value is not None}

    @field_validator("inputs")
    @classmethod
    def _names_are_identifiers(cls, inputs: dict[str, Input] | None) -> dict[str, Input] | None:
        for name in inputs or ():
            if not IDENTIFIER.fullmatch(name) or name in ("self", "model"):
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

    @property
    def format(self) -> str:
        """The template language: jinja2 unless the file names another one."""
        return language_of(self.template)

    @field_validator("metadata")
    @classmethod
    def _version_is_no_fraction(cls, metadata: dict[str, object]) -> dict[str, object]:
        if not isinstance(metadata.get("version", ""), int | str):
            raise ValueError(
                'version must be a whole number or quoted text: "1.10", since 1.10 would be read as 1.1'
            )
        return metadata


_KEYS = frozenset((
    *FrontMatter.model_fields, "classes", "authors", "tags", "version", "id", "displayName", "base", "type", "instructions",
    "inputSchema", "outputSchema",
))  # fmt: skip


@dataclass(frozen=True)
class PromptFile:
    """A parsed file; nothing is compiled yet."""

    filename: str
    text: str
    """the file as it is"""
    front: FrontMatter
    raw: Mapping[str, object]
    """the front matter as written"""
    body: Body
    settings: Settings
    """model, options, form of the answer, tools"""

    @cached_property
    def digest(self) -> str:
        """Digest of the canonical content: front matter as data, and the messages.

        Comments, the order of keys and line endings (git may change them on check-out) are no content. The
        order of `labels` is, since their rules are tried in turn.
        """
        content: dict[str, object] = {
            "front": dict(self.raw),
            "labels": list(self.front.labels),
            "messages": [[one.role, one.text] for one in self.body.sections],
        }
        attributes = [dict(one.attributes) for one in self.body.sections]
        if any(attributes):
            content["attributes"] = attributes
        return digest("prompt", content)


def parse(text: str, filename: str) -> PromptFile:
    """Parse a `.prompty` file; raises PromptSyntaxError as `file:line: what is wrong`."""
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    first = next((at for at, line in enumerate(lines) if line.strip()), 0)
    raw: Mapping[str, object] = {}
    start = 0
    if _FENCE.fullmatch(lines[first]):
        start = next((at for at in range(first + 1, len(lines)) if _FENCE.fullmatch(lines[at])), 0) + 1
        if start == 1:
            raise PromptSyntaxError(f"{filename}:{first + 1}: the front matter has no closing line `---`")
        stated = "\n".join(lines[first + 1 : start - 1])
        raw = safeyaml.load(stated, filename, first_line=first + 2) if stated.strip() else {}
    _refuse_near_misses(raw, lines[:start], filename)
    try:
        front = FrontMatter.model_validate(raw)
    except ValidationError as error:
        raise PromptSyntaxError(f"{filename}:{_explain(error, lines[:start])}") from None
    try:
        settings = settings_of(front.model, front.outputs, front.tools)
    except (ValueError, ValidationError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise PromptSyntaxError(f"{filename}:{first + 1}: {said.removeprefix('Value error, ')}") from None
    to_jinja2(lines, start, front.format, filename)
    return PromptFile(filename, text, front, raw, split(lines, start, filename), settings)


def _refuse_near_misses(raw: Mapping[str, object], lines: list[str], filename: str) -> None:
    """Raise PromptSyntaxError for a key that is nearly a known one: it would be a silent typo."""
    for name in raw:
        meant = None if name in _KEYS else nearest(name, _KEYS)
        if meant is not None:
            line = next((at for at, text in enumerate(lines, 1) if text.lstrip("\"' ").startswith(name)), 1)
            raise PromptSyntaxError(f"{filename}:{line}: {name} is not known here; did you mean {meant!r}?")


def _explain(error: ValidationError, lines: list[str]) -> str:
    """Say the first mistake with the line of the key it concerns, as near as the keys allow."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = [str(part) for part in first["loc"]]
    line = 1
    for part in path:
        key = re.compile(rf"\s*[\"']?{re.escape(part)}[\"']?\s*:.*")
        line = next((at for at in range(line, len(lines)) if key.fullmatch(lines[at])), line - 1) + 1
    where = f"{'.'.join(path)}: " if path else ""
    return f"{line}: {where}{first['msg'].removeprefix('Value error, ')}"
