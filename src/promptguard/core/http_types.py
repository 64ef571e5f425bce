"""What httpx and httpx2 have in common, as far as it is used here: their classes are unrelated, their shapes the same.

Clients and transports of both kinds, blocking and asynchronous, have one protocol each: the kind is known where they
are used (`http.family.is_async`), and only the methods of that kind are called.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, MutableMapping
from typing import Protocol


class Url(Protocol):
    """An address, in parts as they are sent."""

    @property
    def scheme(self) -> str:
        """Such as https."""

    @property
    def netloc(self) -> bytes:
        """Host, and port where it is not the scheme's own."""

    @property
    def raw_path(self) -> bytes:
        """Path with query."""

    def copy_with(self, *, raw_path: bytes) -> Url:
        """Return the same address with another path."""


class HttpHeaders(Protocol):
    """Header lines."""

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """In wire order, names as sent."""

    def get(self, key: str, default: str) -> str:
        """Return the value of a header, or `default`."""

    def __setitem__(self, key: str, value: str) -> None: ...


class HttpRequest(Protocol):
    """One attempt, as the client built it."""

    method: str
    url: Url
    headers: HttpHeaders
    extensions: Mapping[str, Mapping[str, float | None]]
    """`timeout`: the client's own limits in seconds"""


class ByteStream(Protocol):
    """A body, still to be read."""

    def __iter__(self) -> Iterator[bytes]: ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    def close(self) -> None:
        """Give the connection back."""

    async def aclose(self) -> None:
        """Do the same on an event loop."""


class HttpResponse(Protocol):
    """An answer; `content` is there once it has been read."""

    status_code: int
    headers: HttpHeaders
    stream: ByteStream

    @property
    def content(self) -> bytes:
        """The decoded body."""

    def close(self) -> None:
        """Give the connection back."""

    async def aclose(self) -> None:
        """Do the same on an event loop."""


class Transport(Protocol):
    """What sends requests."""

    def handle_request(self, request: HttpRequest) -> HttpResponse:
        """Send one attempt and wait for the head of its answer."""

    async def handle_async_request(self, request: HttpRequest) -> HttpResponse:
        """Do the same on an event loop."""

    def close(self) -> None:
        """Close its connections."""

    async def aclose(self) -> None:
        """Do the same on an event loop."""


class Pattern(Protocol):
    """Which addresses a mounted transport is for."""

    @property
    def pattern(self) -> str:
        """As the user wrote it."""


class HttpClient(Protocol):
    """A client; what begins with an underscore is where both families keep what they send through."""

    _transport: Transport
    _mounts: MutableMapping[Pattern, Transport | None]
    headers: HttpHeaders
    cookies: object
    auth: object
    follow_redirects: bool
    max_redirects: int
    event_hooks: Mapping[str, list[object]]

    def build_request(
        self, method: str, url: str, *, content: bytes, headers: Mapping[str, str], timeout: object
    ) -> HttpRequest:
        """Return a request with the client's own headers, cookies and so on."""

    def close(self) -> None:
        """Close its connections."""

    async def aclose(self) -> None:
        """Do the same on an event loop."""


class BlockingClient(HttpClient, Protocol):
    """One of which `send` waits for the answer."""

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send a request and read the answer."""


class AsyncClient(HttpClient, Protocol):
    """One of which `send` is awaited."""

    def send(self, request: HttpRequest) -> Awaitable[HttpResponse]:
        """Send a request and read the answer."""
