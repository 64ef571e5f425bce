"""Other libraries around the same call, each set up as its own documentation says, with nothing sent anywhere.

Their imports are inside: one that does not install is told as such and skipped.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.calls.sides import MESSAGES, Side, clients, record_telemetry, side_of, wrapped


def langfuse(url: str) -> Side:
    from langfuse import Langfuse
    from langfuse.openai import AsyncOpenAI, OpenAI
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Nowhere(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    Langfuse(public_key="bench", secret_key="bench", base_url="http://127.0.0.1:9", span_exporter=Nowhere())
    return side_of(
        OpenAI(base_url=url, api_key="bench"),
        AsyncOpenAI(base_url=url, api_key="bench"),
    )


def openinference(url: str) -> Side:
    from openinference.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument(tracer_provider=record_telemetry())
    return side_of(*clients(url))


def litellm(url: str, cache: str | None = None) -> Side:
    import litellm as library

    library.suppress_debug_info = True
    library.telemetry = False
    if cache is not None:
        places = {"disk_cache_dir": tempfile.mkdtemp(prefix="litellm-bench-")} if cache == "disk" else {}
        library.cache = library.Cache(type=cache, **places)
    asked: dict[str, Any] = {
        "model": "openai/gpt-4",
        "messages": MESSAGES,
        "temperature": 0,
        "api_base": url,
        "api_key": "bench",
    }

    def streamed() -> None:
        for _ in library.completion(**asked, stream=True):
            pass

    return Side(
        plain=lambda: library.completion(**asked),
        streamed=streamed,
        task=lambda: library.acompletion(**asked),
    )


def langchain(url: str, cache: str | None = None, *, guarded: bool = False) -> Side:
    from langchain_core.caches import InMemoryCache
    from langchain_core.globals import set_llm_cache
    from langchain_openai import ChatOpenAI

    import promptguard

    if cache == "memory":
        set_llm_cache(InMemoryCache())
    elif cache == "SQLite":
        from langchain_community.cache import SQLiteCache

        set_llm_cache(SQLiteCache(str(Path(tempfile.mkdtemp(prefix="langchain-bench-")) / "cache.db")))
    model = ChatOpenAI(model="gpt-4", temperature=0, base_url=url, api_key="bench")
    if guarded:
        promptguard.wrap(model, cache="memory")
    question = MESSAGES[0]["content"]

    def streamed() -> None:
        for _ in model.stream(question):
            pass

    return Side(plain=lambda: model.invoke(question), streamed=streamed, task=lambda: model.ainvoke(question))


def hishel(url: str) -> Side:
    """Made to cache POST: it keys by URL and needs a server that allows it, so both are added here."""
    import httpx
    from hishel import CacheOptions, SqliteStorage
    from hishel.httpx import CacheTransport
    from openai import OpenAI

    class Allowed(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            response = super().handle_request(request)
            response.headers["cache-control"] = "max-age=3600"
            return response

    class Keyed(CacheTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            request.extensions["caching"] = {"key": hashlib.sha256(request.content).hexdigest()}
            return super().handle_request(request)

    place = Path(tempfile.mkdtemp(prefix="hishel-bench-")) / "cache.db"
    options = CacheOptions(supported_methods=["POST"])
    transport = Keyed(Allowed(), storage=SqliteStorage(database_path=place), rfc=options)
    client = OpenAI(base_url=url, api_key="bench", http_client=httpx.Client(transport=transport))
    return side_of(client)


PEERS: dict[str, Callable[[str], Side]] = {
    "langfuse": langfuse,
    "openinference": openinference,
    "litellm": litellm,
    "langchain": langchain,
    "PromptGuard, memory hit": lambda url: wrapped(url, cache="memory"),
    "langchain over PromptGuard, memory hit": lambda url: langchain(url, guarded=True),
    "langchain, memory hit": lambda url: langchain(url, "memory"),
    "langchain, SQLite hit": lambda url: langchain(url, "SQLite"),
    "litellm, memory hit": lambda url: litellm(url, "local"),
    "litellm, disk hit": lambda url: litellm(url, "disk"),
    "hishel, SQLite hit": hishel,
}
