"""One call of a prompt, one hit and one shadow call, exported: `python story.py ENDPOINT HEADERS` (for backends.py)."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import openai
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

import promptguard
from promptguard.testing import FakeProvider

PROMPT = """---
name: greet
metadata:
  version: 3
inputs:
  who:
    kind: string
---
user:
Say canary to {{ who }}, please.
"""


def main(endpoint: str, headers: str) -> None:
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint, headers=json.loads(headers))))
    trace.set_tracer_provider(tracers)
    answers = {"gpt-4": lambda _: "canary-answer", "other": lambda _: "canary-answer"}
    with FakeProvider(answers) as provider, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        folder = Path(place)
        (folder / "prompts" / "greet").mkdir(parents=True)
        (folder / "prompts" / "greet" / "3.prompty").write_text(PROMPT, "utf-8")
        call = promptguard.prompts(folder / "prompts").get("greet@3").render(who="Ada")
        budget = promptguard.Budget(usd_per_day=None)
        client = promptguard.wrap(
            openai.OpenAI(base_url=provider.url, api_key="k"), ledger=folder / "ledger", cache="memory",
            shadow=promptguard.Shadow(model="other", sample=1.0, repeat=0.0, budget=budget),
        )  # fmt: skip
        for _ in range(2):
            client.chat.completions.create(model="gpt-4", messages=call.messages, temperature=0)
        assert promptguard.flush(20)
    tracers.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:3])
