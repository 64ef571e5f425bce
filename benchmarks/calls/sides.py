"""The sides that need nothing but the openai package and PromptGuard, in both majors of the SDK."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from openai import AsyncOpenAI, OpenAI

import promptguard

MESSAGES = [{"role": "user", "content": "Is 17077 a prime number? " * 20}]
"""half a kilobyte"""


@dataclass(frozen=True)
class Side:
    """One way to make the same call; None where it has no such way."""

    plain: Callable[[], object]
    streamed: Callable[[], None] | None = None
    task: Callable[[], Awaitable[object]] | None = None
    ordinary: Callable[[], object] | None = None
    """a call of a model that takes 50 ms"""


def side_of(client: OpenAI, other: AsyncOpenAI | None = None) -> Side:
    """Return the side that asks through an openai client."""

    def ask(model: str) -> object:
        return client.chat.completions.create(model=model, messages=MESSAGES, temperature=0)

    def streamed() -> None:
        for _ in client.chat.completions.create(model="gpt-4", messages=MESSAGES, temperature=0, stream=True):
            pass

    async def task() -> object:
        assert other is not None
        return await other.chat.completions.create(model="gpt-4", messages=MESSAGES, temperature=0)

    return Side(
        plain=lambda: ask("gpt-4"),
        streamed=streamed,
        task=None if other is None else task,
        ordinary=lambda: ask("ordinary"),
    )


def clients(url: str) -> tuple[OpenAI, AsyncOpenAI]:
    return OpenAI(base_url=url, api_key="bench"), AsyncOpenAI(base_url=url, api_key="bench")


def bare(url: str) -> Side:
    return side_of(*clients(url))


def wrapped(url: str, **settings: object) -> Side:
    sync, concurrent = clients(url)
    return side_of(promptguard.wrap(sync, **settings), promptguard.wrap(concurrent, **settings))


def shadowed(url: str, model: str = "gpt-4-0314", sample: float = 0.01) -> Side:
    directory = tempfile.mkdtemp(prefix="promptguard-bench-")
    shadow = promptguard.Shadow(model=model, sample=sample)
    return wrapped(url, ledger=directory, shadow=shadow, record_content=False)


def on_disk(url: str) -> Side:
    """Every hit is one of the disk: the tier of memory before it is emptied for each call."""
    sync = promptguard.wrap(
        clients(url)[0], ledger=tempfile.mkdtemp(prefix="promptguard-bench-"), cache="disk"
    )
    kept, inner = sync._client._promptguard_ports.cache, side_of(sync)
    inner.plain()
    kept.flush()

    def plain() -> None:
        kept._memory.clear()
        inner.plain()

    return Side(plain=plain)


def recorded(url: str) -> Side:
    """PromptGuard with an OpenTelemetry SDK that records spans and metrics, and throws them away."""
    record_telemetry()
    return wrapped(url)


def spanned(url: str) -> Side:
    """A span written by hand around each call: the least that tracing can cost."""
    from opentelemetry import trace

    record_telemetry()
    tracer, inner = trace.get_tracer("bench"), bare(url)

    def plain() -> None:
        with tracer.start_as_current_span("chat gpt-4") as span:
            inner.plain()
            span.set_attributes(
                {"gen_ai.request.model": "gpt-4", "gen_ai.operation.name": "chat", "tokens": 60}
            )

    return Side(plain=plain)


def record_telemetry() -> object:
    """Set up an OpenTelemetry SDK whose spans go nowhere, by the batch processor that applications use."""
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Nowhere(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([InMemoryMetricReader()]))
    return provider


OURS: dict[str, Callable[[str], Side]] = {
    "bare": bare,
    "bare, again": bare,
    "wrapped": wrapped,
    "wrapped, spans and metrics recorded": recorded,
    "a hand-written span": spanned,
    "shadow of 1 %": shadowed,
    "memory hit": lambda url: wrapped(url, cache="memory"),
    "disk hit": on_disk,
    "shadow of all, slow": lambda url: shadowed(url, "slow", 1.0),
    "shadow of all, failing": lambda url: shadowed(url, "failing", 1.0),
    "shadow of all, black hole": lambda url: shadowed(url, "black hole", 1.0),
}
