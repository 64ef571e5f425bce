"""OpenAI embeddings, which other providers speak as well: cacheable, never paired, for there is no text to compare.

https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from promptguard.core.model import Facts, Headers, Identity, Reading, Request
from promptguard.wire import shared
from promptguard.wire.known.openai_embeddings import KNOWN

NAME = "openai_embeddings"
MARKS_END = True

with_model = shared.with_body_model
background_path = shared.path_for


def speaks(method: str, path: str) -> bool:
    """Whether method and path are this protocol's, whatever prefix the base URL has."""
    return method == "POST" and path.partition("?")[0].endswith("/embeddings")


def read_request(request: Request) -> Facts | None:
    """Read a request's body, or None when it is not what this protocol sends."""
    body = shared.json_object(request.body)
    model = None if body is None else shared.model_asked(request, body)
    if body is None or model is None or "input" not in body:
        return None
    return Facts(
        protocol=NAME,
        provider="openai",
        operation="embeddings",
        model=model,
        messages=(),
        body=body,
        streamed=False,
        findings=KNOWN.examine(request, body),
        incomparable="embeddings: no text to compare",
    )


def background_body(facts: Facts, model: str) -> dict[str, object]:
    """Return the same question for another model; the flow never asks one."""
    return shared.renamed(facts.body, facts, model)


def output_bound(body: Mapping[str, object]) -> int | None:  # noqa: ARG001 - the interface of protocols
    """Return 0: embeddings are billed by what is sent."""
    return 0


def read_reply(status: int, headers: Headers, body: bytes, *, streamed: bool) -> Reading:  # noqa: ARG001
    """Read an answer from its raw bytes; the vectors themselves are nobody's to look at."""
    return shared.read_answer(status, headers, body, _read)


def _read(body: bytes) -> Reading:
    answer = shared.record(json.loads(body))
    data = shared.records(answer["data"] or [])
    whole = bool(data) and all(item.get("embedding") for item in data)
    usage = shared.members(answer.get("usage"))
    return Reading(
        text="",
        complete=whole,
        finish_reason="stop" if whole else None,
        identity=Identity(model=shared.name(answer.get("model"))),
        response_id=shared.name(answer.get("id")),
        input_tokens=shared.count(usage.get("prompt_tokens")),
        output_tokens=0,
    )
