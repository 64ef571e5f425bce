"""Cache keys: whatever could change the answer changes the key, and nothing else does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptguard.core.key import (
    EXCLUDED_HEADERS,
    cache_key,
    is_signed,
    meaningful_headers,
    principal,
    question_digest,
    renews,
)
from promptguard.core.model import Facts, Request
from promptguard.core.options import Cache
from promptguard.core.policy import NEEDS_TENANT, Settings, cache_bypass

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

FACTS = Facts("p", "openai", "chat", "gpt-4", (), {}, streamed=False)


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

NEW_FOR_EVERY_CALL = {
    "b3", "baggage", "idempotency-key", "sentry-trace", "traceparent", "tracestate", "x-amz-date", "x-amzn-trace-id",
    "x-b3-spanid", "x-client-request-id", "x-cloud-trace-context", "x-datadog-trace-id", "x-request-id",
    "x-stainless-retry-count", "amz-sdk-invocation-id", "amz-sdk-request", "x-amz-content-sha256",
}  # fmt: skip
IN_THE_KEY_OTHERWISE = {"authorization", "api-key", "x-api-key", "x-goog-api-key", "cookie", "host"}


def test_21_method_origin_path_credential_and_unknown_headers_are_part_of_it():
    keys = {key(request, {"a": 1}) for request in [BASE, *CHANGED]}
    assert len(keys) == len(CHANGED) + 1
    assert key(BASE, {"a": 1}, tenant="t") not in keys


@pytest.mark.parametrize(
    "name",
    sorted(NEW_FOR_EVERY_CALL | set(EXCLUDED_HEADERS) - IN_THE_KEY_OTHERWISE),
)
def test_21_headers_about_the_connection_are_not(name):
    assert key(with_header(name.encode(), b"anything"), {"a": 1}) == key(BASE, {"a": 1})


@given(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1), st.binary(max_size=5))
def test_any_header_that_is_not_named_as_excluded_changes_the_key(name, value):
    if name.lower() not in EXCLUDED_HEADERS:
        assert key(with_header(name.encode(), value), {}) != key(BASE, {})


def test_the_credential_is_not_in_the_digest_in_the_clear():
    assert "k" * 40 not in principal(replace(BASE, headers=((b"Authorization", b"k" * 40),)), SECRET)
    assert principal(BASE, SECRET) != principal(BASE, b"another")


def test_keys_are_what_they_were():
    """A key that changes is a cold cache: change VERSION and this file together, on purpose.

    Without VERSION only where a question takes the key of an equal one, as 0.0 took that of 0: no two can be mixed up.
    """
    for case in json.loads(GOLDEN.read_text()):
        headers = tuple((k.encode(), v.encode()) for k, v in case["headers"])
        request = Request(case["method"], case["origin"], case["path"], headers, b"")
        assert cache_key(request, case["body"], secret=b"golden", tenant=case["tenant"]) == case["key"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"temperature": 0}, {"temperature": 0.0}),
        ({"temperature": 0}, {"temperature": -0.0}),
        ({"temperature": 1, "top_p": 1}, {"temperature": 1.0, "top_p": 1.0}),
        ({"max_tokens": 100}, {"max_tokens": 1e2}),
        (
            {"generationConfig": {"temperature": 0, "topK": 40}},
            {"generationConfig": {"temperature": 0.0, "topK": 40.0}},
        ),
        ({"inferenceConfig": {"temperature": 2}}, {"inferenceConfig": {"temperature": 2.0}}),
        ({"options": {"num_ctx": 4096}}, {"options": {"num_ctx": 4096.0}}),
        ({"logit_bias": {"50256": -100}}, {"logit_bias": {"50256": -100.0}}),
    ],
)
def test_one_number_is_one_key_however_it_is_said(one, other):
    assert key(BASE, one) == key(BASE, other)
    assert question_digest(BASE, one, SECRET) == question_digest(BASE, other, SECRET)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"temperature": 0}, {"temperature": "0"}),
        ({"temperature": 0}, {"temperature": False}),
        ({"temperature": 1}, {"temperature": True}),
        ({"temperature": 0.1}, {"temperature": 0.2}),
        ({"seed": 2**53}, {"seed": 2**53 + 1}),
        ({"tools": [{"parameters": {"enum": [1]}}]}, {"tools": [{"parameters": {"enum": [1.0]}}]}),
        ({"response_format": {"schema": {"const": 1}}}, {"response_format": {"schema": {"const": 1.0}}}),
        (
            {"generationConfig": {"responseSchema": {"enum": [1]}}},
            {"generationConfig": {"responseSchema": {"enum": [1.0]}}},
        ),
        ({"messages": [{"content": 1}]}, {"messages": [{"content": 1.0}]}),
        ({"messages": [{"input": {"a": 1}}]}, {"messages": [{"input": {"a": 1.0}}]}),
        ({"stop": ["1"]}, {"stop": ["1.0"]}),
    ],
)
def test_what_a_model_may_tell_apart_stays_apart(one, other):
    assert key(BASE, one) != key(BASE, other)


JWT = b"Bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"


def signed(key_id, signature=b"aa", when=b"20261123T000000Z", region=b"eu-1"):
    scope = b"%s/%s/%s/bedrock/aws4_request" % (key_id, when[:8], region)
    value = b"AWS4-HMAC-SHA256 Credential=%s, SignedHeaders=host, Signature=%s" % (scope, signature)
    headers = ((b"Authorization", value), (b"X-Amz-Date", when))
    return replace(BASE, headers=headers)


def test_of_an_aws_signature_the_access_key_and_the_region_count():
    first = key(signed(b"AKIA1"), {"a": 1})
    assert key(signed(b"AKIA1", b"bb", b"20261124T000000Z"), {"a": 1}) == first
    assert key(signed(b"AKIA2"), {"a": 1}) != first
    assert key(signed(b"AKIA1", region=b"us-1"), {"a": 1}) != first, "behind one URL of a gateway's"
    assert is_signed(signed(b"AKIA1"))
    assert not is_signed(BASE)


@pytest.mark.parametrize("token", [JWT, b"Bearer ya29.a0Af", b"Bearer sk-ant-oat01-x"])
def test_a_token_that_is_renewed_gives_way_to_the_tenant(token):
    request = replace(BASE, headers=((b"Authorization", token),))
    renewed = replace(BASE, headers=((b"Authorization", token + b"x"),))
    assert renews(request)
    assert key(request, {}) != key(renewed, {})
    assert key(request, {}, tenant="t") == key(renewed, {}, tenant="t")
    assert key(request, {}, tenant="t") != key(request, {}, tenant="u")


def test_an_api_key_is_part_of_the_key_beside_the_tenant():
    other = replace(BASE, headers=((b"Authorization", b"Bearer other"), (b"X-A", b"b")))
    assert not renews(BASE)
    assert key(BASE, {}, tenant="t") != key(other, {}, tenant="t")
    given = {
        "secret": SECRET,
        "tenant": "t",
        "renewed": True,
    }  # the client says that it renews its credential
    assert cache_key(BASE, {}, **given) == cache_key(other, {}, **given)


def test_session_credentials_of_aws_are_renewed_but_tell_principals_apart():
    session = replace(
        signed(b"ASIA1"), headers=(*signed(b"ASIA1").headers, (b"X-Amz-Security-Token", b"long"))
    )
    settings = Settings(cache=Cache())
    assert renews(session)
    assert cache_bypass(session, FACTS, settings) is None
    assert cache_bypass(replace(BASE, headers=((b"Authorization", JWT),)), FACTS, settings) == NEEDS_TENANT
    assert cache_bypass(BASE, FACTS, Settings(cache=Cache(), renewing=True)) == NEEDS_TENANT
    assert cache_bypass(BASE, FACTS, Settings(cache=Cache(tenant="t"), renewing=True)) is None


def test_cookies_of_a_login_are_part_of_the_principal_and_those_of_a_balancer_are_not():
    plain = key(BASE, {})
    assert key(with_header(b"Cookie", b"__cf_bm=1; AWSALB=2"), {}) == plain
    assert key(with_header(b"Cookie", b"session=1"), {}) != plain
    assert key(with_header(b"Cookie", b"session=1; b=2"), {}) == key(
        with_header(b"Cookie", b"b=2; __cf_bm=9; session=1"), {}
    )


def test_a_host_header_that_differs_from_the_origin_is_part_of_it():
    assert key(with_header(b"Host", b"api.openai.com"), {}) == key(BASE, {})
    assert key(with_header(b"Host", b"other.example"), {}) != key(BASE, {})


def test_no_credential_is_in_the_key_in_the_clear():
    for name in (b"Authorization", b"api-key", b"x-api-key", b"x-goog-api-key", b"Cookie"):
        assert not [pair for pair in meaningful_headers(with_header(name, b"s3cret")) if "s3cret" in pair[1]]


def test_numbers_beyond_json_have_no_key():
    with pytest.raises(ValueError, match="JSON"):
        key(BASE, {"temperature": float("inf")})
