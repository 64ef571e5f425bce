"""Gemini's generateContent, plain and streamed as server-sent events: the model is named in the URL.

https://ai.google.dev/api/generate-content ; read against google-genai 3.4 (types.py, models.py). A stream has no mark
of its end: the last chunk has a `finishReason`, and then the data end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote

from promptguard.core.model import Facts, Headers, Identity, Reading, Request
from promptguard.wire import shared
from promptguard.wire.known.gemini import KNOWN
from promptguard.wire.sse import events

NAME = "gemini"
MARKS_END = False

_PATH = re.compile(
    r"(?P<before>.*/models/)(?P<model>[^/:?]+):(?P<verb>generateContent|streamGenerateContent)(?:\?(?P<query>.*))?",
    re.DOTALL,
)
_ENDS = {"STOP": "stop", "MAX_TOKENS": "length"}
_FILTERED = frozenset((
    "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR",
))  # fmt: skip


def speaks(method: str, path: str) -> bool:
    """Whether method and path are this protocol's, on the Gemini API or on Vertex AI."""
    found = _PATH.fullmatch(path) if method == "POST" else None
    # Without alt=sse a stream is one JSON array, which the SDK never asks for.
    return found is not None and (found["verb"] == "generateContent" or _is_sse(found["query"]))


def _is_sse(query: str | None) -> bool:
    return "alt=sse" in (query or "").split("&")


def read_request(request: Request) -> Facts | None:
    """Read a request's URL and body, or None when they are not what this protocol sends."""
    found, body = _PATH.fullmatch(request.path), shared.json_object(request.body)
    turns = None if body is None else body.get("contents")
    if found is None or body is None or not isinstance(turns, list):
        return None
    settings = shared.members(body.get("generationConfig"))
    system = body.get("systemInstruction")
    candidates = settings.get("candidateCount")
    return Facts(
        protocol=NAME,
        provider="gcp.vertex_ai" if "/publishers/" in found["before"] else "gcp.gemini",
        operation="generate_content",
        model=unquote(found["model"]),
        messages=shared.as_chat(_content(system), tuple(_message(turn) for turn in turns)),
        body=body,
        streamed=found["verb"] == "streamGenerateContent",
        instructions=tuple(part for part in (_content(system), body.get("tools")) if part),
        findings=KNOWN.examine(request, body),
        incomparable=shared.without_text(settings.get("responseModalities"), "TEXT"),
        temperature=shared.number(settings.get("temperature")),
        choices=shared.limit(candidates) or 1,
        response_format=_asked_form(settings),
    )


def _message(turn: object) -> object:
    """Return a turn as a chat's message, its role in the chat's words."""
    role = shared.members(turn).get("role")
    return {"role": "assistant" if role == "model" else role or "user", "content": _content(turn)}


def _content(turn: object) -> object:
    """Return the text of a turn that is text alone, else its parts."""
    parts = shared.members(turn).get("parts")
    texts = [p["text"] for p in shared.items(parts) if isinstance(p, Mapping) and set(p) == {"text"}]
    said = [text for text in texts if isinstance(text, str)]
    return "".join(said) if said and len(said) == len(shared.items(parts)) else parts


def _asked_form(settings: Mapping[str, object]) -> Mapping[str, object] | None:
    """Return the form asked for; a `responseSchema` is JSON Schema in Google's own spelling, which `drift` reads too."""
    form = shared.json_schema(settings.get("responseJsonSchema"))
    return shared.json_schema(settings.get("responseSchema")) if form is None else form


def with_model(request: Request, facts: Facts, model: str) -> Request:  # noqa: ARG001 - the interface of protocols
    """Return the request with another model named in its URL, the body as sent."""
    found = _PATH.fullmatch(request.path)
    assert found is not None  # noqa: S101 - `read_request` has matched it
    path = f"{found['before']}{_named(model)}{request.path[found.end('model') :]}"
    return Request(request.method, request.origin, path, request.headers, request.body, request.timeout)


def background_path(request: Request, facts: Facts, model: str) -> str:  # noqa: ARG001 - the interface of protocols
    """Return where the same question goes for another model, not streamed."""
    found = _PATH.fullmatch(request.path)
    assert found is not None  # noqa: S101 - `read_request` has matched it
    query = "&".join(part for part in (found["query"] or "").split("&") if part not in {"", "alt=sse"})
    return f"{found['before']}{_named(model)}:generateContent" + (f"?{query}" if query else "")


def _named(model: str) -> str:
    return quote(model.rpartition("models/")[2], safe="")


def background_body(facts: Facts, model: str) -> dict[str, object]:  # noqa: ARG001 - the model is in the URL
    """Return the body of the same question for a background call: without what names users or keeps anything."""
    return shared.without(facts.body, frozenset({"labels", "store"}))


def output_bound(body: Mapping[str, object]) -> int | None:
    """Return the most tokens an answer may cost by the request's own limit, or None when it names none."""
    settings = shared.members(body.get("generationConfig"))
    bound, candidates = shared.limit(settings.get("maxOutputTokens")), settings.get("candidateCount")
    return None if bound is None else bound * (shared.limit(candidates) or 1)


def read_reply(status: int, headers: Headers, body: bytes, *, streamed: bool) -> Reading:
    """Read an answer from its raw bytes; plain and streamed answers of equal content give equal readings."""
    return shared.read_answer(status, headers, body, _read_stream if streamed else _read_plain)


def _read_plain(body: bytes) -> Reading:
    return _reading([shared.record(json.loads(body))])


def _read_stream(body: bytes) -> Reading:
    return _reading([shared.record(json.loads(data)) for data in events(body)])


class _Candidate:
    """One candidate, put together from the chunks it came in."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.calls: list[dict[str, str]] = []
        self.finish: str | None = None
        self.logprobs: list[float] = []

    def add(self, candidate: Mapping[str, object]) -> None:
        for part in shared.records(shared.members(candidate.get("content")).get("parts") or []):
            if "functionCall" in part:
                call = shared.record(part["functionCall"])
                named = shared.text(call.get("name")) or ""
                self.calls.append({"name": named, "arguments": shared.arguments(call.get("args"))})
            elif not part.get("thought"):
                self.text.append(shared.text(part.get("text")) or "")
        chosen = shared.members(candidate.get("logprobsResult")).get("chosenCandidates")
        self.logprobs += shared.logprobs(chosen, "logProbability")
        self.finish = shared.text(candidate.get("finishReason")) or self.finish

    def ended(self) -> str | None:
        """Return the finish reason in the words of chats."""
        if self.finish == "STOP" and self.calls:
            return "tool_calls"
        if self.finish in _FILTERED:
            return "content_filter"
        return _ENDS.get(self.finish, self.finish.lower()) if self.finish else None


def _reading(parts: Iterable[Mapping[str, object]]) -> Reading:
    candidates: dict[int, _Candidate] = {}
    last: dict[str, object] = {}
    for part in parts:
        if part.get("error"):
            raise ValueError("the server reported an error within the stream")
        last.update({k: v for k, v in part.items() if k != "candidates" and v is not None})
        for candidate in shared.records(part.get("candidates") or []):
            index = candidate.get("index", 0)
            candidates.setdefault(index if isinstance(index, int) else 0, _Candidate()).add(candidate)
    blocked = shared.name(shared.members(last.get("promptFeedback")).get("blockReason"))
    first = candidates.get(0, _Candidate())
    usage = shared.members(last.get("usageMetadata"))
    return Reading(
        text="".join(first.text),
        complete=blocked is not None or (bool(candidates) and all(c.finish for c in candidates.values())),
        finish_reason="content_filter" if blocked else first.ended(),
        refusal=blocked,
        tool_calls=tuple(first.calls),
        identity=Identity(
            model=shared.name(last.get("modelVersion")),
            service_tier=shared.name(usage.get("trafficType")),
        ),
        response_id=shared.name(last.get("responseId")),
        input_tokens=shared.counts(usage.get("promptTokenCount"), usage.get("toolUsePromptTokenCount")),
        output_tokens=shared.counts(usage.get("candidatesTokenCount"), usage.get("thoughtsTokenCount")),
        token_details=shared.token_details(usage),
        logprobs=tuple(first.logprobs[: shared.MOST_LOGPROBS]),
    )
