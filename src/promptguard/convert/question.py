"""A question as no provider writes it and every one can be asked it: what is said, with which tools, in which form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any, Literal

Role = Literal["user", "assistant"]
Schema = Mapping[str, Any]


class CannotSayError(Exception):
    """A question cannot be put in another provider's shape and stay the same; `field` is what stands in the way."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


@dataclass(frozen=True, slots=True)
class Text:
    """Something said."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """A picture: its bytes in base64, or where it lies."""

    media_type: str = ""
    data: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the model called."""

    id: str
    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a called tool returned."""

    id: str
    name: str
    text: str
    failed: bool = False


Part = Text | Image | ToolCall | ToolResult


@dataclass(frozen=True, slots=True)
class Turn:
    """One message; results of tools are the user's."""

    role: Role
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call; `parameters` is a JSON schema."""

    name: str
    description: str
    parameters: Schema


@dataclass(frozen=True, slots=True)
class Form:
    """The answer is JSON, of a schema where there is one."""

    schema: Schema | None = None
    name: str = "answer"


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the answer is drawn and where it ends; None for what the question leaves to the provider."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """All that a model is asked."""

    system: str
    turns: tuple[Turn, ...]
    tools: tuple[Tool, ...] = ()
    choice: Literal["auto", "none", "required", "tool"] = "auto"
    chosen: str = ""
    """the tool that must be called, with `choice="tool"`"""
    one_call: bool = False
    """at most one tool is called at a time"""
    form: Form | None = None
    sampling: Sampling = field(default_factory=Sampling)

    def merged(self) -> tuple[Turn, ...]:
        """Return the turns with neighbours of one role in one, as providers want that alternate."""
        found: list[Turn] = []
        for turn in self.turns:
            if found and found[-1].role == turn.role:
                found[-1] = replace(turn, parts=found[-1].parts + turn.parts)
            else:
                found.append(turn)
        return tuple(found)


def members(value: object, name: str) -> Mapping[str, Any]:
    """Return an object of a request. Raises CannotSayError for anything else."""
    if isinstance(value, Mapping):
        return value
    raise CannotSayError(name)


def items(value: object, name: str) -> list[Any]:
    """Return a list of a request. Raises CannotSayError for anything else."""
    if isinstance(value, list):
        return value
    raise CannotSayError(name)


def text(value: object, name: str) -> str:
    """Return a text of a request. Raises CannotSayError for anything else."""
    if isinstance(value, str):
        return value
    raise CannotSayError(name)


def refuse_others(
    body: Mapping[str, Any], read: Iterable[str], without_effect: Iterable[str], prefix: str = ""
) -> None:
    """Raise CannotSayError for a field that is said, is read by nobody, and is not known to leave the answer alone."""
    known = {*read, *without_effect}
    for name, value in body.items():
        if name not in known and value is not None:
            raise CannotSayError(prefix + name)


def number(value: object, name: str) -> float | None:
    """Return a number, or None where none is said. Raises CannotSayError for anything else."""
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)):
        return value
    raise CannotSayError(name)


def whole(value: object, name: str) -> int | None:
    """Return a whole number, or None where none is said. Raises CannotSayError for anything else."""
    found = number(value, name)
    if found is not None and found != int(found):
        raise CannotSayError(name)
    return None if found is None else int(found)


def stops(value: object, name: str) -> tuple[str, ...]:
    """Return the texts that end an answer: one, several or none."""
    if value is None:
        return ()
    return tuple(text(each, name) for each in ([value] if isinstance(value, str) else items(value, name)))


def said(sampling: Sampling, names: Mapping[str, str]) -> dict[str, Any]:
    """Return what a question says of sampling, by the names of a provider: attribute → name.

    Raises CannotSayError for what it says and the provider has no word for; a penalty of 0 is none, and a seed draws
    nothing that two models have in common.
    """
    found: dict[str, Any] = {}
    for attribute in Sampling.__dataclass_fields__:
        value = getattr(sampling, attribute)
        if value is None or value == ():
            continue
        if attribute in names:
            found[names[attribute]] = list(value) if isinstance(value, tuple) else value
        elif attribute != "seed" and not (attribute.endswith("_penalty") and value == 0):
            raise CannotSayError(attribute)
    return found
