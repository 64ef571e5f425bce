"""What is written of httpx and httpx2 is there, in both of them."""

from __future__ import annotations

from types import ModuleType

import httpx
import httpx2
import pytest

from promptguard.core import http_types

FAMILIES = pytest.mark.parametrize("family", [httpx, httpx2], ids=lambda family: family.__name__)


def missing(thing: object, *protocols: type) -> set[str]:
    """Return the members of `protocols` that `thing` has not."""
    named = {
        name
        for protocol in protocols
        for base in protocol.__mro__
        if base.__module__ == http_types.__name__
        for name in (*vars(base), *vars(base).get("__annotations__", {}))
    }
    ours = {name for name in named if name in MEANINGFUL or not name.startswith("_")}
    return {name for name in ours if not hasattr(thing, name)}


MEANINGFUL = {"_transport", "_mounts", "__setitem__", "__iter__", "__aiter__"}


def test_what_is_missing_is_seen() -> None:
    """The comparison itself can fail."""
    assert missing(object(), http_types.AsyncClient) >= {"_transport", "headers", "send", "aclose"}


@FAMILIES
def test_clients(family: ModuleType) -> None:
    """Both kinds of clients have what is used of them."""
    with family.Client() as blocking:
        assert missing(blocking, http_types.BlockingClient) == {"aclose"}
    assert missing(family.AsyncClient(), http_types.AsyncClient) == {"close"}


@FAMILIES
def test_transports(family: ModuleType) -> None:
    """A transport has the methods of its kind."""
    blocking, looping = {"handle_request", "close"}, {"handle_async_request", "aclose"}
    assert missing(family.HTTPTransport(), http_types.Transport) == looping
    assert missing(family.AsyncHTTPTransport(), http_types.Transport) == blocking


@FAMILIES
def test_requests_and_responses(family: ModuleType) -> None:
    """So have requests, their addresses and headers, and responses with their streams."""
    request = family.Request("POST", "https://host:1/path?query", content=b"{}")
    response = family.Response(200, request=request, content=b"{}")
    assert not missing(request, http_types.HttpRequest)
    assert not missing(request.url, http_types.Url)
    assert not missing(request.headers, http_types.HttpHeaders)
    assert not missing(response, http_types.HttpResponse)
    assert not missing(response.stream, http_types.ByteStream)
