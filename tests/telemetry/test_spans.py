"""Spans and metrics as the conventions name them, and content in none of them."""

from __future__ import annotations

import contextvars
import logging

import pytest
from openai import OpenAI
from opentelemetry import trace

import promptguard
from promptguard.testing import FakeProvider
from tests.files import contents

pytestmark = pytest.mark.sdk
CANARIES = ("canary-question", "canary-answer", "canary-api-key")
ASK = [{"role": "user", "content": CANARIES[0]}]


@pytest.fixture
def provider():
    with FakeProvider({"gpt-4": lambda _: CANARIES[1], "other": lambda _: CANARIES[1]}) as running:
        yield running


def test_19_a_span_belongs_to_the_trace_its_call_began_in(recorded, provider, guarded):
    """Streams are read elsewhere: after the request's own span has ended, in another context."""
    spans, _ = recorded
    with OpenAI(base_url=provider.url, api_key="k") as client:
        promptguard.wrap(client, ledger=guarded)
        with trace.get_tracer("application").start_as_current_span("request") as request:
            stream = client.chat.completions.create(model="gpt-4", messages=ASK, stream=True)
        assert contextvars.Context().run(lambda: list(stream))
    (call,) = (span for span in spans.get_finished_spans() if span.name == "chat gpt-4")
    assert call.parent.span_id == request.get_span_context().span_id
    assert call.context.trace_id == request.get_span_context().trace_id


def test_one_client_span_a_call_none_for_a_hit_and_no_content_anywhere(recorded, provider, guarded, caplog):
    caplog.set_level(logging.DEBUG, logger="promptguard")
    spans, reader = recorded
    client = OpenAI(base_url=provider.url, api_key=CANARIES[2])
    shadow = promptguard.Shadow(model="other", sample=1.0, repeat=0.0)
    promptguard.wrap(client, ledger=guarded, cache="disk", shadow=shadow)
    for _ in range(2):
        client.chat.completions.create(model="gpt-4", messages=ASK, temperature=0)
    assert promptguard.flush(60.0)
    span, shadowing = spans.get_finished_spans()
    assert (span.name, span.kind) == ("chat gpt-4", trace.SpanKind.CLIENT)
    assert (shadowing.name, shadowing.kind) == ("chat other", trace.SpanKind.CLIENT)
    assert shadowing.attributes["promptguard.role"] == "candidate"
    assert shadowing.context.trace_id != span.context.trace_id
    (link,) = shadowing.links
    assert link.context.span_id == span.context.span_id
    assert link.attributes["promptguard.link.kind"] == "candidate_of"
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4",
        "gen_ai.response.model": "gpt-4",
        "gen_ai.response.finish_reasons": ("stop",),
    }
    assert expected.items() <= dict(span.attributes).items()
    told = reader.get_metrics_data().to_json()
    for name in (
        "gen_ai.client.operation.duration",
        "gen_ai.client.token.usage",
        "promptguard.cache.lookups",
        "promptguard.shadow.pairs",
    ):
        assert name in told
    with pytest.raises(Exception, match="none"):
        client.chat.completions.create(model="none", messages=ASK)
    failed = spans.get_finished_spans()[-1]
    assert (failed.attributes["error.type"], failed.status.status_code) == (
        "404",
        trace.StatusCode.ERROR,
    )
    everything = told + "".join(s.to_json() for s in spans.get_finished_spans()) + caplog.text
    ledger = b"".join(contents(guarded, "ledger*").values())
    assert ledger
    assert not [canary for canary in CANARIES if canary in everything or canary.encode() in ledger]
    client.close()


def test_two_clients_of_one_ledger_count_each_pair_once(recorded, provider, guarded):
    _, reader = recorded
    shadow = promptguard.Shadow(model="other", sample=1.0, repeat=0.0)
    clients = [OpenAI(base_url=provider.url, api_key="k") for _ in range(2)]
    for client in clients:
        promptguard.wrap(
            promptguard.wrap(client, ledger=guarded, shadow=shadow), ledger=guarded, shadow=shadow
        )
        client.chat.completions.create(model="gpt-4", messages=ASK)
    assert promptguard.flush(60.0)
    points = [
        point.value
        for scope in reader.get_metrics_data().resource_metrics[0].scope_metrics
        for metric in scope.metrics
        if metric.name == "promptguard.shadow.pairs"
        for point in metric.data.data_points
    ]
    assert sum(points) == 2
    for client in clients:
        client.close()
