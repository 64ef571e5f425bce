"""What AWS's protocols alone have: frames with checksums, models in URLs, guardrails, routers, other model families."""

from __future__ import annotations

import json
import zlib
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptguard import wire
from promptguard.core.model import Request
from promptguard.core.policy import unsaved
from promptguard.testing.dialects import frames
from promptguard.testing.dialects.parts import Served
from promptguard.wire import anthropic_clouds, bedrock_converse, eventstream
from tests.wire.test_protocols import CALL, CLOUD, CONVERSE_TURN, PROTOCOLS, SERVED, read, said

BODY = frames.event("a", {"x": 1}) + frames.event("b", {"y": "Ünïcödé"}) + frames.event("c", {})


def test_frames_are_read_to_the_last_whole_one():
    assert list(eventstream.events(BODY)) == [("a", {"x": 1}), ("b", {"y": "Ünïcödé"}), ("c", {})]
    starts = [len(frames.event("a", {"x": 1})), len(BODY) - len(frames.event("c", {}))]
    for at in range(len(BODY)):
        whole = sum(at >= start for start in starts)
        assert len(list(eventstream.events(BODY[:at]))) == whole, at


@pytest.mark.parametrize("at", range(len(BODY)))
def test_a_changed_byte_is_seen_by_the_checksums(at):
    broken = bytearray(BODY)
    broken[at] ^= 0x20
    with pytest.raises(ValueError, match=r"checksum|shorter|broken|JSON"):
        list(eventstream.messages(bytes(broken)))


@pytest.mark.parametrize(("total", "headers"), [(0, 0), (15, 0), (20, 5), (2**32 - 1, 2**32 - 1)])
def test_a_length_that_cannot_be_is_an_error_and_no_endless_loop(total, headers):
    prelude = total.to_bytes(4, "big") + headers.to_bytes(4, "big")
    body = prelude + zlib.crc32(prelude).to_bytes(4, "big") + bytes(40)
    with pytest.raises(ValueError, match="shorter"):
        list(eventstream.messages(body))


@pytest.mark.parametrize("name", ["anthropic_bedrock", "bedrock_converse"])
def test_a_stream_with_a_changed_byte_is_never_complete(name):
    body = said(name, SERVED["tool"], streamed=True)
    for at in range(0, len(body), 3):
        broken = bytearray(body)
        broken[at] ^= 1
        assert not read(name, bytes(broken), streamed=True).complete, at


@settings(max_examples=300)
@given(st.binary(max_size=80), st.binary(max_size=40), st.binary(max_size=40))
def test_frames_never_raise_anything_else(raw, headers, payload):
    prelude = (16 + len(headers) + len(payload)).to_bytes(4, "big") + len(headers).to_bytes(4, "big")
    message = prelude + zlib.crc32(prelude).to_bytes(4, "big") + headers + payload
    for body in (raw, message + zlib.crc32(message).to_bytes(4, "big")):
        try:
            list(eventstream.events(body))
        except ValueError:
            continue


def test_every_type_of_header_is_stepped_over():
    values = (
        b"\x01a\x00\x01b\x01\x01c\x02\x05\x01d\x03\x00\x01\x01e\x04" + b"\0" * 4 + b"\x01f\x05" + b"\0" * 8
    )
    values += (
        b"\x01g\x06\x00\x02hi\x01h\x08" + b"\0" * 8 + b"\x01i\x09" + b"\0" * 16 + b"\x01j\x07\x00\x03yes"
    )
    assert eventstream._headers(values) == {"j": "yes"}
    for at in range(1, len(values)):
        try:
            assert "j" not in eventstream._headers(values[:at])
        except ValueError:
            continue


@pytest.mark.parametrize("name", ["anthropic_bedrock", "bedrock_converse"])
def test_an_error_within_a_stream_is_no_answer(name):
    body = said(name, SERVED["text"], streamed=True)
    for kind in ("throttlingException", "modelStreamErrorException"):
        assert read(name, body + frames.exception(kind, "slow down"), streamed=True).error == "unreadable"


def test_a_model_with_every_character_of_an_arn_is_named_in_the_url():
    arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-v1:0"
    for path, body, protocol in (
        ("/model/m-1/invoke", {**CLOUD, "anthropic_version": "v"}, anthropic_clouds.BEDROCK),
        ("/model/m-1/converse-stream", {"messages": CONVERSE_TURN}, bedrock_converse),
    ):
        asked = Request("POST", "https://x", path, (), json.dumps(body).encode())
        facts = protocol.read_request(asked)
        routed = protocol.with_model(asked, facts, arn)
        assert routed.path.count("/") == 3
        assert protocol.read_request(routed).model == arn
        assert routed.path.rpartition("/")[2] == path.rpartition("/")[2]


def test_streams_are_asked_again_plain():
    for path, again in (
        ("/model/m%3A1/invoke-with-response-stream", "/model/o:2/invoke"),
        ("/model/m%3A1/converse-stream", "/model/o%3A2/converse"),
        ("/v1/projects/p/locations/l/publishers/anthropic/models/m:streamRawPredict?x=1",
         "/v1/projects/p/locations/l/publishers/anthropic/models/o%3A2:rawPredict?x=1"),
    ):  # fmt: skip
        body = {"messages": CONVERSE_TURN, "anthropic_version": "v", "stream": True}
        asked = Request("POST", "https://x", path, (), json.dumps(body).encode())
        protocol = wire.recognise(asked)
        facts = protocol.read_request(asked)
        assert facts.streamed
        assert protocol.background_path(asked, facts, "o:2") == again


def test_bodies_of_other_families_and_other_operations_are_left_alone():
    invoke = anthropic_clouds.BEDROCK
    for body in ({"inputText": "Hi"}, {"prompt": "Hi", "max_gen_len": 5}, {"messages": CONVERSE_TURN}, []):
        assert (
            invoke.read_request(Request("POST", "x", "/model/m/invoke", (), json.dumps(body).encode()))
            is None
        )
    for path in (
        "/model/m/count-tokens", "/model/m/apply", "/model/a/b/invoke",
        "/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict",
        "/v1/projects/p/locations/l/publishers/meta/models/m:rawPredict",
    ):  # fmt: skip
        assert wire.recognise(Request("POST", "x", path, (), b"{}")) is None
    kept = {"promptVariables": {"a": {"text": "b"}}}
    asked = Request("POST", "x", "/model/arn%3Aprompt/converse", (), json.dumps(kept).encode())
    assert bedrock_converse.read_request(asked) is None


@pytest.mark.parametrize(
    ("model", "is_kept_there"),
    [
        ("arn:aws:bedrock:us-east-1:123456789012:prompt/PROMPT1234:1", True),
        ("arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:prompt/PROMPT1234", True),
        ("arn:aws:bedrock:us-east-1:123456789012:default-prompt-router/anthropic.claude:1", False),
        ("arn:aws:bedrock:us-east-1::foundation-model/m", False),
    ],
)
def test_a_prompt_that_is_kept_at_the_provider_is_left_alone_whatever_is_added_to_it(model, is_kept_there):
    body = {"messages": CONVERSE_TURN, "promptVariables": {"a": {"text": "b"}}}
    asked = Request("POST", "x", f"/model/{quote(model, safe='')}/converse", (), json.dumps(body).encode())
    facts = bedrock_converse.read_request(asked)
    assert facts is None if is_kept_there else facts.model == model


def test_cited_text_is_read_alike_whole_and_streamed():
    cited = {"content": [{"text": "It is "}, {"text": "three"}], "citations": [{"title": "a document"}]}
    answer = json.loads(said("bedrock_converse", SERVED["text"], streamed=False))
    answer["output"]["message"]["content"] = [{"citationsContent": cited}, {"text": ", I think."}]
    stream = b"".join(
        frames.event(kind, told)
        for kind, told in (
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "It is "}}),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "three"}}),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"citation": {"title": "a document"}}}),
            ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": ", I think."}}),
            ("messageStop", {"stopReason": "end_turn"}),
            ("metadata", {"usage": answer["usage"]}),
        )
    )
    plain = read("bedrock_converse", json.dumps(answer).encode(), streamed=False)
    assert plain.text == "It is three, I think."
    assert (read("bedrock_converse", stream, streamed=True).text, plain.complete) == (plain.text, True)


@pytest.mark.parametrize("streamed", [False, True])
def test_what_a_guardrail_or_a_filter_stopped_is_no_ordinary_answer(streamed):
    for served in (Served("", refusal="Blocked."), Served("No", finish_reason="content_filter")):
        got = read("bedrock_converse", said("bedrock_converse", served, streamed=streamed), streamed=streamed)
        assert got.complete
        assert unsaved(got) == "finish_reason content_filter"


@pytest.mark.parametrize("streamed", [False, True])
def test_a_router_says_which_model_answered(streamed):
    served = Served("Hi", model="arn:aws:bedrock:::foundation-model/m")
    got = read("bedrock_converse", said("bedrock_converse", served, streamed=streamed), streamed=streamed)
    assert (got.identity.model, got.identity.service_tier) == (served.model, "default")


def test_a_converse_stream_is_whole_with_its_metadata_only():
    body = said("bedrock_converse", SERVED["text"], streamed=True)
    stopped = body[: body.rindex(b"metadata") - 40]
    got = read("bedrock_converse", stopped, streamed=True)
    assert (got.text, got.complete) == (SERVED["text"].text, False)
    assert b"messageStop" in stopped


def test_converse_counts_what_its_prompt_cache_took():
    answer = json.loads(said("bedrock_converse", SERVED["text"], streamed=False))
    answer["usage"] |= {"inputTokens": 5, "cacheReadInputTokens": 300, "cacheWriteInputTokens": 20}
    assert read("bedrock_converse", json.dumps(answer).encode(), streamed=False).input_tokens == 325


def test_a_background_question_names_no_user_and_no_way_to_stream():
    body = {
        "messages": CONVERSE_TURN,
        "requestMetadata": {"user": "u"},
        "guardrailConfig": {"guardrailIdentifier": "g", "streamProcessingMode": "async"},
    }
    asked = Request("POST", "x", "/model/m/converse-stream", (), json.dumps(body).encode())
    facts = bedrock_converse.read_request(asked)
    again = {"messages": CONVERSE_TURN, "guardrailConfig": {"guardrailIdentifier": "g"}}
    assert bedrock_converse.background_body(facts, "o") == again
    assert facts.body == body


def test_parallel_tool_calls_of_a_stream_keep_apart():
    body = said(
        "bedrock_converse", Served("So:", finish_reason="tool_calls", tool_calls=(CALL, CALL)), streamed=True
    )
    got = PROTOCOLS["bedrock_converse"].read_reply(200, (), body, streamed=True)
    assert (got.text, got.finish_reason) == ("So:", "tool_calls")
    assert [call["arguments"] for call in got.tool_calls] == ['{"city": "Kiel"}'] * 2
