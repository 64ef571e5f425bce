"""Who served, as bodies and headers say it, in every protocol."""

from __future__ import annotations

import json

import pytest

from promptguard.core.model import Identity
from tests.wire.test_protocols import NAMES, SERVED, read, said

HEADERS = {
    b"x-ms-served-model": ("model", "gpt-5-nano-2025-08-07"),
    b"X-MS-Region": ("region", "Sweden Central"),
    b"x-groq-region": ("region", "fra"),
    b"X-Amzn-Bedrock-Service-Tier": ("service_tier", "priority"),
    b"x-inference-provider": ("backend", "together"),
    b"x-litellm-model-id": ("backend", "deployment-7"),
}
NOT_WHO = (
    b"openai-version",
    b"x-ms-deployment-name",
    b"anthropic-organization-id",
    b"azureml-model-session",
    b"x-request-id",
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("header", HEADERS)
def test_headers_fill_in_what_the_body_leaves_out(name, streamed, header):
    body = said(name, SERVED["text"], streamed=streamed)
    attribute, value = HEADERS[header]
    bare = read(name, body, streamed=streamed)
    got = read(name, body, streamed=streamed, headers=((header, value.encode()),))
    silent = getattr(bare.identity, attribute) is None
    # Azure's responses name the deployment in the body, so the model's header alone goes before it.
    assert getattr(got.identity, attribute) == (
        value if silent or attribute == "model" else getattr(bare.identity, attribute)
    )
    assert (got.text, got.complete, got.response_id) == (bare.text, bare.complete, bare.response_id)


@pytest.mark.parametrize("header", NOT_WHO)
def test_headers_that_tell_of_something_else_are_left_alone(header):
    body = said("openai_chat", SERVED["text"], streamed=False)
    assert read("openai_chat", body, streamed=False, headers=((header, b"v"),)) == read(
        "openai_chat", body, streamed=False
    )


def test_an_answer_that_is_none_has_no_identity():
    for body, status in ((b"garbage", 200), (b"{}", 500)):
        got = read("openai_chat", body, streamed=False, status=status, headers=((b"x-ms-region", b"v"),))
        assert got.identity == Identity()


@pytest.mark.parametrize("streamed", [False, True])
def test_a_router_names_its_provider_in_the_body(streamed):
    body = said("openai_chat", SERVED["text"], streamed=streamed).replace(
        b'{"id"', b'{"provider": "DeepInfra", "id"'
    )
    assert read("openai_chat", body, streamed=streamed).identity.backend == "DeepInfra"


@pytest.mark.parametrize("value", [None, 3, [], {}])
def test_what_is_no_name_is_not_reported(value):
    answer = json.loads(said("openai_chat", SERVED["text"], streamed=False))
    answer.update(model=value, system_fingerprint=value, service_tier=value, provider=value)
    assert read("openai_chat", json.dumps(answer).encode(), streamed=False).identity == Identity()
