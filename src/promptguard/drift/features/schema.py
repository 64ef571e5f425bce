"""Whether an answer is the JSON that the request's `response_format` asked for, by a bounded part of JSON Schema.

What pydantic, OpenAI's, Anthropic's and Gemini's strict modes write is understood (`schema_rules.py` has the keywords). A
schema with any other keyword, or beyond the bounds, is not judged at all: half a check would call wrong answers right.
Both sides of a pair are always judged by one schema. Why not by a library: docs/decisions/0041-schemas.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache

from promptguard.drift.features.places import NOTHING
from promptguard.drift.features.schema_patterns import UnknownError
from promptguard.drift.features.schema_rules import Rule, TooMuchError, compiled

MOST_NODES = 2_000
"""nodes of a schema beyond which it is not judged, and steps that judging one answer may take"""
MOST_CHARACTERS = 100_000
DEEPEST = 48
_LONGEST_NUMBER = 300
_MOST_BITS = 1000


class _Judged(dict[str, object]):
    """A schema that is judged, with the rule it was compiled to."""

    __slots__ = ("rule",)
    rule: Rule


def asked_schema(response_format: Mapping[str, object] | None) -> Mapping[str, object] | None:
    """Return the schema of a request's `response_format`; None where it asks for none that can be judged.

    Knows `{"type": "json_schema", "json_schema": {"schema": ...}}`, the same without the inner object
    (`{"type": "json_schema", "schema": ...}`), and `{"type": "json_object"}`.
    """
    if response_format is None:
        return None
    kind = response_format.get("type")
    if kind == "json_object":
        return _judged({"type": "object"})
    inner = response_format.get("json_schema", response_format)
    schema = inner.get("schema") if kind == "json_schema" and isinstance(inner, Mapping) else None
    return _judged(schema)


def is_judged(schema: object) -> bool:
    """Whether every keyword of `schema` is known here, within the bounds."""
    return isinstance(schema, bool) or _judged(schema) is not None


def fits(text: str, schema: Mapping[str, object] | bool) -> bool:
    """Whether `text` is JSON that `schema` (one that `is_judged`) allows. Never raises; False past the bounds."""
    if isinstance(schema, bool):
        return schema and _value(text) is not NOTHING
    judged = schema if isinstance(schema, _Judged) else _judged(schema)
    if judged is None:
        return False
    value = _value(text)
    try:
        return value is not NOTHING and judged.rule(value, [MOST_NODES])
    except (TooMuchError, RecursionError, OverflowError):
        return False


def _value(text: str) -> object:
    try:
        return _QUICK.decode(text)
    except RecursionError:
        return NOTHING
    except ValueError:
        pass  # or a number too long to be read at once
    try:
        return json.loads(text, parse_int=_integer, parse_float=_fraction, parse_constant=_constant)
    except (ValueError, RecursionError):
        return NOTHING


def _integer(digits: str) -> int:
    # of longer numbers only the kind is of interest, and reading them takes quadratic time
    return int(digits) if len(digits) <= _LONGEST_NUMBER else 10**_LONGEST_NUMBER


def _fraction(digits: str) -> float:
    return float(digits[:_LONGEST_NUMBER])


def _constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


_QUICK = json.JSONDecoder(parse_constant=_constant)


def _judged(schema: object) -> _Judged | None:
    if isinstance(schema, _Judged):
        return schema
    if not isinstance(schema, Mapping) or not _is_small(schema):
        return None
    try:
        return _compiled(json.dumps(schema))
    except (TypeError, ValueError, RecursionError):
        return None


def _is_small(schema: object) -> bool:
    """Whether a schema is within the bounds: looked at level by level, before anything is made of it."""
    level, nodes, characters = [schema], 0, 0
    for _ in range(DEEPEST):
        nodes += len(level)
        if nodes > MOST_NODES or characters > MOST_CHARACTERS:
            return False
        below: list[object] = []
        for value in level:
            if isinstance(value, str):
                characters += len(value)
            elif isinstance(value, Mapping):
                if len(value) > MOST_NODES:
                    return False
                characters += (
                    sum(map(len, value)) if all(isinstance(key, str) for key in value) else MOST_CHARACTERS
                )
                below.extend(value.values())
            elif isinstance(value, (list, tuple)):
                below.extend(value[: MOST_NODES + 1])
            elif isinstance(value, int) and value.bit_length() > _MOST_BITS:
                return False
        if not below:
            return characters <= MOST_CHARACTERS
        level = below
    return False


@lru_cache(maxsize=64)
def _compiled(text: str) -> _Judged | None:
    schema = json.loads(text)
    try:
        rule = compiled(schema)
    except UnknownError:
        return None
    judged = _Judged(schema)
    judged.rule = rule
    return judged
