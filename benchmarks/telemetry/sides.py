"""The rows and columns of the matrix: how each instrumentation is switched on, and how each SDK asks."""

from __future__ import annotations

import importlib
import os
from typing import Any

MODEL, OTHER = "gpt-4", "other"
QUESTION, ANSWER = "canary-question", "canary-answer of four words"


class NotThereError(Exception):
    """This instrumentation has nothing for this SDK; the text says why."""


def nothing(_sdk: str) -> None:
    return


def official(sdk: str) -> None:
    if sdk == "google-genai":
        google = importlib.import_module(
            "opentelemetry.instrumentation.google_genai"
        ).GoogleGenAiSdkInstrumentor()
        google.instrument()
        if not google.is_instrumented_by_opentelemetry:
            raise NotThereError(
                f"the instrumentor takes {' '.join(google.instrumentation_dependencies())} alone"
            )
        return
    module = importlib.import_module(f"opentelemetry.instrumentation.genai.{sdk}")
    names = {"openai": "OpenAIInstrumentor", "anthropic": "AnthropicInstrumentor"}
    getattr(module, names[sdk])().instrument()


def traceloop(sdk: str) -> None:
    names = {
        "openai": ("openai", "OpenAIInstrumentor"),
        "anthropic": ("anthropic", "AnthropicInstrumentor"),
        "google-genai": ("google_generativeai", "GoogleGenerativeAiInstrumentor"),
    }
    module, name = names[sdk]
    getattr(importlib.import_module(f"opentelemetry.instrumentation.{module}"), name)().instrument()


def openinference(sdk: str) -> None:
    names = {
        "openai": ("openai", "OpenAIInstrumentor"),
        "anthropic": ("anthropic", "AnthropicInstrumentor"),
        "google-genai": ("google_genai", "GoogleGenAIInstrumentor"),
    }
    module, name = names[sdk]
    getattr(importlib.import_module(f"openinference.instrumentation.{module}"), name)().instrument()


def logfire(sdk: str) -> None:
    found = importlib.import_module("logfire")
    try:
        {"openai": found.instrument_openai, "anthropic": found.instrument_anthropic,
         "google-genai": found.instrument_google_genai}[sdk]()  # fmt: skip
    except RuntimeError as error:
        raise NotThereError("needs the official instrumentor, with which it is the same") from error
    if sdk == "google-genai":
        official(sdk)


def langfuse(sdk: str) -> None:
    if sdk != "openai":
        raise NotThereError(
            "Langfuse instruments openai alone, and names the others' instrumentors for the rest"
        )
    from opentelemetry import trace

    importlib.import_module("langfuse").Langfuse(
        public_key="pk-lf-1", secret_key="sk-lf-1", base_url="http://127.0.0.1:9",
        tracer_provider=trace.get_tracer_provider(),
    )  # fmt: skip
    importlib.import_module("langfuse.openai")


def langsmith(_sdk: str) -> None:
    os.environ |= {
        "LANGSMITH_TRACING": "true", "LANGSMITH_API_KEY": "k", "LANGSMITH_OTEL_ENABLED": "true",
        "LANGSMITH_OTEL_ONLY": "true", "LANGSMITH_ENDPOINT": "http://127.0.0.1:9",
    }  # fmt: skip


BESIDE = {
    "nothing": nothing,
    "util-genai": nothing,
    "official": official,
    "traceloop": traceloop,
    "openinference": openinference,
    "logfire": logfire,
    "langfuse": langfuse,
    "langsmith": langsmith,
}
"""What is switched on beside PromptGuard; util-genai alone is a matter of what is installed."""


def langsmith_client(client: Any, sdk: str) -> Any:
    wrappers = importlib.import_module("langsmith.wrappers")
    wrap = {"openai": "wrap_openai", "anthropic": "wrap_anthropic", "google-genai": "wrap_gemini"}[sdk]
    return getattr(wrappers, wrap)(client)


class OpenAI:
    package = "openai"

    def client(self, provider: Any, *, asynchronous: bool) -> Any:
        module = importlib.import_module("openai")
        made = module.AsyncOpenAI if asynchronous else module.OpenAI
        return made(base_url=provider.url, api_key="canary-key", max_retries=0)

    def asked(self, client: Any, model: str = MODEL) -> Any:
        return client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": QUESTION}], temperature=0
        )

    def streamed(self, client: Any) -> Any:
        return client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": QUESTION}], temperature=0, stream=True,
            stream_options={"include_usage": True},
        )  # fmt: skip


class Anthropic:
    package = "anthropic"

    def client(self, provider: Any, *, asynchronous: bool) -> Any:
        module = importlib.import_module("anthropic")
        made = module.AsyncAnthropic if asynchronous else module.Anthropic
        return made(base_url=provider.origin, api_key="canary-key", max_retries=0)

    def asked(self, client: Any, model: str = MODEL) -> Any:
        return client.messages.create(
            model=model, max_tokens=50, messages=[{"role": "user", "content": QUESTION}]
        )

    def streamed(self, client: Any) -> Any:
        return client.messages.create(
            model=MODEL, max_tokens=50, messages=[{"role": "user", "content": QUESTION}], stream=True
        )


class Google:
    package = "google.genai"

    def client(self, provider: Any, *, asynchronous: bool) -> Any:
        client = importlib.import_module("google.genai").Client(
            api_key="canary-key", http_options={"base_url": provider.origin}
        )
        if asynchronous:
            client._api_client._use_aiohttp = lambda: False
        return client

    @staticmethod
    def _models(client: Any, asynchronous: bool) -> Any:
        return client.aio.models if asynchronous else client.models

    def asked(self, client: Any, model: str = MODEL, asynchronous: bool = False) -> Any:
        return self._models(client, asynchronous).generate_content(
            model=model, contents=QUESTION, config={"temperature": 0}
        )

    def streamed(self, client: Any, asynchronous: bool = False) -> Any:
        return self._models(client, asynchronous).generate_content_stream(
            model=MODEL, contents=QUESTION, config={"temperature": 0}
        )


SDKS = {"openai": OpenAI(), "anthropic": Anthropic(), "google-genai": Google()}
