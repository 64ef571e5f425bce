"""SDKs that Stainless generates (openai, anthropic) ask again by an unguarded copy of their own client.

`client.copy(http_client=...)` signs, authenticates and builds URLs as the SDK does, has its own pool and makes exactly
one attempt. Where nothing is signed or renewed, HTTP alone is enough (`http/twin.py`) and nothing here is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any
from urllib.parse import parse_qsl

from promptguard.core.asking import Asked, is_forwarded, reason_of
from promptguard.core.key import access_key_id
from promptguard.loop import LoopThread

_SPELT = {"authorization": "Authorization", "x-api-key": "X-Api-Key"}
"""As the SDKs spell it: their headers are merged by exact name, and two spellings would both be sent."""


_SIGNER: ContextVar[bytes | None] = ContextVar("promptguard_signer", default=None)
"""The access key that signed the call which is asked again; set for one question at a time."""


_LASTING = b"sigv4 AKIA"
"""How ids of access keys begin that belong to a user; those of sessions, which run out, begin with ASIA.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-prefixes"""


class OtherCredentialsError(Exception):
    """A background call would be made in another name than the call it repeats."""


def copied_twin(
    client: Any, http: Any, response_class: type, *, renewing: tuple[str, ...], signs: bool = False
) -> Twin:
    """Return an unguarded copy of `client` over `http`, an HTTP client of the same family, for background calls.

    `renewing` names the attributes of a client that hold what renews its credentials; `signs`: with AWS signatures.
    """
    is_async = any(base.__name__ == "AsyncAPIClient" for base in type(client).__mro__)
    if signs:
        http.event_hooks = {"request": [_check_signer_async if is_async else _check_signer]}
    copied = client.copy(http_client=http, max_retries=0)
    return Twin(copied, response_class, LoopThread() if is_async else None, renewing, signs)


def _check_signer(request: Any) -> None:
    """Refuse to send what the wrapped client signed for somebody else: `with_options(aws_access_key=...)` shares it."""
    asked_by = _SIGNER.get()
    if asked_by is not None and access_key_id(request.headers.get("authorization", "").encode()) != asked_by:
        raise OtherCredentialsError


async def _check_signer_async(request: Any) -> None:
    _check_signer(request)


class Twin:
    """Asks one question in the background, with the application's credentials and exactly one attempt."""

    def __init__(
        self,
        client: Any,
        response_class: type,
        loop: LoopThread | None,
        renewing: tuple[str, ...],
        signs: bool = False,
    ) -> None:
        self._client = client
        self._response_class = response_class
        self._loop = loop
        self._renewing = renewing
        self._signs = signs

    def renews_credentials(self, origin: str, old: bytes = b"") -> bool:
        """Whether the client itself has fresh credentials for a server; never for one that is not its own.

        `old` is what a call was authorized by: a key of AWS's that does not run out is renewed by nobody.
        """
        url = self._client.base_url
        own = f"{url.scheme}://{url.netloc.decode('ascii')}" == origin
        if self._signs:  # with a profile or a role, unless it was given a key
            lasts = (access_key_id(old) or b"").startswith(_LASTING)
            return own and not lasts and getattr(self._client, "aws_access_key", None) is None
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
        old = headers.get("authorization", "") if self._signs else ""
        kept = {k: v for k, v in headers.items() if is_forwarded(k) and not (old and k == "authorization")}
        options: dict[str, Any] = {
            "headers": {_SPELT.get(k, k): v for k, v in kept.items()},
            "params": dict(parse_qsl(query, keep_blank_values=True)),
        }
        limit = timeout.get("read")
        if limit is not None:
            options["timeout"] = limit
        token = _SIGNER.set(access_key_id(old.encode("latin-1")))
        try:
            sent = self._client.post(path, body=dict(body), cast_to=self._response_class, options=options)
            response = sent if self._loop is None else self._loop.result_of(sent, limit)
            return Asked(response.status_code, response.content, headers=tuple(response.headers.raw))
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises is a lost answer with its reason
            other = isinstance(error, OtherCredentialsError) or isinstance(
                error.__cause__, OtherCredentialsError
            )
            return Asked(error="not_asked: other credentials" if other else reason_of(error))
        finally:
            _SIGNER.reset(token)

    def close(self) -> None:
        """Give its connections back; the client it was copied from keeps its own."""
        if self._loop is None:
            self._client.close()
        else:
            self._loop.close(self._client.close())
