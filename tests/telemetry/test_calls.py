"""One call, one span, with everything the convention asks for: whoever makes the span, and whatever the call was."""

from __future__ import annotations

import json
import sys
import time

import pytest
from openai import OpenAI
from opentelemetry import trace
from opentelemetry.trace import SpanKind

import promptguard
from promptguard.telemetry import calls, instrumentors
from promptguard.telemetry import semconv as name
from promptguard.testing import FakeClock, FakeProvider, Fault, Served
from tests.cache.replies import until
from tests.telemetry.conftest import has_util_genai
from tests.telemetry.points import points

pytestmark = pytest.mark.sdk
QUESTION, ANSWER = "canary-question", "canary-answer of some words"
ASK = [{"role": "user", "content": QUESTION}]
OURS = (name.SCOPE, name.SCOPE_GENAI)


@pytest.fixture(params=["own", "util-genai"] if has_util_genai() else ["own"])
def maker(request, monkeypatch):
    """Who makes the span where nobody else does."""
    if request.param == "own":
        monkeypatch.setattr(calls.Calls, "_handler", None)
    return request.param


@pytest.fixture
def provider():
    def answer(_question):
        return Served(ANSWER)

    with FakeProvider(
        {"gpt-4": answer, "other": answer, "broken": lambda _: Fault("status", 500)}
    ) as running:
        yield running


@pytest.fixture
def client(provider):
    with OpenAI(base_url=provider.url, api_key="canary-key", max_retries=0) as made:
        yield made


def asked(client, **more):
    return client.chat.completions.create(model="gpt-4", messages=ASK, **more)


def told_of(spans):
    return [span for span in spans.get_finished_spans() if span.instrumentation_scope.name in OURS]


def test_the_span_has_what_the_convention_asks_for(recorded, maker, client, provider, guarded):
    spans, reader = recorded
    promptguard.wrap(client, ledger=guarded)
    asked(
        client, temperature=0.5, top_p=0.9, max_tokens=50, seed=7, n=2, stop=["END"], presence_penalty=0.1,
        response_format={"type": "json_object"},
    )  # fmt: skip
    (span,) = told_of(spans)
    assert (span.name, span.kind) == ("chat gpt-4", SpanKind.CLIENT)
    found = dict(span.attributes)
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 0.9,
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.seed": 7,
        "gen_ai.request.choice.count": 2,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.request.presence_penalty": 0.1,
        "gen_ai.output.type": "json",
        "gen_ai.response.model": "gpt-4",
        "gen_ai.response.finish_reasons": ("stop",),
        "server.address": "127.0.0.1",
        "server.port": int(provider.origin.rpartition(":")[2]),
    }
    assert {key: found.get(key) for key in expected} == expected
    assert found["gen_ai.usage.input_tokens"] > 0
    assert {key for key in found if "message" in key} == set()
    assert "canary" not in span.to_json()
    assert "canary" not in reader.get_metrics_data().to_json()


def test_tokens_in_metrics_are_tokens_billed(recorded, maker, client, guarded):
    _, reader = recorded
    promptguard.wrap(client, ledger=guarded, cache="memory")
    usage = asked(client, temperature=0).usage
    asked(client, temperature=0)  # from the cache: nobody bills it
    found = {dict(key)[name.TOKEN_TYPE]: point for key, point in points(reader, name.TOKEN_USAGE).items()}
    assert {kind: (point.sum, point.count) for kind, point in found.items()} == {
        "input": (usage.prompt_tokens, 1),
        "output": (usage.completion_tokens, 1),
    }


def test_a_stream_tells_when_its_chunks_came(recorded, maker, client, provider, guarded):
    spans, reader = recorded
    provider.models["gpt-4"] = lambda _: Served(ANSWER * 4, delay=0.05, chunk_delay=0.05)
    promptguard.wrap(client, ledger=guarded)
    asked(client)  # the first call of a process imports what follows it
    began = time.monotonic()
    list(asked(client, stream=True))
    elapsed = time.monotonic() - began
    _, span = told_of(spans)
    assert span.attributes["gen_ai.request.stream"] is True
    first = span.attributes["gen_ai.response.time_to_first_chunk"]
    assert first >= 0.05
    (told,) = points(reader, name.TIME_TO_FIRST_CHUNK).values()
    assert (told.sum, told.count) == (pytest.approx(first), 1)
    (gaps,) = points(reader, name.TIME_PER_CHUNK).values()
    assert gaps.count >= 3
    assert gaps.sum >= 0.05  # not the moments at which they were told
    # Counted from when the call began, which may be long before util-genai's span does on a busy machine.
    assert gaps.sum + first <= elapsed


def test_errors_are_told_as_the_convention_has_them(recorded, maker, client, guarded):
    spans, reader = recorded
    promptguard.wrap(client, ledger=guarded)
    with pytest.raises(Exception, match="as told"):
        client.chat.completions.create(model="broken", messages=ASK)
    (span,) = told_of(spans)
    assert (span.attributes["error.type"], span.status.status_code) == ("500", trace.StatusCode.ERROR)
    (durations,) = points(reader, name.OPERATION_DURATION)
    assert dict(durations)["error.type"] == "500"


@pytest.mark.parametrize(
    ("mode", "on_span"),
    [("", False), ("NO_CONTENT", False), ("span_only", True), ("SPAN_AND_EVENT", True), ("true", False)],
)
def test_content_only_where_the_standard_variable_asks(
    mode, on_span, recorded, maker, client, guarded, monkeypatch
):
    spans, _ = recorded
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", mode)
    promptguard.wrap(client, ledger=guarded)
    asked(client)
    (span,) = told_of(spans)
    assert ("canary" in span.to_json()) == on_span
    if on_span:
        (question,) = json.loads(span.attributes["gen_ai.input.messages"])
        (answer,) = json.loads(span.attributes["gen_ai.output.messages"])
        assert (question["role"], question["parts"][0]["content"]) == ("user", QUESTION)
        assert (answer["role"], answer["parts"][0]["content"]) == ("assistant", ANSWER)


def test_content_in_events_is_in_no_span(recorded, logged, maker, client, guarded, monkeypatch):
    spans, _ = recorded
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "EVENT_ONLY")
    promptguard.wrap(client, ledger=guarded)
    asked(client)
    (span,) = told_of(spans)
    assert "canary" not in span.to_json()
    (event,) = (each.log_record for each in logged.get_finished_logs())
    assert event.event_name == "gen_ai.client.inference.operation.details"
    assert (event.trace_id, event.span_id) == (span.context.trace_id, span.context.span_id)
    assert QUESTION in str(event.attributes)
    assert ANSWER in str(event.attributes)


def test_a_prompts_version_a_miss_and_a_verdict_are_on_the_span(recorded, maker, client, guarded, tmp_path):
    spans, _ = recorded
    (tmp_path / "greet").mkdir()
    (tmp_path / "greet" / "3.prompty").write_text(
        "---\nname: greet\nmetadata:\n  version: 3\ninputs:\n  who:\n    kind: string\n---\n"
        "user:\nSay hello to {{ who }}, please.\n"
    )
    call = promptguard.prompts(tmp_path).get("greet@3").render(who="Ada")
    promptguard.wrap(client, ledger=guarded, cache="memory")
    for _ in range(2):
        client.chat.completions.create(model="gpt-4", temperature=0, messages=call.messages)
    (span,) = told_of(spans)
    found = {
        key: span.attributes.get(key) for key in (name.PROMPT_NAME, name.PROMPT_VERSION, name.CACHE_RESULT)
    }
    assert found == {name.PROMPT_NAME: "greet", name.PROMPT_VERSION: "3", name.CACHE_RESULT: "miss"}


def test_background_calls_are_roots_that_are_linked_to_what_they_repeat(recorded, maker, client, guarded):
    spans, reader = recorded
    clock = FakeClock()
    budget = promptguard.Budget(usd_per_day=None, calls_per_minute=None)
    promptguard.wrap(
        client, ledger=guarded, clock=clock, seed=1,
        shadow=promptguard.Shadow(model="other", sample=1.0, repeat=0.0, budget=budget),
        replay=promptguard.Replay(share=1.0, after="1h", budget=budget),
    )  # fmt: skip
    with trace.get_tracer("application").start_as_current_span("request") as request:
        usage = asked(client).usage
    assert promptguard.flush(60.0)
    clock.advance(7200)
    until(lambda: len(told_of(spans)) == 3)
    made = {span.attributes.get(name.ROLE): span for span in told_of(spans)}
    own = made[None]
    assert own.parent.span_id == request.get_span_context().span_id
    for role in ("candidate", "replay"):
        span = made[role]
        assert (span.kind, span.parent) == (SpanKind.CLIENT, None)
        assert span.context.trace_id != own.context.trace_id
        (link,) = span.links
        assert (link.context.trace_id, link.context.span_id) == (own.context.trace_id, own.context.span_id)
        assert link.attributes == {name.LINK_KIND: f"{role}_of"}
    billed = sum(point.sum for point in points(reader, name.TOKEN_USAGE).values())
    assert billed == 3 * usage.total_tokens


@pytest.mark.parametrize(
    ("scope", "counts"),
    [("com.anthropic.sdk.python", False), ("opentelemetry.instrumentation.openai.v1", True)],
)
def test_a_span_that_somebody_else_made_of_the_call_gets_our_part(scope, counts, recorded, client, guarded):
    spans, reader = recorded
    promptguard.wrap(client, ledger=guarded, cache="memory")
    for _ in range(2):
        with trace.get_tracer(scope).start_as_current_span("theirs", kind=SpanKind.CLIENT):
            asked(client, temperature=0)
    assert told_of(spans) == []
    miss, hit = spans.get_finished_spans()
    assert [span.attributes[name.CACHE_RESULT] for span in (miss, hit)] == ["miss", "hit"]
    assert bool(points(reader, name.TOKEN_USAGE)) == (not counts)


def test_a_span_of_the_applications_own_gets_nothing(recorded, maker, client, guarded):
    spans, _ = recorded
    promptguard.wrap(client, ledger=guarded)
    with trace.get_tracer("application").start_as_current_span("request"):
        asked(client)
    (request,) = (span for span in spans.get_finished_spans() if span.name == "request")
    assert not request.attributes
    assert len(told_of(spans)) == 1


def test_beside_a_method_that_others_have_replaced_ours_is_internal_and_has_no_tokens(
    recorded, client, guarded, monkeypatch
):
    """As langfuse.openai does: its span is not the current one, and is made when the method returns."""
    from openai.resources.chat.completions.completions import Completions

    spans, reader = recorded
    original = Completions.create
    replaced = eval(  # noqa: S307 - a function whose module is theirs
        "lambda self, *args, **kwargs: original(self, *args, **kwargs)",
        {"__name__": "opentelemetry.instrumentation.openai.shared.chat_wrappers", "original": original},
    )
    monkeypatch.setattr(Completions, "create", replaced)
    monkeypatch.setitem(sys.modules, "opentelemetry.instrumentation", sys)
    promptguard.wrap(client, ledger=guarded)
    asked(client)
    (span,) = told_of(spans)
    assert (span.name, span.kind) == ("promptguard.call", SpanKind.INTERNAL)
    assert not any(key.startswith("gen_ai.usage") or key == name.REQUEST_MODEL for key in span.attributes)
    assert points(reader, name.TOKEN_USAGE) == {}


def test_where_instrumentation_is_suppressed_there_is_no_span_and_every_token(recorded, client, guarded):
    from opentelemetry import context

    spans, reader = recorded
    promptguard.wrap(client, ledger=guarded)
    token = context.attach(context.set_value(instrumentors.SUPPRESSED[0], value=True))
    try:
        asked(client)
    finally:
        context.detach(token)
    assert told_of(spans) == []
    assert {dict(key)[name.TOKEN_TYPE] for key in points(reader, name.TOKEN_USAGE)} == {"input", "output"}


def test_background_calls_are_made_where_instrumentation_keeps_quiet(recorded, client, guarded, monkeypatch):
    """The SDK's own copy asks again, and others have patched its class: they look at these keys."""
    from openai import OpenAI as Patched
    from opentelemetry import context
    from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY

    seen = []
    original = Patched.request

    def request(self, *args, **kwargs):
        keys = (
            "suppress_instrumentation",
            "suppress_language_model_instrumentation",
            _SUPPRESS_INSTRUMENTATION_KEY,
        )
        seen.append([bool(context.get_value(key)) for key in keys])
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Patched, "request", request)
    budget = promptguard.Budget(usd_per_day=None)
    promptguard.wrap(
        client,
        ledger=guarded,
        shadow=promptguard.Shadow(model="other", sample=1.0, repeat=0.0, budget=budget),
    )
    asked(client)
    assert promptguard.flush(60.0)
    assert seen == [[False] * 3, [True] * 3]


def test_a_fault_of_telemetry_reaches_nobody(recorded, client, guarded, monkeypatch):
    monkeypatch.setattr(calls, "of_ours", lambda _began: 1 / 0)
    promptguard.wrap(client, ledger=guarded)
    assert asked(client).choices[0].message.content == ANSWER
