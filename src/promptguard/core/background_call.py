"""A call made in the background: who makes it, how long it may take, what it brings, which headers go with it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from promptguard.core.model import Headers, Request

ANSWER_SECONDS = 120.0
"""Seconds that one background answer may take in all, from the first byte sent to the last one read.

The limit is this or the application's own read timeout, whichever is shorter: one answer that hangs or trickles must not
hold up those behind it.
"""

MAX_ANSWER_BYTES = 8 * 1024 * 1024
"""Bytes of one background answer, on the wire and after decoding; compressed answers are not asked for."""

NO_BACKGROUND_CLIENT = "no background client"
"""The reason of a sampled call whose client cannot be rebuilt, where no `client=` factory was given."""

_NOT_FORWARDED = frozenset({
    "accept", "accept-encoding", "connection", "content-length", "content-type", "host",
    "idempotency-key", "transfer-encoding", "user-agent", "traceparent", "tracestate", "baggage",
    "x-amzn-bedrock-request-metadata",
})  # fmt: skip


class NoBackgroundClientError(Exception):
    """A background call would go through a transport of the application's that cannot be built again."""


@dataclass(frozen=True, slots=True)
class BackgroundResponse:
    """What a background call brought: an answer's status and decoded body, or the reason why there is none."""

    status: int = 0
    body: bytes = b""
    error: str | None = None
    headers: Headers = ()
    """of the answer, which was not encoded: background calls do not accept that"""


class BackgroundClient(Protocol):
    """Asks questions again. It shares no connection, lock, cookie jar or event loop with the application."""

    def ask(
        self,
        url: str,
        body: Mapping[str, object],
        headers: Mapping[str, str],
        timeout: Mapping[str, float | None],
    ) -> BackgroundResponse:
        """POST `body` to `url` once, within `seconds_for(timeout)`; errors come back as reasons, never as exceptions.

        `headers` are those of the application's call with its credentials, names in lower case; `timeout` its limits in
        seconds by httpx's names.
        """

    def renews_credentials(self, origin: str, old: bytes = b"") -> bool:
        """Whether it has fresh credentials of its own for a server; `old` is what a call was authorized by."""

    def close(self) -> None:
        """Give its connections back. Never waits for a question in flight; safe to call twice."""


@dataclass(frozen=True, slots=True)
class OtherServer:
    """A server that is asked instead of the application's: in its own protocol, with credentials of its own.

    Attributes:
        protocol: the NAME of its protocol
        origin: scheme://host[:port]
        client: asks it, and is closed with its last user
        address: model → what `client.ask` takes as URL
        path: model → the path that is asked
        headers: what goes with each question; nothing of the application's calls does
    """

    protocol: str
    origin: str
    client: BackgroundClient
    address: Callable[[str], str]
    path: Callable[[str], str]
    headers: Mapping[str, str]

    def request(self, model: str, body: Mapping[str, object], timeout: Mapping[str, float | None]) -> Request:
        """Return what is sent to it, without credentials, as protocols read it."""
        return Request("POST", self.origin, self.path(model), (), json.dumps(body).encode(), timeout)


class NoBackgroundClient:
    """Stands where no client could be built: every question comes back unasked, with the reason."""

    def ask(
        self,
        url: str,  # noqa: ARG002 - the interface of background clients
        body: Mapping[str, object],  # noqa: ARG002
        headers: Mapping[str, str],  # noqa: ARG002
        timeout: Mapping[str, float | None],  # noqa: ARG002
    ) -> BackgroundResponse:
        """Ask nothing."""
        return BackgroundResponse(error=NO_BACKGROUND_CLIENT)

    def renews_credentials(self, origin: str, old: bytes = b"") -> bool:  # noqa: ARG002
        """Never."""
        return False

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""


def seconds_for(timeout: Mapping[str, float | None]) -> float:
    """Return how many seconds a background answer may take, given the application's own limits."""
    return min(timeout.get("read") or ANSWER_SECONDS, ANSWER_SECONDS)


def is_forwarded(header: str) -> bool:
    """Whether a header of the application's call, its name in lower case, belongs to a background call as well."""
    return header not in _NOT_FORWARDED and not header.startswith("x-stainless-")


def reason_of(error: BaseException, asked: Mapping[str, object] | None = None) -> str:
    """Return why an answer is missing, in a few fixed words or the exception's type: messages may hold content.

    `asked` is the body that was sent: a refusal may name one of its parameters.
    """
    if isinstance(error, NoBackgroundClientError):
        return NO_BACKGROUND_CLIENT
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        told = getattr(error, "body", None)
        inner = told.get("error", told) if isinstance(told, Mapping) else {}
        return refused_as(status, inner if isinstance(inner, Mapping) else {}, asked)
    name = type(error).__name__
    return "timeout" if "Timeout" in name else "connection" if "Connect" in name else name


_PARAMETER = re.compile(r"[a-z][a-zA-Z_]{0,40}(?:[.\[][a-zA-Z0-9_.\[\]]{0,40})?")
_CODE = re.compile(r"[a-zA-Z_]{1,40}")
_WORD = re.compile(r"[a-zA-Z_]{2,40}")


def refused(status: int, param: object = None, code: object = None) -> str:
    """Return why a server refused a call: its status and, where it names them, the parameter and its own code.

    Only what looks like the name of a parameter, and like a code in words: a server may say anything there.

    >>> refused(400, "max_tokens", "unsupported_parameter"), refused(503)
    ('status_400: max_tokens unsupported_parameter', 'status_503')
    """
    fits = ((param, _PARAMETER), (code, _CODE))
    names = [each for each, form in fits if isinstance(each, str) and form.fullmatch(each)]
    return f"status_{status}: {' '.join(names)}" if status == 400 and names else f"status_{status}"


def refused_as(status: int, error: Mapping[str, object], asked: Mapping[str, object] | None = None) -> str:
    """Return the same from what a server says of its refusal, by the members that OpenAI, Anthropic and Google have.

    Where it names the parameter in its message alone, that is looked for among the members of `asked`, and nothing else
    is read from the message.
    """
    param = error.get("param")
    message = error.get("message")
    if param is None and isinstance(message, str) and asked:
        words = _WORD.findall(message[:_MOST_MESSAGE])
        param = next((word for word in words if word in asked and word not in _NOT_SAID), None)
    kinds = (error.get("code"), error.get("type"), error.get("status"))
    return refused(status, param, next((kind for kind in kinds if isinstance(kind, str)), None))


def refused_by(status: int, body: bytes, asked: Mapping[str, object] | None = None) -> str:
    """Return the same from the answer's body, of which nothing else is kept."""
    told: object = None
    if status == 400 and len(body) < _MOST_ERROR:
        try:
            told = json.loads(body)
        except (ValueError, RecursionError):
            told = None
    error = told.get("error") if isinstance(told, Mapping) else None
    return refused_as(status, error if isinstance(error, Mapping) else {}, asked)


_MOST_ERROR = 100_000
_MOST_MESSAGE = 500
_NOT_SAID = frozenset(("model", "messages", "input", "contents"))
"""What messages speak of whatever the parameter is that they are about."""
