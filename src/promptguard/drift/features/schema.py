"""Whether a JSON value is what the request's `response_format` asked for: a small, bounded subset of JSON Schema.

`type`, `properties`, `required`, `additionalProperties` (true or false), `items`, `enum` and `const`. A schema
that uses anything else, or is larger or deeper than the bounds, is not judged at all: half a check would call
wrong answers right. Both sides of a pair are always judged by one schema.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

MOST_NODES = 2_000
"""nodes of a schema, and of a value, beyond which it is not judged"""
DEEPEST = 24
_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}
_KNOWN = frozenset(("type", "properties", "required", "additionalProperties", "items", "enum", "const"))
_NOTES = frozenset(
    ("title", "description", "default", "examples", "$schema", "$id", "$comment", "deprecated")
)
_LONGEST_NUMBER = 300


class _TooMuchError(Exception):
    """The bounds were passed."""


def asked_schema(response_format: Mapping[str, object] | None) -> Mapping[str, object] | None:
    """Return the schema of a request's `response_format`; None where it asks for none that can be judged.

    Knows `{"type": "json_schema", "json_schema": {"schema": ...}}`, the same without the inner object
    (`{"type": "json_schema", "schema": ...}`), and `{"type": "json_object"}`.
    """
    if response_format is None:
        return None
    kind = response_format.get("type")
    if kind == "json_object":
        return {"type": "object"}
    inner = response_format.get("json_schema", response_format)
    schema = inner.get("schema") if kind == "json_schema" and isinstance(inner, Mapping) else None
    return schema if isinstance(schema, Mapping) and is_judged(schema) else None


def is_judged(schema: object) -> bool:
    """Whether every keyword of `schema` is known here, within the bounds."""
    try:
        return _is_known(schema, [MOST_NODES], 0)
    except _TooMuchError:
        return False


def fits(text: str, schema: Mapping[str, object]) -> bool:
    """Whether `text` is JSON that `schema` (one that `is_judged`) allows. Never raises; False past the bounds."""
    try:
        value = json.loads(text, parse_int=_integer, parse_float=_fraction, parse_constant=_constant)
        return _fits(value, schema, [MOST_NODES])
    except (ValueError, RecursionError, _TooMuchError):
        return False


def _integer(digits: str) -> int:
    # of longer numbers only the kind is of interest, and reading them takes quadratic time
    return int(digits) if len(digits) <= _LONGEST_NUMBER else 10**_LONGEST_NUMBER


def _fraction(digits: str) -> float:
    return float(digits[:_LONGEST_NUMBER])


def _constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def _spend(budget: list[int]) -> None:
    budget[0] -= 1
    if budget[0] < 0:
        raise _TooMuchError


def _is_known(schema: object, budget: list[int], depth: int) -> bool:
    _spend(budget)
    if isinstance(schema, bool):
        return True
    if not isinstance(schema, Mapping) or depth > DEEPEST or not schema.keys() <= _KNOWN | _NOTES:
        return False
    kinds, properties = schema.get("type", []), schema.get("properties", {})
    kinds = [kinds] if isinstance(kinds, str) else kinds
    sound = (
        isinstance(kinds, (list, tuple))
        and all(isinstance(kind, str) and kind in _TYPES for kind in kinds)
        and isinstance(properties, Mapping)
        and isinstance(schema.get("required", []), (list, tuple))
        and isinstance(schema.get("additionalProperties", True), bool)
        and isinstance(schema.get("enum", []), (list, tuple))
        and len(schema.get("enum", [])) <= MOST_NODES
    )
    inner = [*properties.values(), schema.get("items", True)] if sound else []
    return sound and all(_is_known(each, budget, depth + 1) for each in inner)


def _fits(value: object, schema: Any, budget: list[int]) -> bool:
    _spend(budget)
    if isinstance(schema, bool):
        return schema
    kinds = schema.get("type")
    if kinds is not None and not any(
        _is_a(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)
    ):
        return False
    choices = [
        schema[word] if word == "enum" else [schema[word]] for word in ("enum", "const") if word in schema
    ]
    if not all(any(_same(value, choice) for choice in each) for each in choices):
        return False
    if isinstance(value, dict):
        return _object_fits(value, schema, budget)
    if isinstance(value, list) and "items" in schema:
        return all(_fits(item, schema["items"], budget) for item in value)
    return True


def _object_fits(value: dict[str, object], schema: Mapping[str, Any], budget: list[int]) -> bool:
    properties = schema.get("properties", {})
    if not all(name in value for name in schema.get("required", ()) if isinstance(name, str)):
        return False
    if schema.get("additionalProperties") is False and not value.keys() <= properties.keys():
        return False
    return all(_fits(value[name], inner, budget) for name, inner in properties.items() if name in value)


def _is_a(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[kind])


def _same(value: object, allowed: object) -> bool:
    """JSON equality: true is not 1."""
    return isinstance(value, bool) == isinstance(allowed, bool) and value == allowed
