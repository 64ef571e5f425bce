"""boto3's peculiarities: its own event system, bodies read in many ways, streams in frames, signatures."""

from __future__ import annotations

import gc
import io
import json
import threading
import time
from operator import methodcaller

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.stub import Stubber
from urllib3.exceptions import ProtocolError
from urllib3.response import HTTPResponse

import promptguard
from promptguard.errors import UnknownClient
from promptguard.http.botocore_streams import record
from promptguard.http.streams import Recorder
from promptguard.ledger.store import Ledger
from promptguard.runtime.finishing import _abandoned, finish_abandoned
from promptguard.testing.dialects import converse, frames
from tests.conformance.adapters import Boto3
from tests.conformance.conftest import TEXT
from tests.conformance.features import raised

pytestmark = [
    pytest.mark.conformance,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
SHADOW = promptguard.Shadow(model="other", sample=1.0, repeat=0.0)
TURN = [{"role": "user", "content": [{"text": "hello there"}]}]
ASK = {"modelId": "m", "messages": TURN}
INVOKE = {
    "modelId": "m",
    "body": json.dumps(
        {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 9,
            "messages": [{"role": "user", "content": "hi"}],
        }
    ),
}


@pytest.fixture
def client(provider):
    made = Boto3().client(provider.origin)
    yield made
    made.close()


def wrapped(client, ledger, **options):
    return promptguard.wrap(client, ledger=ledger, **options)


def text_of(answer):
    return answer["output"]["message"]["content"][0]["text"]


def events_of(answer):
    return [json.dumps(event, default=bytes.decode) for event in answer.get("stream") or answer["body"]]


def guard_of(client):
    return client._endpoint.http_session._promptguard_ports


# What the application does with botocore's events and sessions stays what it was.


def test_what_handlers_change_before_a_request_is_sent_is_sent(client, provider, guarded):
    wrapped(client, guarded, cache="memory")
    seen = []

    def mark(request, **_):
        seen.append(request.url)
        request.headers["x-mine"] = "yes"

    client.meta.events.register_last("before-send.bedrock-runtime.*", mark)
    client.converse(**ASK)
    assert provider.received[0].headers["x-mine"] == "yes"
    assert len(seen) == 1


def test_an_answer_of_somebody_elses_handler_is_the_answer_and_nothing_is_sent(client, provider, guarded):
    wrapped(client, guarded, cache="memory", shadow=SHADOW)
    body = b'{"output": {"message": {"content": [{"text": "mine"}]}}, "stopReason": "end_turn"}'

    class Raw(io.BytesIO):
        def stream(self, **_):
            yield self.read()

    def answer(request, **_):
        return AWSResponse(request.url, 200, {"content-type": "application/json"}, Raw(body))

    client.meta.events.register("before-send.bedrock-runtime.Converse", answer)
    assert text_of(client.converse(**ASK)) == "mine"
    assert promptguard.flush(60.0)
    assert not provider.received


def test_a_stubber_works_as_before(client, provider, guarded):
    wrapped(client, guarded, cache="memory")
    with Stubber(client) as stubber:
        answer = {"stopReason": "end_turn", "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
                  "metrics": {"latencyMs": 1}, "output": {"message": {"role": "assistant", "content": []}}}  # fmt: skip
        stubber.add_response("converse", answer, ASK)
        assert client.converse(**ASK)["stopReason"] == "end_turn"
    assert not provider.received


def test_other_services_and_sessions_are_refused(client):
    s3 = boto3.client("s3", region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s")
    with pytest.raises(UnknownClient, match=r"cannot wrap a botocore.client.S3.*boto3 \(bedrock-runtime\)"):
        promptguard.wrap(s3)
    with pytest.raises(UnknownClient, match="URLLib3Session"):
        promptguard.guard(client._endpoint.http_session)
    with pytest.raises(UnknownClient, match="cannot tell whether calls are guarded"):
        promptguard.is_wrapped(s3)


def test_a_signed_model_is_never_routed(client, guarded):
    with pytest.raises(promptguard.ConfigurationError, match="signed body"):
        wrapped(client, guarded, shadow=SHADOW, on_drift=promptguard.Route(to="other"))
    assert not promptguard.is_wrapped(client)


def test_a_verdict_that_was_asked_to_raise_reaches_the_caller_at_once(provider, guarded):
    client = Boto3().retrying(provider.origin)
    wrapped(client, guarded, shadow=SHADOW, on_drift=promptguard.Raise())
    guard_of(client).background.state.raising = {"(no template)": "moved"}
    with pytest.raises(promptguard.DriftDetected, match="moved"):
        client.converse(**ASK)
    assert not provider.received
    client.close()


def test_clear_cache(client, provider, guarded):
    wrapped(client, guarded, cache="memory")
    counts = []
    for _ in range(3):
        client.converse(**ASK)
        client.converse(**ASK)
        counts.append(provider.asked("m"))
        promptguard.clear_cache(client)
    assert counts == [1, 2, 3]


# InvokeModel's body, in every way it can be read.


def within(body):
    with body as raw:
        return raw.read()


def into(raw):
    found = bytearray()
    buffer = bytearray(13)
    while count := raw.readinto(buffer):
        found += buffer[:count]
    return bytes(found)


WAYS = {
    "read": methodcaller("read"),
    "read by 7": lambda body: b"".join(iter(lambda: body.read(7), b"")),
    "iter_chunks": lambda body: b"".join(body.iter_chunks(11)),
    "iter_lines": lambda body: b"\n".join(body.iter_lines()),
    "readlines": lambda body: b"".join(body.readlines()),
    "iterating": b"".join,
    "raw stream": lambda body: b"".join(body._raw_stream.stream()),
    "raw data": lambda body: body._raw_stream.data,
    "as a context": within,
    "half and half": lambda body: body.read(9) + b"".join(body._raw_stream.stream()),
    "readinto": lambda body: into(body._raw_stream),
    "with a timeout": lambda body: (body.set_socket_timeout(5), body.read())[1],
}


@pytest.mark.parametrize("way", WAYS)
def test_a_body_reads_the_same_in_every_way(way, client, provider, guarded):
    bare = client.invoke_model(**INVOKE)["body"].read()
    wrapped(client, guarded, cache="memory")
    for _ in range(3):  # one from the provider, then hits
        assert WAYS[way](client.invoke_model(**INVOKE)["body"]) == bare
    assert provider.asked("m") == 2
    assert not guard_of(client).faults.counts


@pytest.mark.parametrize("call", ["converse_stream", "invoke_model_with_response_stream"])
def test_a_streamed_hit_comes_in_the_chunks_it_came_in(call, client, provider, guarded):
    wrapped(client, guarded, cache="memory")
    asked = ASK if call == "converse_stream" else INVOKE
    first = events_of(getattr(client, call)(**asked))
    second = getattr(client, call)(**asked)
    raw = (second.get("stream") or second["body"])._raw_stream
    chunks = list(raw.stream())
    assert len(chunks) == len(first) > 5
    assert (first, provider.asked("m")) == (events_of(getattr(client, call)(**asked)), 1)


def test_bodies_of_other_families_pass_untouched(client, provider, guarded):
    titan = {"modelId": "amazon.titan-text", "body": json.dumps({"inputText": "Hi"})}
    bare = raised(lambda: client.invoke_model(**titan))
    wrapped(client, guarded, cache="memory", shadow=SHADOW)
    assert [raised(lambda: client.invoke_model(**titan)) for _ in range(2)] == [bare, bare]
    assert promptguard.flush(60.0)
    assert not guard_of(client).faults.counts


def test_a_body_that_is_a_file_passes_untouched(client, provider, guarded):
    wrapped(client, guarded, cache="memory")
    for _ in range(2):
        client.invoke_model(modelId="m", body=io.BytesIO(INVOKE["body"].encode()))["body"].read()
    assert provider.asked("m") == 2
    assert provider.received[0].raw == INVOKE["body"].encode()


# Streams that do not come to their end.


def first_events(stream, count):
    reading = iter(stream)
    return [next(reading) for _ in range(count)]


@pytest.mark.parametrize("leave", ["close", "drop"])
def test_a_stream_that_was_left_is_not_kept(leave, client, provider, guarded):
    wrapped(client, guarded, cache="memory")
    for asked in (1, 2):
        stream = client.converse_stream(**ASK)["stream"]
        events = first_events(stream, 3)
        if leave == "close":
            stream.close()
        del stream
        gc.collect()
        assert provider.asked("m") == asked
        assert "contentBlockDelta" in events[1]


def test_a_stream_closed_between_its_stop_and_its_metadata_is_not_kept(client, provider, guarded):
    provider.models["slow-end"] = lambda _: promptguard.testing.Served("one two", chunk_delay=0.05)
    wrapped(client, guarded, cache="memory")
    for asked in (1, 2):
        stream = client.converse_stream(modelId="slow-end", messages=TURN)["stream"]
        for event in stream:
            if "messageStop" in event:
                break
        stream.close()
        assert provider.asked("slow-end") == asked


def cut(events):
    def streamed(answer):
        for number, event in enumerate(converse_streamed(answer)):
            if number == events:
                raise ConnectionError
            yield event

    return streamed


converse_streamed = converse.streamed


def test_a_stream_that_is_cut_is_raised_as_before_and_not_kept(client, provider, guarded, monkeypatch):
    monkeypatch.setattr(converse, "streamed", cut(3))
    bare = raised(lambda: events_of(client.converse_stream(**ASK)))
    assert bare[0] != "answered"
    wrapped(client, guarded, cache="memory", shadow=SHADOW)
    assert [raised(lambda: events_of(client.converse_stream(**ASK))) for _ in range(2)] == [bare, bare]
    assert provider.asked("m") == 3
    monkeypatch.undo()
    assert len({tuple(events_of(client.converse_stream(**ASK))) for _ in range(2)}) == 1
    assert provider.asked("m") == 4


def test_a_stream_with_a_wrong_checksum_is_raised_as_before_and_not_kept(
    client, provider, guarded, monkeypatch
):
    def broken(answer):
        body = b"".join(converse_streamed(answer))
        yield body[:-30] + bytes([body[-30] ^ 1]) + body[-29:]

    monkeypatch.setattr(converse, "streamed", broken)
    bare = raised(lambda: events_of(client.converse_stream(**ASK)))
    assert bare[0].__name__ == "ChecksumMismatch"
    wrapped(client, guarded, cache="memory")
    assert [raised(lambda: events_of(client.converse_stream(**ASK))) for _ in range(2)] == [bare, bare]
    assert provider.asked("m") == 3


def test_an_error_within_a_stream_is_raised_as_before_and_not_kept(client, provider, guarded, monkeypatch):
    def throttled(answer):
        yield from list(converse_streamed(answer))[:3]
        yield frames.exception("throttlingException", "slow down")

    monkeypatch.setattr(converse, "streamed", throttled)
    bare = raised(lambda: events_of(client.converse_stream(**ASK)))
    assert bare[0].__name__ == "EventStreamError"
    wrapped(client, guarded, cache="memory", shadow=SHADOW)
    assert [raised(lambda: events_of(client.converse_stream(**ASK))) for _ in range(2)] == [bare, bare]
    assert provider.asked("m") == 3
    gc.collect()  # nobody closes it
    assert promptguard.flush(60.0)
    assert {row.outcome for row in Ledger(guarded).pairs_after(0)} == {"control_error"}


class Breaking(io.BytesIO):
    """Gives five bytes, and then the connection is gone."""

    def read(self, amt=-1):
        if self.tell():
            raise ConnectionResetError
        return super().read(5)

    read1 = read


@pytest.mark.parametrize(
    "read",
    [
        lambda raw: b"".join(raw.stream(5)),
        lambda raw: [raw.read(5) for _ in range(2)],
        lambda raw: [raw.readinto(bytearray(5)) for _ in range(2)],
    ],
)
def test_a_connection_that_breaks_is_told_at_once_and_once(read):
    told = []
    raw = HTTPResponse(Breaking(b"0123456789"), preload_content=False)
    record(raw, Recorder(told.append))
    with pytest.raises(ProtocolError):
        read(raw)
    assert [(body.chunks, body.end) for body in told] == [((b"01234",), "cut")]
    raw.close()
    assert len(told) == 1


def test_what_is_no_response_of_urllib3s_is_refused():
    with pytest.raises(TypeError, match="BytesIO"):
        record(io.BytesIO(), Recorder(print))


def test_a_dropped_stream_is_finished_later_and_its_connection_given_back(client, provider, guarded):
    wrapped(client, guarded, cache="memory")
    stream = client.converse_stream(modelId="slow", messages=TURN)["stream"]
    fp = stream._raw_stream._fp
    del stream
    gc.collect()
    assert fp.closed
    assert len(_abandoned) == 1
    finish_abandoned()
    assert guard_of(client).faults.counts == {}


def test_what_a_guardrail_stopped_is_not_kept(client, provider, guarded):
    provider.models["m"] = lambda _: promptguard.testing.Served("", refusal="Blocked.")
    wrapped(client, guarded, cache="memory")
    for expected in (1, 2):
        assert client.converse(**ASK)["stopReason"] == "guardrail_intervened"
        assert provider.asked("m") == expected


def test_equal_calls_at_one_moment_ask_once(client, provider, guarded):
    provider.models["m"] = lambda _: promptguard.testing.Served(TEXT, delay=0.3)
    wrapped(client, guarded, cache="memory")
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(text_of(client.converse(**ASK)))) for _ in range(6)
    ]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert (answers, provider.asked("m")) == ([TEXT] * 6, 1)


def test_answers_that_are_collected_before_they_are_read_do_not_wait_for_each_other(provider, guarded):
    client = wrapped(Boto3().client(provider.origin, read_timeout=5), guarded, cache="memory")
    together, answers = threading.Barrier(2), []

    def collect():
        together.wait()
        answers.append(client.invoke_model(**INVOKE))

    threads = [threading.Thread(target=collect) for _ in range(2)]
    began = time.monotonic()
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert time.monotonic() - began < 4
    assert len({answer["body"].read() for answer in answers}) == 1
    client.close()


def test_nothing_of_botocore_is_imported_for_others():
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['botocore'] = None; import httpx, promptguard\n"
        "client = promptguard.guard(httpx.Client(), cache='memory')\n"
        "print(promptguard.is_wrapped(client), 'urllib3.response' in sys.modules)"
    )
    paths = [path for path in sys.path if path]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["True", "False"]
