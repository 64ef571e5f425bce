"""The messages of a prompt, compiled, and how they are put together: role lines, histories and images have their places.

Places are marked by texts that hold a secret of this process, so that no variable can open a message or stand for another
value. Where a loop or a condition holds role lines the whole body is rendered at once and cut at those marks.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from promptguard.errors import PromptSyntaxError
from promptguard.templates.limits import Sizes
from promptguard.templates.roles import Body, Section
from promptguard.templates.sandbox import Sandbox, Template

Message = dict[str, Any]
"""Role, content (text, or parts), and what a role line's brackets or a history's messages have beside."""

_SECRET = secrets.token_hex(12)
_ROLE_MARK = re.compile(rf"\x02{_SECRET}:([0-9]+)\x02\n?")
_PLACE = re.compile(rf"\x02{_SECRET}=(\w+)\x02")
MOST_COMPUTED = 200
"""Attributes with variables in one file: each is compiled by itself."""
_VALUE_END = f"\x02{_SECRET};\x02"
_LEGACY_THREAD = "![thread]"


def place_of(name: str) -> str:
    """Return the text that stands for a variable which is no text: a history, an image."""
    return f"\x02{_SECRET}={name}\x02"


class CompiledBody:
    """All messages of a prompt; immutable, safe to share."""

    def __init__(self, body: Body, sandbox: Sandbox, filename: str, thread: str) -> None:
        """Compile; `thread` is the variable that the older mark `![thread]` stands for."""
        self._sections = body.sections
        self.has_thread_mark = any(_LEGACY_THREAD in one.text for one in body.sections)
        """whether `![thread]` stands somewhere"""
        mark = place_of(thread)
        if sum(len(_computed(one)) for one in body.sections) > MOST_COMPUTED:
            raise PromptSyntaxError(
                f"{filename}: role lines have at most {MOST_COMPUTED} attributes with variables in all"
            )
        if body.joint:
            source, line = _joined(body.sections)
            templates = [sandbox.template(_marked(source, mark), filename, line)]
        else:
            templates = [
                sandbox.template(_marked(one.text, mark), filename, one.line) for one in body.sections
            ]
        self._whole = templates[0] if body.joint else None
        self._templates = templates
        self._attributed = any(one.attributes for one in body.sections)
        self._computed: list[dict[str, Template]] = []
        """attributes that hold variables, of each message; where the body is rendered at once they are within it"""
        if not body.joint and any(_computed(one) for one in body.sections):
            self._computed = [_compiled(one, sandbox, filename) for one in body.sections]
            templates = [*templates, *(each for one in self._computed for each in one.values())]
        self.variables: frozenset[str] = frozenset().union(*(each.variables for each in templates))
        """names that the messages read"""
        self.optional: frozenset[str] = frozenset().union(*(each.guarded for each in templates))
        """those that a template asks for with `default` or `is defined`"""
        self.looped: frozenset[str] = frozenset().union(*(each.looped for each in templates))
        """those that a loop goes through"""

    def render(self, values: Mapping[str, object], sizes: Sizes) -> list[Message]:
        """Return the messages as the templates make them, places still marked; raises what `Template.render` does."""
        if self._whole is not None:
            return self._cut(self._whole.render(values, sizes))
        messages: list[Message] = [
            {"role": section.role, "content": template.render(values, sizes).strip("\n")}
            for section, template in zip(self._sections, self._templates, strict=True)
        ]
        if self._attributed:
            for message, section in zip(messages, self._sections, strict=True):
                message.update(section.attributes)
        for message, computed in zip(messages, self._computed, strict=False):
            message.update({name: each.render(values, sizes) for name, each in computed.items()})
        return messages

    def _cut(self, text: str) -> list[Message]:
        pieces = _ROLE_MARK.split(text)
        messages: list[Message] = []
        for number, content in zip(pieces[1::2], pieces[2::2], strict=True):
            section = self._sections[int(number)]
            *told, text = content.split(_VALUE_END)
            stated = {**section.attributes, **dict(zip(_computed(section), told, strict=False))}
            messages.append({"role": section.role, "content": text.strip("\n"), **stated})
        return messages


def _computed(section: Section) -> dict[str, str]:
    """Return the attributes of a role line that hold variables: `user[name="{{ name }}"]:`."""
    return {name: value for name, value in section.attributes.items() if "{{" in value or "{%" in value}


def _compiled(section: Section, sandbox: Sandbox, filename: str) -> dict[str, Template]:
    line = max(1, section.line - 1)
    return {name: sandbox.template(value, filename, line) for name, value in _computed(section).items()}


def _joined(sections: Sequence[Section]) -> tuple[str, int]:
    """Return the body with marks in place of role lines, and the line of the file it begins at."""
    parts = []
    for number, section in enumerate(sections):
        values = "".join(f"{value}{_VALUE_END}" for value in _computed(section).values())
        parts.append(f"\x02{_SECRET}:{number}\x02{values}\n{section.text}\n")
    return "".join(parts), max(1, sections[0].line - 1)


def _marked(source: str, thread: str) -> str:
    return source.replace(_LEGACY_THREAD, thread)


def filled(messages: Sequence[Message], given: Mapping[str, object]) -> Iterator[tuple[Message, bool]]:
    """Yield the messages with histories and images in their places, and whether each is the prompt's own.

    `given` holds for each marked place a list of messages, or a mapping, one part of a message.
    """
    for message in messages:
        pieces = _PLACE.split(message["content"])
        if len(pieces) == 1:
            yield message, True
            continue
        parts: list[dict[str, object]] = []
        text = ""
        for at, piece in enumerate(pieces):
            value = given.get(piece) if at % 2 else piece
            if isinstance(value, str):
                text += value
            elif value:  # what was left out leaves the text around it as it is
                parts += _text_part(text)
                text = ""
                if isinstance(value, list):
                    yield from _flushed(message, parts)
                    parts = []
                    yield from ((each, False) for each in value)
                elif isinstance(value, Mapping):
                    parts.append(dict(value))
        yield from _flushed(message, [*parts, *_text_part(text)])


def _text_part(text: str) -> list[dict[str, object]]:
    return [{"type": "text", "text": text.strip("\n")}] if text.strip("\n") else []


def _flushed(message: Message, parts: list[dict[str, object]]) -> Iterator[tuple[Message, bool]]:
    if not parts:
        return
    only_text = all(part["type"] == "text" for part in parts)
    content = "\n".join(str(part["text"]) for part in parts) if only_text else parts
    yield {**message, "content": content}, True


def holds_a_mark(text: str) -> bool:
    """Whether a text still holds a mark, which a template has changed so that it stands for nothing any more."""
    return _SECRET in text.lower()
