"""The anthropic package, majors 0 (httpx) and from 1 on (httpx2 alone), and its clients for clouds.

Amazon's and Google's name the model in the URL (`wire.anthropic_clouds`) or speak Anthropic's own protocol. Amazon's
sign every request over URL and body, so the application's own calls are never changed; the other model is asked by a
copy of the client, which signs anew.
"""

from __future__ import annotations

from promptguard.core.http_types import HttpClient
from promptguard.sdks.slots import Slot, is_kind
from promptguard.sdks.stainless import SdkBackgroundClient, StainlessClient, copied_client

NAME = "anthropic"
_BEDROCK = frozenset(("AnthropicBedrock", "AsyncAnthropicBedrock"))
_CLIENTS = _BEDROCK | {
    "Anthropic", "AsyncAnthropic", "AnthropicVertex", "AsyncAnthropicVertex",
    "AnthropicBedrockMantle", "AsyncAnthropicBedrockMantle",
}  # fmt: skip
_RENEWING = ("credentials", "_azure_ad_token_provider", "_token_provider", "google_credentials")


def knows(client: object) -> bool:
    """Whether `client` is one of this package's, or a subclass such as AnthropicFoundry, AnthropicAWS."""
    return is_kind(client, _CLIENTS, "anthropic")


def can_route(client: object) -> bool:
    """Whether a call may go to another model: neither its URL nor its body is signed."""
    return not _signs(client)


def can_shadow(client: object) -> bool:  # noqa: ARG001 - the interface of families
    """Return True: what is signed is signed anew by a copy of the client."""
    return True


def slots(client: object) -> tuple[Slot, ...]:
    """Return where its HTTP client lives."""
    return (Slot(client, "_client"),)


def background_client(
    client: StainlessClient, http: HttpClient, response_class: type
) -> SdkBackgroundClient | None:
    """Return what asks through an unguarded copy of `client` over `http` where it signs or renews credentials, else None.

    None, because a copy would run the application's `middleware=` and tracing for calls it never made.
    """
    signs = _signs(client)
    if not signs and all(getattr(client, name, None) is None for name in _RENEWING):
        return None
    return copied_client(client, http, response_class, renewing=_RENEWING, signs=signs)


def _signs(client: object) -> bool:
    """Whether requests carry an AWS signature; every client for Amazon's services takes a plain token as well."""
    told = getattr(client, "_use_sigv4", None)
    if told is not None:
        return bool(told)
    return is_kind(client, _BEDROCK, "anthropic") and getattr(client, "api_key", None) is None
