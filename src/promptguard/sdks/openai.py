"""The openai package, majors 2 (httpx) and 3 (httpx2), and clients that subclass its own."""

from __future__ import annotations

from promptguard.core.http_types import HttpClient
from promptguard.sdks.slots import Slot, is_kind
from promptguard.sdks.stainless import SdkBackgroundClient, StainlessClient, copied_client

NAME = "openai"
_CLIENTS = frozenset(("OpenAI", "AsyncOpenAI"))
_RENEWING = ("_api_key_provider", "_azure_ad_token_provider", "_workload_identity_auth")


def knows(client: object) -> bool:
    """Whether `client` is an OpenAI or AsyncOpenAI, or a subclass such as AzureOpenAI."""
    return is_kind(client, _CLIENTS, "openai")


def can_route(client: object) -> bool:  # noqa: ARG001 - the interface of families
    """Return True: the model is named in an unsigned body, and on Azure in an unsigned URL as well."""
    return True


can_shadow = can_route


def slots(client: object) -> tuple[Slot, ...]:
    """Return where its HTTP client lives."""
    return (Slot(client, "_client"),)


def background_client(client: StainlessClient, http: HttpClient, response_class: type) -> SdkBackgroundClient:
    """Return what asks through an unguarded copy of `client` over `http`, an HTTP client of the same family.

    The SDK's own copy, not a bare HTTP client, because it renews credentials that run out.
    """
    return copied_client(client, http, response_class, renewing=_RENEWING)
