"""The variables of a question that was asked before: read back through the prompt's own text, and proved by rendering."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from promptguard.errors import PromptError
from promptguard.templates.prompt import Prompt

_PLACE = re.compile(r"\{\{-?\s*([A-Za-z_]\w*)\s*-?\}\}")
_OTHER = re.compile(r"\{[%#{]")
_TAG = re.compile(r"\{[%#]")
_PRINTED = re.compile(r"\{\{.*?\}\}", re.DOTALL)
MOST_CHARACTERS = 200_000
_KINDS: dict[str, type[int] | type[float]] = {"integer": int, "number": float}


def recovered(prompt: Prompt, messages: Sequence[Mapping[str, Any]]) -> dict[str, object] | None:
    """Return the variables with which `prompt` renders to `messages`; None where they cannot be told.

    Only prompts that just put their variables in can be read back. What is returned renders to the same messages.
    """
    said = [(str(each.get("role")), each.get("content")) for each in messages]
    if len(said) != len(prompt.messages):
        return None
    found: dict[str, object] = {}
    for (role, template), (other, text) in zip(prompt.messages, said, strict=True):
        if role != other or not _read(prompt, template, text, found):
            return None
    return found if _renders(prompt, found, said) else None


def recovered_from_text(prompt: Prompt, text: str) -> dict[str, object] | None:
    """Return the variables with which the last user message of `prompt` is `text`; None where they cannot be told."""
    templates = [template for role, template in prompt.messages if role == "user"]
    found: dict[str, object] = {}
    if not templates or not _read(prompt, templates[-1], text, found):
        return None
    try:
        rendered = prompt.render(None, **found).messages
    except PromptError:
        return None
    return found if last_user_text(rendered) == text else None


def asks(prompt: Prompt, text: str) -> bool:
    """Return whether `text` can be the last user message of `prompt`; True where that cannot be told.

    What stands around the variables must be found in it, in order; a template with conditions or loops says too little.
    """
    template = next((each for role, each in reversed(prompt.messages) if role == "user"), "")
    if not template or _TAG.search(template):
        return True
    said, at = " ".join(text.split()), 0
    for piece in _PRINTED.split(template):
        wanted = " ".join(piece.split())
        at = said.find(wanted, at)
        if at < 0:
            return False
        at += len(wanted)
    return True


def last_user_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return what the last user message says; "" where there is none, or it is not text alone."""
    for each in reversed(messages):
        if each.get("role") == "user":
            said = each.get("content")
            return said if isinstance(said, str) else ""
    return ""


def _read(prompt: Prompt, template: str, text: object, found: dict[str, object]) -> bool:
    if not isinstance(text, str) or len(text) > MOST_CHARACTERS:
        return False
    pieces = _PLACE.split(template.strip())
    if any(_OTHER.search(piece) for piece in pieces[::2]):
        return False
    pattern, seen = "", set[str]()
    for place, piece in enumerate(pieces):
        if place % 2 == 0:
            pattern += re.escape(piece)
        else:
            # two variables side by side could be cut anywhere: the rendering that follows is what decides
            pattern += f"(?P={piece})" if piece in seen else f"(?P<{piece}>.*)"
            seen.add(piece)
    matched = re.fullmatch(pattern, text.strip(), re.DOTALL) if len(seen) <= _MOST_PLACES else None
    if matched is None:
        return False
    for name, value in matched.groupdict().items():
        turned = _turned(prompt, name, value)
        if turned is None or found.get(name, turned) != turned:
            return False
        found[name] = turned
    return True


_MOST_PLACES = 3
"""Variables of one message: with more, trying all cuts of a long text takes too long."""


def _turned(prompt: Prompt, name: str, value: str) -> object | None:
    known = prompt.inputs.get(name)
    if known is None:
        return None
    kind = known.kind
    if kind in _KINDS:
        try:
            number: int | float = _KINDS[kind](value)
            return number
        except ValueError:
            return None
    return value if kind in ("string", "any") else None


def _renders(prompt: Prompt, variables: Mapping[str, object], said: Sequence[tuple[str, object]]) -> bool:
    try:
        rendered = prompt.render(None, **dict(variables)).messages
    except PromptError:
        return False
    return [(each["role"], each["content"]) for each in rendered] == list(said)
