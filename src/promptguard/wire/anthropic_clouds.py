"""Anthropic's messages where a cloud serves them: the model is named in the URL, the rest is `anthropic_messages`.

Amazon Bedrock's `invoke` streams them in AWS event streams, Google's Vertex AI in server-sent events. Read against
anthropic 2.12 (lib/bedrock, lib/vertex) and botocore 1.44 (bedrock-runtime, InvokeModel). Bodies of other model families
that `invoke` takes (Titan, Llama, Nova) are not read: their calls pass untouched. Converse serves all families alike.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote, unquote

from promptguard.core.model import Facts, Headers, Reading, Request
from promptguard.wire import anthropic_messages, shared
from promptguard.wire.eventstream import events


class Cloud:
    """The protocol of one cloud, with what `wire` asks of a module; MARKS_END, because both end with `message_stop`."""

    MARKS_END = True

    def __init__(
        self, name: str, provider: str, path: re.Pattern[str], plain: str, streamed: str, safe: str
    ) -> None:
        self.NAME = name
        self._provider = provider
        self._path = path
        self._verbs = (plain, streamed)
        self._safe = safe

    def speaks(self, method: str, path: str) -> bool:
        """Whether method and path are this cloud's."""
        return method == "POST" and self._path.fullmatch(path) is not None

    def read_request(self, request: Request) -> Facts | None:
        """Read a request's URL and body, or None when they are not what this protocol sends."""
        found, body = self._path.fullmatch(request.path), shared.json_object(request.body)
        if found is None or body is None or not isinstance(body.get("anthropic_version"), str):
            return None
        return anthropic_messages.facts_of(
            request,
            body,
            protocol=self.NAME,
            provider=self._provider,
            model=unquote(found["model"]),
            streamed=found["verb"] == self._verbs[1],
        )

    def with_model(self, request: Request, facts: Facts, model: str) -> Request:  # noqa: ARG002 - as protocols have it
        """Return the request with another model named in its URL, the body as sent."""
        found = self._found(request)
        path = request.path[: found.start("model")] + self._named(model) + request.path[found.end("model") :]
        return Request(request.method, request.origin, path, request.headers, request.body, request.timeout)

    def background_path(self, request: Request, facts: Facts, model: str) -> str:  # noqa: ARG002
        """Return where the same question goes for another model, not streamed."""
        found = self._found(request)
        between = request.path[found.end("model") : found.start("verb")]
        after = request.path[found.end("verb") :]
        return request.path[: found.start("model")] + self._named(model) + between + self._verbs[0] + after

    def background_body(self, facts: Facts, model: str) -> dict[str, object]:  # noqa: ARG002 - the model is in the URL
        """Return the body of the same question for a background call: not streamed, no names of users."""
        return shared.without(facts.body, anthropic_messages.NOT_ASKED_AGAIN)

    def output_bound(self, body: Mapping[str, object]) -> int | None:
        """Return the most tokens an answer may cost by the request's own limit, or None when it names none."""
        return anthropic_messages.output_bound(body)

    def read_reply(self, status: int, headers: Headers, body: bytes, *, streamed: bool) -> Reading:
        """Read an answer from its raw bytes; plain and streamed answers of equal content give equal readings."""
        return anthropic_messages.read_reply(status, headers, body, streamed=streamed)

    def _found(self, request: Request) -> re.Match[str]:
        found = self._path.fullmatch(request.path)
        assert found is not None  # noqa: S101 - `read_request` has matched it
        return found

    def _named(self, model: str) -> str:
        return quote(model, safe=self._safe)


class _Bedrock(Cloud):
    def read_reply(self, status: int, headers: Headers, body: bytes, *, streamed: bool) -> Reading:
        """Read an answer; a stream holds Anthropic's events in base64, one in each message."""
        if not streamed:
            return super().read_reply(status, headers, body, streamed=False)
        return shared.read_answer(status, headers, body, _read_frames)


def _read_frames(body: bytes) -> Reading:
    # All of them first: an error after the last of Anthropic's own events is an error too.
    return anthropic_messages.read_events(list(_told(body)))


def _told(body: bytes) -> Iterator[str]:
    for kind, payload in events(body):
        if kind == "chunk":
            yield base64.b64decode(shared.text(payload["bytes"]) or "", validate=True).decode("utf-8")


BEDROCK = _Bedrock(
    "anthropic_bedrock",
    "aws.bedrock",
    re.compile(
        r".*/model/(?P<model>[^/?]+)/(?P<verb>invoke|invoke-with-response-stream)(?:\?.*)?", re.DOTALL
    ),
    "invoke",
    "invoke-with-response-stream",
    ":;",  # as the SDK writes them; botocore escapes both, and either is understood
)
VERTEX = Cloud(
    "anthropic_vertex",
    "gcp.vertex_ai",
    re.compile(
        r".*/publishers/anthropic/models/(?P<model>(?!count-tokens:)[^/:?]+):(?P<verb>rawPredict|streamRawPredict)(?:\?.*)?",
        re.DOTALL,
    ),
    "rawPredict",
    "streamRawPredict",
    "@",
)
