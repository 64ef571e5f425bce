"""Cache keys: whatever could change the answer changes the key, and nothing else does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptguard.core.key import EXCLUDED_HEADERS, cache_key, principal, unambiguous
from promptguard.core.model import Request

SECRET = b"secret"
GOLDEN = Path(__file__).with_name("golden_keys.json")
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
BODIES = st.dictionaries(st.text(max_size=8), VALUES, min_size=1, max_size=5)
BASE = Request(
    "POST",
    "https://api.openai.com",
    "/v1/chat/completions",
    ((b"Authorization", b"Bearer k"), (b"X-A", b"b")),
    b"",
)


def key(request, body, tenant=""):
    return cache_key(request, body, secret=SECRET, tenant=tenant)


def canonical(value):
    return json.dumps(value, sort_keys=True)


@given(BODIES, st.data())
def test_any_change_of_the_body_changes_the_key(body, data):
    other = dict(body)
    name = data.draw(st.sampled_from(sorted(body)) | st.text(max_size=8))
    if name in other and data.draw(st.booleans()):
        del other[name]
    else:
        other[name] = data.draw(VALUES)
    assert (key(BASE, body) == key(BASE, other)) == (canonical(body) == canonical(other))


@given(BODIES, st.randoms())
def test_the_order_of_members_does_not(body, random):
    def shuffled(value):
        if isinstance(value, dict):
            names = list(value)
            random.shuffle(names)
            return {name: shuffled(value[name]) for name in names}
        return [shuffled(each) for each in value] if isinstance(value, list) else value

    assert key(BASE, shuffled(body)) == key(BASE, body)


def with_header(name, value):
    return replace(BASE, headers=(*BASE.headers, (name, value)))


CHANGED = [
    replace(BASE, method="PUT"),
    replace(BASE, origin="https://api.openai.com:8443"),
    replace(BASE, origin="http://api.openai.com"),
    replace(BASE, path="/v1/chat/completions?api-version=2"),
    replace(BASE, headers=((b"Authorization", b"Bearer other"), (b"X-A", b"b"))),
    replace(BASE, headers=((b"X-A", b"b"),)),
    replace(BASE, headers=((b"Authorization", b"Bearer k"), (b"X-A", b"c"))),
    *(
        with_header(n, b"v")
        for n in (
            b"OpenAI-Organization",
            b"OpenAI-Project",
            b"OpenAI-Beta",
            b"api-key",
            b"x-api-key",
            b"X-New",
        )
    ),
]


def test_method_origin_path_credential_and_unknown_headers_are_part_of_it():
    keys = {key(request, {"a": 1}) for request in [BASE, *CHANGED]}
    assert len(keys) == len(CHANGED) + 1
    assert key(BASE, {"a": 1}, tenant="t") not in keys


@pytest.mark.parametrize(
    "name",
    sorted(set(EXCLUDED_HEADERS) - {"authorization", "api-key", "x-api-key"}) + ["x-stainless-retry-count"],
)
def test_headers_about_the_connection_are_not(name):
    assert key(with_header(name.encode(), b"anything"), {"a": 1}) == key(BASE, {"a": 1})


@given(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1), st.binary(max_size=5))
def test_any_header_that_is_not_named_as_excluded_changes_the_key(name, value):
    if name.lower() not in EXCLUDED_HEADERS:
        assert key(with_header(name.encode(), value), {}) != key(BASE, {})


def test_the_credential_is_not_in_the_digest_in_the_clear():
    assert "k" * 40 not in principal(replace(BASE, headers=((b"Authorization", b"k" * 40),)), SECRET)
    assert principal(BASE, SECRET) != principal(BASE, b"another")


@pytest.mark.parametrize(
    ("body", "expected"), [(b'{"a":1,"a":2}', False), (b'{"a":[{"b":1,"b":1}]}', False), (b'{"a":1}', True)]
)
def test_repeated_members_are_ambiguous(body, expected):
    assert unambiguous(body) is expected


def test_keys_are_what_they_were():
    """A key that changes is a cold cache for everyone: change VERSION and this file together, on purpose."""
    for case in json.loads(GOLDEN.read_text()):
        headers = tuple((k.encode(), v.encode()) for k, v in case["headers"])
        request = Request(case["method"], case["origin"], case["path"], headers, b"")
        assert cache_key(request, case["body"], secret=b"golden", tenant=case["tenant"]) == case["key"]
