"""Asking again in the background over HTTP alone: the same request with another body, exactly one attempt.

Enough for every SDK whose requests are not signed over their body: what is sent, credentials included, is what the
application's own call carried.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from promptguard.core.asking import Asked, is_forwarded, reason_of
from promptguard.core.key import access_key_id
from promptguard.http.background import MAX_SECONDS
from promptguard.http.family import family_of, is_async
from promptguard.loop import LoopThread


class HttpTwin:
    """Asks through an HTTP client of its own, which `background_client` has made and nobody else uses."""

    def __init__(self, client: Any) -> None:
        self._client = client
        family = family_of(client)
        assert family is not None  # noqa: S101 - background_client has made it
        self._family = family
        self._loop = LoopThread() if is_async(client) else None

    def renews_credentials(self, origin: str, old: bytes = b"") -> bool:  # noqa: ARG002 - part of what a twin can do
        """Never: the credentials are those of the call that is repeated."""
        return False

    def ask(
        self,
        url: str,
        body: Mapping[str, Any],
        headers: Mapping[str, str],
        timeout: Mapping[str, float | None],
    ) -> Asked:
        """POST `body` to `url`; errors come back as reasons, never as exceptions."""
        if access_key_id(headers.get("authorization", "").encode("latin-1", "replace")):
            return Asked(
                error="not_asked: signed"
            )  # for another body; only the SDK's client could sign this one
        try:
            request = self._client.build_request(
                "POST",
                url,
                content=json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass"),
                headers={
                    **{name: value for name, value in headers.items() if is_forwarded(name)},
                    "content-type": "application/json",
                    "accept": "application/json",
                },
                timeout=self._timeout(timeout),
            )
            sent = self._client.send(request)
            response = sent if self._loop is None else self._loop.result_of(sent, timeout.get("read"))
        except Exception as error:  # noqa: BLE001 - whatever the library raises is a lost answer with its reason
            return Asked(error=reason_of(error))
        if response.status_code >= 400:
            return Asked(error=f"status_{response.status_code}")
        return Asked(response.status_code, response.content, headers=tuple(response.headers.raw))

    def close(self) -> None:
        """Give its connections back."""
        if self._loop is None:
            self._client.close()
        else:
            self._loop.close(self._client.aclose())

    def _timeout(self, limits: Mapping[str, float | None]) -> Any:
        # An SDK without limits (ollama) may wait for ever; a background thread must not.
        known = {name: limits.get(name) or MAX_SECONDS for name in ("connect", "read", "write", "pool")}
        return self._family.Timeout(**known)
