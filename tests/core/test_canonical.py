from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptguard.core.canonical import canonical_json, digest

TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates included
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
JSON = st.recursive(SCALARS, lambda c: st.lists(c) | st.dictionaries(TEXT, c), max_leaves=20)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"b": 1, "a": [True, None, "é\n"]}, '{"a":[true,null,"é\\n"],"b":1}'.encode()),
        ([1, 1.0, 0.0, -0.0, 1e22, 10**30], b"[1,1.0,0.0,-0.0,1e+22,1000000000000000000000000000000]"),
        ("\ud800", b'"\xed\xa0\x80"'),
        ("😀/\u2028\x7f\x00", '"😀/\u2028\x7f\\u0000"'.encode()),
        ((1, 2), b"[1,2]"),
    ],
)
def test_the_form_is_as_written(value, expected):
    assert canonical_json(value) == expected


def test_golden_digests():
    # These never change without a new canonical.VERSION: they are in caches, ledgers and lock files.
    messages = [{"role": "user", "content": "Grüße"}]
    assert (
        digest("messages", messages)
        == "sha256:0c61ad72b8ce3e316f12910304a472b26ab846f13ac7b684773679d97774ac16"
    )
    assert digest("prompt", messages) != digest("messages", messages)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [-float("inf")]])
def test_numbers_that_are_no_json_are_refused(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(value)


@pytest.mark.parametrize("value", [b"x", {1, 2}, object()])
def test_other_types_are_refused(value):
    with pytest.raises(TypeError):
        canonical_json(value)


@given(JSON)
def test_the_order_of_keys_and_a_round_trip_do_not_matter(value):
    def turned(each):
        if isinstance(each, dict):
            return {key: turned(each[key]) for key in reversed(each)}
        return [turned(part) for part in each] if isinstance(each, list) else each

    assert canonical_json(turned(value)) == canonical_json(value)
    text = canonical_json(value).decode("utf-8", "surrogatepass")
    assert canonical_json(json.loads(text)) == canonical_json(value)


@given(JSON, JSON)
def test_different_values_have_different_bytes(first, second):
    if json.dumps(first, sort_keys=True) != json.dumps(second, sort_keys=True):
        assert canonical_json(first) != canonical_json(second)
