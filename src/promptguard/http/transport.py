"""The guard under an SDK's HTTP client, and the two short drivers that run a call's flow.

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
from typing import Any, Protocol

from promptguard.core import effects as do
from promptguard.core.flow import Flow
from promptguard.core.model import Headers, Request, StoredReply
from promptguard.errors import DriftDetected
from promptguard.http.family import family_of, is_async
from promptguard.http.streams import (
    Recorder,
    finish_abandoned,
    finish_later,
    recorded_stream_class,
    replayed_stream_class,
)

CACHE_MARK = (b"x-promptguard-cache", b"hit")


class Ports(Protocol):
    """What the drivers need from the rest: begin a call's flow, perform effects that return at once, count faults."""

    def begin(self, read: Callable[[], Request | None]) -> Flow | None:
        """Return the flow of the request that `read` gives, or None for one that needs nothing of ours.

        Most calls of an application that only samples are such; their requests are not even read.
        """

    def perform(self, effect: do.Effect) -> Any:
        """Perform an effect that returns at once; never raises."""

    def join(self, effect: do.Join) -> do.Joined:
        """Lead equal calls, or wait for the one that does, on this thread."""

    async def join_async(self, effect: do.Join) -> do.Joined:
        """Do the same on this event loop, without blocking it."""

    def leave(self, seat: Any) -> None:
        """Give up the lead, if it is still held."""

    def fault(self, operation: str, error: BaseException) -> None:
        """Count a fault of our own; never raises."""


def guarded(client: Any, ports: Ports, *, inner: str | None = None) -> Any:
    """Return a clone of an httpx or httpx2 client that runs every request through `ports`.

    `inner` names a method of the client that returns the client which really sends, where there is such a thing
    (google-genai has one for every event loop): what it returns is guarded as well.
    """
    family = family_of(client)
    assert family is not None  # noqa: S101 - callers check is_client first
    clone = copy.copy(client)
    cls: Any = type(client)
    clone.__class__ = _clone_class(cls)
    guard = _guard_async if is_async(client) else _guard_sync
    clone._promptguard_original = client  # kept alive: default clients close the shared pool when collected
    clone._promptguard_ports = ports
    clone._transport = guard(client._transport, ports)
    clone._mounts = {
        pattern: None if mounted is None else guard(mounted, ports)
        for pattern, mounted in client._mounts.items()
    }
    if inner is not None and hasattr(client, inner):
        setattr(clone, inner, functools.partial(_guarded_inner, getattr(client, inner), ports))
    return clone


def _guarded_inner(inner: Callable[[], Any], ports: Ports) -> Any:
    """Return a guarded clone of the client that `inner` gives at this moment; the pool stays that one's."""
    return guarded(inner(), ports)


def original_of(client: Any) -> Any | None:
    """Return the client that `client` is a guarded clone of, or None."""
    return getattr(client, "_promptguard_original", None)


def ports_of(client: Any) -> Any | None:
    """Return what runs the requests of a guarded clone, or None for any other client."""
    return getattr(client, "_promptguard_ports", None)


@functools.cache
def _clone_class(cls: type) -> type:
    """Return a subclass of `cls` that leaves the shared pool alone when collected; open and closed as the original is."""

    def get_state(self: Any) -> Any:
        return self._promptguard_original._state

    def set_state(self: Any, state: Any) -> None:
        self._promptguard_original._state = state

    members: dict[str, Any] = {
        "__del__": _do_nothing,
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "_state": property(get_state, set_state),
    }
    return type(cls.__name__, (cls,), members)


def _do_nothing(_self: Any) -> None:
    """Stand in for a `__del__`, which would close the pool that the original still uses."""


def _guard_sync(inner: Any, ports: Ports) -> Any:
    cls: Any = type(inner)
    return _as_guard(inner, _sync_guard_class(cls), ports)


def _guard_async(inner: Any, ports: Ports) -> Any:
    cls: Any = type(inner)
    return _as_guard(inner, _async_guard_class(cls), ports)


def _as_guard(inner: Any, guard_class: type, ports: Ports) -> Any:
    guard: Any = object.__new__(guard_class)
    guard.__dict__.update(getattr(inner, "__dict__", {}))
    guard.__dict__["_promptguard_inner"] = inner
    guard.__dict__["_promptguard_ports"] = ports
    return guard


@functools.cache
def _sync_guard_class(cls: type) -> type:
    def handle_request(self: Any, request: Any) -> Any:
        return _drive(request, self._promptguard_inner, self._promptguard_ports)

    def close(self: Any) -> None:
        self._promptguard_inner.close()

    return type(cls.__name__, (cls,), _members(cls, handle_request=handle_request, close=close))


@functools.cache
def _async_guard_class(cls: type) -> type:
    async def handle_async_request(self: Any, request: Any) -> Any:
        return await _drive_async(request, self._promptguard_inner, self._promptguard_ports)

    async def aclose(self: Any) -> None:
        await self._promptguard_inner.aclose()

    return type(cls.__name__, (cls,), _members(cls, handle_async_request=handle_async_request, aclose=aclose))


def _members(cls: type, **methods: Any) -> dict[str, Any]:
    return {"__del__": _do_nothing, "__module__": cls.__module__, "__qualname__": cls.__qualname__, **methods}


def _drive(request: Any, inner: Any, ports: Ports) -> Any:
    """Run one attempt on the caller's thread."""
    run = _begin(request, ports)
    if run is None:
        return inner.handle_request(request)
    response = None
    while isinstance(run.effect, (do.Send, do.Join)):
        if isinstance(run.effect, do.Join):
            run.joined(ports.join(run.effect))
            continue
        if response is not None:
            response.close()
        try:
            response = inner.handle_request(run.outgoing())
        except BaseException as error:
            run.lost(error)
            raise
        run.received(response)
    return run.deliver(response) or inner.handle_request(request)


async def _drive_async(request: Any, inner: Any, ports: Ports) -> Any:
    """Run one attempt on the caller's event loop; the same steps as `_drive`, line by line."""
    run = _begin(request, ports)
    if run is None:
        return await inner.handle_async_request(request)
    response = None
    while isinstance(run.effect, (do.Send, do.Join)):
        if isinstance(run.effect, do.Join):
            run.joined(await ports.join_async(run.effect))
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


def _begin(request: Any, ports: Ports) -> _Run | None:
    """Start the flow of a request that a protocol recognises; None for everything else, untouched."""
    try:
        finish_abandoned()
        flow = ports.begin(functools.partial(_to_ours, request))
        return None if flow is None else _Run(flow, request, ports)
    except Exception as error:  # noqa: BLE001 - the law above
        ports.fault("begin", error)
        return None


_TAKE_TIME = (do.Send, do.Join, do.Deliver, do.Serve, do.Refuse)


class _Run:
    """One flow being driven: performs what returns at once, stops at what takes time."""

    __slots__ = ("_flow", "_ports", "_request", "_seat", "effect")

    def __init__(self, flow: Flow, request: Any, ports: Ports) -> None:
        self._flow = flow
        self._request = request
        self._ports = ports
        self._seat: Any = None
        self.effect: do.Effect | None = None
        self._advance(None)

    def _advance(self, answer: Any) -> None:
        """Send `answer` and go on to the next effect that takes time; a fault of ours ends the flow quietly."""
        try:
            effect = self._flow.send(answer)
            while not isinstance(effect, _TAKE_TIME):
                effect = self._flow.send(self._ports.perform(effect))
            self.effect = effect
        except StopIteration:
            self._end()
        except Exception as error:  # noqa: BLE001 - the law above
            self._end()
            self._ports.fault("flow", error)

    def _end(self) -> None:
        """Note that the flow is over; whatever ended it, nobody waits for this call any longer."""
        self.effect = None
        seat, self._seat = self._seat, None
        if seat is not None:
            self._ports.leave(seat)

    def __del__(self) -> None:
        # An exception between two steps, such as KeyboardInterrupt, or a task that was dropped with its loop.
        if getattr(self, "_seat", None) is not None:
            finish_later(self._end)

    def joined(self, how: do.Joined) -> None:
        self._seat = how.seat
        self._advance(how)

    def outgoing(self) -> Any:
        """Return the request to send: the SDK's own object, or a routed copy of it."""
        asked = self.effect.request if isinstance(self.effect, do.Send) else None
        if asked is None:
            return self._request
        try:
            return _to_theirs(asked, self._request)
        except Exception as error:  # noqa: BLE001 - the law above
            self._ports.fault("route", error)
            return self._request

    def received(self, response: Any) -> None:
        self._advance(do.Head(response.status_code, tuple(response.headers.raw)))

    def lost(self, error: BaseException) -> None:
        self._advance(do.Lost(type(error).__name__))

    def deliver(self, response: Any) -> Any | None:
        """Return what the caller gets; None when there is nothing yet and the bare transport must be asked.

        Raises DriftDetected where `on_drift=Raise()` asked for it.
        """
        if isinstance(self.effect, do.Refuse):
            raise DriftDetected(self.effect.message)
        try:
            if isinstance(self.effect, do.Serve):
                return _rebuilt(self.effect.reply, family_of_request(self._request))
            if isinstance(self.effect, do.Deliver) and hasattr(response, "_content"):
                # A transport in memory (a mock, a cache) gives the body whole: the library will not read it again.
                self._advance(_body_in_memory(response))
            elif isinstance(self.effect, do.Deliver):
                recorder = Recorder(self._advance)
                response.stream = recorded_stream_class(family_of_request(self._request))(
                    response.stream, recorder
                )
        except Exception as error:  # noqa: BLE001 - the law above
            self._end()
            self._ports.fault("deliver", error)
        return response


def _body_in_memory(response: Any) -> do.Body:
    """Return a body that is there already; its stream may be spent, and reading that again would wait for ever."""
    family = family_of(response)
    if family is not None and isinstance(response.stream, family.ByteStream):
        return do.Body(tuple(response.stream), "eof")
    if response.headers.get("content-encoding", "identity").strip().lower() in {"", "identity"}:
        return do.Body((response.content,), "eof")
    return do.Body((), "cut")  # only the decoded bytes are left, and the headers tell of others


def family_of_request(request: Any) -> ModuleType:
    """Return the module a request's class comes from."""
    family = family_of(request)
    assert family is not None  # noqa: S101 - requests come from a client of a known family
    return family


def _to_ours(request: Any) -> Request | None:
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


def _to_theirs(ours: Request, original: Any) -> Any:
    family = family_of_request(original)
    url = original.url
    if ours.path != url.raw_path.decode("ascii"):  # a protocol that names the model in the URL
        url = url.copy_with(raw_path=ours.path.encode("ascii"))
    return family.Request(
        ours.method,
        url,
        headers=list(ours.headers),
        content=ours.body,
        extensions=dict(original.extensions),
    )


def _rebuilt(reply: StoredReply, family: ModuleType) -> Any:
    """Build a response from stored bytes, in the chunks in which they came."""
    stream = replayed_stream_class(family)(reply.chunks)
    headers = [*_storable(reply.headers), CACHE_MARK]
    return family.Response(
        reply.status, headers=headers, stream=stream, extensions={"http_version": b"HTTP/1.1"}
    )


_CONNECTION_HEADERS = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"set-cookie", b"date"})


def _storable(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return the headers that are about the answer, not about the connection it came over."""
    return [(name, value) for name, value in headers if name.lower() not in _CONNECTION_HEADERS]
