"""HTTP clients that belong to background work: built from the settings of the application's, or given by a factory.

Nothing is shared with the application: no pool, transport, mount, limiter, cookie jar, hook or loop. Answers are bounded
in length and time: a second model that drips, hangs or sends gigabytes may cost a background thread its time, and
nothing else.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import NoReturn

from promptguard.core.background_call import MAX_ANSWER_BYTES, NoBackgroundClientError
from promptguard.core.http_types import ByteStream, HttpClient, HttpRequest, HttpResponse, Transport
from promptguard.http.family import family_of, is_async
from promptguard.http.transport import original_of
from promptguard.http.transport_settings import (
    CONNECTIONS,
    TransportSettings,
    UnknownTransport,
    transport_settings,
)
from promptguard.runtime.spare_threads import seconds_left

_STOCK_AUTH = frozenset(("BasicAuth", "NetRCAuth", "FunctionAuth"))
"""Kinds of httpx's authentication that keep nothing between calls, so that one object serves two clients."""


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What an httpx or httpx2 client was made with, read once; `build` makes another."""

    family: ModuleType
    is_async: bool
    headers: tuple[tuple[bytes, bytes], ...]
    cookies: object
    """a copy"""
    auth: object
    follow_redirects: bool
    max_redirects: int
    transport: TransportSettings | UnknownTransport
    mounts: Mapping[str, TransportSettings | UnknownTransport | None]
    """by the pattern of the addresses that go there; None: through `transport`"""
    obstacles: tuple[str, ...]
    """what of it cannot be built again, and why; calls that would need it are not made"""

    @property
    def usable(self) -> bool:
        """Whether any call can be made with what can be built."""
        return any(isinstance(each, TransportSettings) for each in (self.transport, *self.mounts.values()))

    def build(self) -> HttpClient:
        """Return a client of the same family for background calls, and for nobody else."""
        cls = self.family.AsyncClient if self.is_async else self.family.Client
        made: HttpClient = cls(
            transport=self._route(self.transport),
            mounts={
                pattern: None if each is None else self._route(each) for pattern, each in self.mounts.items()
            },
            trust_env=False,
            auth=self.auth,
            follow_redirects=self.follow_redirects,
            max_redirects=self.max_redirects,
        )
        made.headers = list(self.headers)  # type: ignore[assignment] # a setter that takes more than it gives
        made.cookies = self.cookies
        return adopted(made)

    def _route(self, settings: TransportSettings | UnknownTransport) -> Transport:
        if isinstance(settings, UnknownTransport):
            return _refusing_class(self.family)()
        return settings.build(is_async=self.is_async)


def client_settings(client: HttpClient, *, connections: int = CONNECTIONS) -> ClientSettings:
    """Read the settings of the application's `client`, guarded or not; at most `connections` a transport in ours."""
    original = original_of(client) or client
    family = family_of(original)
    assert family is not None  # noqa: S101 - wrap() has checked
    transport = transport_settings(original._transport, connections=connections)
    mounts = {
        pattern.pattern: None if each is None else transport_settings(each, connections=connections)
        for pattern, each in original._mounts.items()
    }
    auth, unknown_auth = _auth(original.auth, family)
    unknown = [
        *([transport] if isinstance(transport, UnknownTransport) else []),
        *(each for each in mounts.values() if isinstance(each, UnknownTransport)),
        *([unknown_auth] if unknown_auth is not None else []),
    ]
    if unknown_auth is not None:  # what it adds to a call, it adds to every call
        transport, mounts = unknown_auth, {}
    return ClientSettings(
        family=family,
        is_async=is_async(original),
        headers=tuple(original.headers.raw),
        cookies=_copied(original.cookies, family),
        auth=auth,
        follow_redirects=original.follow_redirects,
        max_redirects=original.max_redirects,
        transport=transport,
        mounts=mounts,
        obstacles=tuple(dict.fromkeys(map(str, unknown))),
    )


def _copied(cookies: object, family: ModuleType) -> object:
    jar = getattr(cookies, "jar", None)
    # The application may be setting one right now.
    with getattr(jar, "_cookies_lock", None) or nullcontext():
        copied: object = family.Cookies(cookies)
    return copied


def _auth(auth: object, family: ModuleType) -> tuple[object, UnknownTransport | None]:
    """Return authentication for another client like one with `auth`, or why there can be none."""
    if auth is None:
        return None, None
    cls = type(auth)
    if family_of(auth) is family and cls.__module__.partition(".")[0] == family.__name__:
        if cls.__name__ in _STOCK_AUTH:
            return auth, None
        if cls.__name__ == "DigestAuth":  # it counts what it has asked, and remembers the challenge
            return family.DigestAuth(*(getattr(auth, name) for name in ("_username", "_password"))), None
    return None, UnknownTransport(
        f"{cls.__module__}.{cls.__qualname__}", "authentication of the application's own"
    )


def adopted(client: HttpClient) -> HttpClient:
    """Return `client`, which is background work's alone, with its answers bounded and asked for plain."""
    family = family_of(client)
    assert family is not None  # noqa: S101 - callers have checked
    bounded = _bounded_class(family)
    client._transport = bounded(client._transport)
    client._mounts = {
        pattern: None if mounted is None else bounded(mounted) for pattern, mounted in client._mounts.items()
    }
    client.headers["accept-encoding"] = "identity"
    return client


@functools.cache
def _refusing_class(family: ModuleType) -> Callable[[], Transport]:
    class RefusingTransport(family.BaseTransport, family.AsyncBaseTransport):  # type: ignore[name-defined,misc]
        """Stands where the application has a transport that cannot be built again."""

        def handle_request(self, _request: HttpRequest) -> NoReturn:
            raise NoBackgroundClientError

        async def handle_async_request(self, _request: HttpRequest) -> NoReturn:
            raise NoBackgroundClientError

    return RefusingTransport


@functools.cache
def _bounded_class(family: ModuleType) -> Callable[[Transport], Transport]:  # noqa: C901 - two small classes that need their family
    class BoundedStream(family.SyncByteStream, family.AsyncByteStream):  # type: ignore[name-defined,misc]
        """Passes an answer on until it is too long."""

        def __init__(self, inner: ByteStream, request: HttpRequest) -> None:
            self._inner = inner
            self._request = request
            self._size = 0

        def _admit(self, chunk: bytes) -> bytes:
            self._size += len(chunk)
            if self._size > MAX_ANSWER_BYTES:
                raise family.ReadError(
                    "the answer is longer than a background call accepts", request=self._request
                )
            return chunk

        def __iter__(self) -> Iterator[bytes]:
            for chunk in self._inner:
                if seconds_left() <= 0:
                    raise family.ReadTimeout("the answer took too long", request=self._request)
                yield self._admit(chunk)

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for chunk in self._inner:
                yield self._admit(chunk)

        def close(self) -> None:
            self._inner.close()

        async def aclose(self) -> None:
            await self._inner.aclose()

    class BoundedTransport(family.BaseTransport, family.AsyncBaseTransport):  # type: ignore[name-defined,misc]
        def __init__(self, inner: Transport) -> None:
            self._inner = inner

        def handle_request(self, request: HttpRequest) -> HttpResponse:
            response = self._inner.handle_request(request)
            if _is_encoded(response):
                response.close()
                raise family.DecodingError(
                    "the server encoded an answer that was asked for plain", request=request
                )
            response.stream = BoundedStream(response.stream, request)
            return response

        async def handle_async_request(self, request: HttpRequest) -> HttpResponse:
            response = await self._inner.handle_async_request(request)
            if _is_encoded(response):
                await response.aclose()
                raise family.DecodingError(
                    "the server encoded an answer that was asked for plain", request=request
                )
            response.stream = BoundedStream(response.stream, request)
            return response

        def close(self) -> None:
            self._inner.close()

        async def aclose(self) -> None:
            await self._inner.aclose()

    return BoundedTransport


def _is_encoded(response: HttpResponse) -> bool:
    """Whether decoding could blow an answer up: 194 KB of gzip became 200 MB in memory when measured."""
    return response.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}
