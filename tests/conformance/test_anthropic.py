"""anthropic's peculiarities: credentials that the client renews, and its clients for clouds, which sign or do not."""

from __future__ import annotations

import anthropic
import pytest

import promptguard
from promptguard.sdks import anthropic as family
from promptguard.sdks.stainless import SdkBackgroundClient

pytestmark = pytest.mark.conformance
TURN = [{"role": "user", "content": "hi"}]
SHADOW = promptguard.Shadow(model="other", sample=1.0, repeat=0.0)
RENEWS = hasattr(anthropic, "AccessToken")


def test_a_client_that_renews_its_credentials_asks_again_by_itself(provider, guarded):
    class Renewed(anthropic.Anthropic):
        credentials = "whatever renews"

    client = Renewed(base_url=provider.origin, api_key="k") if not RENEWS else _renewing(provider)
    assert isinstance(family.background_client(client, client._client, dict), SdkBackgroundClient)
    promptguard.wrap(client, ledger=guarded, shadow=SHADOW)
    client.messages.create(model="m", messages=TURN, max_tokens=9)
    assert promptguard.flush(10.0)
    asked, again = (next(r for r in provider.received if r.model == name) for name in ("m", "other"))
    for name in ("authorization", "x-api-key", "anthropic-version"):
        assert again.headers.get(name) == asked.headers.get(name)
    client.close()


def _renewing(provider):
    return anthropic.Anthropic(
        base_url=provider.origin,
        credentials=lambda **_: anthropic.AccessToken(token="renewed", expires_at=None),
    )


def test_a_client_with_a_key_asks_again_over_http_alone(provider):
    client = anthropic.Anthropic(base_url=provider.origin, api_key="k")
    assert family.background_client(client, client._client, dict) is None
    client.close()
