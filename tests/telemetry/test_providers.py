"""Providers of all kinds are recorded with: those that cannot be hashed, and those whose class is called a proxy."""

from __future__ import annotations

import dataclasses

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from promptguard.telemetry import otel


@dataclasses.dataclass
class ProxyTracerProvider(trace.TracerProvider):
    """As logfire's: equal by value, so without a hash, and named like OpenTelemetry's own that records nothing."""

    inner: TracerProvider = dataclasses.field(default_factory=TracerProvider)

    def get_tracer(self, *args, **kwargs):
        return self.inner.get_tracer(*args, **kwargs)


def test_a_provider_without_a_hash_is_recorded_with(monkeypatch, caplog):
    provider = ProxyTracerProvider()
    with pytest.raises(TypeError):
        hash(provider)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    assert otel.is_recorded()
    first = otel.start("1")
    assert first is not None
    assert otel.start("1") is first
    assert not caplog.records
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", ProxyTracerProvider())
    assert otel.start("1") is not first
