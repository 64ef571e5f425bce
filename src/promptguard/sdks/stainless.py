"""SDKs that Stainless generates (openai, anthropic) ask again by an unguarded copy of their own client.

`client.copy(http_client=...)` signs, authenticates and builds URLs as the SDK does, over an HTTP client of background
work's own, and makes exactly one attempt. Where nothing is signed or renewed, HTTP alone is enough
(`http/background_client.py`) and nothing here is needed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Protocol, cast
from urllib.parse import parse_qsl

from promptguard.core.background_call import (
    NO_BACKGROUND_CLIENT,
    BackgroundResponse,
    NoBackgroundClientError,
    is_forwarded,
    reason_of,
    seconds_for,
)
from promptguard.core.http_types import HttpClient, HttpRequest, HttpResponse, Url
from promptguard.core.key import access_key_id
from promptguard.runtime.event_loop_thread import await_within, release_after, retain
from promptguard.runtime.idle_close import CloseWhenIdle
from promptguard.runtime.lost import CallLost
from promptguard.runtime.spare_threads import call_within
from promptguard.sdks.slots import within

_SPELT = {"authorization": "Authorization", "x-api-key": "X-Api-Key"}
"""As the SDKs spell it: their headers are merged by exact name, and two spellings would both be sent."""


_SIGNER: ContextVar[bytes | None] = ContextVar("promptguard_signer", default=None)
"""The access key that signed the call which is asked again; set for one question at a time."""


_LASTING = b"sigv4 AKIA"
"""How ids of access keys begin that belong to a user; those of sessions, which run out, begin with ASIA.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-prefixes"""


_TOKENS = "_token_cache"


class OtherCredentialsError(Exception):
    """A background call would be made in another name than the call it repeats."""


class StainlessClient(Protocol):
    """A client, as far as asking through it goes."""

    base_url: Url

    def copy(self, *, http_client: HttpClient, max_retries: int) -> StainlessClient:
        """Return another with the same settings, which sends through `http_client`."""

    def post(
        self, path: str, *, body: dict[str, object], cast_to: type, options: Mapping[str, object]
    ) -> HttpResponse | Awaitable[HttpResponse]:
        """Send a request and read its answer; an asynchronous client's is awaited."""


def copied_client(
    client: StainlessClient,
    http: HttpClient,
    response_class: type,
    *,
    renewing: tuple[str, ...],
    signs: bool = False,
) -> SdkBackgroundClient:
    """Return what asks through an unguarded copy of `client` over `http`, which is background work's alone.

    `http` is an HTTP client of the same family, `response_class` that family's Response. `renewing` names the attributes
    of a client that hold what renews its credentials; `signs`: with AWS signatures.
    """
    is_async = any(base.__name__ == "AsyncAPIClient" for base in type(client).__mro__)
    if signs:
        http.event_hooks = {"request": [_check_signer_async if is_async else _check_signer]}
    copied = client.copy(http_client=http, max_retries=0)
    _own_token_cache(client, copied)
    return SdkBackgroundClient(
        copied, http, response_class, is_async=is_async, renewing=renewing, signs=signs
    )


def _own_token_cache(client: StainlessClient, copied: StainlessClient) -> None:
    """Give the copy a cache of tokens of its own: anthropic's lets those who wait for one be of a single event loop."""
    shared: object = getattr(client, _TOKENS, None)
    if shared is not None and getattr(copied, _TOKENS, None) is shared:
        cache_class: Callable[..., object] = type(shared)
        setattr(copied, _TOKENS, cache_class(within(copied, "credentials")))


def _check_signer(request: HttpRequest) -> None:
    """Refuse to send what the wrapped client signed for somebody else: `with_options(aws_access_key=...)` shares it."""
    asked_by = _SIGNER.get()
    if asked_by is not None and access_key_id(request.headers.get("authorization", "").encode()) != asked_by:
        raise OtherCredentialsError


async def _check_signer_async(request: HttpRequest) -> None:
    _check_signer(request)


class SdkBackgroundClient:
    """Asks one question in the background, with the application's credentials and exactly one attempt."""

    def __init__(
        self,
        client: StainlessClient,
        http: HttpClient,
        response_class: type,
        *,
        is_async: bool,
        renewing: tuple[str, ...],
        signs: bool = False,
    ) -> None:
        self._client = client
        self._http = http
        self._response_class = response_class
        self._is_async = is_async
        self._renewing = renewing
        self._signs = signs
        self._connections = CloseWhenIdle(self._give_back)
        if is_async:
            retain()

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
        body: Mapping[str, object],
        headers: Mapping[str, str],
        timeout: Mapping[str, float | None],
    ) -> BackgroundResponse:
        """POST `body` to `url`; errors come back as reasons, never as exceptions."""
        path, _, query = url.partition("?")
        old = headers.get("authorization", "") if self._signs else ""
        kept = {k: v for k, v in headers.items() if is_forwarded(k) and not (old and k == "authorization")}
        seconds = seconds_for(timeout)
        options = {
            "headers": {_SPELT.get(k, k): v for k, v in kept.items()},
            "params": dict(parse_qsl(query, keep_blank_values=True)),
            "timeout": seconds,
        }
        signer = access_key_id(old.encode("latin-1"))

        def post() -> HttpResponse | Awaitable[HttpResponse]:
            _SIGNER.set(signer)
            return self._client.post(path, body=dict(body), cast_to=self._response_class, options=options)

        try:
            response = self._within(seconds, post)
        except CallLost as lost:
            return BackgroundResponse(error=_reason(lost.cause, body))
        return BackgroundResponse(response.status_code, response.content, headers=tuple(response.headers.raw))

    def _within(
        self, seconds: float, post: Callable[[], HttpResponse | Awaitable[HttpResponse]]
    ) -> HttpResponse:
        if self._is_async:
            return await_within(seconds, cast("Callable[[], Awaitable[HttpResponse]]", post))

        def blocking() -> HttpResponse:
            with self._connections:
                return cast("HttpResponse", post())

        return call_within(seconds, blocking)

    def close(self) -> None:
        """Give its connections back. The copy is only dropped: closing it would close credentials that are shared."""
        self._connections.close()

    def _give_back(self) -> None:
        if self._is_async:
            release_after(self._http.aclose)
        else:
            self._http.close()


def _reason(error: BaseException, body: Mapping[str, object]) -> str:
    """Return why an answer is missing; SDKs put what their transport raised into an exception of their own."""
    for each in (error, error.__cause__):
        if isinstance(each, OtherCredentialsError):
            return "not_asked: other credentials"
        if isinstance(each, NoBackgroundClientError):
            return NO_BACKGROUND_CLIENT
    return reason_of(error, body)
