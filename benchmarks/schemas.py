"""Response formats: how many ordinary ones are judged and at what cost, and how long hostile ones hold a thread up.

    python -m benchmarks.schemas [--hostile 1000] [--seed 0]

Times are of the thread's CPU, without the tracing that the second pass, for memory, needs. Targets stand beside figures.
"""

from __future__ import annotations

import argparse
import datetime
import enum
import gc
import json
import random
import sys
import time
import tracemalloc
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from openai.lib._parsing._completions import type_to_response_format_param
from pydantic import BaseModel, Field

from promptguard.drift.features.schema import asked_schema, fits, is_judged

MICROSECONDS, MILLISECONDS, MEGABYTES = 50.0, 20.0, 10.0


class Colour(enum.Enum):
    red = "red"
    blue = "blue"


class Flat(BaseModel):
    name: str
    ok: bool


class Optional(BaseModel):
    name: str
    note: str | None


class Row(BaseModel):
    sku: str
    count: int


class Nested(BaseModel):
    rows: list[Row]


class Enumerated(BaseModel):
    colour: Colour


class Literals(BaseModel):
    letter: Literal["a", "b"]


class Bounded(BaseModel):
    share: Annotated[int, Field(ge=0, le=10)]


class Dated(BaseModel):
    day: datetime.date


class Described(BaseModel):
    n: int = Field(description="how many")


class Either(BaseModel):
    value: int | str


class Tree(BaseModel):
    value: int
    children: list[Tree] = []


ORDINARY = (Flat, Optional, Nested, Enumerated, Literals, Bounded, Dated, Described, Either, Tree)


def asked(schema: object) -> dict[str, object]:
    """Return the response format that asks for a schema."""
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


# -- hostile ones: each family by its size, so that some are large and some deep


def deep(rng: random.Random) -> object:
    word = rng.choice(["items", "not", "anyOf", "allOf", "additionalProperties", "contains"])
    schema: object = {"type": "string"}
    for _ in range(rng.choice([50, 500, 5_000, 20_000])):
        schema = {word: [schema] if word.endswith("Of") else schema}
    return schema


def doubling(rng: random.Random) -> object:
    word, height, width = rng.choice(["anyOf", "oneOf", "allOf"]), rng.randint(3, 20), rng.randint(2, 12)
    steps = {f"d{n}": {word: [{"$ref": f"#/$defs/d{n + 1}"}] * width} for n in range(height)}
    return {
        "$ref": "#/$defs/d0",
        "$defs": {**steps, f"d{height}": rng.choice([True, {"type": "string"}, {}])},
    }


def wide(rng: random.Random) -> object:
    count = rng.choice([1_000, 10_000, 100_000])
    inner = rng.choice([True, {"type": "string"}, {"pattern": "(a|b)*c"}])
    return {"properties": {f"p{n}": inner for n in range(count)}, "required": [f"p{n}" for n in range(count)]}


def lists(rng: random.Random) -> object:
    return {
        "enum": [rng.choice([n, str(n), [n], {"n": n}]) for n in range(rng.choice([100, 10_000, 100_000]))]
    }


def long(rng: random.Random) -> object:
    size = rng.choice([10_000, 1_000_000, 10_000_000])
    return rng.choice([
        {"enum": ["x" * size]}, {"properties": {"x" * size: True}}, {"const": 10 ** min(size, 100_000)},
        {"pattern": "(" * 500 + "a" * size}, {"description": "x" * size, "type": "object"},
    ])  # fmt: skip


def patterns(rng: random.Random) -> object:
    one = rng.choice(
        ["(a+)+$", "(x+x+)+y", "((a{1,100}){1,100}){1,10}", r"\pL{1,200}", "(a|a)*b", "[", "(?=a)(b|c)*"]
    )
    made = one * rng.choice([1, 10, 100])
    if rng.random() < 0.5:
        return {"pattern": made}
    return {"patternProperties": {f"{made}{n}": True for n in range(rng.randint(1, 100))}}


def loops(rng: random.Random) -> object:
    names = [f"n{n}" for n in range(rng.randint(1, 60))]
    parts = {
        name: {
            rng.choice(["anyOf", "allOf", "oneOf"]): [
                {"$ref": f"#/$defs/{rng.choice(names)}"} for _ in range(4)
            ]
        }
        for name in names
    }
    return {"$ref": f"#/$defs/{names[0]}", "$defs": parts}


def crossed(rng: random.Random) -> object:
    """A tree of random keywords whose leaves refer to anywhere in it."""
    words = [
        "properties",
        "items",
        "anyOf",
        "allOf",
        "oneOf",
        "not",
        "prefixItems",
        "contains",
        "propertyNames",
        "$defs",
    ]

    def node(depth: int) -> object:
        if depth > 7 or rng.random() < 0.15:
            return rng.choice(
                [True, {}, {"$ref": "#"}, {"$ref": "#/properties/a"}, {"uniqueItems": True}, [], 3, None]
            )
        word = rng.choice(words)
        inner = [node(depth + 1) for _ in range(rng.randint(1, 4))]
        if word in ("properties", "$defs"):
            return {word: dict(zip("abcd", inner, strict=False))}
        return {word: inner if word.endswith("Of") or word == "prefixItems" else inner[0]}

    return node(0)


FAMILIES: tuple[Callable[[random.Random], object], ...] = (
    deep, doubling, wide, lists, long, patterns, loops, crossed,
)  # fmt: skip
ANSWERS = (
    json.dumps({"a" * 200: [[{"a": n} for n in range(40)]] * 40, "b": 3}),
    json.dumps([[["x"] * 30] * 30] * 10),
    json.dumps({f"p{n}": n for n in range(3_000)}),
    json.dumps("a" * 20_000),
    "3",
)


def judge(schema: object) -> None:
    """Read a schema and judge every answer by it, as the two sides of pairs are."""
    form = asked_schema(asked(schema))
    if form is not None:
        for text in ANSWERS:
            fits(text, form)


def ordinary() -> bool:
    """Print how many ordinary models are judged, and the time an answer of 1 KB takes; returns whether as promised."""
    judged, formats = [], {}
    for model in ORDINARY:
        formats[model.__name__] = form = asked_schema(_as_mapping(type_to_response_format_param(model)))
        judged.append(form is not None and is_judged(form))
    print(f"ordinary models judged      {sum(judged)} of {len(judged)} (target 10 of 10)")
    nested = formats["Nested"]
    assert nested is not None
    text = json.dumps({"rows": [{"sku": f"A-{n:03}", "count": n} for n in range(33)]})
    took = []
    for _ in range(5):
        began = time.thread_time()
        for _ in range(2_000):
            assert fits(text, nested)
        took.append((time.thread_time() - began) / 2_000)
    each = 1e6 * min(took) * 1024 / len(text)
    print(f"an answer of 1 KB           {each:.1f} us (target {MICROSECONDS:.0f})")
    return all(judged) and each <= MICROSECONDS


def _as_mapping(form: Any) -> Mapping[str, object]:
    assert isinstance(form, Mapping)
    return form


def hostile(count: int, seed: int) -> bool:
    """Print what the slowest and the largest of many hostile schemas take; returns whether as promised."""
    rng = random.Random(seed)
    slow: list[tuple[float, str]] = []
    large: list[tuple[float, str]] = []
    judge(crossed(random.Random(0)))  # what is imported once is no schema's time
    for number in range(count):
        family = FAMILIES[number % len(FAMILIES)]
        schema = family(rng)
        gc.collect()  # of what the generator made, not of what is measured
        gc.disable()
        began = time.thread_time()
        judge(schema)
        slow.append((1e3 * (time.thread_time() - began), family.__name__))
        gc.enable()
        tracemalloc.start()
        judge(schema)
        large.append((tracemalloc.get_traced_memory()[1] / 2**20, family.__name__))
        tracemalloc.stop()
    over = sum(each > MILLISECONDS for each, _ in slow), sum(each > MEGABYTES for each, _ in large)
    slow.sort()
    large.sort()
    usual = slow[count * 99 // 100][0]
    print(
        f"{count} hostile schemas       slowest {slow[-1][0]:.1f} ms ({slow[-1][1]}), 99 of 100 within {usual:.1f}; "
        f"{over[0]} above {MILLISECONDS:.0f} ms"
    )
    print(
        f"memory beside the schema    {large[-1][0]:.1f} MB at most ({large[-1][1]}); {over[1]} above {MEGABYTES:.0f} MB"
    )
    return not any(over)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hostile", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    results = ordinary(), hostile(given.hostile, given.seed)
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
