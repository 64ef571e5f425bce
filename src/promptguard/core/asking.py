"""What asking again in the background brings, and which headers of the application's call go with it."""

from __future__ import annotations

from dataclasses import dataclass

from promptguard.core.model import Headers

_NOT_FORWARDED = frozenset({
    "accept", "accept-encoding", "connection", "content-length", "content-type", "host",
    "idempotency-key", "transfer-encoding", "user-agent", "traceparent", "tracestate", "baggage",
    "x-amzn-bedrock-request-metadata",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """What a background call brought: an answer's status and decoded body, or the reason why there is none."""

    status: int = 0
    body: bytes = b""
    error: str | None = None
    headers: Headers = ()
    """of the answer, which was not encoded: background calls do not accept that"""


def is_forwarded(header: str) -> bool:
    """Whether a header of the application's call, its name in lower case, belongs to a background call as well."""
    return header not in _NOT_FORWARDED and not header.startswith("x-stainless-")


def reason_of(error: BaseException) -> str:
    """Return why an answer is missing, in a few fixed words or the exception's type: messages may hold content."""
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return f"status_{status}"
    name = type(error).__name__
    return "timeout" if "Timeout" in name else "connection" if "Connect" in name else name
