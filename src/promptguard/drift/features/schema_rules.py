"""JSON Schema (2020-12) as functions: each schema is compiled once to a rule that a value is held against, step by step.

Every rule takes a step from a budget, so that no schema can make judging long; whatever is not understood is an error at
compile time. Patterns run on re2, in linear time. `$ref` reaches within the schema only: nothing is ever fetched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from promptguard.drift.features.schema_patterns import (
    FORMATS,
    Pattern,
    UnknownError,
    clean,
    format_of,
    pattern_of,
)

Rule = Callable[[object, list[int]], bool]
"""(value, steps left): whether the value is allowed. Raises TooMuchError when no step is left."""
Schema = Mapping[str, object]


class TooMuchError(Exception):
    """The steps are used up."""


MOST_PATTERNS, LONGEST_PATTERN = 24, 256
_EVERY_TYPE: frozenset[type] = frozenset((dict, list, str, int, float, bool, type(None)))
_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}
_NOTES = frozenset(
    (
        "title", "description", "default", "examples", "example", "$schema", "$id", "$comment", "deprecated",
        "readOnly", "writeOnly", "discriminator", "propertyOrdering", "contentEncoding", "contentMediaType",
        "$defs", "definitions", "xml", "externalDocs",
    )
)  # fmt: skip
"""Keywords that say nothing of a value."""


def compiled(schema: object) -> Rule:
    """Return the rule of a schema. UnknownError for one that is not wholly understood, or refers to itself in place."""
    return _Compiler(schema).rule(schema)


class _Compiler:
    """Compiles one schema; places that `$ref` names are compiled once."""

    def __init__(self, root: object) -> None:
        self._root = root
        self._named: dict[str, Rule] = {}
        self._open: list[str] = []
        """places being compiled, of which each is looked at in place by the one before"""
        self._patterns = 0

    def rule(self, schema: object, *, below: bool = False) -> Rule:
        """Compile a schema; `below`: for a part of the value, where a place may refer to itself."""
        if below:
            opened, self._open = self._open, []
            try:
                return self.rule(schema)
            finally:
                self._open = opened
        if isinstance(schema, bool):
            return _anything if schema else _nothing
        if not isinstance(schema, Mapping):
            raise UnknownError
        rules = self._rules(schema)
        return rules[0] if len(rules) == 1 else _every(rules)

    def _rules(self, schema: Schema) -> list[Rule]:
        unknown = schema.keys() - _NOTES - _KEYWORDS
        if any(not word.startswith("x-") for word in unknown):
            raise UnknownError
        found = [self._reference(schema["$ref"])] if "$ref" in schema else []
        found += [_choice(schema[word], word) for word in ("enum", "const") if word in schema]
        found += self._combined(schema)
        by_type = {
            str: self._of_strings(schema),
            dict: self._of_objects(schema),
            list: self._of_arrays(schema),
            int: _of_numbers(schema),
        }
        by_type[float] = by_type[int]
        kinds = _kinds(schema)
        if kinds == ["string"] and _are_words(schema.get("enum", [schema.get("const")])):
            kinds = None  # the choice of words says so already
        if kinds is not None or any(by_type.values()):
            found.append(_typed(kinds, by_type))
        return found or [_anything]

    # -- where rules are put together

    def _reference(self, name: object) -> Rule:
        if not isinstance(name, str) or not name.startswith("#") or name in self._open:
            raise UnknownError  # elsewhere, or itself in place: that would never end
        if name not in self._named:
            held: list[Rule] = []

            def later(value: object, steps: list[int]) -> bool:
                return held[0](value, steps)

            self._named[name] = later
            self._open.append(name)
            held.append(self.rule(_at(self._root, name)))
            self._open.pop()
            self._named[name] = held[0]  # who refers to it from now on needs no detour
        return self._named[name]

    def _combined(self, schema: Schema) -> list[Rule]:
        found = []
        for word in ("allOf", "anyOf", "oneOf"):
            kinds = _bare_kinds(schema[word]) if word == "anyOf" and word in schema else None
            if kinds is not None:
                found.append(_typed(kinds, {}))
            elif word in schema:
                rules = [self.rule(each) for each in _some(schema[word])]
                found.append({"allOf": _every, "anyOf": _any, "oneOf": _one}[word](rules))
        if "not" in schema:
            refused = self.rule(schema["not"])
            found.append(_every([lambda value, steps: not refused(value, steps)]))
        if "if" in schema:
            told = [self.rule(schema.get(word, True)) for word in ("if", "then", "else")]
            found.append(_every([lambda value, steps: told[1 if told[0](value, steps) else 2](value, steps)]))
        return found

    # -- what is said of one type

    def _of_objects(self, schema: Schema) -> Rule | None:
        properties = _members(schema.get("properties", {}))
        inner = {str(name): self.rule(each, below=True) for name, each in properties.items()}
        patterns = [
            (self._pattern(pattern), self.rule(each, below=True))
            for pattern, each in _members(schema.get("patternProperties", {})).items()
        ]
        required = [name for name in _list(schema.get("required", [])) if isinstance(name, str)]
        rest = self.rule(schema.get("additionalProperties", True), below=True)
        rare = self._rare(schema, patterns)
        if not _OBJECT_WORDS & schema.keys():
            return None

        def fit(value: object, steps: list[int]) -> bool:
            assert isinstance(value, dict)  # noqa: S101 - `_typed` has looked
            if any(name not in value for name in required) or not (rare is None or rare(value, steps)):
                return False
            for name, each in value.items():
                own = inner.get(name)
                if own is None:
                    if not (patterns and _matches(patterns, name)) and not rest(each, steps):
                        return False
                elif not own(each, steps):
                    return False
            return True

        return fit

    def _rare(self, schema: Schema, patterns: Sequence[tuple[Pattern, Rule]]) -> Rule | None:
        """Return the rule of what few schemas say of objects."""
        names = self.rule(schema["propertyNames"], below=True) if "propertyNames" in schema else _anything
        needs = {name: _list(each) for name, each in _members(schema.get("dependentRequired", {})).items()}
        low, high = _count(schema, "minProperties", 0), _count(schema, "maxProperties", math.inf)
        if names is _anything and not needs and not patterns and not low and high == math.inf:
            return None

        def fit(value: object, steps: list[int]) -> bool:
            assert isinstance(value, dict)  # noqa: S101 - the caller has looked
            _spend(steps, (1 + len(patterns)) * len(value))
            if not low <= len(value) <= high:
                return False
            if any(name in value and any(each not in value for each in needs[name]) for name in needs):
                return False
            return all(
                names(name, steps)
                and all(rule(each, steps) for pattern, rule in patterns if pattern.search(clean(name)))
                for name, each in value.items()
            )

        return fit

    def _of_arrays(self, schema: Schema) -> Rule | None:
        first = [self.rule(each, below=True) for each in _list(schema.get("prefixItems", []))]
        rest = self.rule(schema.get("items", True), below=True)
        low, high = _count(schema, "minItems", 0), _count(schema, "maxItems", math.inf)
        unique = schema.get("uniqueItems", False)
        if not isinstance(unique, bool):
            raise UnknownError
        if not _ARRAY_WORDS & schema.keys():
            return None

        def fit(value: object, steps: list[int]) -> bool:
            assert isinstance(value, list)  # noqa: S101 - `_typed` has looked
            if not low <= len(value) <= high:
                return False
            if first and not all(rule(each, steps) for each, rule in zip(value, first, strict=False)):
                return False
            for each in value[len(first) :] if first else value:
                if not rest(each, steps):
                    return False
            return not unique or _are_unique(value, steps)

        return fit

    def _of_strings(self, schema: Schema) -> Rule | None:
        low, high = _count(schema, "minLength", 0), _count(schema, "maxLength", math.inf)
        patterns = [self._pattern(schema["pattern"])] if "pattern" in schema else []
        kind = schema.get("format")
        if isinstance(kind, str) and kind in FORMATS:
            patterns.append(format_of(kind))
        if low <= 0 and high == math.inf and not patterns:
            return None

        def fit(value: object, steps: list[int]) -> bool:  # noqa: ARG001 - the shape of rules
            assert isinstance(value, str)  # noqa: S101 - `_typed` has looked
            return low <= len(value) <= high and all(each.search(clean(value)) for each in patterns)

        return fit

    def _pattern(self, pattern: object) -> Pattern:
        self._patterns += 1
        if not isinstance(pattern, str) or len(pattern) > LONGEST_PATTERN or self._patterns > MOST_PATTERNS:
            raise UnknownError
        return pattern_of(pattern)


def _nothing(value: object, steps: list[int]) -> bool:  # noqa: ARG001 - the shape of rules
    return False


def _typed(kinds: Sequence[str] | None, by_type: Mapping[type, Rule | None]) -> Rule:
    """Return the rule of `type` and of what is said of values of one type."""
    exact = _EVERY_TYPE if kinds is None else {each for kind in kinds for each in _TYPES[kind]}
    table = {kind: by_type.get(kind) for kind in exact}
    whole = kinds is not None and "integer" in kinds
    of_whole = by_type.get(int)

    def fit(value: object, steps: list[int]) -> bool:
        steps[0] -= 1
        if steps[0] < 0:
            raise TooMuchError
        kind = type(value)
        if kind in table:
            rule = table[kind]
            return rule is None or rule(value, steps)
        if not whole or not isinstance(value, float) or not value.is_integer():
            return False
        return of_whole is None or of_whole(value, steps)

    return fit


def _anything(value: object, steps: list[int]) -> bool:  # noqa: ARG001 - the shape of rules
    steps[0] -= 1
    return True


def _of_numbers(schema: Schema) -> Rule | None:
    if not _NUMBER_WORDS & schema.keys():
        return None
    low, high = _number(schema, "minimum", -math.inf), _number(schema, "maximum", math.inf)
    above, below = (
        _number(schema, "exclusiveMinimum", -math.inf),
        _number(schema, "exclusiveMaximum", math.inf),
    )
    step = _number(schema, "multipleOf", 0)
    if step < 0:
        raise UnknownError

    def fit(value: object, steps: list[int]) -> bool:  # noqa: ARG001 - the shape of rules
        assert isinstance(value, (int, float))  # noqa: S101 - `_typed` has looked
        inside = low <= value <= high and (value > above or above == -math.inf)
        return inside and (value < below or below == math.inf) and (not step or _is_multiple(value, step))

    return fit


def _is_multiple(value: float, step: float) -> bool:
    if isinstance(value, int) and isinstance(step, int):
        return value % step == 0
    times = value / step
    return math.isfinite(times) and abs(times - round(times)) < 1e-9 * max(1.0, abs(times))


# fmt: off
_OBJECT_WORDS = frozenset((
    "properties", "patternProperties", "additionalProperties", "required", "propertyNames", "dependentRequired",
    "minProperties", "maxProperties",
))
_ARRAY_WORDS = frozenset(("items", "prefixItems", "minItems", "maxItems", "uniqueItems"))
_NUMBER_WORDS = frozenset(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"))
_STRING_WORDS = frozenset(("minLength", "maxLength", "pattern", "format"))
_KEYWORDS = _OBJECT_WORDS | _ARRAY_WORDS | _NUMBER_WORDS | _STRING_WORDS | {
    "type", "nullable", "enum", "const", "$ref", "allOf", "anyOf", "oneOf", "not", "if", "then", "else",
}
# fmt: on


def _matches(patterns: Sequence[tuple[Pattern, Rule]], name: str) -> bool:
    return any(pattern.search(clean(name)) for pattern, _ in patterns)


def _spend(steps: list[int], count: int) -> None:
    steps[0] -= count
    if steps[0] < 0:
        raise TooMuchError


def _every(rules: Sequence[Rule]) -> Rule:
    def fit(value: object, steps: list[int]) -> bool:
        _spend(steps, 1)
        return all(rule(value, steps) for rule in rules)

    return fit


def _any(rules: Sequence[Rule]) -> Rule:
    def fit(value: object, steps: list[int]) -> bool:
        _spend(steps, 1)
        return any(rule(value, steps) for rule in rules)

    return fit


def _one(rules: Sequence[Rule]) -> Rule:
    def fit(value: object, steps: list[int]) -> bool:
        _spend(steps, 1)
        return sum(rule(value, steps) for rule in rules) == 1

    return fit


def _choice(said: object, word: str) -> Rule:
    choices = _list(said) if word == "enum" else [said]
    words = frozenset(each for each in choices if isinstance(each, str))
    others = [each for each in choices if not isinstance(each, str)]

    def fit(value: object, steps: list[int]) -> bool:
        if isinstance(value, str):
            return value in words
        _spend(steps, 1 + len(others))
        return any(_same(value, each) for each in others)

    return fit


def _are_words(choices: object) -> bool:
    return all(isinstance(each, str) for each in _list(choices))


def _same(value: object, allowed: object) -> bool:
    """JSON equality: true is not 1, at any depth."""
    if isinstance(value, bool) or isinstance(allowed, bool):
        return value is allowed
    if isinstance(value, list) and isinstance(allowed, list):
        return len(value) == len(allowed) and all(map(_same, value, allowed))
    if isinstance(value, dict) and isinstance(allowed, dict):
        return value.keys() == allowed.keys() and all(_same(value[key], allowed[key]) for key in value)
    return value == allowed


def _are_unique(values: list[object], steps: list[int]) -> bool:
    if all(isinstance(each, (str, int, float, type(None))) for each in values):
        return len({(isinstance(each, bool), each) for each in values}) == len(values)
    _spend(steps, len(values) * (len(values) - 1) // 2)
    return not any(_same(value, other) for at, value in enumerate(values) for other in values[:at])


def _kinds(schema: Schema) -> list[str] | None:
    """Return the types that a schema allows; Gemini writes them in capitals, and `nullable` beside them."""
    said = schema.get("type")
    if said is None:
        return None
    kinds = [
        each.lower() if isinstance(each, str) else "" for each in (said if isinstance(said, list) else [said])
    ]
    if schema.get("nullable") is True:
        kinds.append("null")
    if not all(kind in _TYPES for kind in kinds):
        raise UnknownError
    return kinds


def _bare_kinds(branches: object) -> list[str] | None:
    """Return the types of an `anyOf` whose branches say nothing else, as pydantic writes what may be null."""
    found: list[str] = []
    for branch in _some(branches):
        if not isinstance(branch, Mapping) or branch.keys() - _NOTES != {"type"}:
            return None
        found += _kinds(branch) or []
    return found


def _count(schema: Schema, word: str, otherwise: float) -> float:
    said = schema.get(word, otherwise)
    if isinstance(said, str) and said.isdigit() and len(said) < 16:  # Gemini writes counts as strings
        said = int(said)
    if isinstance(said, bool) or not isinstance(said, (int, float)):
        raise UnknownError
    return said


def _number(schema: Schema, word: str, otherwise: float) -> float:
    said = schema.get(word, otherwise)
    if isinstance(said, bool) or not isinstance(said, (int, float)):
        raise UnknownError
    return said


def _list(said: object) -> list[object]:
    if not isinstance(said, list):
        raise UnknownError
    return said


def _some(said: object) -> list[object]:
    found = _list(said)
    if not found:
        raise UnknownError
    return found


def _members(said: object) -> Mapping[str, object]:
    if not isinstance(said, Mapping):
        raise UnknownError
    return said


def _at(root: object, name: str) -> object:
    """Return what a reference within the schema names. UnknownError for nothing."""
    found = root
    for part in name[1:].split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping) or key not in found:
            raise UnknownError
        found = found[key]
    if name not in ("#", "#/") and not name.startswith("#/"):
        raise UnknownError  # an anchor
    return found
