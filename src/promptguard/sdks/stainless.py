"""SDKs that Stainless generates (openai, anthropic) ask again by an unguarded copy of their own client.

`client.copy(http_client=...)` signs, authenticates and builds URLs as the SDK does, has its own pool and makes exactly
one attempt. Where nothing is signed or renewed, HTTP alone is enough (`http/twin.py`) and nothing here is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from promptguard.core.asking import Asked, is_forwarded, reason_of
from promptguard.loop import LoopThread

_SPELT = {"authorization": "Authorization", "x-api-key": "X-Api-Key"}
"""As the SDKs spell it: their headers are merged by exact name, and two spellings would both be sent."""


def copied_twin(client: Any, http: Any, response_class: type, *, renewing: tuple[str, ...]) -> Twin:
    """Return an unguarded copy of `client` over `http`, an HTTP client of the same family, for background calls.

    `renewing` names the attributes of a client that hold what renews its credentials.
    """
    copied = client.copy(http_client=http, max_retries=0)
    is_async = any(base.__name__ == "AsyncAPIClient" for base in type(client).__mro__)
    return Twin(copied, response_class, LoopThread() if is_async else None, renewing)


class Twin:
    """Asks one question in the background, with the application's credentials and exactly one attempt."""

    def __init__(
        self, client: Any, response_class: type, loop: LoopThread | None, renewing: tuple[str, ...]
    ) -> None:
        self._client = client
        self._response_class = response_class
        self._loop = loop
        self._renewing = renewing

    def renews_credentials(self, origin: str) -> bool:
        """Whether the client itself has fresh credentials for a server; never for one that is not its own."""
        url = self._client.base_url
        own = f"{url.scheme}://{url.netloc.decode('ascii')}" == origin
        return own and any(getattr(self._client, name, None) is not None for name in self._renewing)

    def ask(
        self,
        url: str,
        body: Mapping[str, Any],
        headers: Mapping[str, str],
        timeout: Mapping[str, float | None],
    ) -> Asked:
        """POST `body` to `url`; errors come back as reasons, never as exceptions."""
        path, _, query = url.partition("?")
        options: dict[str, Any] = {
            "headers": {_SPELT.get(k, k): v for k, v in headers.items() if is_forwarded(k)},
            "params": dict(parse_qsl(query, keep_blank_values=True)),
        }
        limit = timeout.get("read")
        if limit is not None:
            options["timeout"] = limit
        try:
            sent = self._client.post(path, body=dict(body), cast_to=self._response_class, options=options)
            response = sent if self._loop is None else self._loop.result_of(sent, limit)
            return Asked(response.status_code, response.content, headers=tuple(response.headers.raw))
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises is a lost answer with its reason
            return Asked(error=reason_of(error))

    def close(self) -> None:
        """Give its connections back; the client it was copied from keeps its own."""
        if self._loop is None:
            self._client.close()
        else:
            self._loop.close(self._client.close())
