"""An SDK that keeps in memory what was recorded, for one test."""

from __future__ import annotations

import importlib.util

import pytest
from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk._logs import LoggerProvider, export
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def has_util_genai():
    """Whether the library is in this environment: it is in one of them."""
    try:
        return importlib.util.find_spec("opentelemetry.util.genai") is not None
    except ModuleNotFoundError:
        return False


# Left out rather than skipped, where these packages are not part of the environment.
collect_ignore = [] if has_util_genai() else ["test_util_genai.py"]
if importlib.util.find_spec("anthropic") is None or importlib.import_module("anthropic").__version__ < "2":
    collect_ignore.append("test_anthropic.py")


@pytest.fixture
def recorded(monkeypatch):
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider([reader])
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", tracers)
    monkeypatch.setattr(metrics._internal, "_METER_PROVIDER", meters)
    yield spans, reader
    tracers.shutdown(), meters.shutdown()


@pytest.fixture
def logged(monkeypatch):
    """What was emitted as log records, events among them; asked for before anything is wrapped."""
    # Its name before 1.39 was another.
    exporter = getattr(export, "InMemoryLogRecordExporter", None) or export.InMemoryLogExporter
    exporter = exporter()
    loggers = LoggerProvider()
    loggers.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    monkeypatch.setattr(_logs._internal, "_LOGGER_PROVIDER", loggers)
    yield exporter
    loggers.shutdown()
