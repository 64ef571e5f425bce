"""JSON against the request's own schema, tool calls, labels by code, and text that was made to hurt."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptguard.drift import Answer, LabelFunction, LabelRule, PairMonitor, vectorise
from promptguard.drift.features import measure as f
from promptguard.drift.features.catalogue import INDEX
from promptguard.drift.features.schema import MOST_NODES, asked_schema, fits, is_judged

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": "in full"},
        "age": {"type": ["integer", "null"]},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}},
    },
    "required": ["name"],
    "additionalProperties": False,
}
ASKED = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": PERSON}}


def value(text, name, response_format=ASKED):
    vector = vectorise(Answer(text), Answer("other"), response_format=response_format)
    return vector.control[INDEX[name]] / 65535


@pytest.mark.parametrize(
    ("text", "fit"),
    [
        ('{"name": "Ada", "age": 36, "tags": ["a"]}', 1),
        ('  {"name": "Ada", "age": null}\n', 1),
        ('{"name": "Ada", "age": 36.0}', 1),
        ('{"name": "Ada", "age": 36.5}', 0),
        ('{"name": "Ada", "age": true}', 0),
        ('{"age": 36}', 0),
        ('{"name": "Ada", "size": 3}', 0),
        ('{"name": "Ada", "tags": ["c"]}', 0),
        ('["Ada"]', 0),
        ('{"name": "Ada"', 0),
        ('```json\n{"name": "Ada"}\n```', 0),
        ('{"name": "Ada", "age": NaN}', 0),
        ('{"name": "Ada", "age": ' + "9" * 5000 + "}", 1),
    ],
)
def test_json_is_held_against_the_requests_own_schema(text, fit):
    assert value(text, "json_as_asked") == fit


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "unevaluatedProperties": False},
        {"anyOf": []},
        {"$ref": "#"},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"$ref": "#/$defs/a"}}},
        {"pattern": "(?=a)b"},
        {"pattern": "(a{1,1000}){1,1000}"},
        {"minLength": "x"},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}},
        {"type": "text"},
        {"properties": []},
        {"additionalProperties": "no"},
        {"type": "array", "items": [{}]},
        "object",
        {"enum": ["a"] * (MOST_NODES + 1)},
    ],
)
def test_a_schema_that_is_not_wholly_understood_is_not_judged(schema):
    asked = {"type": "json_schema", "json_schema": {"schema": schema}}
    assert asked_schema(asked) is None
    assert value("{}", "json_as_asked", asked) == 0


def test_other_response_formats():
    assert value("[]", "json_as_asked", {"type": "json_object"}) == 0
    assert value("{}", "json_as_asked", {"type": "json_object"}) == 1
    assert value("{}", "json_as_asked", {"type": "json_schema", "schema": {"type": "object"}}) == 1
    for asked in ({"type": "text"}, {}, {"type": "json_schema"}, {"type": 3, "json_schema": []}, None):
        assert value("{}", "json_as_asked", asked) == 0
    with pytest.raises(ValueError, match="response_format"):
        vectorise(Answer("a"), Answer("b"), response_format="json")


def test_schema_bounds_are_on_nodes_and_depth():
    deep: dict = {"type": "string"}
    for _ in range(60):
        deep = {"type": "array", "items": deep}
    assert not is_judged(deep)
    wide = {"properties": {str(number): {"type": "string"} for number in range(MOST_NODES)}}
    assert not is_judged(wide)
    assert not fits(json.dumps([1] * (MOST_NODES + 1)), {"items": {"type": "integer"}})
    looped: dict = {"type": "array"}
    looped["items"] = looped
    assert not is_judged(looped)


leaves = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from(["", "a", "b"]), st.floats(-2, 2)
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("xyz"), inner, max_size=3)
    ),
    max_leaves=6,
)
kinds = st.sampled_from(["object", "array", "string", "number", "integer", "boolean", "null"])
schemas = st.recursive(
    st.one_of(
        st.fixed_dictionaries(
            {"type": st.one_of(kinds, st.lists(kinds, min_size=1, max_size=2, unique=True))}
        ),
        st.fixed_dictionaries({"enum": st.lists(leaves, min_size=1, max_size=3)}),
        st.booleans(),
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": kinds,
            "properties": st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
            "required": st.lists(st.sampled_from("xyz"), max_size=2, unique=True),
            "additionalProperties": st.booleans(),
            "items": inner,
            "title": st.just("a note"),
        },
    ),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(values, schemas)
def test_where_it_judges_it_judges_as_jsonschema_does(found, schema):
    assert is_judged(schema)
    text = json.dumps(found)
    expected = jsonschema.Draft202012Validator(schema).is_valid(json.loads(text))
    assert fits(text, schema) == expected


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.floats()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=12), inner, max_size=3)
    ),
    max_leaves=8,
)
keywords = st.sampled_from(
    ["type", "properties", "required", "items", "enum", "const", "additionalProperties"]
)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40), st.dictionaries(keywords, anything, max_size=4))
def test_no_schema_raises(text, schema):
    asked = {"type": "json_schema", "json_schema": {"schema": schema}}
    vectorise(Answer(text), Answer('{"a": [1, {"b": null}]}'), response_format=asked)


def test_every_phrase_of_refusal_passes_the_quick_look():
    for phrase in f._REFUSALS:
        assert f._holds(phrase, f._REFUSING), phrase
    for phrase in f._AS_AN_AI:
        assert f._holds(phrase, f._SELF_NAMING), phrase


# -- labels by code


def last_word(text):
    return text.split()[-1]


def test_labels_by_code_are_labels():
    monitor = PairMonitor(labels=LabelFunction("last word", "1", last_word))
    for number in range(60):
        monitor.update(Answer(f"{number} is surely yes"), Answer(f"{number} is surely no"), reference="yes")
    verdict = monitor.explain()
    told = [change.feature for change in verdict.changes]
    assert told[0] == "right:reverse"
    assert {"label:no", "label:yes"} & {*told}
    assert (verdict.ability.control.accuracy.value, verdict.ability.candidate.accuracy.value) == (1.0, 0.0)


def test_code_that_raises_or_answers_nonsense_gives_no_label_and_is_counted():
    rule = LabelFunction("last word", "1", last_word)
    vector = vectorise(Answer(""), Answer("so it is"), labels=rule)
    assert (vector.labels, rule.failures) == ((None, "is"), 1)
    nonsense = LabelFunction("nonsense", "1", lambda text: 3)
    assert vectorise(Answer("a"), Answer("b"), labels=nonsense).labels == (None, None)
    assert nonsense.failures == 2
    with pytest.raises(ValueError, match="function"):
        LabelFunction("a", "1", "b")


def test_state_made_with_code_wants_the_same_code_again():
    rule = LabelFunction("last word", "1", last_word)
    monitor = PairMonitor(labels=rule)
    monitor.update(Answer("a yes"), Answer("a no"))
    state = json.loads(json.dumps(monitor.state_dict()))
    assert PairMonitor.from_state(state, labels=rule).state_dict() == monitor.state_dict()
    for other in (None, LabelFunction("last word", "2", last_word), LabelRule("last word", "1", {"a": "a"})):
        with pytest.raises(ValueError, match="labels"):
            PairMonitor.from_state(state, labels=other)


# -- hostile text, in a process of its own: a hang is a failure, not a slow test

HOSTILE = """
import sys
from promptguard.drift import Answer, LabelRule, PairMonitor
name = sys.argv[1]
text = {
    "one character": lambda: "a" * 10_000_000,
    "spaces": lambda: " " * 10_000_000,
    "lines": lambda: "\\n" * 10_000_000,
    "open brackets": lambda: "[" * 100_000,
    "nested": lambda: "[" * 100_000 + "]" * 100_000,
    "nested, short enough to be parsed": lambda: "[" * 16_000 + "]" * 16_000,
    "open objects": lambda: '{"a":' * 100_000,
    "digits": lambda: "[" + "9" * 30_000 + "]",
    "regex": lambda: "a" * 1_000_000 + "!",
    "fences": lambda: "```" * 1_000_000,
    "list marks": lambda: "\\n- " * 1_000_000,
    "surrogates": lambda: "\\0\\ud800" * 1_000_000,
}[name]()
rule = LabelRule("hostile", "1", {"x": "(a*)*b", "y": "(a|aa)+$", "z": "(.*a){25}c"})
monitor = PairMonitor(labels=rule)
for _ in range(3):
    monitor.update(
        Answer(text, tool_calls=[{"name": text, "arguments": text}], finish_reason=text, refusal=text),
        Answer(text + "x"),
        reference=text,
        response_format={"type": "json_schema", "json_schema": {"schema": {"items": {"type": "array"}}}},
    )
monitor.explain()
print("done")
"""
NAMES = [line.split('"')[1] for line in HOSTILE.splitlines() if ": lambda:" in line]


@pytest.mark.parametrize("name", NAMES)
def test_hostile_text_ends_within_a_generous_time(name):
    source = str(Path(__file__).parents[2] / "src")
    code = f"import sys; sys.path.insert(0, {source!r})\n{HOSTILE}"
    run = subprocess.run(
        [sys.executable, "-c", code, name], capture_output=True, text=True, timeout=30, check=False
    )
    assert run.stdout.strip() == "done", run.stderr[-400:]
