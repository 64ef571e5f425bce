"""The anthropic package, majors 0 (httpx) and from 1 on (httpx2 alone).

The clients for Bedrock and Vertex are not known here: their bodies are of other protocols, which nobody reads yet.
"""

from __future__ import annotations

from typing import Any

from promptguard.sdks.slots import Slot, is_kind
from promptguard.sdks.stainless import Twin, copied_twin

NAME = "anthropic"
_CLIENTS = frozenset(("Anthropic", "AsyncAnthropic"))
_SIGNING = "AnthropicAWS"
_RENEWING = ("credentials", "_azure_ad_token_provider")


def knows(client: object) -> bool:
    """Whether `client` is an Anthropic or AsyncAnthropic, or a subclass such as AnthropicFoundry."""
    return is_kind(client, _CLIENTS, "anthropic")


def can_route(client: object) -> bool:
    """Whether a call may go to another model: the name is in the body, which on AWS is signed."""
    return not _signs(client)


can_shadow = can_route


def slots(client: Any) -> tuple[Slot, ...]:
    """Return where its HTTP client lives."""
    return (Slot(client, "_client"),)


def twin(client: Any, http: Any, response_class: type) -> Twin | None:
    """Return an unguarded copy of `client` over `http` where it signs or renews credentials, else None.

    None, because a copy would run the application's `middleware=` and tracing for calls it never made.
    """
    if not _signs(client) and all(getattr(client, name, None) is None for name in _RENEWING):
        return None
    return copied_twin(client, http, response_class, renewing=_RENEWING)


def _signs(client: object) -> bool:
    return any(_SIGNING in base.__name__ for base in type(client).__mro__)
