"""Amazon Bedrock's Converse: the model is named in the URL, and a stream is an AWS event stream."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from promptguard.testing.dialects import bedrock
from promptguard.testing.dialects.frames import EVENT_STREAM, event
from promptguard.testing.dialects.parts import Answer, Asked, turns_of

STREAM_TYPE = EVENT_STREAM
_PATH = re.compile(r".*/model/([^/?]+)/(converse|converse-stream)")
_STOPS = {
    "stop": "end_turn",
    "tool_calls": "tool_use",
    "length": "max_tokens",
    "content_filter": "content_filtered",
}

error = bedrock.error


def speaks(path: str) -> bool:
    """Whether this dialect is spoken at `path`."""
    return _PATH.fullmatch(path) is not None


def asked(path: str, body: Mapping[str, object]) -> Asked:
    """Read a request. Raises KeyError or TypeError for what is none."""
    found = _PATH.fullmatch(path)
    if found is None:
        raise KeyError(path)
    messages = tuple(
        {"role": turn["role"], "content": turn["content"]} for turn in turns_of(body["messages"])
    )
    return Asked(unquote(found[1]), messages, found[2] == "converse-stream", body)


def _stop(answer: Answer) -> str:
    return "guardrail_intervened" if answer.served.refusal else _STOPS[answer.served.finish_reason]


def _told(answer: Answer) -> dict[str, object]:
    """Return what comes beside an answer; a router's name for the model only where it is not the one asked for."""
    usage = {"inputTokens": answer.input_tokens, "outputTokens": answer.output_tokens}
    usage["totalTokens"] = answer.input_tokens + answer.output_tokens
    told = {"usage": usage, "metrics": {"latencyMs": 1}, "serviceTier": {"type": "default"}}
    if answer.served.model:
        told["trace"] = {"promptRouter": {"invokedModelId": answer.served.model}}
    return told


def _calls(answer: Answer) -> list[dict[str, object]]:
    return [{"toolUseId": number, "name": name, "input": given} for number, name, given in answer.calls()]


def plain(answer: Answer) -> dict[str, object]:
    """Return a whole answer."""
    text = answer.served.refusal or answer.served.text
    said = [{"text": text}] if text else []
    content = said + [{"toolUse": call} for call in _calls(answer)]
    message = {"role": "assistant", "content": content}
    return {"output": {"message": message}, "stopReason": _stop(answer), **_told(answer)}


def streamed(answer: Answer) -> Iterator[bytes]:
    """Yield the events of a streamed answer; text blocks have no start, as the real ones have none."""
    yield event("messageStart", {"role": "assistant", "p": "abcd"})
    index = 0
    if answer.served.text or answer.served.refusal:
        pieces = [answer.served.refusal] if answer.served.refusal else answer.pieces()
        for piece in pieces:
            yield event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": piece}, "p": "a"})
        yield event("contentBlockStop", {"contentBlockIndex": 0})
        index = 1
    for number, call in enumerate(_calls(answer), index):
        start = {"toolUse": {"toolUseId": call["toolUseId"], "name": call["name"]}}
        yield event("contentBlockStart", {"contentBlockIndex": number, "start": start})
        given = json.dumps(call["input"])
        for part in ("", given[:5], given[5:]):
            delta = {"toolUse": {"input": part}}
            yield event("contentBlockDelta", {"contentBlockIndex": number, "delta": delta})
        yield event("contentBlockStop", {"contentBlockIndex": number})
    yield event("messageStop", {"stopReason": _stop(answer)})
    yield event("metadata", _told(answer))
