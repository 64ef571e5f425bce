"""The openai package, majors 2 (httpx) and 3 (httpx2), and clients that subclass its own.

Background calls go through an unguarded copy of the client (`client.copy(http_client=...)`), not through the transport:
the copy signs, authenticates and builds URLs as the SDK does, has its own pool and makes exactly one attempt.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

NAME = "openai"
_CLIENTS = {"OpenAI": False, "AsyncOpenAI": True}
_NOT_FORWARDED = frozenset({
    "accept", "accept-encoding", "connection", "content-length", "content-type", "host",
    "idempotency-key", "transfer-encoding", "user-agent", "traceparent", "tracestate", "baggage",
})  # fmt: skip
_SPELT = {"authorization": "Authorization"}
"""As the SDK spells it: its headers are merged by exact name, and two spellings would both be sent."""
_RENEWING = ("_api_key_provider", "_azure_ad_token_provider", "_workload_identity_auth")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a background call brought: an answer's status and decoded body, or the reason why there is none."""

    status: int = 0
    body: bytes = b""
    error: str | None = None


def knows(client: object) -> bool:
    """Whether `client` is an OpenAI or AsyncOpenAI, or a subclass such as AzureOpenAI."""
    return any(
        base.__name__ in _CLIENTS and base.__module__.partition(".")[0] == "openai"
        for base in type(client).__mro__
    )


def names_model_in_body(client: object) -> bool:
    """Whether the model is named in the body; Azure names a deployment in the URL."""
    return not any("Azure" in base.__name__ for base in type(client).__mro__)


def http_client(client: Any) -> Any:
    """Return the HTTP client inside."""
    return client._client


def set_http_client(client: Any, http: Any) -> None:
    """Put another HTTP client inside."""
    client._client = http


def twin(client: Any, http: Any, response_class: type) -> Twin:
    """Return an unguarded copy of `client` over `http`, an HTTP client of the same family, for background calls."""
    copied = client.copy(http_client=http, max_retries=0)
    is_async = any(base.__name__ == "AsyncOpenAI" for base in type(client).__mro__)
    return Twin(copied, response_class, _LoopThread() if is_async else None)


class Twin:
    """Asks one question in the background, with the application's credentials and exactly one attempt."""

    def __init__(self, client: Any, response_class: type, loop: _LoopThread | None) -> None:
        self._client = client
        self._response_class = response_class
        self._loop = loop

    def renews_credentials(self, origin: str) -> bool:
        """Whether the client itself has fresh credentials for a server; never for one that is not its own."""
        url = self._client.base_url
        own = f"{url.scheme}://{url.netloc.decode('ascii')}" == origin
        return own and any(getattr(self._client, name, None) is not None for name in _RENEWING)

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
            "headers": {
                _SPELT.get(k, k): v
                for k, v in headers.items()
                if k not in _NOT_FORWARDED and not k.startswith("x-stainless-")
            },
            "params": dict(parse_qsl(query, keep_blank_values=True)),
        }
        limit = timeout.get("read")
        if limit is not None:
            options["timeout"] = limit
        try:
            sent = self._client.post(path, body=dict(body), cast_to=self._response_class, options=options)
            response = sent if self._loop is None else self._loop.result_of(sent, limit)
            return Asked(response.status_code, response.content)
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises is a lost answer with its reason
            return Asked(error=_reason(error))

    def close(self) -> None:
        """Give its connections back; the client it was copied from keeps its own."""
        if self._loop is None:
            self._client.close()
        else:
            self._loop.close(self._client.close())


def _reason(error: BaseException) -> str:
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return f"status_{status}"
    name = type(error).__name__
    return "timeout" if "Timeout" in name else "connection" if "Connection" in name else name


class _LoopThread:
    """A private event loop for asynchronous clients, so that background work outlives the application's loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def result_of(self, coroutine: Any, timeout: float | None) -> Any:
        """Run a coroutine to its end, for at most a little longer than its own time limit in seconds."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._running())
        try:
            return future.result(None if timeout is None else timeout + 5.0)
        except TimeoutError:
            future.cancel()
            raise

    def close(self, last: Any) -> None:
        """Run a last coroutine and end the loop; without waiting for questions that hang."""
        loop = self._running()

        async def finish() -> None:
            with contextlib.suppress(Exception):
                await last
            loop.stop()

        asyncio.run_coroutine_threadsafe(finish(), loop)
        if self._thread is not None:
            self._thread.join(0.3)
            if not self._thread.is_alive():
                loop.close()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="promptguard-loop", daemon=True
                )
                self._thread.start()
            return self._loop
