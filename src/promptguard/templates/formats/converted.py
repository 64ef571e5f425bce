"""What every format is read into, and how it is written as a prompt file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from promptguard.errors import PromptSyntaxError
from promptguard.templates.roles import looks_like_a_role
from promptguard.templates.sandbox import Sandbox

_OF_LOOPS = frozenset(("loop", "this"))
_WORD = re.compile(r"[A-Za-z_]\w*")
_VARIABLE = re.compile(r"\{\{-?\s*([A-Za-z_]\w*)")


@dataclass(frozen=True, slots=True)
class Converted:
    """One prompt: its messages as jinja2, its variables, and what of the rest has a place in a prompt file."""

    name: str
    messages: tuple[tuple[str, str], ...]
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """entries as a prompt file has them: a mapping, or a plain value"""
    description: str = ""
    model: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tools: Sequence[Mapping[str, Any]] = ()
    notes: tuple[str, ...] = ()
    """what was left out, in words"""
    front: Mapping[str, Any] = field(default_factory=dict)
    """front matter of a prompt file, to be kept as it is"""
    body: str | None = None
    """text of a prompt file below its front matter, which is written in place of the messages"""

    def to_prompty(self, name: str) -> str:
        """Return the text of a prompt file; raises PromptSyntaxError where there is no message."""
        if not any(text.strip() for _, text in self.messages):
            raise PromptSyntaxError(f"{name}: there is no text in it")
        front: dict[str, Any] = {"name": name, **self.front}
        if self.description:
            front["description"] = self.description
        if self.model is not None:
            front["model"] = {"id": self.model} | ({"options": dict(self.options)} if self.options else {})
        if self.inputs:
            front["inputs"] = {
                key: dict(value) if isinstance(value, Mapping) else value
                for key, value in self.inputs.items()
            }
        if self.outputs:
            front["outputs"] = {key: dict(value) for key, value in self.outputs.items()}
        if self.tools:
            front["tools"] = [dict(tool) for tool in self.tools]
        stated = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=120)
        body = self.body
        if body is None:
            body = "\n\n".join(f"{role}:\n{_kept(text)}" for role, text in self.messages)
        return f"---\n{stated}---\n{body}\n"


def _kept(text: str) -> str:
    """Return a message whose lines no longer look like role lines."""
    return "\n".join(_as_text(line) for line in text.strip("\n").split("\n"))


def _as_text(line: str) -> str:
    return f"{{{{ {json.dumps(line)} }}}}" if looks_like_a_role(line) else line


def variables_of(messages: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield the variables that messages read, in the order of their first mention, each once."""
    text = "\n".join(text for _, text in messages)
    try:
        read = Sandbox().template(text, "").variables
    except PromptSyntaxError:  # who compiles the prompt says what is wrong with it
        read = frozenset(_VARIABLE.findall(text)) - _OF_LOOPS
    yield from (word for word in dict.fromkeys(_WORD.findall(text)) if word in read)


def from_f_string(text: str, where: str) -> str:
    """Return a Python format string as jinja2: `{name}` prints, `{{` is a brace. Raises PromptSyntaxError for the rest."""
    parts: list[str] = []
    said, at = "", 0
    for found in re.finditer(r"\{\{|\}\}|\{([^{}]*)\}|[{}]", text):
        said += text[at : found.start()]
        at = found.end()
        if found[0] in ("{{", "}}"):
            said += found[0][0]
        elif found[1] is not None and re.fullmatch(r"[A-Za-z_]\w*", found[1]):
            parts += literal(said), f"{{{{ {found[1]} }}}}"
            said = ""
        else:
            raise PromptSyntaxError(
                f"{where}: {found[0]!r} is no variable of a format string; write {{name}}"
            )
    return "".join([*parts, literal(said + text[at:])])


def from_mustache(text: str, where: str) -> str:
    """Return mustache that only substitutes as jinja2; raises PromptSyntaxError for sections and the rest."""
    other = re.search(r"\{\{\s*([#^/>!=][^}]*)\}\}", text)
    if other is not None:
        raise PromptSyntaxError(
            f"{where}: {{{{{other[1].strip()}}}}} is beyond substitution; write it as jinja2"
        )
    parts: list[str] = []
    at = 0
    for one in _SUBSTITUTED.finditer(text):
        parts += literal(text[at : one.start()]), f"{{{{ {one[1] or one[2]} }}}}"
        at = one.end()
    return "".join([*parts, literal(text[at:])])


_SUBSTITUTED = re.compile(r"\{\{\{\s*([\w.]+)\s*\}\}\}|\{\{\s*&?\s*([\w.]+)\s*\}\}")


def literal(text: str) -> str:
    """Return text that jinja2 prints as it is."""
    return re.sub(r"\{\{|\{%|\{#", lambda found: f"{{{{ {json.dumps(found[0])} }}}}", text)
