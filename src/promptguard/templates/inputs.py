"""Variables and outputs of a prompt as its front matter states them (Prompty v2, section 2.7), older spellings included."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from promptguard.core.mistakes import nearest

Kind = Literal[
    "string", "integer", "number", "boolean", "array", "object", "any", "thread", "image", "file", "audio"
]
PARTS = frozenset(("image", "file", "audio"))
"""Kinds whose values become parts of a message beside its text."""
IDENTIFIER = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OTHER_NAMES = {
    "str": "string", "text": "string", "int": "integer", "float": "number", "double": "number", "bool": "boolean",
    "list": "array", "dict": "object", "messages": "thread",
}  # fmt: skip
_KINDS = frozenset(Kind.__args__) | _OTHER_NAMES.keys()  # type: ignore[attr-defined]
_OF_VALUE: tuple[tuple[type, str], ...] = (
    (bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array"), (dict, "object"),
)  # fmt: skip
_JSON_TYPES = {
    "string": "string",
    "integer": "integer",
    "number": "number",
    "boolean": "boolean",
    "array": "array",
    "object": "object",
}


def _known_kind(stated: str) -> str:
    """Return the kind that a spelling means: `List`, `str` and `text` as well; what is not known stays."""
    small = stated.lower()
    found = _OTHER_NAMES.get(small, small)
    return found if found in _KINDS else stated


class Input(BaseModel):
    """One variable of a prompt, or one field of its answer."""

    model_config = ConfigDict(extra="allow")

    kind: Kind = "any"
    description: str = ""
    required: bool | None = None
    """None: required unless there is a default"""
    default: object = None
    sample: object = None
    """an example value; also spelled `example`"""
    allowed: list[object] | None = Field(default=None, alias="enumValues")
    items: Input | None = None
    """of an array's elements"""
    properties: dict[str, Input] | None = None
    """of an object's fields"""

    @model_validator(mode="before")
    @classmethod
    def _other_spellings(cls, value: object) -> object:
        """Read `number: integer`, `number:`, `type: int` and `name: Jane` (a default) as well."""
        if value is None or (isinstance(value, str) and value in _KINDS):
            value = {"kind": value or "any"}
        if not isinstance(value, dict) or not (value.keys() & _KEYS or not value):
            return {"kind": _kind_of(value), "default": value}
        value = dict(value)
        kind = value.pop("type", None) or value.get("kind", "any")
        value["kind"] = _known_kind(kind) if isinstance(kind, str) else kind
        for older, name in (("example", "sample"), ("enum", "enumValues"), ("enum_values", "enumValues")):
            if older in value:
                value.setdefault(name, value.pop(older))
        if "properties" in value:
            value["properties"] = by_name(value["properties"])
        _refuse_near_misses(value, _KEYS)
        return value

    @property
    def has_default(self) -> bool:
        """Whether the file gives a default, be it null."""
        return "default" in self.model_fields_set

    @property
    def is_required(self) -> bool:
        """Whether render() must be given this variable, as far as its own entry says."""
        return not self.has_default if self.required is None else self.required and not self.has_default

    def schema_(self) -> dict[str, Any]:
        """Return it as JSON Schema; every field of an object is required, and no other allowed, as strict modes want it."""
        schema: dict[str, Any] = {} if self.kind not in _JSON_TYPES else {"type": _JSON_TYPES[self.kind]}
        if self.description:
            schema["description"] = self.description
        if self.allowed is not None:
            schema["enum"] = self.allowed
        if self.items is not None:
            schema["items"] = self.items.schema_()
        if self.properties is not None:
            schema |= object_schema(self.properties)
        return schema


_KEYS = frozenset((
    "name", "kind", "type", "description", "required", "default", "sample", "example", "enum", "enumValues", "enum_values",
    "items", "properties", "strict",
))  # fmt: skip


def by_name(stated: object) -> object:
    """Return a list of entries with names as a mapping, which is the other way to write them."""
    if not isinstance(stated, list):
        return stated
    found: dict[str, object] = {}
    for entry in stated:
        name = entry.get("name") or entry.get("id") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            raise ValueError("an entry of the list must be a mapping with a `name`")
        if name in found:
            raise ValueError(f"{name!r} is given twice")
        found[name] = {key: value for key, value in entry.items() if key not in ("name", "id")} or None
    return found


def of_any_kind(entry: object) -> object:
    """Return a variable that says `type: object` and no more as one of any kind: older files say so of lists and texts."""
    if not isinstance(entry, dict) or "kind" in entry or entry.get("properties"):
        return entry
    loose = str(entry.get("type")).lower() in ("object", "dict")
    return {**entry, "type": "any"} if loose else entry


def object_schema(fields: Mapping[str, Input]) -> dict[str, Any]:
    """Return the JSON Schema of an object with these fields."""
    return {
        "type": "object",
        "properties": {name: each.schema_() for name, each in fields.items()},
        "required": list(fields),
        "additionalProperties": False,
    }


def _kind_of(value: object) -> str:
    return next((kind for of, kind in _OF_VALUE if isinstance(value, of)), "any")


def _refuse_near_misses(given: Mapping[str, object], known: frozenset[str]) -> None:
    for name in given:
        meant = None if name in known else nearest(name, known)
        if meant is not None:
            raise ValueError(f"{name!r} is not known here; did you mean {meant!r}?")
