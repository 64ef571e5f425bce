"""What telemetry/genai_util.py takes from opentelemetry-util-genai is there, and does what it is taken for."""

from __future__ import annotations

import sys
import types

import pytest
from openai import OpenAI
from opentelemetry import context, trace

import promptguard
from promptguard.telemetry import genai_util
from promptguard.telemetry import semconv as name
from promptguard.testing import FakeProvider
from tests.telemetry.points import points

pytestmark = pytest.mark.sdk


@pytest.fixture
def outer(recorded):
    """A handler as an official instrumentor has one."""
    from opentelemetry.util.genai.handler import TelemetryHandler

    return TelemetryHandler(instrumentation_scope_name="opentelemetry.instrumentation.genai.openai")


@pytest.fixture
def client(guarded):
    with (
        FakeProvider({"gpt-4": lambda _: "fine", "other": lambda _: "fine"}) as provider,
        OpenAI(base_url=provider.url, api_key="k", max_retries=0) as client,
    ):
        yield promptguard.wrap(client, ledger=guarded, cache="memory")


def asked(client):
    answer = client.chat.completions.create(
        model="gpt-4", temperature=0, messages=[{"role": "user", "content": "hi"}]
    )
    return answer.usage


def test_within_an_instrumentors_inference_ours_is_part_of_its_span(recorded, outer, client):
    spans, reader = recorded
    for _ in range(2):
        with outer.inference("openai", request_model="gpt-4") as inference:
            usage = asked(client)
            inference.input_tokens, inference.output_tokens = usage.prompt_tokens, usage.completion_tokens
    miss, hit = spans.get_finished_spans()
    assert miss.instrumentation_scope.name == "opentelemetry.instrumentation.genai.openai"
    assert [span.attributes[name.CACHE_RESULT] for span in (miss, hit)] == ["miss", "hit"]
    billed = [
        point.sum
        for key, point in points(reader, name.TOKEN_USAGE).items()
        if name.CACHE_RESULT not in dict(key)
    ]
    assert sum(billed) == usage.total_tokens  # what the hit reports has an attribute that tells it apart


def test_without_one_the_inference_is_ours(recorded, client):
    spans, _ = recorded
    asked(client)
    (span,) = spans.get_finished_spans()
    assert (span.instrumentation_scope.name, span.kind) == (name.SCOPE_GENAI, trace.SpanKind.CLIENT)


def test_in_quiet_an_instrumentor_makes_no_span(recorded, outer):
    spans, _ = recorded
    token = context.attach(genai_util.quiet(context.get_current()))
    try:
        with outer.inference("openai", request_model="gpt-4"):
            pass
    finally:
        context.detach(token)
    assert spans.get_finished_spans() == ()


def test_another_series_is_left_alone_and_spans_are_made_without_it(recorded, client, monkeypatch):
    spans, _ = recorded
    other = types.ModuleType("opentelemetry.util.genai.version")
    other.__version__ = "1.4b0"
    monkeypatch.setitem(sys.modules, other.__name__, other)
    assert genai_util.handler("1") is None
    asked(client)
    assert [span.name for span in spans.get_finished_spans()] == ["chat gpt-4"]
