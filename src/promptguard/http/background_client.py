"""Asking again in the background over HTTP alone: the same request with another body, exactly one attempt.

Enough for every SDK whose requests are not signed over their body: what is sent, credentials included, is what the
application's own call carried.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

from promptguard.core.background_call import (
    BackgroundResponse,
    is_forwarded,
    reason_of,
    refused_by,
    seconds_for,
)
from promptguard.core.http_types import AsyncClient, BlockingClient, HttpClient, HttpRequest, HttpResponse
from promptguard.core.key import access_key_id
from promptguard.http.family import family_of, is_async
from promptguard.runtime.event_loop_thread import await_within, release_after, retain
from promptguard.runtime.idle_close import CloseWhenIdle
from promptguard.runtime.lost import CallLost
from promptguard.runtime.spare_threads import call_within


class HttpBackgroundClient:
    """Asks through `client`, an httpx or httpx2 client that is background work's alone (`owned_client`)."""

    def __init__(self, client: HttpClient, keeps: object = None) -> None:
        self._client = client
        self._keeps = keeps
        """what `client` was taken from: an SDK's client may close its HTTP client when it is collected"""
        family = family_of(client)
        assert family is not None  # noqa: S101 - callers have checked
        self._family = family
        self._is_async = is_async(client)
        self._connections = CloseWhenIdle(self._give_back)
        if self._is_async:
            retain()

    def renews_credentials(self, origin: str, old: bytes = b"") -> bool:  # noqa: ARG002 - part of the interface
        """Never: the credentials are those of the call that is repeated."""
        return False

    def ask(
        self,
        url: str,
        body: Mapping[str, object],
        headers: Mapping[str, str],
        timeout: Mapping[str, float | None],
    ) -> BackgroundResponse:
        """POST `body` to `url`; errors come back as reasons, never as exceptions."""
        if access_key_id(headers.get("authorization", "").encode("latin-1", "replace")):
            return BackgroundResponse(
                error="not_asked: signed"
            )  # for another body; only the SDK's client could sign this one
        seconds = seconds_for(timeout)
        try:
            request = self._request(url, body, headers, timeout)
            if self._is_async:
                response = await_within(seconds, lambda: cast("AsyncClient", self._client).send(request))
            else:
                response = call_within(
                    seconds, lambda: self._send(cast("BlockingClient", self._client), request)
                )
        except CallLost as lost:
            return BackgroundResponse(error=reason_of(lost.cause, body))
        except Exception as error:  # noqa: BLE001 - what cannot be built is a lost answer with its reason
            return BackgroundResponse(error=reason_of(error))
        if response.status_code >= 400:
            return BackgroundResponse(error=refused_by(response.status_code, response.content, body))
        return BackgroundResponse(response.status_code, response.content, headers=tuple(response.headers.raw))

    def _send(self, client: BlockingClient, request: HttpRequest) -> HttpResponse:
        with self._connections:
            return client.send(request)

    def _request(
        self,
        url: str,
        body: Mapping[str, object],
        headers: Mapping[str, str],
        timeout: Mapping[str, float | None],
    ) -> HttpRequest:
        seconds = seconds_for(timeout)
        limits = {
            name: min(timeout.get(name) or seconds, seconds) for name in ("connect", "read", "write", "pool")
        }
        return self._client.build_request(
            "POST",
            url,
            content=json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"),
            headers={
                **{name: value for name, value in headers.items() if is_forwarded(name)},
                "content-type": "application/json",
                "accept": "application/json",
            },
            timeout=self._family.Timeout(**limits),
        )

    def close(self) -> None:
        """Give its connections back."""
        self._connections.close()

    def _give_back(self) -> None:
        if self._is_async:
            release_after(self._client.aclose)
        else:
            self._client.close()
