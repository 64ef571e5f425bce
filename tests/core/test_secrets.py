"""A credential is known by its name or by its value, wherever in a request it is; ordinary questions carry none."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptguard.core.model import Request
from promptguard.core.secrets import answer_carries_credential, carries_credential, held_by

KEY = "sk-live-0123456789"
SCHEMA = {
    "type": "object",
    "properties": {
        "token": {"type": "string", "description": "d"},
        "password": {"enum": ["a"]},
        "key": {"type": "string"},
    },
    "required": ["token"],
    "$defs": {"Secret": {"type": "object", "properties": {"api_key": {"type": "string"}}}},
}
CHAT = {
    "model": "gpt-4",
    "messages": [
        {"role": "user", "content": "What is an author's token limit? See the key points and keyboard."}
    ],
    "max_tokens": 5,
    "max_completion_tokens": 5,
    "stop": ["author"],
    "prompt_cache_key": "team-a",
    "logit_bias": {"50256": -100},
    "metadata": {"session_id": "s-1", "keyboard": "qwerty", "author": "me", "tokens": "12", "monkey": "yes"},
    "tools": [{"type": "function", "function": {"name": "pass_turn", "parameters": SCHEMA}}],
    "response_format": {"type": "json_schema", "json_schema": {"name": "login", "schema": SCHEMA}},
}


def request(body=CHAT, path="/v1/chat/completions", **headers):
    said = {"authorization": f"Bearer {KEY}", "content-type": "application/json", **headers}
    return Request(
        method="POST",
        origin="https://api.openai.com",
        path=path,
        headers=tuple((name.replace("_", "-").encode(), value.encode()) for name, value in said.items()),
        body=body if isinstance(body, bytes) else json.dumps(body).encode(),
    )


@pytest.mark.parametrize(
    "said",
    [
        "call it with Authorization: Bearer abcDEF0123456789abcDEF01",
        "DATABASE_URL=postgres://me:hunter2@db.internal/app",
        "my key is sk-proj-abcdefghij0123456789",
        "ghp_" + "a1B2" * 9,
        "AKIAABCDEFGHIJKLMNOP is the key",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE",
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\nxcLY",
        "ASIAABCDEFGHIJKLMNOP of a session",
        *(f"{issuer}{'a1B2c3D4e5' * 3}" for issuer in (
            "sk_live_", "rk_test_", "npm_", "r8_", "fw_", "xai-", "pplx-", "csk-", "glpat-", "pypi-", "nvapi-", "GOCSPX-",
            "ya29.", "hvs.", "SG.0123456789abcdef.", "xapp-",
        )),
        f"shpat_{'0a' * 16}", f"dop_v1_{'0a' * 32}",
        "REDIS_URL=redis://:hunter2@cache:6379/0",
        "it fails:\nDB_PASSWORD=correcthorse\n",
        "the password: hunter22",
        "secret: 0123456789abcdef0",
        "DB_PASSWORD=P4ss$word(1)", "DB_PASSWORD=Tr0ub4dor$3xyz", "DB_PASSWORD=x8K[ab2c3d4", "pwd='hunter22'",
        'config: {"password": "hunter22x"}', '{"a": 1}\n{"password": "hunter22x"}',
        "Authorization: Basic dXNlcjpodW50ZXIy", "authorization: basic dXNlcjpwYXNz",
        "AccountName=a;AccountKey=q1w2e3r4t5y6==;",
        "https://a.blob.core.windows.net/c/x.png?sv=2024-01-01&sig=q1w2e3r4t5y6u7i8%3D",
        "https://b.s3.amazonaws.com/x?X-Amz-Security-Token=FwoGZXIvYXdzEBYaD7Canary",
        "https://storage.googleapis.com/b/x.png?X-Goog-Signature=0123456789abcdef",
        '{"user": {"password": "hunter2hunter2"}}',
        '[{"access_token": "abc"}]',
        '{"arguments": "{\\"api_key\\": \\"abc\\"}"}',
    ],
)  # fmt: skip
def test_a_credential_of_a_known_form_is_one_wherever_it_stands(said):
    body = {**CHAT, "messages": [{"role": "user", "content": [{"type": "text", "text": said}]}]}
    found = carries_credential(request(body))
    assert found is not None
    assert found.startswith("body messages.0.content.0.text")
    tools = [{"type": "function", "function": {"name": "f", "description": said}}]
    assert "tools.0.function.description" in (carries_credential(request({**CHAT, "tools": tools})) or "")
    if said[0] not in "[{":  # a header holds no JSON
        assert carries_credential(request(x_note=said.replace("\n", " "))) == "header x-note"
    assert answer_carries_credential({"text": said, "logprobs": []})


@pytest.mark.parametrize(
    "said",
    [
        "the bearer of this letter is entitled to enter",
        "https://example.com:8080/a@b",
        "sk-short",
        "see http://user@example.com/",
        "a task-oriented desk-booking-assistant-for-offices",
        "eyJhbGciOiJIUzI1NiJ9 alone",
        "key: section 2.1, token: 17 of 20, auth: OAuth2.0, secret: ingredient1, pin: board2",
        "the password: required; a basic understanding of Basic arithmetic",
        'password = request.form["password1"] and api_key = os.environ["KEY_1"]',
        '{"title": "a JSON text", "author": "me", "tokens": 5, "max_tokens": "17"}',
        "sorted(items, key=lambda kv: kv[1])",
        "KeyError: 'customer_2'",
        "primary_key=customer_id, partition_key=user_id",
        "a.foreign_key = b.primary1",
        "pad_token=tokenizer.eos_token",
        '<add key="Timeout1" value="300000">',
        "https://example.com/?key=category1&auth_type=oauth2",
        "authority=example1.com",
        "key-findings: 2024-2025",
        "cookie-policy: 2024-01-01",
        "secretary: 555-0100",
        "signature=inspect.signature",
        "Basic configuration=true",
        "basic understanding/knowledge1",
        "secret_key=settings.SECRET_KEY",
        "API_KEY=your-api-key",
        "API_KEY=$OPENAI_API_KEY",
        "login(user=user, password=new_password)",
        "api_key=os.environ['OPENAI_KEY_1']",
        "password=<your-password-1>",
        '{"key":"PROJ-123","fields":{"summary":"x"}}',
        '[{"key":"color","value":"red"}]',
        '{"Key":"photos/cat1.jpg"}',
        '{"entities":[{"token":"Berlin"}],"sort_key":"name","signature":"present","authority":"BaFin"}',
        "[not JSON] {neither}",
        "see https://example.com/?page=2&sort=key&q=author",
    ],
)
def test_words_that_look_alike_are_none(said):
    assert carries_credential(request({**CHAT, "messages": [{"role": "user", "content": said}]})) is None


def test_an_answer_is_looked_at_by_what_it_says_not_by_its_fields():
    answer = {"text": "fine", "logprobs": [{"token": "fine"}], "tool_calls": [["login", '{"author": "me"}']]}
    assert not answer_carries_credential(answer)
    assert answer_carries_credential({**answer, "tool_calls": [["login", '{"password": "hunter"}']]})
    assert answer_carries_credential({**answer, "text": f"it is {KEY}, is it not?"}, held=[KEY])


@pytest.mark.parametrize(
    "piece",
    ["a:b", "a=b", "a:b1|", "QUJD=", "/a=b", "key:x ", "[", "ts=10:02|lvl=info|msg=ok_done|", "password=", "secret:a1",
     "eyJaaaaaaaa-", "SG.aaaaaaaaaaaaaaaaaaaa", "sig=a1b2(", "https://:", "Bearer a", '{"a":"{', "password='1"],
)  # fmt: skip
def test_a_long_text_is_looked_at_in_time(piece):
    said = piece * (200_000 // len(piece)) + "("  # what grows with the square takes half a minute
    before = time.process_time()
    carries_credential(request({**CHAT, "messages": [{"role": "user", "content": said}]}))
    assert time.process_time() - before < 5.0


@pytest.mark.parametrize(
    "name", ["apitoken", "usertoken", "appkey", "subscriptionkey", "accountkey", "masterkey", "passcode", "pswd", "psk",
             "pin", "connection_string", "sshkey"],
)  # fmt: skip
def test_less_usual_names(name):
    assert carries_credential(request({"a": {name: "CANARY"}})) == f"body a.{name}"


def test_an_ordinary_question_carries_none():
    assert carries_credential(request()) is None
    assert carries_credential(request(path="/openai/deployments/d/chat?api-version=2024-06-01")) is None
    assert (
        carries_credential(request(anthropic_version="2023-06-01", openai_project="p", idempotency_key=""))
        is None
    )
    assert carries_credential(request(b"not JSON at all")) is None
    assert carries_credential(request(b"")) is None


@pytest.mark.parametrize(
    "name",
    [
        *(
            "sig",
            "api_key",
            "apikey",
            "api-key",
            "key",
            "token",
            "access_token",
            "sas_token",
            "password",
            "pwd",
        ),
        *("code_secret", "X-Amz-Signature", "X-Amz-Credential", "X-Amz-Security-Token"),
    ],
)
def test_a_field_that_is_named_like_one(name):
    assert carries_credential(request(path=f"/v1/x?a=1&{name}=CANARY")) == f"query {name}"
    assert carries_credential(request({**CHAT, name: "CANARY"})) == f"body {name}"
    assert carries_credential(request({"a": [{"b": {name: ["CANARY"]}}]})) == f"body a.0.b.{name}.0"
    assert carries_credential(request({name: {"value": "CANARY"}})) == f"body {name}.value"


@pytest.mark.parametrize("name", ["apiKey", "accessToken", "clientSecret", "Authorization", "x-api-key", "privateKey",
                                  "session_token", "idToken", "Cookie"])  # fmt: skip
def test_names_are_spelt_in_every_way(name):
    assert carries_credential(request({"a": {name: "CANARY"}})) == f"body a.{name}"
    found = carries_credential(request(**{f"x_acme_{name}": "CANARY"}))
    assert found == f"header x-acme-{name}".lower().replace("_", "-")


def test_a_session_in_an_address_or_a_header_is_one():
    assert carries_credential(request(path="/v1?sessionid=5")) == "query sessionid"
    assert carries_credential(request(x_session="5")) == "header x-session"


def test_an_empty_or_a_numeric_value_is_no_credential():
    assert carries_credential(request({"api_key": "", "token": None, "secret": 5, "key": []})) is None
    assert carries_credential(request(path="/v1?key=")) is None


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"path": f"/v1/x?trace={KEY}"}, "query trace"),
        ({"path": "/v1/x?trace=%73k%2dlive%2D0123456789&b=1"}, "query trace"),
        ({"path": "/v1/x?a&b=1&%74race=" + KEY}, "query trace"),
        ({"path": f"/v1/{KEY}/x"}, "path"),
        ({"x_acme_id": KEY}, "header x-acme-id"),
        ({"x_acme_id": f"v1:{KEY}:end"}, "header x-acme-id"),
        ({"body": {"messages": [{"content": f"my key is {KEY}!"}]}}, "body messages.0.content"),
        ({"body": {"user": f"Bearer {KEY}"}}, "body user"),
        ({"body": {"a": {KEY: 1}}}, "body a"),
        ({"body": f"no JSON but {KEY}".encode()}, "body"),
    ],
)
def test_what_the_client_holds_is_known_by_value_under_any_name(changed, place):
    assert carries_credential(request(**changed)) == place


def test_more_may_be_held_than_the_request_says():
    body = {"user": "other-secret-1"}
    assert carries_credential(request(body)) is None
    assert carries_credential(request(body), held=["other-secret-1"]) == "body user"
    assert carries_credential(request(body), held=["", "user"]) is None  # neither a name nor nothing is one


def test_a_short_key_is_known_as_a_whole_value_alone():
    assert carries_credential(request({"a": "okay"}), held=["k"]) is None
    assert carries_credential(request({"a": "k"}), held=["k"]) == "body a"


def test_what_is_held_is_told_without_its_scheme():
    assert held_by(request(x_api_key="abc")) == {f"Bearer {KEY}", KEY, "abc"}


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    ),
    st.integers(min_value=0, max_value=3),
)
def test_wherever_it_is_it_is_found(body, depth):
    hidden = KEY
    for _ in range(depth):
        hidden = {"a": [hidden]}
    assert carries_credential(request({"rest": body, "z": hidden})) is not None


def test_deep_bodies_are_read_to_their_end():
    body = b'{"a":' * 500 + json.dumps(KEY).encode() + b"}" * 500
    assert carries_credential(request(body)) is not None
