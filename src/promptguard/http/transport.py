"""The guard under an SDK's httpx or httpx2 client, and the two short drivers that run a call's flow (`run.py`).

`guarded(client)` returns a shallow clone of the client whose transport and mounts are guarded; the SDK's retries,
proxies, TLS, pool and hooks stay where they are. The guard is a dynamic subclass of the user's own transport class,
because SDKs and their tests look at it (docs/decisions/0001-http-seam.md).

Law: whatever goes wrong on our side, the caller gets the bytes or the exception that the bare client would have given.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from types import ModuleType
from typing import Protocol, TypeVar

from promptguard.core import effects as do
from promptguard.core.http_types import HttpClient, HttpRequest, HttpResponse, Transport
from promptguard.core.model import Request, StoredReply
from promptguard.http.family import family_of, is_async, is_client
from promptguard.http.run import CACHE_MARK, Ports, begin, closed, drive, storable
from promptguard.http.streams import Recorder, recorded_stream_class, replayed_stream_class

__all__ = ["guarded", "is_client", "original_of", "ports_of"]

T = TypeVar("T")


class _Clone(Protocol):
    """A guarded client, as far as it is ours."""

    _promptguard_original: _Original


class _Original(Protocol):
    """The client it was made from."""

    _state: object


class _Guard(Protocol):
    """A guarded transport, as far as it is ours."""

    _promptguard_inner: Transport
    _promptguard_ports: Ports


def guarded(client: HttpClient, ports: Ports, *, inner: str | None = None) -> HttpClient:
    """Return a clone of an httpx or httpx2 client that runs every request through `ports`.

    `inner` names a method of the client that returns the client which really sends, where there is such a thing
    (google-genai has one for every event loop): what it returns is guarded as well.
    """
    family = family_of(client)
    assert family is not None  # noqa: S101 - callers check is_client first
    clone = copy.copy(client)
    clone.__class__ = _clone_class(type(client))
    guard_class = _async_guard_class if is_async(client) else _sync_guard_class
    # The original is kept alive: default clients close the shared pool when collected.
    vars(clone).update(_promptguard_original=client, _promptguard_ports=ports)
    clone._transport = _guarded_transport(client._transport, guard_class, ports)
    clone._mounts = {
        pattern: None if mounted is None else _guarded_transport(mounted, guard_class, ports)
        for pattern, mounted in client._mounts.items()
    }
    if inner is not None and hasattr(client, inner):
        setattr(clone, inner, functools.partial(_guarded_inner, getattr(client, inner), ports))
    return clone


def _guarded_inner(inner: Callable[[], HttpClient], ports: Ports) -> HttpClient:
    """Return a guarded clone of the client that `inner` gives at this moment; the pool stays that one's."""
    return guarded(inner(), ports)


def original_of(client: T) -> T | None:
    """Return the client that `client` is a guarded clone of, or None."""
    return getattr(client, "_promptguard_original", None)


def ports_of(client: object) -> Ports | None:
    """Return what runs the requests of a guarded clone, or None for any other client."""
    return getattr(client, "_promptguard_ports", None)


@functools.cache
def _clone_class(cls: type) -> type:
    """Return a subclass of `cls` that leaves the shared pool alone when collected; open and closed as the original is."""

    def get_state(self: _Clone) -> object:
        return self._promptguard_original._state

    def set_state(self: _Clone, state: object) -> None:
        self._promptguard_original._state = state

    members = {
        "__del__": _do_nothing,
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "_state": property(get_state, set_state),
    }
    return type(cls.__name__, (cls,), members)


def _do_nothing(_self: object) -> None:
    """Stand in for a `__del__`, which would close the pool that the original still uses."""


def _guarded_transport(
    inner: Transport, guard_class: Callable[[type[Transport]], type[Transport]], ports: Ports
) -> Transport:
    guard = object.__new__(guard_class(type(inner)))
    guard.__dict__.update(getattr(inner, "__dict__", {}))
    guard.__dict__["_promptguard_inner"] = inner
    guard.__dict__["_promptguard_ports"] = ports
    return guard


@functools.cache
def _sync_guard_class(cls: type[Transport]) -> type[Transport]:
    def handle_request(self: _Guard, request: HttpRequest) -> HttpResponse:
        return drive(request, self._promptguard_inner.handle_request, self._promptguard_ports, _HTTPX)

    def close(self: _Guard) -> None:
        self._promptguard_inner.close()
        closed(self._promptguard_ports)

    return type(cls.__name__, (cls,), _members(cls, handle_request=handle_request, close=close))


@functools.cache
def _async_guard_class(cls: type[Transport]) -> type[Transport]:
    async def handle_async_request(self: _Guard, request: HttpRequest) -> HttpResponse:
        return await _drive_async(request, self._promptguard_inner, self._promptguard_ports)

    async def aclose(self: _Guard) -> None:
        await self._promptguard_inner.aclose()
        closed(self._promptguard_ports)

    return type(cls.__name__, (cls,), _members(cls, handle_async_request=handle_async_request, aclose=aclose))


def _members(cls: type, **methods: Callable[..., object]) -> dict[str, object]:
    return {"__del__": _do_nothing, "__module__": cls.__module__, "__qualname__": cls.__qualname__, **methods}


async def _drive_async(request: HttpRequest, inner: Transport, ports: Ports) -> HttpResponse:
    """Run one attempt on the caller's event loop; the same steps as `run.drive`, line by line."""
    run = begin(request, ports, _HTTPX)
    if run is None:
        return await inner.handle_async_request(request)
    response = None
    while isinstance(run.effect, (do.Send, do.Join)):
        if isinstance(run.effect, do.Join):
            run.joined(await run.join_async(run.effect))
            continue
        if response is not None:
            await response.aclose()
        try:
            response = await inner.handle_async_request(run.outgoing())
        except BaseException as error:
            run.lost(error)
            raise
        run.received(response)
    return run.deliver(response) or await inner.handle_async_request(request)


class _Httpx:
    """Requests and responses of httpx and httpx2."""

    def to_ours(self, request: HttpRequest) -> Request | None:
        return _to_ours(request)

    def to_theirs(self, ours: Request, original: HttpRequest) -> HttpRequest:
        return _to_theirs(ours, original)

    def head(self, response: HttpResponse) -> do.Head:
        return do.Head(response.status_code, tuple(response.headers.raw))

    def close(self, response: HttpResponse) -> None:
        response.close()

    def rebuilt(self, reply: StoredReply, request: HttpRequest) -> HttpResponse:
        return _rebuilt(reply, family_of_request(request))

    def watch(self, response: HttpResponse, request: HttpRequest, done: Callable[[do.Body], None]) -> None:
        if hasattr(response, "_content"):
            # A transport in memory (a mock, a cache) gives the body whole: the library will not read it again.
            done(_body_in_memory(response))
            return
        stream_class = recorded_stream_class(family_of_request(request))
        response.stream = stream_class(response.stream, Recorder(done))


_HTTPX = _Httpx()


def _body_in_memory(response: HttpResponse) -> do.Body:
    """Return a body that is there already; its stream may be spent, and reading that again would wait for ever."""
    family = family_of(response)
    if family is not None and isinstance(response.stream, family.ByteStream):
        return do.Body(tuple(response.stream), "eof")
    if response.headers.get("content-encoding", "identity").strip().lower() in {"", "identity"}:
        return do.Body((response.content,), "eof")
    return do.Body((), "cut")  # only the decoded bytes are left, and the headers tell of others


def family_of_request(request: HttpRequest) -> ModuleType:
    """Return the module a request's class comes from."""
    family = family_of(request)
    assert family is not None  # noqa: S101 - requests come from a client of a known family
    return family


def _to_ours(request: HttpRequest) -> Request | None:
    """Read a library's request; None for what has no body in memory (uploads, streams), which passes untouched."""
    content = getattr(request, "_content", None)
    if request.method != "POST" or not isinstance(content, bytes):
        return None
    url = request.url
    return Request(
        method=request.method,
        origin=f"{url.scheme}://{url.netloc.decode('ascii')}",
        path=url.raw_path.decode("ascii"),
        headers=tuple(request.headers.raw),
        body=content,
        timeout=request.extensions.get("timeout") or {},
    )


def _to_theirs(ours: Request, original: HttpRequest) -> HttpRequest:
    family = family_of_request(original)
    url = original.url
    if ours.path != url.raw_path.decode("ascii"):  # a protocol that names the model in the URL
        url = url.copy_with(raw_path=ours.path.encode("ascii"))
    routed: HttpRequest = family.Request(
        ours.method,
        url,
        headers=list(ours.headers),
        content=ours.body,
        extensions=dict(original.extensions),
    )
    return routed


def _rebuilt(reply: StoredReply, family: ModuleType) -> HttpResponse:
    """Build a response from stored bytes, in the chunks in which they came."""
    stream = replayed_stream_class(family)(reply.chunks)
    headers = [*storable(reply.headers), CACHE_MARK]
    response: HttpResponse = family.Response(
        reply.status, headers=headers, stream=stream, extensions={"http_version": b"HTTP/1.1"}
    )
    return response
