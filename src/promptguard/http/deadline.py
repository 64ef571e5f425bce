"""A total deadline for blocking HTTP: a network backend of httpcore's whose every wait ends when the call's time is up.

The limits of an HTTP library are for one read or write each, so a server that sends a byte now and then is waited for
without end. Asynchronous calls need none of this: they are cancelled.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from math import inf
from typing import Protocol

from promptguard.runtime.spare_threads import seconds_left


class Stream(Protocol):
    """What httpcore reads from and writes to, of either family."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Wait for some bytes."""

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes."""

    def close(self) -> None:
        """Close it."""

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> Stream:
        """Return the same stream under TLS."""

    def get_extra_info(self, info: str) -> object:
        """Return what httpcore asks about the socket."""


class Backend(Protocol):
    """What httpcore makes connections with, of either family."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[object] | None = None,
    ) -> Stream:
        """Connect to a host."""

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[object] | None = None
    ) -> Stream:
        """Connect to a socket file."""

    def sleep(self, seconds: float) -> None:
        """Wait between two attempts to connect."""


def _left(timeout: float | None) -> float | None:
    left = seconds_left()
    if left == inf:
        return timeout
    left = max(0.001, left)  # never 0, which sockets take for "do not block": another error than a timeout
    return left if timeout is None else min(timeout, left)


class DeadlineBackend:
    """Makes connections as `inner` does, none of which is waited for beyond the deadline."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[object] | None = None,
    ) -> DeadlineStream:
        """Connect to a host."""
        return DeadlineStream(
            self._inner.connect_tcp(host, port, _left(timeout), local_address, socket_options)
        )

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[object] | None = None
    ) -> DeadlineStream:
        """Connect to a socket file."""
        return DeadlineStream(self._inner.connect_unix_socket(path, _left(timeout), socket_options))

    def sleep(self, seconds: float) -> None:
        """Wait between two attempts to connect, not longer than there is time."""
        self._inner.sleep(_left(seconds) or 0.0)


class DeadlineStream:
    """A connection on which no wait goes beyond the deadline of the call that uses it at the moment."""

    def __init__(self, inner: Stream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Wait for some bytes."""
        return self._inner.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes."""
        self._inner.write(buffer, _left(timeout))

    def close(self) -> None:
        """Close it."""
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> DeadlineStream:
        """Return the same stream under TLS."""
        return DeadlineStream(self._inner.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> object:
        """Return what httpcore asks about the socket."""
        return self._inner.get_extra_info(info)
