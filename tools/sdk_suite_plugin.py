"""A plugin of pytest for the SDKs' own suites: wraps every client that a test constructs, and writes down outcomes.

Loaded by `tools/sdk_suites.py`, which sets the environment variables read here.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import json
import os
import sys
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MODE = os.environ["SDK_SUITE_MODE"]
RESULTS = Path(os.environ["SDK_SUITE_RESULTS"])
SDK = os.environ["SDK_SUITE_SDK"]

_outcomes: dict[str, tuple[str, str]] = {}
_counts = {"constructed": 0, "wrapped": 0, "spans": 0}
_refused: dict[str, int] = {}
_clients: weakref.WeakSet[Any] = weakref.WeakSet()
_exporters: list[Any] = []


def pytest_configure() -> None:
    """Wrap clients from here on: in each process that runs tests."""
    if MODE in {"telemetry", "bare-telemetry"}:
        _record_telemetry()
    if not MODE.startswith("bare"):
        for kind in _client_classes():
            kind.__init__ = _wrapping(kind.__init__)  # type: ignore[misc]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Empty the caches: a client that many tests share is asked the same by each, and is to hear what each has set up."""
    if MODE == "cache":
        import promptguard

        for client in list(_clients):
            with contextlib.suppress(
                promptguard.errors.ConfigurationError, AttributeError
            ):  # a test took its HTTP client
                promptguard.clear_cache(client)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep the worst of a test's phases, and the last line of what was said."""
    outcome = "error" if report.failed and report.when != "call" else report.outcome
    if report.when == "call" or outcome != "passed":
        said = str(report.longrepr).strip().splitlines() if outcome != "passed" else []
        _outcomes[report.nodeid] = (outcome, said[-1][:300] if said else "")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Write what was seen: outcomes by the process that collects them, counts by those that run tests."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is None:
        RESULTS.write_text(json.dumps(_outcomes), "utf-8")
    _counts["spans"] = sum(len(spans.get_finished_spans()) for spans in _exporters)
    path = RESULTS.with_name(f"{RESULTS.stem}-{worker or 'main'}.counts")
    path.write_text(json.dumps({**_counts, "refused": _refused}), "utf-8")


def _client_classes() -> list[type]:
    """Return the SDK's client classes that have an __init__ of their own, those for clouds included."""
    package = importlib.import_module(SDK)
    bases = (package._base_client.SyncAPIClient, package._base_client.AsyncAPIClient)
    for name in ("lib.azure", "lib.bedrock", "lib.vertex", "lib.aws", "lib.foundry", "lib.google_cloud"):
        try:
            importlib.import_module(f"{SDK}.{name}")
        except ImportError:
            continue
    pending, found = list(bases), []
    while pending:
        kind = pending.pop()
        pending += kind.__subclasses__()
        if kind not in bases and "__init__" in vars(kind):
            found.append(kind)
    return found


def _wrapping(init: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(init)
    def wrapped(self: object, *args: object, **kwargs: object) -> None:
        outermost = "_sdk_suite_constructing" not in vars(self)
        vars(self)["_sdk_suite_constructing"] = True
        try:
            init(self, *args, **kwargs)
        finally:
            if outermost:
                del vars(self)["_sdk_suite_constructing"]
        if outermost:
            _wrap(self)

    return wrapped


def _wrap(client: object) -> None:
    import promptguard  # when the first client is there: the suite's own plugins come before everything else
    from promptguard.http.transport import ports_of

    if ports_of(getattr(client, "_client", None)) is not None:
        return  # a copy of a wrapped client, which shares its HTTP client
    _counts["constructed"] += 1
    options = {"cache": "memory"} if MODE == "cache" else {}
    try:
        promptguard.wrap(client, ledger=_ledger(), **options)
    except promptguard.errors.ConfigurationError as error:
        said = str(error)[:120]
        _refused[said] = _refused.get(said, 0) + 1
    else:
        _counts["wrapped"] += 1
        _clients.add(client)


@functools.cache
def _ledger() -> str:
    return tempfile.mkdtemp(prefix="promptguard-sdk-suite-")


def _record_telemetry() -> None:
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    spans = InMemorySpanExporter()
    _exporters.append(spans)
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(MeterProvider([InMemoryMetricReader()]))


if sys.flags.optimize:
    sys.exit("the suites' assertions would be left out")
