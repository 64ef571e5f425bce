"""SDKs that Stainless generates say the same things in the same words: OpenAI's, Anthropic's, Groq's, Together's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tests.conformance.adapter import CHAT_TOOL, PARAMETERS, TURN, Adapter, City, shown


class Chat(Adapter):
    """SDKs of OpenAI's kind that Stainless generates."""

    sync_name: str
    async_name: str
    path = ""
    credentials: ClassVar[Mapping[str, str]] = {"api_key": "k"}

    def client(self, origin: str, http: Any = None, **more: Any) -> Any:
        more = {"max_retries": 0, **self.credentials, **more} | ({"http_client": http} if http else {})
        return getattr(self.module, self.sync_name)(base_url=origin + self.path, **more)

    def async_client(self, origin: str, http: Any = None, **more: Any) -> Any:
        more = {"max_retries": 0, **self.credentials, **more} | ({"http_client": http} if http else {})
        return getattr(self.module, self.async_name)(base_url=origin + self.path, **more)

    def retrying(self, origin: str) -> Any:
        return self.client(origin, max_retries=3)

    def impatient(self, origin: str) -> Any:
        return self.client(origin, timeout=0.15)

    def create(self, client: Any, model: str, **more: Any) -> Any:
        return client.chat.completions.create(model=model, messages=TURN, **more)

    def chat(self, client: Any, model: str = "m") -> Any:
        return shown(self.create(client, model))

    async def achat(self, client: Any, model: str = "m") -> Any:
        return shown(await self.create(client, model))

    def stream(self, client: Any, model: str = "m") -> Any:
        return self.create(client, model, stream=True)

    async def astream(self, client: Any, model: str = "m") -> Any:
        return await self.create(client, model, stream=True)

    def tools(self, client: Any) -> Any:
        return shown(self.create(client, "tool", tools=[CHAT_TOOL]))

    def structured(self, client: Any) -> Any:
        schema = {"name": "city", "schema": City.model_json_schema()}
        return shown(
            self.create(client, "json", response_format={"type": "json_schema", "json_schema": schema})
        )

    def raw(self, client: Any) -> Any:
        got = client.chat.completions.with_raw_response.create(model="m", messages=TURN)
        return got.status_code, sorted(got.headers), got.http_response.content, shown(got.parse())

    def with_options(self, client: Any) -> Any:
        return self.chat(client.with_options(timeout=9, default_headers={"x-b": "c"}))


class OpenAI(Chat):
    name = package = distribution = "openai"
    sync_name, async_name, path = "OpenAI", "AsyncOpenAI", "/v1"

    def structured(self, client: Any) -> Any:
        got = client.chat.completions.parse(model="json", messages=TURN, response_format=City)
        return shown(got), got.choices[0].message.parsed


class Azure(OpenAI):
    name = "azure openai"
    sync_name, async_name = "AzureOpenAI", "AsyncAzureOpenAI"

    def _named(self, cls: str, origin: str, http: Any, more: dict[str, Any]) -> Any:
        more = {"max_retries": 0, **more} | ({"http_client": http} if http else {})
        made = getattr(self.module, cls)
        return made(azure_endpoint=origin, api_version="2024-10-21", api_key="k", **more)

    def client(self, origin: str, http: Any = None, **more: Any) -> Any:
        return self._named(self.sync_name, origin, http, more)

    def async_client(self, origin: str, http: Any = None, **more: Any) -> Any:
        return self._named(self.async_name, origin, http, more)


class OpenAIResponses(OpenAI):
    name = "openai responses"

    def create(self, client: Any, model: str, **more: Any) -> Any:
        return client.responses.create(model=model, input="hello there", store=False, **more)

    def tools(self, client: Any) -> Any:
        tool = {"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": False}
        return shown(self.create(client, "tool", tools=[tool]))

    def structured(self, client: Any) -> Any:
        got = client.responses.parse(model="json", input="hello there", text_format=City, store=False)
        return shown(got), got.output_parsed

    def raw(self, client: Any) -> Any:
        got = client.responses.with_raw_response.create(model="m", input="hello there", store=False)
        return got.status_code, sorted(got.headers), got.http_response.content, shown(got.parse())


class Groq(Chat):
    name = package = distribution = "groq"
    sync_name, async_name = "Groq", "AsyncGroq"


class Together(Chat):
    name = package = distribution = "together"
    sync_name, async_name, path = "Together", "AsyncTogether", "/v1"


class Anthropic(Chat):
    name = package = distribution = "anthropic"
    sync_name, async_name = "Anthropic", "AsyncAnthropic"

    def create(self, client: Any, model: str, **more: Any) -> Any:
        return client.messages.create(model=model, messages=TURN, system="Be brief.", max_tokens=64, **more)

    def tools(self, client: Any) -> Any:
        tool = {"name": "weather", "description": "w", "input_schema": PARAMETERS}
        return shown(self.create(client, "tool", tools=[tool]))

    def structured(self, client: Any) -> Any:
        schema = {**City.model_json_schema(), "additionalProperties": False}
        options = {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
        return shown(self.create(client, "json", extra_body=options))

    def raw(self, client: Any) -> Any:
        got = client.messages.with_raw_response.create(model="m", messages=TURN, max_tokens=64)
        return got.status_code, sorted(got.headers), got.http_response.content, shown(got.parse())


class AnthropicBedrock(Anthropic):
    name = "anthropic bedrock"
    sync_name, async_name = "AnthropicBedrock", "AsyncAnthropicBedrock"
    credentials: ClassVar = {"aws_access_key": "AKIA1", "aws_secret_key": "s", "aws_region": "us-east-1"}
    needs: ClassVar = ("boto3",)


class AnthropicVertex(Anthropic):
    name = "anthropic vertex"
    sync_name, async_name = "AnthropicVertex", "AsyncAnthropicVertex"
    credentials: ClassVar = {"access_token": "t", "project_id": "p", "region": "us-east5"}
