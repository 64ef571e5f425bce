"""What every module of `wire` is: one protocol's way from bytes to facts and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from promptguard.core.model import Facts, Headers, Reading, Request


class WireProtocol(Protocol):
    """One protocol of a provider. Pure; never raises on hostile bytes. Modules may be one, and most are."""

    @property
    def NAME(self) -> str:  # noqa: N802 - modules have it as a constant
        """Name in ledgers, in reasons and in the tables of known fields."""

    @property
    def MARKS_END(self) -> bool:  # noqa: N802
        """Whether a streamed answer says itself that it is over."""

    def speaks(self, method: str, path: str) -> bool:
        """Whether a request is this protocol's, by its method and its path with query."""

    def read_request(self, request: Request) -> Facts | None:
        """Read a request's URL and body, or None when they are not what the protocol sends."""

    def read_reply(self, status: int, headers: Headers, body: bytes, *, streamed: bool) -> Reading:
        """Read an answer's raw bytes; what cannot be read is a reading with `complete=False`."""

    def with_model(self, request: Request, facts: Facts, model: str) -> Request:
        """Return the request with another model named, all else as sent (for routing)."""

    def background_path(self, request: Request, facts: Facts, model: str) -> str:
        """Return the path where `model` is asked the same question, not streamed."""

    def background_body(self, facts: Facts, model: str) -> dict[str, object]:
        """Return the body that asks `model` the same question: not streamed, nothing kept, no user named."""

    def output_bound(self, body: Mapping[str, object]) -> int | None:
        """Return the most tokens an answer may cost by the request's own limit, or None when it names none."""
