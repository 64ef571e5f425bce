"""What a stock transport of httpx or httpx2 was made with, so that one like it, with a pool of its own, can be made.

Neither library gives a transport's settings back, so they are read from its connection pool (httpcore, httpcore2). Only
classes of theirs are read: what another class does cannot be known, and it may hold anything of the application's.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import cast

from promptguard.core.http_types import Transport
from promptguard.http.deadline import DeadlineBackend
from promptguard.http.family import family_of

CONNECTIONS = 4
"""Connections of one background client to one place, unless the application allows itself fewer."""

_CORES = {"httpx": "httpcore", "httpx2": "httpcore2"}
_POOLS = ("ConnectionPool", "HTTPProxy", "SOCKSProxy")
_BEHAVIOUR = frozenset((
    "handle_request", "handle_async_request", "close", "aclose", "__getattribute__", "__getattr__",
))  # fmt: skip
"""What a subclass of a stock transport must leave alone to be no more than the stock one with other settings."""


@dataclass(frozen=True, slots=True)
class TransportSettings:
    """The settings of one stock transport; no connection, lock or loop. The TLS context is a setting, as with httpx."""

    family: ModuleType
    pool: str
    """the class of its pool, without "Async": ConnectionPool, HTTPProxy or SOCKSProxy"""
    options: Mapping[str, object]
    """arguments of that class"""

    def build(self, *, is_async: bool) -> Transport:
        """Return a stock transport with these settings and a pool of its own."""
        core = _core_of(self.family)
        options = dict(self.options)
        if not is_async:
            options["network_backend"] = DeadlineBackend(core.SyncBackend())
        cls = self.family.AsyncHTTPTransport if is_async else self.family.HTTPTransport
        transport: Transport = object.__new__(
            cls
        )  # its own constructor would make another pool, and could not be told of all this
        vars(transport)["_pool"] = getattr(core, ("Async" if is_async else "") + self.pool)(**options)
        return transport


@dataclass(frozen=True, slots=True)
class UnknownTransport:
    """A transport that cannot be made again; `name` says what it is, `why` what stands against it."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.name} ({self.why})"


def transport_settings(
    transport: object, *, connections: int = CONNECTIONS
) -> TransportSettings | UnknownTransport:
    """Return what `transport` was made with, its pool limited to `connections`, or why that cannot be told."""
    family = family_of(transport)
    why = "a transport of another library" if family is None else _obstacle(transport, family)
    pool = getattr(transport, "_pool", None)
    if family is not None and why is None:
        core = _CORES[family.__name__]
        kind = _kind_of(pool, family)
        backend = type(getattr(pool, "_network_backend", None))
        if kind is None:
            why = f"its connection pool is a {_name(type(pool))}"
        elif backend.__module__.partition(".")[0] != core or "Mock" in backend.__name__:
            why = f"its network backend is a {_name(backend)}"
        else:
            try:
                return TransportSettings(family, kind, _options(pool, kind, connections))
            except AttributeError as error:  # it keeps its settings elsewhere
                why = f"this version of {core} does not tell its settings: {error}"
    return UnknownTransport(_name(type(transport)), why or "")


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _obstacle(transport: object, family: ModuleType) -> str | None:
    """Return why a transport is more than a stock one with other settings, or None."""
    stock = next(
        (cls for cls in (family.HTTPTransport, family.AsyncHTTPTransport) if isinstance(transport, cls)), None
    )
    if stock is None:
        return f"not one of {family.__name__}'s own network transports"
    changed = _changed(transport, stock)
    return None if changed is None else f"it has a {changed}() of its own"


def _core_of(family: ModuleType) -> ModuleType:
    return sys.modules[_CORES[family.__name__]]


def _changed(transport: object, stock: type) -> str | None:
    """Return the name of a method that is not the stock one, in a subclass or on the object itself, or None."""
    for base in type(transport).__mro__:
        if base is stock:
            break
        found = _BEHAVIOUR.intersection(vars(base))
        if found:
            return min(found)
    own = _BEHAVIOUR.intersection(vars(transport))
    # Instrumentations put wrapt's wrappers on the object; these watch the application's calls, not ours.
    return next((name for name in sorted(own) if not _is_instrumentation(vars(transport)[name])), None)


def _is_instrumentation(method: object) -> bool:
    return type(method).__module__.partition(".")[0] in {"wrapt", "opentelemetry"}


def _kind_of(pool: object, family: ModuleType) -> str | None:
    core = sys.modules.get(_CORES[family.__name__])
    for kind in _POOLS if core is not None else ():
        if type(pool) in {getattr(core, kind, None), getattr(core, "Async" + kind, None)}:
            return kind
    return None


_OF_ANY_POOL = ("ssl_context", "keepalive_expiry", "http1", "http2", "retries")


def _options(pool: object, kind: str, connections: int) -> dict[str, object]:
    """Return the arguments of a pool. Raises AttributeError where it keeps one under another name."""

    def kept(*names: str) -> dict[str, object]:
        found = {name: getattr(pool, f"_{name}") for name in names}
        return {name: list(value) if isinstance(value, list) else value for name, value in found.items()}

    bounds = cast("dict[str, int]", kept("max_connections", "max_keepalive_connections"))
    most = min(connections, bounds["max_connections"])
    idle = min(most, bounds["max_keepalive_connections"])
    options = kept(*_OF_ANY_POOL) | {"max_connections": most, "max_keepalive_connections": idle}
    if kind == "SOCKSProxy":
        return options | kept("proxy_url", "proxy_auth")
    options |= kept("local_address", "uds", "socket_options")
    if kind == "HTTPProxy":  # whose credentials are among the headers already
        return options | kept("proxy_url", "proxy_headers", "proxy_ssl_context")
    proxy = getattr(pool, "_proxy", None)  # httpcore 1.0.8 on: another way to say the same
    return options if proxy is None else options | {"proxy": proxy}
