"""What telemetry costs a call, in microseconds of CPU: ours, and a span with the two standard metrics written by hand.

python -m benchmarks.calls.tracing URL prints four figures: ours recorded, by hand recorded, ours without an SDK, and
ours by util-genai. Each call of one kind is followed by one of the others, so that all meet the same machine; medians of
the differences to the bare call of the same round.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx2
from benchmarks.calls.inside import _HEADERS
from benchmarks.calls.sides import MESSAGES, record_telemetry

import promptguard
from promptguard.http import run, transport

ROUNDS = 1500


def without_an_sdk() -> float:
    """Return what the guard of a wrapped client takes for a call with nothing asked of it, in a loop of its own."""
    client = promptguard.guard(httpx2.Client())
    request = client.build_request("POST", "http://127.0.0.1:1/v1/chat/completions", json={"model": "gpt-4"})

    def answered(_request: Any) -> None:
        return None

    took = []
    for _ in range(30):
        began = time.thread_time()
        for _ in range(1000):
            run.drive(request, answered, client._promptguard_ports, transport._HTTPX)
        through = time.thread_time()
        for _ in range(1000):
            answered(request)
        took.append((through - began) - (time.thread_time() - through))
    return statistics.median(took) * 1e3


def recorded(url: str) -> dict[str, float]:
    """Return what the span and metrics of a call cost, made by us and written by hand, with an SDK recording."""
    record_telemetry()
    bare, wrapped = httpx2.Client(), promptguard.guard(httpx2.Client())
    calls = wrapped._promptguard_ports.telemetry._calls
    library, send = calls._handler, _sending(wrapped, url)

    def by(handler: Any) -> Callable[[], Any]:
        def made() -> Any:
            calls._handler = handler
            return send()

        return made

    sides = {"ours": by(None), "by hand": _by_hand(_sending(bare, url))}
    if library is not None:
        sides["util-genai"] = by(library)
    return _more(_sending(bare, url), sides)


def _sending(client: Any, url: str) -> Callable[[], Any]:
    body = {"model": "gpt-4", "messages": MESSAGES, "temperature": 0}

    def send() -> Any:
        request = client.build_request("POST", f"{url}/chat/completions", json=body, headers=_HEADERS)
        began = time.thread_time()
        response = client.send(request)
        return response, time.thread_time() - began

    return send


def _by_hand(send: Callable[[], Any]) -> Callable[[], Any]:
    """Return a call as somebody would trace it who reads the convention: one span, its duration, its tokens."""
    from opentelemetry import metrics, trace

    tracer, meter = trace.get_tracer("bench"), metrics.get_meter("bench")
    duration = meter.create_histogram("gen_ai.client.operation.duration", "s")
    tokens = meter.create_histogram("gen_ai.client.token.usage", "{token}")

    def traced() -> Any:
        began, wall = time.thread_time(), time.perf_counter()
        common = {
            "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4",
            "server.address": "127.0.0.1", "server.port": 80,
        }  # fmt: skip
        with tracer.start_as_current_span(
            "chat gpt-4", kind=trace.SpanKind.CLIENT, attributes={**common, "gen_ai.request.temperature": 0.0}
        ) as span:
            before = time.thread_time() - began
            response, took = send()
            resumed = time.thread_time()
            answer = response.json()
            usage = answer["usage"]
            common["gen_ai.response.model"] = answer["model"]
            span.set_attributes({
                "gen_ai.response.model": answer["model"], "gen_ai.response.id": answer["id"],
                "gen_ai.response.finish_reasons": (answer["choices"][0]["finish_reason"],),
                "gen_ai.usage.input_tokens": usage["prompt_tokens"],
                "gen_ai.usage.output_tokens": usage["completion_tokens"],
            })  # fmt: skip
            duration.record(time.perf_counter() - wall, common)
            tokens.record(usage["prompt_tokens"], {**common, "gen_ai.token.type": "input"})
            tokens.record(usage["completion_tokens"], {**common, "gen_ai.token.type": "output"})
        return response, before + took + time.thread_time() - resumed

    return traced


def _more(bare: Callable[[], Any], others: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Return the median µs that each of `others` takes more than `bare` in the same round."""
    more: dict[str, list[float]] = {name: [] for name in others}
    for number in range(ROUNDS):
        took = bare()[1]
        for name, call in others.items():
            own = call()[1]
            if number >= ROUNDS // 10:
                more[name].append(own - took)
    return {name: statistics.median(found) * 1e6 for name, found in more.items()}


def main() -> None:
    url = sys.argv[1]
    free = without_an_sdk()
    told = recorded(url)
    print(told["ours"], told["by hand"], free, told.get("util-genai", float("nan")))


if __name__ == "__main__":
    main()
