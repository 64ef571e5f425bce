"""The guard under a boto3 client, and the third short driver: botocore's HTTP session, which sends every attempt.

Retries, signing, parsing and botocore's events are above the session; proxies, TLS, timeouts and the pool are below
`send`, in the session that is guarded. What is raised here is raised where botocore's own connection errors are
(docs/decisions/0016-botocore-seam.md). botocore and urllib3 are imported by whoever made the client, so that nothing
here costs anybody else.

Law: the one of `transport.py`: whatever goes wrong on our side, the caller gets what the bare client would have given.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeGuard
from urllib.parse import urlsplit

from promptguard.core import effects as do
from promptguard.core.model import Request, StoredReply
from promptguard.http.botocore_streams import record, replayed
from promptguard.http.run import CACHE_MARK, Ports, closed, drive, storable
from promptguard.http.streams import Recorder


class Lines(Protocol):
    """Header lines."""

    def get(self, key: str, default: str) -> str:
        """Return the value of a header, or `default`."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Return all of them."""


class Prepared(Protocol):
    """One attempt, signed: botocore's AWSPreparedRequest."""

    method: str
    url: str
    headers: Lines
    body: object
    stream_output: bool
    """the answer is handed out before it is read"""


class Raw(Protocol):
    """A response of urllib3's, beneath botocore's."""

    def stream(self) -> Iterator[bytes]:
        """Give the body in chunks."""

    def close(self) -> None:
        """Give the connection back."""


class Answered(Protocol):
    """An answer: botocore's AWSResponse."""

    status_code: int
    headers: Lines
    raw: Raw

    @property
    def content(self) -> bytes:
        """The body, read when it is first asked for."""


class Proxies(Protocol):
    """A session's proxies, and how they are spoken to."""

    _proxies: object
    _proxies_settings: object


class Session(Protocol):
    """What sends requests: botocore's URLLib3Session. What begins with an underscore is what it was made with."""

    _verify: object
    _proxy_config: Proxies
    _max_pool_connections: int
    _socket_options: object
    _cert_file: str | None
    _key_file: str | None

    def send(self, request: Prepared) -> Answered:
        """Send one attempt."""

    def close(self) -> None:
        """Close its connections."""


class _Guard(Protocol):
    """A guarded session, as far as it is ours."""

    _promptguard_original: Session
    _promptguard_ports: Ports
    _promptguard_library: _Botocore


def is_client(instance: object) -> TypeGuard[Session]:
    """Whether `instance` is a session of botocore's own making, or a subclass."""
    return any(
        base.__name__ == "URLLib3Session" and base.__module__ == "botocore.httpsession"
        for base in type(instance).__mro__
    )


def guarded(session: Session, ports: Ports, *, inner: str | None = None) -> Session:  # noqa: ARG001 - as `transport.guarded`
    """Return a session that runs every request through `ports` and sends through `session`, whose pool stays its own."""
    guard = object.__new__(_guard_class(type(session)))
    vars(guard).update(vars(session))
    vars(guard).update(
        _promptguard_original=session, _promptguard_ports=ports, _promptguard_library=_Botocore(session)
    )
    return guard


@functools.cache
def _guard_class(cls: type[Session]) -> type[Session]:
    def send(self: _Guard, request: Prepared) -> Answered:
        return drive(
            request, self._promptguard_original.send, self._promptguard_ports, self._promptguard_library
        )

    def close(self: _Guard) -> None:
        self._promptguard_original.close()
        closed(self._promptguard_ports)

    members = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "send": send, "close": close}
    return type(cls.__name__, (cls,), members)


class _Botocore:
    """Requests and responses of botocore; an implementation of `run.Library`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def to_ours(self, request: Prepared) -> Request | None:
        return _to_ours(request, self._session)

    def to_theirs(self, ours: Request, original: Prepared) -> Prepared:
        """Return a changed copy; its signature no longer fits, so this is for clients that do not sign."""
        changed = copy.copy(original)
        changed.url, changed.body = ours.origin + ours.path, ours.body
        return changed

    def head(self, response: Answered) -> do.Head:
        return do.Head(response.status_code, tuple((_raw(k), _raw(v)) for k, v in response.headers.items()))

    def rebuilt(self, reply: StoredReply, request: Prepared) -> Answered:
        return _rebuilt(reply, request)

    def close(self, response: Answered) -> None:
        response.raw.close()

    def watch(self, response: Answered, request: Prepared, done: Callable[[do.Body], None]) -> None:
        if not request.stream_output:  # the session has read it already
            done(do.Body((response.content,), "eof"))
            return
        record(response.raw, Recorder(done))


def _raw(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


def _to_ours(request: Prepared, session: Session) -> Request | None:
    """Read a prepared request; None for what has no body in memory (a file to InvokeModel), which passes untouched."""
    body = request.body.encode() if isinstance(request.body, str) else request.body
    if request.method != "POST" or not isinstance(body, bytes):
        return None
    url = urlsplit(request.url)
    return Request(
        method=request.method,
        origin=f"{url.scheme}://{url.netloc}",
        path=(url.path or "/") + (f"?{url.query}" if url.query else ""),
        headers=tuple((_raw(k), _raw(v)) for k, v in request.headers.items()),
        body=body,
        timeout=dict(zip(("connect", "read"), timeouts(session), strict=True)),
        handed_out=bool(request.stream_output),
    )


def timeouts(session: Session) -> tuple[float | None, float | None]:
    """Return the session's limits in seconds: to connect, to read."""
    limit = getattr(session, "_timeout", None)
    if limit is None or isinstance(limit, (int, float)):
        return limit, limit
    return limit.connect_timeout, limit.read_timeout


def _rebuilt(reply: StoredReply, request: Prepared) -> Answered:
    """Build a response from stored bytes, which botocore's own parser then reads."""
    from botocore.awsrequest import AWSResponse

    headers = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in [*storable(reply.headers), CACHE_MARK]
    }
    response: Answered = AWSResponse(
        request.url, reply.status, headers, replayed(reply.chunks, reply.status, headers)
    )
    if not request.stream_output:
        assert response.content is not None  # noqa: S101 - read here, as the session does
    return response
