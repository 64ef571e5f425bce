"""What an adapter is: how one SDK says what all of them can say.

An operation that an SDK does not have is absent here and named, with the reason, in `lacks`.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, ClassVar

from pydantic import BaseModel

TURN = [{"role": "user", "content": "hello there"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CHAT_TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "w", "parameters": PARAMETERS},
}


class City(BaseModel):
    city: str


def shown(value: Any) -> Any:
    """Return what an SDK gave as plain JSON, less what is new for every answer."""
    if hasattr(value, "model_dump"):
        value = json.loads(value.model_dump_json())
    if isinstance(value, dict):
        return {k: shown(v) for k, v in value.items() if k != "sdk_http_response"}
    return [shown(each) for each in value] if isinstance(value, (list, tuple)) else value


ONE_LOOP = {"two_loops": "the SDK's own connections belong to one event loop"}


class Adapter:
    """One SDK. `package` is what is imported, `distribution` what is installed."""

    name: str
    package: str
    distribution: str
    lacks: ClassVar[Mapping[str, str]] = ONE_LOOP
    needs: ClassVar[tuple[str, ...]] = ()
    """what this SDK imports when it is used, and does not bring"""

    @property
    def module(self) -> Any:
        return importlib.import_module(self.package)

    def missing(self) -> str | None:
        for package in (self.package, *self.needs):
            try:
                importlib.import_module(package)
            except ImportError:
                return f"{self.distribution if package == self.package else package} is not installed"
        return None

    def version(self) -> str:
        return version(self.distribution)

    def http_family(self, client: Any) -> Any:
        from promptguard.http.family import family_of

        return family_of(self.http(client))

    def http(self, client: Any) -> Any:
        """The HTTP client inside."""
        return client._client

    def close(self, client: Any) -> None:
        client.close()

    async def aclose(self, client: Any) -> None:
        await client.close()

    def close_stream(self, stream: Any) -> None:
        stream.close()

    def wrap(self, client: Any, **options: Any) -> Any:
        import promptguard

        return promptguard.wrap(client, **options)
