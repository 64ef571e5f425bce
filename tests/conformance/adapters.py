"""How each SDK says the same things: one adapter an SDK, so that every feature is one test for all of them."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import Any, ClassVar

from tests.conformance.adapter import CHAT_TOOL, ONE_LOOP, PARAMETERS, TURN, Adapter, City, shown
from tests.conformance.stainless import (
    Anthropic,
    AnthropicBedrock,
    AnthropicVertex,
    Azure,
    Groq,
    OpenAI,
    OpenAIResponses,
    Together,
)


class Mistral(Adapter):
    name = "mistral"
    package = distribution = "mistralai"
    lacks: ClassVar = ONE_LOOP | {
        "raw": "the SDK has no raw responses",
        "with_options": "the SDK has no copies with other options",
    }

    @property
    def module(self) -> Any:
        found = importlib.import_module("mistralai")
        # From major 2 on the client lives one package deeper.
        return found if hasattr(found, "Mistral") else importlib.import_module("mistralai.client")

    def client(self, origin: str, http: Any = None, **more: Any) -> Any:
        more |= {"client": http} if http else {}
        return self.module.Mistral(server_url=origin, api_key="k", **more)

    def async_client(self, origin: str, http: Any = None, **more: Any) -> Any:
        more |= {"async_client": http} if http else {}
        return self.module.Mistral(server_url=origin, api_key="k", **more)

    def retrying(self, origin: str) -> Any:
        retries = importlib.import_module(self.module.__name__ + ".utils")
        backoff = retries.BackoffStrategy(5, 50, 1.5, 5000)
        return self.client(origin, retry_config=retries.RetryConfig("backoff", backoff, True))

    def impatient(self, origin: str) -> Any:
        return self.client(origin, timeout_ms=150)

    def http(self, client: Any) -> Any:
        return client.sdk_configuration.client

    def close(self, client: Any) -> None:
        client.__exit__(None, None, None)

    async def aclose(self, client: Any) -> None:
        await client.__aexit__(None, None, None)

    def close_stream(self, stream: Any) -> None:
        stream.__exit__(None, None, None)

    def chat(self, client: Any, model: str = "m", **more: Any) -> Any:
        return shown(client.chat.complete(model=model, messages=TURN, **more))

    async def achat(self, client: Any, model: str = "m") -> Any:
        return shown(await client.chat.complete_async(model=model, messages=TURN))

    def stream(self, client: Any, model: str = "m") -> Any:
        return client.chat.stream(model=model, messages=TURN)

    async def astream(self, client: Any, model: str = "m") -> Any:
        return await client.chat.stream_async(model=model, messages=TURN)

    def tools(self, client: Any) -> Any:
        return self.chat(client, "tool", tools=[CHAT_TOOL])

    def structured(self, client: Any) -> Any:
        got = client.chat.parse(model="json", messages=TURN, response_format=City)
        return shown(got), got.choices[0].message.parsed


class Cohere(Adapter):
    name = package = distribution = "cohere"
    lacks: ClassVar = ONE_LOOP | {"with_options": "the SDK has no copies with other options"}

    def client(self, origin: str, http: Any = None, **more: Any) -> Any:
        more |= {"httpx_client": http} if http else {}
        return self.module.ClientV2(base_url=origin, api_key="k", **more)

    def async_client(self, origin: str, http: Any = None, **more: Any) -> Any:
        more |= {"httpx_client": http} if http else {}
        return self.module.AsyncClientV2(base_url=origin, api_key="k", **more)

    def retrying(self, origin: str) -> Any:
        return self.client(origin)

    def impatient(self, origin: str) -> Any:
        return self.client(origin, timeout=0.15)

    def http(self, client: Any) -> Any:
        return client._client_wrapper.httpx_client.httpx_client

    def close(self, client: Any) -> None:
        self.http(client).close()

    async def aclose(self, client: Any) -> None:
        await self.http(client).aclose()

    def _options(self, model: str) -> dict[str, Any]:
        return {
            "model": model,
            "messages": TURN,
            "request_options": {"max_retries": 3 if model == "busy" else 0},
        }

    def chat(self, client: Any, model: str = "m", **more: Any) -> Any:
        return shown(client.chat(**self._options(model), **more))

    async def achat(self, client: Any, model: str = "m") -> Any:
        return shown(await client.chat(**self._options(model)))

    def stream(self, client: Any, model: str = "m") -> Any:
        return client.chat_stream(**self._options(model))

    async def astream(self, client: Any, model: str = "m") -> Any:
        return client.chat_stream(**self._options(model))

    def tools(self, client: Any) -> Any:
        return self.chat(client, "tool", tools=[CHAT_TOOL])

    def structured(self, client: Any) -> Any:
        return self.chat(
            client, "json", response_format={"type": "json_object", "json_schema": City.model_json_schema()}
        )

    def raw(self, client: Any) -> Any:
        raw = getattr(client, "with_raw_response", None)
        got = raw.chat(**self._options("m"))
        return sorted(got.headers), shown(got.data)


class Ollama(Adapter):
    name = package = distribution = "ollama"
    lacks: ClassVar = ONE_LOOP | {
        "raw": "the SDK has no raw responses",
        "with_options": "the SDK has no copies with other options",
        "retries": "the SDK never retries",
    }

    def client(self, origin: str, http: Any = None, **more: Any) -> Any:
        return self.module.Client(host=origin, **more)

    def async_client(self, origin: str, http: Any = None, **more: Any) -> Any:
        return self.module.AsyncClient(host=origin, **more)

    def impatient(self, origin: str) -> Any:
        return self.client(origin, timeout=0.15)

    def chat(self, client: Any, model: str = "m", **more: Any) -> Any:
        return shown(client.chat(model=model, messages=TURN, **more))

    async def achat(self, client: Any, model: str = "m") -> Any:
        return shown(await client.chat(model=model, messages=TURN))

    def stream(self, client: Any, model: str = "m") -> Any:
        return client.chat(model=model, messages=TURN, stream=True)

    async def astream(self, client: Any, model: str = "m") -> Any:
        return await client.chat(model=model, messages=TURN, stream=True)

    def tools(self, client: Any) -> Any:
        return self.chat(client, "tool", tools=[CHAT_TOOL])

    def structured(self, client: Any) -> Any:
        return self.chat(client, "json", format=City.model_json_schema())


class Gemini(Adapter):
    name = "google-genai"
    package = "google.genai"
    distribution = "google-genai"

    @property
    def lacks(self) -> Mapping[str, str]:  # type: ignore[override]
        has_none = {"with_options": "the SDK has no copies with other options"}
        return has_none | (ONE_LOOP if self.version().startswith("1.") else {})

    def client(self, origin: str, http: Any = None, **more: Any) -> Any:
        options = {"base_url": origin, **more} | ({"httpx_client": http} if http else {})
        return self.module.Client(api_key="k", http_options=options)

    def async_client(self, origin: str, http: Any = None, **more: Any) -> Any:
        options = {"base_url": origin, **more} | ({"httpx_async_client": http} if http else {})
        return self.module.Client(api_key="k", http_options=options)

    def retrying(self, origin: str) -> Any:
        return self.client(origin, retry_options={"attempts": 4, "initial_delay": 0.01, "jitter": 0.0})

    def impatient(self, origin: str) -> Any:
        return self.client(origin, timeout=150)

    def http(self, client: Any) -> Any:
        return client._api_client._httpx_client

    async def aclose(self, client: Any) -> None:
        await client.aio.aclose()

    def _options(self, model: str, **more: Any) -> dict[str, Any]:
        return {
            "model": model,
            "contents": "hello there",
            "config": {
                "system_instruction": "Be brief.",
                "automatic_function_calling": {"disable": True},
                **more,
            },
        }

    def chat(self, client: Any, model: str = "m", **more: Any) -> Any:
        return shown(client.models.generate_content(**self._options(model, **more)))

    async def achat(self, client: Any, model: str = "m") -> Any:
        return shown(await client.aio.models.generate_content(**self._options(model)))

    def stream(self, client: Any, model: str = "m") -> Any:
        return client.models.generate_content_stream(**self._options(model))

    async def astream(self, client: Any, model: str = "m") -> Any:
        return await client.aio.models.generate_content_stream(**self._options(model))

    def tools(self, client: Any) -> Any:
        schema = {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}}
        declared = {"name": "weather", "description": "w", "parameters": schema}
        return self.chat(client, "tool", tools=[{"function_declarations": [declared]}])

    def structured(self, client: Any) -> Any:
        more = {"response_mime_type": "application/json", "response_schema": City}
        got = client.models.generate_content(**self._options("json", **more))
        return shown(got), got.parsed

    def raw(self, client: Any) -> Any:
        got = client.models.generate_content(**self._options("m"))
        return sorted(got.sdk_http_response.headers), got.text


class Boto3(Adapter):
    """Amazon Bedrock's Converse."""

    name = "boto3 converse"
    package = distribution = "boto3"
    lacks: ClassVar = dict.fromkeys(
        ("asynchronous", "async_stream", "async_cancel", "async_cache_hit", "async_stream_cache_hit", "async_shadow"),
        "the SDK has no asynchronous calls",
    ) | ONE_LOOP | {
        "with_options": "the SDK has no copies with other options",
        "gzip": "the SDK asks for plain answers",
        "event_hooks": "the SDK has an event system of its own, with tests of its own",
    }  # fmt: skip

    def client(self, origin: str, http: Any = None, **more: Any) -> Any:
        config = importlib.import_module("botocore.config").Config
        more = {"retries": {"total_max_attempts": 1, "mode": "standard"}, **more}
        return self.module.client(
            "bedrock-runtime",
            region_name="us-east-1",
            endpoint_url=origin,
            aws_access_key_id="AKIA1",
            aws_secret_access_key="s",
            config=config(**more),
        )

    def retrying(self, origin: str) -> Any:
        return self.client(origin, retries={"total_max_attempts": 4, "mode": "standard"})

    def impatient(self, origin: str) -> Any:
        return self.client(origin, read_timeout=0.15)

    def http(self, client: Any) -> Any:
        return client._endpoint.http_session

    def _said(self, model: str, **more: Any) -> dict[str, Any]:
        turn = {"role": "user", "content": [{"text": "hello there"}]}
        return {"modelId": model, "messages": [turn], "system": [{"text": "Be brief."}], **more}

    def _plain(self, got: Any) -> Any:
        headers = got["ResponseMetadata"]["HTTPHeaders"]
        for name in ("date", "x-promptguard-cache"):
            headers.pop(name, None)
        return shown(got)

    def chat(self, client: Any, model: str = "m", **more: Any) -> Any:
        return self._plain(client.converse(**self._said(model, **more)))

    def stream(self, client: Any, model: str = "m") -> Any:
        return client.converse_stream(**self._said(model))["stream"]

    def tools(self, client: Any) -> Any:
        tool = {"name": "weather", "description": "w", "inputSchema": {"json": PARAMETERS}}
        return self.chat(client, "tool", toolConfig={"tools": [{"toolSpec": tool}]})

    def structured(self, client: Any) -> Any:
        schema = {"jsonSchema": {"name": "city", "schema": json.dumps(City.model_json_schema())}}
        fields = client.meta.service_model.operation_model("Converse").input_shape.members
        wanted = {"textFormat": {"type": "json_schema", "structure": schema}}
        # Before there was a field of its own, models took it among their own fields.
        more = (
            {"outputConfig": wanted} if "outputConfig" in fields else {"additionalModelRequestFields": schema}
        )
        return self.chat(client, "json", **more)

    def raw(self, client: Any) -> Any:
        got = client.converse(**self._said("m"))
        told = got["ResponseMetadata"]
        return told["HTTPStatusCode"], sorted(told["HTTPHeaders"]), told["RetryAttempts"], got["output"]


class HuggingFace(Adapter):
    """Its clients share HTTP clients that a factory of the whole process makes; that factory's are guarded."""

    name = "huggingface_hub"
    package = distribution = "huggingface_hub"

    @property
    def lacks(self) -> Mapping[str, str]:  # type: ignore[override]
        shared = "the process-wide client is guarded, not the object"
        held = "the SDK holds a stream open until its client is closed, and only then is it kept"
        found = ONE_LOOP | {
            "raw": "the SDK has no raw responses",
            "with_options": "the SDK has no copies with other options",
            "retries": "the SDK does not retry inference",
            "is_type": shared,
            "double_wrap": shared,
            "unwrap": shared,
            "close": "clients of this SDK have nothing to close",
            "event_hooks": "hooks belong to the process-wide client",
            "async_stream_cache_hit": held,
        }
        return found | ({"stream_cache_hit": held, "shadow": held} if self.version().startswith("1.") else {})

    def _client(self, cls: str, origin: str, more: dict[str, Any]) -> Any:
        self.reset()
        return getattr(self.module, cls)(base_url=f"{origin}/v1", api_key="k", **more)

    def client(self, origin: str, http: Any = None, **more: Any) -> Any:
        return self._client("InferenceClient", origin, more)

    def async_client(self, origin: str, http: Any = None, **more: Any) -> Any:
        return self._client("AsyncInferenceClient", origin, more)

    def impatient(self, origin: str) -> Any:
        return self.client(origin, timeout=0.15)

    @property
    def _http(self) -> Any:
        return importlib.import_module("huggingface_hub.utils._http")

    def reset(self) -> None:
        self.module.set_client_factory(self._http.default_client_factory)
        self.module.set_async_client_factory(self._http.default_async_client_factory)

    def wrap(self, client: Any, **options: Any) -> Any:
        import promptguard

        guarded = promptguard.guard(self._http.default_client_factory(), **options)
        also = promptguard.guard(self._http.default_async_client_factory(), **options)
        self.module.set_client_factory(lambda: guarded)
        self.module.set_async_client_factory(lambda: also)
        return client

    def close(self, client: Any) -> None:
        self._http.close_session()
        self.reset()

    async def aclose(self, client: Any) -> None:
        closing = getattr(client, "close", None)
        if closing is not None:
            await closing()
        self.reset()

    def create(self, client: Any, model: str, **more: Any) -> Any:
        return client.chat_completion(TURN, model=model, **more)

    def chat(self, client: Any, model: str = "m", **more: Any) -> Any:
        return self._plain(self.create(client, model, **more))

    async def achat(self, client: Any, model: str = "m") -> Any:
        return self._plain(await self.create(client, model))

    def _plain(self, value: Any) -> Any:
        return json.loads(json.dumps(value, default=vars))

    def stream(self, client: Any, model: str = "m") -> Any:
        return self.create(client, model, stream=True)

    async def astream(self, client: Any, model: str = "m") -> Any:
        return await self.create(client, model, stream=True)

    def tools(self, client: Any) -> Any:
        return self.chat(client, "tool", tools=[CHAT_TOOL])

    def structured(self, client: Any) -> Any:
        schema = {"name": "city", "schema": City.model_json_schema(), "strict": True}
        return self.chat(client, "json", response_format={"type": "json_schema", "json_schema": schema})


ADAPTERS: tuple[Adapter, ...] = (
    OpenAI(), OpenAIResponses(), Azure(), Anthropic(), AnthropicBedrock(), AnthropicVertex(), Gemini(), Mistral(),
    Cohere(), Groq(), Together(), Ollama(), Boto3(), HuggingFace(),
)  # fmt: skip
