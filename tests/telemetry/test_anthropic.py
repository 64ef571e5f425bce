"""anthropic traces itself from major 2 on: its span is the one of the call, and ours lies on it."""

from __future__ import annotations

import anthropic
from opentelemetry.trace import SpanKind

import promptguard
from promptguard.telemetry import semconv as name
from promptguard.testing import FakeProvider
from tests.telemetry.points import points


def test_its_own_span_gets_our_part_and_tokens_are_counted_once(recorded, guarded):
    spans, reader = recorded
    with (
        FakeProvider({"claude": lambda _: "fine"}) as provider,
        anthropic.Anthropic(base_url=provider.origin, api_key="k", max_retries=0) as client,
    ):
        promptguard.wrap(client, ledger=guarded, cache="memory")
        ask = {"model": "claude", "max_tokens": 9, "messages": [{"role": "user", "content": "canary"}]}
        usage, *_ = (client.messages.create(**ask).usage for _ in range(3))
        assert provider.asked("claude") == 1
    made = spans.get_finished_spans()
    assert {(span.instrumentation_scope.name, span.kind) for span in made} == {
        ("com.anthropic.sdk.python", SpanKind.CLIENT)
    }
    assert [span.attributes[name.CACHE_RESULT] for span in made] == ["miss", "hit", "hit"]
    assert sum(point.sum for point in points(reader, name.TOKEN_USAGE).values()) == (
        usage.input_tokens + usage.output_tokens
    )
