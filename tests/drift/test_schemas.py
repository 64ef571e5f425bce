"""Response formats as people's tools write them are judged, whole; hostile ones end soon."""

import datetime
import enum
import json
import random
import time
import tracemalloc
import uuid
from typing import Annotated, Literal

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from promptguard.drift.features.schema import asked_schema, fits, is_judged
from promptguard.wire import gemini


class Colour(enum.Enum):
    red = "red"
    blue = "blue"


class Inner(BaseModel):
    x: int


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


class Tree(BaseModel):
    value: int
    children: list["Tree"] = []


class Everything(BaseModel):
    model_config = ConfigDict(extra="forbid")
    colour: Colour
    note: str | None
    letter: Literal["a", "b"]
    many: list[Inner] = Field(min_length=1, max_length=3)
    share: Annotated[float, Field(ge=0, le=1)]
    step: Annotated[int, Field(multiple_of=5, gt=0)]
    day: datetime.date
    at: datetime.datetime
    id: uuid.UUID
    either: int | str
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    code: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    scores: dict[str, float]
    pair: tuple[int, str]
    tags: set[str]
    tree: Tree


RIGHT = {
    "colour": "red", "note": None, "letter": "a", "many": [{"x": 1}], "share": 0.5, "step": 10, "day": "2025-11-01",
    "at": "2025-11-01T10:00:00Z", "id": "12345678-1234-5678-1234-567812345678", "either": "x",
    "pet": {"kind": "cat", "lives": 9}, "code": "ABC", "scores": {"a": 1.5}, "pair": [1, "x"], "tags": ["a", "b"],
    "tree": {"value": 1, "children": [{"value": 2, "children": []}]},
}  # fmt: skip
WRONG = {
    "colour": "green", "note": 3, "letter": "c", "many": [], "share": 1.5, "step": 7, "day": "2025-13-01",
    "at": "yesterday", "id": "no id", "either": 1.5, "pet": {"kind": "cow"}, "code": "abc", "scores": {"a": "b"},
    "pair": ["x", 1], "tags": ["a", "a"], "tree": {"value": 1, "children": [{"value": "2"}]},
}  # fmt: skip


def asked(schema):
    return {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}


def test_ordinary_pydantic_models_are_fully_judged():
    schema = asked_schema(asked(Everything.model_json_schema()))
    assert schema is not None
    assert fits(json.dumps(RIGHT), schema)
    for name, value in WRONG.items():
        assert not fits(json.dumps({**RIGHT, name: value}), schema), name
        assert not fits(json.dumps({key: inner for key, inner in RIGHT.items() if key != name}), schema), name
    assert not fits(json.dumps({**RIGHT, "more": 1}), schema)


def test_strict_schemas_of_providers_are_judged():
    openai = pytest.importorskip("openai.lib._parsing._completions")

    class Answer(BaseModel):
        inner: Inner
        colour: Colour | None
        n: Annotated[int, Field(description="how many")]

    schema = asked_schema(openai.type_to_response_format_param(Answer))
    assert fits('{"inner": {"x": 1}, "colour": null, "n": 3}', schema)
    assert not fits('{"inner": {"x": 1}, "colour": "green", "n": 3}', schema)
    assert not fits('{"inner": {"x": 1}, "n": 3}', schema)


def test_geminis_own_spelling_is_read():
    form = gemini._asked_form(
        {
            "responseSchema": {
                "type": "OBJECT",
                "properties": {
                    "kind": {"type": "STRING", "enum": ["a", "b"], "format": "enum"},
                    "size": {"type": "INTEGER", "nullable": True},
                    "parts": {"type": "ARRAY", "items": {"type": "NUMBER"}, "minItems": "1"},
                },
                "required": ["kind"],
                "propertyOrdering": ["kind", "size", "parts"],
            }
        }
    )
    schema = asked_schema(form)
    assert fits('{"kind": "a", "size": null, "parts": [1.5]}', schema)
    for wrong in ('{"kind": "c"}', '{"kind": "a", "size": "x"}', '{"kind": "a", "parts": []}', "{}"):
        assert not fits(wrong, schema)


def test_a_tree_may_refer_to_itself_and_is_bounded():
    schema = asked_schema(asked(Tree.model_json_schema()))
    deep = {"value": 1}
    for _ in range(100):
        deep = {"value": 1, "children": [deep]}
    assert fits(json.dumps(deep), schema)
    assert not fits(json.dumps({"value": 1, "children": [{"value": 1}] * 3000}), schema)


# -- where it judges, it judges as jsonschema does

leaves = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from(["", "a", "b", "abc"]), st.floats(-2, 2)
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("xyz"), inner, max_size=3)
    ),
    max_leaves=6,
)
kinds = st.sampled_from(["object", "array", "string", "number", "integer", "boolean", "null"])
words = st.lists(st.sampled_from("xyz"), max_size=2, unique=True)
schemas = st.recursive(
    st.one_of(
        st.booleans(),
        st.fixed_dictionaries(
            {"type": st.one_of(kinds, st.lists(kinds, min_size=1, max_size=2, unique=True))}
        ),
        st.fixed_dictionaries({"enum": st.lists(values, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"const": leaves}),
        st.just({"$ref": "#/$defs/x"}),
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": kinds,
            "properties": st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
            "patternProperties": st.dictionaries(st.sampled_from(["^x", "y$"]), inner, max_size=1),
            "required": words,
            "additionalProperties": inner,
            "propertyNames": st.fixed_dictionaries({"pattern": st.sampled_from(["^[xy]$", "z"])}),
            "dependentRequired": st.dictionaries(st.sampled_from("xyz"), words, max_size=1),
            "minProperties": st.integers(0, 2),
            "maxProperties": st.integers(0, 3),
            "items": inner,
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
            "minItems": st.integers(0, 2),
            "maxItems": st.integers(0, 3),
            "uniqueItems": st.booleans(),
            "anyOf": st.lists(inner, min_size=1, max_size=3),
            "oneOf": st.lists(inner, min_size=1, max_size=3),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
            "minimum": st.integers(-2, 2),
            "exclusiveMaximum": st.integers(-2, 2),
            "multipleOf": st.sampled_from([1, 2, 0.5]),
            "minLength": st.integers(0, 2),
            "maxLength": st.integers(0, 3),
            "pattern": st.sampled_from(["^a", "b$", "[ab]{2}"]),
            "title": st.just("a note"),
        },
    ),
    max_leaves=5,
)


@settings(max_examples=400, deadline=None)
@given(values, schemas)
def test_where_it_judges_it_judges_as_jsonschema_does(found, schema):
    if not isinstance(schema, bool):
        schema = {**schema, "$defs": {"x": {"type": ["string", "array"]}}}
    assert is_judged(schema)
    text = json.dumps(found)
    assert fits(text, schema) == jsonschema.Draft202012Validator(schema).is_valid(json.loads(text))


# -- hostile schemas


def nested(depth, word="items"):
    schema = {"type": "string"}
    for _ in range(depth):
        schema = {word: [schema] if word.endswith("Of") else schema}
    return schema


def doubling(word, leaf, width=10, height=14):
    steps = {f"d{n}": {word: [{"$ref": f"#/$defs/d{n + 1}"}] * width} for n in range(height)}
    return {"$ref": "#/$defs/d0", "$defs": {**steps, f"d{height}": leaf}}


HOSTILE = {
    "deep": nested(20_000),
    "deep anyOf": nested(2_000, "anyOf"),
    "doubling anyOf": doubling("anyOf", {"type": "string"}),
    "doubling oneOf": doubling("oneOf", {}),
    "doubling allOf": doubling("allOf", {}),
    "doubling not": {
        "$ref": "#/$defs/a",
        "$defs": {"a": {"not": {"$ref": "#/$defs/b"}}, "b": doubling("oneOf", True)},
    },
    "wide": {"properties": {str(n): {"type": "string"} for n in range(100_000)}},
    "long enum": {"enum": list(range(100_000))},
    "long words": {"enum": ["x" * 10_000_000]},
    "long key": {"properties": {"x" * 10_000_000: True}},
    "long number": {"const": 10**100_000},
    "pattern": {"patternProperties": {"(a*)*b" * n: True for n in range(1, 30)}},
    "large pattern": {"pattern": "((a{1,100}){1,100}){1,10}"},
    "classes": {"pattern": r"\pL{1,200}" * 20},
    "unique": {"items": {"uniqueItems": True}},
    "loop": {"$ref": "#"},
    "own loop": {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, True]}}},
    "network": {"$ref": "http://127.0.0.1:9/schema"},
    "file": {"$ref": "file:///etc/passwd"},
    "keys": {3: {"type": "string"}, None: 1},
    "not JSON": {"const": object()},
    "infinite": {"minimum": float("nan"), "multipleOf": float("inf"), "maximum": float("-inf")},
    "zero": {"multipleOf": 0},
}
ANSWERS = [
    json.dumps({"a" * 200: [[{"a": n} for n in range(40)]] * 40, "b": 3}),
    json.dumps([[["x"] * 30] * 30] * 10),
    json.dumps({f"a{n}": n for n in range(3_000)}),
    "3",
]


def judged_within(schema):
    """Judge and return (seconds, bytes at most held beside the schema)."""
    tracemalloc.start()
    try:
        began = time.process_time()
        found = asked_schema(asked(schema))
        for text in ANSWERS:
            if found is not None:
                fits(text, found)
        return time.process_time() - began, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_schema_ends_soon(name):
    seconds, held = judged_within(HOSTILE[name])
    assert seconds < 1.0  # some milliseconds, tracing included
    assert held < 10 * 2**20


def test_schemas_of_random_keywords_end_soon():
    rng = random.Random(0)
    words = [
        "properties",
        "items",
        "anyOf",
        "allOf",
        "oneOf",
        "not",
        "$ref",
        "enum",
        "pattern",
        "type",
        "const",
        "$defs",
    ]

    def any_schema(depth):
        if depth > 6 or rng.random() < 0.2:
            return rng.choice(
                [True, {}, {"$ref": "#"}, {"$ref": "#/$defs/a"}, {"type": "string"}, [], 3, None]
            )
        kind = rng.choice(words)
        inner = [any_schema(depth + 1) for _ in range(rng.randint(0, 4))]
        if kind in ("properties", "$defs"):
            return {kind: dict(zip("abcd", inner, strict=False))}
        return {kind: inner if kind.endswith("Of") or kind == "enum" else (inner or [True])[0]}

    for _ in range(300):
        seconds, held = judged_within(any_schema(0))
        assert seconds < 1.0
        assert held < 10 * 2**20
