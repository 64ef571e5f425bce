"""Answers read from bytes: whole, cut anywhere, split anywhere, and garbage."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptguard.core.model import Request
from promptguard.http.streams import Recorder
from promptguard.wire import openai_chat
from promptguard.wire.sse import events

HEAD = {"id": "chatcmpl-1", "model": "gpt-4", "system_fingerprint": "fp_1"}
USAGE = {"prompt_tokens": 5, "completion_tokens": 7}
NAMES = [
    "choices",
    "message",
    "delta",
    "content",
    "tool_calls",
    "index",
    "usage",
    "finish_reason",
    "model",
    "id",
    "messages",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)


def plain(text, finish="stop", calls=(), refusal=None):
    message = {"role": "assistant", "content": text, "refusal": refusal, "tool_calls": list(calls) or None}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return json.dumps({**HEAD, "choices": [choice], "usage": USAGE}).encode()


def streamed(pieces, finish="stop", calls=(), refusal=None):
    deltas = [{"role": "assistant", "content": ""}, *({"content": piece} for piece in pieces)]
    deltas += [{"tool_calls": [{"index": i, **call}]} for i, call in enumerate(calls)]
    deltas += [{"refusal": refusal}] if refusal else []
    chunks = [{**HEAD, "choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas]
    chunks.append({**HEAD, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    chunks.append({**HEAD, "choices": [], "usage": USAGE})
    return (
        "".join(f"data: {json.dumps(c, ensure_ascii=False)}\n\n" for c in chunks).encode()
        + b"data: [DONE]\n\n"
    )


def read(body, *, stream, status=200, headers=()):
    return openai_chat.read_reply(status, headers, body, streamed=stream)


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=6),
    st.sampled_from(["stop", "length"]),
)
def test_plain_and_streamed_answers_of_equal_content_read_alike(pieces, finish):
    for calls, refusal in (((), None), ((CALL, CALL), None), ((), "no")):
        whole = read(plain("".join(pieces), finish, calls, refusal), stream=False)
        assert read(streamed(pieces, finish, calls, refusal), stream=True) == whole
        assert whole.complete
        assert (whole.input_tokens, whole.output_tokens) == (5, 7)


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_events_do_not_depend_on_where_the_network_split_them(ends):
    body = streamed(["Grüße ", "a\u2028b", "c"]).replace(b"\n", ends.encode())
    expected = list(events(streamed(["Grüße ", "a\u2028b", "c"])))
    told = []
    for at in range(len(body) + 1):
        recorder = Recorder(told.append)
        recorder.add(body[:at])
        recorder.add(body[at:])
        recorder.finish("eof")
        assert list(events(b"".join(told[-1].chunks))) == expected


def test_a_body_cut_at_any_byte_is_never_complete():
    body = plain("hello [DONE] data: world", calls=(CALL,))
    assert read(body, stream=False).complete
    assert not any(read(body[:at], stream=False).complete for at in range(len(body)))


def test_a_stream_cut_at_any_byte_is_never_complete():
    body = streamed(["hello ", "[DONE]", "\ndata: [DONE]\n\n"], calls=(CALL,))
    assert read(body, stream=True).complete
    assert not any(read(body[:at], stream=True).complete for at in range(len(body)))


def test_a_stream_without_any_one_of_its_last_events_is_not_complete():
    parts = streamed(["a"]).split(b"\n\n")[:-1]
    without_finish = [p for p in parts if b'"stop"' not in p]
    for kept in (parts[:-1], without_finish, [b"data: [DONE]"]):
        assert not read(b"".join(p + b"\n\n" for p in kept), stream=True).complete


@given(
    st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()),
    st.booleans(),
    st.sampled_from([b"gzip", b"br", b""]),
)
def test_garbage_never_raises_and_what_is_read_is_text_and_counts(body, stream, coding):
    body = b"data: " + body + b"\n\ndata: [DONE]\n\n" if stream else body
    got = read(body, stream=stream, headers=((b"Content-Encoding", coding),))
    assert isinstance(got.text, str)
    assert all(
        isinstance(v, str) or v is None
        for v in (got.finish_reason, got.refusal, got.response_id, got.identity.model)
    )
    assert all(v is None or (isinstance(v, int) and v >= 0) for v in (got.input_tokens, got.output_tokens))


@pytest.mark.parametrize(
    "answer",
    [
        {"choices": []},
        {"choices": [{"message": {"content": ["a"]}, "finish_reason": "stop"}]},
        {"choices": [{"message": {"content": "a"}, "finish_reason": ["stop"]}]},
        {"error": {"message": "overloaded"}},
        [],
        None,
    ],
)
def test_what_is_no_answer_is_not_complete(answer):
    got = read(json.dumps(answer).encode(), stream=False)
    assert (got.complete, got.error) == (False, "unreadable")


def test_a_server_cannot_lower_what_was_spent():
    body = json.loads(plain("a"))
    for bad in (-5, True, 1.5, "7", None, 2**70):
        body["usage"] = {"prompt_tokens": bad, "completion_tokens": bad}
        got = read(json.dumps(body).encode(), stream=False)
        assert (got.input_tokens, got.output_tokens) == (None, None)


@given(st.binary(max_size=100) | JSON.map(lambda value: json.dumps(value).encode()))
def test_a_garbage_request_never_raises(body):
    openai_chat.read_request(Request("POST", "http://x", "/v1/chat/completions", (), body))


@pytest.mark.parametrize("limit", [0, -1, True, "9", None, 2.5])
def test_a_limit_that_is_none_bounds_nothing(limit):
    assert openai_chat.output_bound({"max_tokens": limit}) in (None, 1 if limit is True else None)
