"""The HTTP client of background calls: the application's own settings, its own small pool, and a bounded answer.

A second model that drips, hangs or sends gigabytes may cost a background thread its time, and nothing else.
"""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import Any

from promptguard.http.family import family_of, is_async
from promptguard.http.transport import original_of

MAX_ANSWER = 8 * 1024 * 1024
"""Bytes on the wire and after decoding; compressed answers are not asked for."""
MAX_SECONDS = 600.0
"""One answer in all, whatever trickles in; the SDKs' own default for a read."""
POOL = 4


def background_client(client: Any) -> Any:
    """Return an unguarded client of the same family with `client`'s proxies and TLS settings and a pool of its own.

    A transport of the application's own making (a mock, mutual TLS, a socket) is shared, as it cannot be built again.
    """
    original = original_of(client) or client
    family = family_of(original)
    assert family is not None  # noqa: S101 - wrap() has checked
    cls = family.AsyncClient if is_async(original) else family.Client
    mounts = {
        pattern.pattern: None if inner is None else _bounded(family, inner, owned=False)
        for pattern, inner in original._mounts.items()
    }
    transport = _own_pool(family, original._transport)
    bounded = _bounded(family, transport, owned=transport is not original._transport)
    made = cls(transport=bounded, mounts=mounts, trust_env=False)
    made.headers = {**dict(original.headers), "accept-encoding": "identity"}
    made.cookies = original.cookies
    made.auth = original.auth
    made.follow_redirects = original.follow_redirects
    return made


def _own_pool(family: ModuleType, transport: Any) -> Any:
    """Return a transport like a stock one with its own pool; anything else is returned as it is."""
    if type(transport) not in {family.HTTPTransport, family.AsyncHTTPTransport}:
        return transport
    pool = getattr(transport, "_pool", None)
    context = getattr(pool, "_ssl_context", None)
    if context is None:
        return transport
    limits = family.Limits(max_connections=POOL, max_keepalive_connections=POOL)
    return type(transport)(verify=context, limits=limits, http2=getattr(pool, "_http2", False))


def _bounded(family: ModuleType, inner: Any, *, owned: bool) -> Any:
    """Wrap `inner`; what the application shares with us (not `owned`) is never closed by us."""
    return _bounded_class(family)(inner, owned)


@functools.cache
def _bounded_class(family: ModuleType) -> Any:
    class BoundedStream(family.SyncByteStream, family.AsyncByteStream):  # type: ignore[name-defined,misc]
        """Passes an answer on until it is too long or too slow."""

        def __init__(self, inner: Any, request: Any) -> None:
            self._inner = inner
            self._request = request
            self._size = 0
            self._until = time.monotonic() + MAX_SECONDS

        def _admit(self, chunk: bytes) -> bytes:
            self._size += len(chunk)
            if self._size > MAX_ANSWER:
                raise family.ReadError(
                    "the answer is longer than a background call accepts", request=self._request
                )
            if time.monotonic() > self._until:
                raise family.ReadTimeout(
                    "the answer took longer than a background call waits", request=self._request
                )
            return chunk

        def __iter__(self) -> Iterator[bytes]:
            for chunk in self._inner:
                yield self._admit(chunk)

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for chunk in self._inner:
                yield self._admit(chunk)

        def close(self) -> None:
            self._inner.close()

        async def aclose(self) -> None:
            await self._inner.aclose()

    class BoundedTransport(family.BaseTransport, family.AsyncBaseTransport):  # type: ignore[name-defined,misc]
        def __init__(self, inner: Any, owned: bool) -> None:
            self._inner = inner
            self._owned = owned

        def handle_request(self, request: Any) -> Any:
            response = self._inner.handle_request(request)
            if _is_encoded(response):
                response.close()
                raise family.DecodingError(
                    "the server encoded an answer that was asked for plain", request=request
                )
            response.stream = BoundedStream(response.stream, request)
            return response

        async def handle_async_request(self, request: Any) -> Any:
            response = await self._inner.handle_async_request(request)
            if _is_encoded(response):
                await response.aclose()
                raise family.DecodingError(
                    "the server encoded an answer that was asked for plain", request=request
                )
            response.stream = BoundedStream(response.stream, request)
            return response

        def close(self) -> None:
            if self._owned:
                self._inner.close()

        async def aclose(self) -> None:
            if self._owned:
                await self._inner.aclose()

    return BoundedTransport


def _is_encoded(response: Any) -> bool:
    """Whether decoding could blow an answer up: 194 KB of gzip became 200 MB in memory when measured."""
    return response.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}
