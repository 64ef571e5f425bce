"""One column of the matrix in one process: `python -m benchmarks.telemetry.cell BESIDE SDK bare|wrapped` prints JSON.

For each kind of call, synchronous and asynchronous: the spans that stand for a call to a model, the tokens that metrics
count, and what the provider was really asked.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from benchmarks.telemetry import sides

CASES = ("plain", "stream", "hit", "error", "shadow", "replay")
OURS = ("promptguard", "promptguard.genai")
_LLM = (
    "gen_ai.request.model",
    "openinference.span.kind",
    "llm.model_name",
    "langfuse.observation.model.name",
    "request_data",
)
_TOKENS = "gen_ai.client.token.usage"


class Recorded:
    """An SDK of OpenTelemetry's that keeps everything in memory; made before anything else asks for one."""

    def __init__(self, beside: str) -> None:
        from opentelemetry.sdk.metrics import Histogram, MeterProvider
        from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader(preferred_temporality={Histogram: AggregationTemporality.DELTA})
        if beside == "logfire":
            import logfire

            logfire.configure(
                send_to_logfire=False, console=False, additional_span_processors=[SimpleSpanProcessor(self.exporter)],
                metrics=logfire.MetricsOptions(additional_readers=[self.reader]),
            )  # fmt: skip
            return
        from opentelemetry import metrics, trace

        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        trace.set_tracer_provider(tracers)
        metrics.set_meter_provider(MeterProvider([self.reader]))

    def take(self) -> dict[str, Any]:
        """Return what was recorded since the last time."""
        spans = [_span(each) for each in self.exporter.get_finished_spans()]
        self.exporter.clear()
        return {"spans": [each for each in spans if each["llm"]], "tokens": self._tokens(),
                "leaks": [each["name"] for each in spans if each["scope"] in OURS and each["canary"]]}  # fmt: skip

    def _tokens(self) -> dict[str, float]:
        data = self.reader.get_metrics_data()
        found: dict[str, float] = {}
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.name == _TOKENS:
                        for point in metric.data.data_points:
                            key = "hit" if "promptguard.cache.result" in point.attributes else "billed"
                            found[key] = found.get(key, 0) + point.sum
        return found


def _span(span: Any) -> dict[str, Any]:
    attributes = dict(span.attributes or {})
    return {
        "name": span.name,
        "kind": span.kind.name,
        "scope": span.instrumentation_scope.name,
        "llm": any(name in attributes for name in _LLM) or span.name == "promptguard.call",
        "canary": "canary" in str(attributes),
        "role": attributes.get("promptguard.role"),
        "prompt": attributes.get("gen_ai.prompt.name"),
        "cache": attributes.get("promptguard.cache.result"),
        "error": attributes.get("error.type"),
        "usage": attributes.get("gen_ai.usage.input_tokens"),
        "root": span.parent is None,
        "links": [dict(link.attributes or {}).get("promptguard.link.kind") for link in span.links],
    }


class Cell:
    """One SDK with one instrumentation."""

    def __init__(self, beside: str, sdk: str, *, wrapped: bool) -> None:
        self.recorded = Recorded(beside)
        self.beside, self.sdk, self.wrapped = beside, sdk, wrapped
        self.side = sides.SDKS[sdk]
        sides.BESIDE[beside](sdk)

    def run(self, case: str, *, asynchronous: bool) -> dict[str, Any]:
        from promptguard.testing import FakeProvider, Fault

        answers = {sides.MODEL: lambda _: sides.ANSWER, sides.OTHER: lambda _: sides.ANSWER,
                   "broken": lambda _: Fault("status", 500)}  # fmt: skip
        with (
            FakeProvider(answers) as provider,
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place,
        ):
            if asynchronous:
                return asyncio.run(self._run(case, provider, Path(place), asynchronous=True))
            return asyncio.run(self._run(case, provider, Path(place), asynchronous=False))

    async def _run(self, case: str, provider: Any, place: Path, *, asynchronous: bool) -> dict[str, Any]:
        client = self.side.client(provider, asynchronous=asynchronous)
        clock = None
        if self.wrapped:
            client, clock = _wrapped(client, case, place)
        if self.beside == "langsmith":
            client = sides.langsmith_client(client, self.sdk)
        extra = {"asynchronous": True} if asynchronous and self.sdk == "google-genai" else {}
        if case == "hit":
            await _settled(self.side.asked(client, **extra))
            _flush_langsmith(self.beside)
            self.recorded.take()
        before = len(provider.received)
        try:
            model = "broken" if case == "error" else sides.MODEL
            if case == "stream":
                await _read(await _settled(self.side.streamed(client, **extra)), asynchronous=asynchronous)
            else:
                await _settled(self.side.asked(client, model, **extra))
        except Exception as error:
            if case != "error":
                traceback.print_exc()
                return {"failed": f"{type(error).__name__}: {error}"[:200]}
        if clock is not None:
            await asyncio.to_thread(_finish, case, clock, provider)
        _flush_langsmith(self.beside)
        asked = provider.received[before:]
        told = self.recorded.take()
        usage = 0 if case == "error" else sum(1 for _ in asked)
        return {**told, "asked": len(asked), "answered": usage}


def _wrapped(client: Any, case: str, place: Path) -> tuple[Any, Any]:
    import promptguard
    from promptguard.testing import FakeClock

    clock = FakeClock()
    options: dict[str, Any] = {}
    if case == "hit":
        options["cache"] = "memory"
    budget = promptguard.Budget(usd_per_day=None, calls_per_minute=None)
    if case == "shadow":
        options["shadow"] = promptguard.Shadow(model=sides.OTHER, sample=1.0, repeat=0.0, budget=budget)
    if case == "replay":
        options["replay"] = promptguard.Replay(share=1.0, after="1h", budget=budget)
    return promptguard.wrap(client, ledger=place / "ledger", clock=clock, **options), clock


def _finish(case: str, clock: Any, provider: Any) -> None:
    import promptguard

    assert promptguard.flush(20)
    if case == "replay":
        clock.advance(2 * 3600)
        until = time.monotonic() + 20
        while len(provider.received) < 2 and time.monotonic() < until:
            time.sleep(0.02)
        assert promptguard.flush(20)


def _flush_langsmith(beside: str) -> None:
    if beside == "langsmith":
        from langsmith import run_trees

        run_trees.get_cached_client().flush()
        time.sleep(0.3)


async def _settled(found: Any) -> Any:
    return await found if inspect.isawaitable(found) else found


async def _read(stream: Any, *, asynchronous: bool) -> None:
    if asynchronous:
        async for _ in stream:
            pass
    else:
        for _ in stream:
            pass


def main(beside: str, sdk: str, how: str) -> dict[str, Any]:
    try:
        cell = Cell(beside, sdk, wrapped=how == "wrapped")
    except sides.NotThereError as error:
        return {"not there": str(error)}
    found = {}
    for case in CASES if how == "wrapped" else CASES[:4]:
        for asynchronous in (False, True):
            found[f"{case} {'async' if asynchronous else 'sync'}"] = cell.run(case, asynchronous=asynchronous)
    return found


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:4])))
