"""The way to the network for `posting`: addresses are checked, and every wait is cut at one deadline."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable
from typing import Any

import httpcore

from promptguard.core.addresses import is_public

SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


class RefusedPeer(Exception):  # noqa: N818 - what it is about
    """An address that may not be connected to."""


class Deadline:
    """A moment (monotonic seconds) after which nothing is waited for."""

    def __init__(self, at: float) -> None:
        self._at = at

    def left(self, timeout: float | None) -> float:
        """Return the seconds that a wait may take. Raises httpcore.ReadTimeout when there are none."""
        remaining = self._at - time.monotonic()
        if remaining <= 0:
            raise httpcore.ReadTimeout
        return remaining if timeout is None else min(timeout, remaining)


class _Stream(httpcore.NetworkStream):
    """A connection whose reads together end at the deadline: a byte a second is no way to hold it open."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._deadline.left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        inner = self._inner.start_tls(ssl_context, server_hostname, self._deadline.left(timeout))
        return _Stream(inner, self._deadline)

    def get_extra_info(self, info: str) -> Any:  # httpcore's own signature
        return self._inner.get_extra_info(info)


class CheckedNetwork(httpcore.SyncBackend):
    """Connects to the very address that was checked, so that a name which resolves anew changes nothing."""

    def __init__(self, deadline: Deadline, *, allow_private: bool) -> None:
        self._deadline = deadline
        self._allow_private = allow_private

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of `host` that answers. Raises RefusedPeer, and what httpcore does."""
        failed: Exception = RefusedPeer(f"{host} has no address")
        for address in self._looked_up(host, port):
            try:
                inner = super().connect_tcp(
                    address, port, self._deadline.left(timeout), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
            else:
                return _Stream(inner, self._deadline)
        raise failed

    def _looked_up(self, host: str, port: int) -> list[str]:
        found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        refused = next((each for each in found if not self._allow_private and not is_public(each)), None)
        if refused is not None:
            raise RefusedPeer(
                f"{host} is {refused}, not on the public internet: allow_private=True would allow it"
            )
        return found
