"""Caches outside this process, one for all clients that name the same place. Another kind is one more entry of `_MADE`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path

from promptguard.cache.contract import Backend, Listener
from promptguard.cache.tiered import Tiered, faults
from promptguard.core.options import Cache
from promptguard.lifetime.shared import Shared, Use
from promptguard.shared_secret import VARIABLE

log = logging.getLogger("promptguard")

CACHE_DIRECTORY = "cache"
"""Of a cache on disk, within the ledger's directory."""

outside: Shared[Hashable, Tiered] = Shared("cache", faults.add)
"""Every cache outside this process, by place and secret."""


def _disk(option: Cache, ledger: Path, secret: bytes) -> Backend:  # noqa: ARG001
    from promptguard.cache.disk import Directory, check_installed

    check_installed()
    return Directory(ledger / CACHE_DIRECTORY, option.max_bytes)


def _redis(option: Cache, ledger: Path, secret: bytes) -> Backend:  # noqa: ARG001
    from promptguard.cache.mackey import is_shared
    from promptguard.cache.redis_server import Server

    server = Server(option, secret)
    if not server.is_near and not is_shared():
        log.warning(
            "%s: other hosts find nothing there, as the secret is this ledger's own: set the same %s on all of them",
            server,
            VARIABLE,
        )
    return server


_MADE: Mapping[str, Callable[[Cache, Path, bytes], Backend]] = {"disk": _disk, "redis": _redis}


def backend_of(option: Cache, ledger: Path, secret: bytes) -> Backend:
    """Return where a cache keeps its entries; nothing is opened. Raises MissingExtra."""
    return _MADE[option.kind](option, ledger, secret)


def acquire(option: Cache, ledger: Path, secret: bytes, listener: Listener) -> Use[Tiered]:
    """Return a hold on the cache that `option` names, made on first use; the newest settings hold.

    Raises MissingExtra where its package is not installed, and ConfigurationError for a secret that is too short.
    """
    backend = backend_of(option, ledger, secret)
    for known in outside.living():
        if known.is_closed:
            outside.discard(known)
    return outside.acquire(
        (backend.place, secret),
        lambda: Tiered(backend, secret, listener=listener),
        join=lambda known: known.reconfigure(option, listener),
    )


def again(known: Tiered) -> Use[Tiered]:
    """Return one more hold on a cache: in a forked child, where it begins anew by itself."""
    return outside.acquire(known.key, lambda: known)
