"""One call's flow being driven, whatever the HTTP library: what returns at once is performed here.

A driver is a short loop around a `Run`, one for each way to wait: `drive` for threads, over httpx and botocore alike, and
one for asyncio in `transport.py`. What differs between libraries is in their `Library`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from promptguard.core import effects as do
from promptguard.core.flow import Flow
from promptguard.core.model import Headers, Request, StoredReply
from promptguard.deliveries import delivered
from promptguard.errors import DriftDetected
from promptguard.runtime.finishing import finish_abandoned, finish_later

Theirs = TypeVar("Theirs")
"""a library's request"""
Answer = TypeVar("Answer")
"""a library's response"""

CACHE_MARK = (b"x-promptguard-cache", b"hit")


class Ports(Protocol):
    """What the drivers need from the rest: begin a call's flow, perform effects that return at once, count faults."""

    @property
    def caches(self) -> bool:
        """Whether there is a cache, so that an answer of the provider's is a miss."""

    def begin(self, read: Callable[[], Request | None]) -> Flow | None:
        """Return the flow of the request that `read` gives, or None for one that needs nothing of ours.

        Most calls of an application that only samples are such; their requests are not even read.
        """

    def perform(self, effect: do.Effect) -> object:
        """Perform an effect that returns at once; never raises."""

    def join(self, effect: do.Join) -> do.Joined:
        """Lead equal calls, or wait for the one that does, on this thread."""

    async def join_async(self, effect: do.Join) -> do.Joined:
        """Do the same on this event loop, without blocking it."""

    def leave(self, leader: object) -> None:
        """Give up the lead, if it is still held."""

    def fault(self, operation: str, error: BaseException) -> None:
        """Count a fault of our own; never raises."""

    def close(self) -> None:
        """Give up what the client shares with others: it was closed, and makes no more calls."""

    def retire(self) -> None:
        """Stop answering for the client: it was unwrapped, or wrapped anew."""


class Library(Protocol[Theirs, Answer]):
    """One HTTP library's requests and responses, in our words and back. Each of these may raise: that ends a flow."""

    def to_ours(self, request: Theirs) -> Request | None:
        """Read a request; None for what has no body in memory, which passes untouched."""

    def to_theirs(self, ours: Request, original: Theirs) -> Theirs:
        """Return a request like `original` that says what `ours` does."""

    def head(self, response: Answer) -> do.Head:
        """Return status and headers."""

    def close(self, response: Answer) -> None:
        """Give the connection of an answer back that nobody will read."""

    def rebuilt(self, reply: StoredReply, request: Theirs) -> Answer:
        """Build a response from stored bytes, in the chunks in which they came."""

    def watch(self, response: Answer, request: Theirs, done: Callable[[do.Body], None]) -> None:
        """Have `done` told, once, what the body was: now if it is in memory, else when the caller is done with it."""


def begin(request: Theirs, ports: Ports, library: Library[Theirs, Answer]) -> Run[Theirs, Answer] | None:
    """Start the flow of a request that a protocol recognises; None for everything else, untouched."""
    try:
        finish_abandoned()
        flow = ports.begin(functools.partial(library.to_ours, request))
        return None if flow is None else Run(flow, request, ports, library)
    except Exception as error:  # noqa: BLE001 - whatever goes wrong on our side, the bare client is asked
        ports.fault("begin", error)
        return None


_TAKE_TIME = (do.Send, do.Join, do.Deliver, do.Serve, do.Refuse)


class Run(Generic[Theirs, Answer]):
    """One flow being driven: performs what returns at once, stops at what takes time."""

    __slots__ = ("_flow", "_head", "_leader", "_library", "_ports", "_request", "effect")

    def __init__(self, flow: Flow, request: Theirs, ports: Ports, library: Library[Theirs, Answer]) -> None:
        self._flow = flow
        self._request = request
        self._ports = ports
        self._library = library
        self._head: do.Head | None = None
        self._leader: object = None
        self.effect: do.Effect | None = None
        self._advance(None)

    def _advance(self, answer: object) -> None:
        """Send `answer` and go on to the next effect that takes time; a fault of ours ends the flow quietly."""
        try:
            effect = self._flow.send(answer)
            while not isinstance(effect, _TAKE_TIME):
                effect = self._flow.send(self._ports.perform(effect))
            self.effect = effect
        except StopIteration:
            self._end()
        except Exception as error:  # noqa: BLE001 - the law of transport.py
            self._end()
            self._flow.close()
            self._ports.fault("flow", error)

    def _end(self) -> None:
        """Note that the flow is over; whatever ended it, nobody waits for this call any longer."""
        self.effect = None
        leader, self._leader = self._leader, None
        if leader is not None:
            try:
                self._ports.leave(leader)
            except Exception as error:  # noqa: BLE001 - who waits has a deadline
                self._ports.fault("single flight", error)

    def __del__(self) -> None:
        # An exception between two steps, such as KeyboardInterrupt, or a task that was dropped with its loop.
        # At the very end of the process the module's names may be gone already.
        if getattr(self, "_leader", None) is not None and finish_later is not None:
            finish_later(self._end)

    def join(self, effect: do.Join) -> do.Joined:
        """Lead equal calls, or wait for the one that does, on this thread; alone where that fails."""
        try:
            return self._ports.join(effect)
        except Exception as error:  # noqa: BLE001 - a call that cannot be shared is made
            self._ports.fault("single flight", error)
            return do.ALONE

    async def join_async(self, effect: do.Join) -> do.Joined:
        """Do as `join` does, without blocking the loop."""
        try:
            return await self._ports.join_async(effect)
        except Exception as error:  # noqa: BLE001
            self._ports.fault("single flight", error)
            return do.ALONE

    def joined(self, how: do.Joined) -> None:
        """Go on with the answer of an equal call, as the leader, or alone."""
        self._leader = how.leader
        self._advance(how)

    def outgoing(self) -> Theirs:
        """Return the request to send: the SDK's own object, or a routed copy of it."""
        asked = self.effect.request if isinstance(self.effect, do.Send) else None
        if asked is None:
            return self._request
        try:
            return self._library.to_theirs(asked, self._request)
        except Exception as error:  # noqa: BLE001 - the law of transport.py
            self._ports.fault("route", error)
            return self._request

    def received(self, response: Answer) -> None:
        """Go on with the head of an answer."""
        try:
            head = self._library.head(response)
            if self._ports.caches:
                delivered("miss", head.headers)
        except Exception as error:  # noqa: BLE001 - the law of transport.py
            self._end()
            self._ports.fault("head", error)
            return
        self._head = head
        self._advance(head)

    def _read(self, body: do.Body) -> None:
        """Go on with a body that the caller is done with."""
        try:
            if self._ports.caches and self._head is not None:
                delivered("miss", self._head.headers, next(iter(body.chunks), b""))
        except Exception as error:  # noqa: BLE001 - the law of transport.py
            self._ports.fault("delivered", error)
        self._advance(body)

    def lost(self, error: BaseException) -> None:
        """Go on without an answer; the driver raises `error` itself."""
        lost = do.Lost(type(error).__name__)
        # A task that is closed; or collected, which may be amid anything that this thread does.
        if isinstance(error, GeneratorExit):
            finish_later(functools.partial(self._advance, lost))
        else:
            self._advance(lost)

    def deliver(self, response: Answer | None) -> Answer | None:
        """Return what the caller gets; None when there is nothing yet and the bare transport must be asked.

        Raises DriftDetected where `on_drift=Raise()` asked for it.
        """
        if isinstance(self.effect, do.Refuse):
            raise DriftDetected(self.effect.message)
        try:
            if isinstance(self.effect, do.Serve):
                reply = self.effect.reply
                delivered("hit", reply.headers, next(iter(reply.chunks), b""))
                return self._library.rebuilt(reply, self._request)
            if isinstance(self.effect, do.Deliver) and response is not None:
                self._library.watch(response, self._request, self._read)
        except Exception as error:  # noqa: BLE001 - the law of transport.py
            self._end()
            self._ports.fault("deliver", error)
        return response


def closed(ports: Ports) -> None:
    """Say that a client was closed. Never raises."""
    try:
        ports.close()
    except Exception as error:  # noqa: BLE001 - the law of transport.py
        ports.fault("close", error)


_CONNECTION_HEADERS = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"set-cookie", b"date"})


def storable(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Return the headers that are about the answer, not about the connection it came over."""
    return [(name, value) for name, value in headers if name.lower() not in _CONNECTION_HEADERS]


def drive(
    request: Theirs, send: Callable[[Theirs], Answer], ports: Ports, library: Library[Theirs, Answer]
) -> Answer:
    """Run one attempt on the caller's thread; `send` is the bare transport's. `transport` has the same for event loops."""
    run = begin(request, ports, library)
    if run is None:
        return send(request)
    response = None
    while isinstance(run.effect, (do.Send, do.Join)):
        if isinstance(run.effect, do.Join):
            run.joined(run.join(run.effect))
            continue
        if response is not None:
            library.close(response)
        try:
            response = send(run.outgoing())
        except BaseException as error:
            run.lost(error)
            raise
        run.received(response)
    return run.deliver(response) or send(request)
