"""boto3's `bedrock-runtime` client: Converse and InvokeModel over botocore's HTTP session, every request signed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from promptguard.core.background_call import BackgroundResponse, is_forwarded, reason_of, seconds_for
from promptguard.core.model import Headers
from promptguard.runtime.idle_close import CloseWhenIdle
from promptguard.runtime.lost import CallLost
from promptguard.runtime.spare_threads import call_within
from promptguard.sdks.slots import Slot, within

NAME = "boto3 (bedrock-runtime)"
_SERVICE = "bedrock-runtime"


def knows(client: object) -> bool:
    """Whether `client` is a client of botocore's for Amazon Bedrock's runtime; its class is made when it is."""
    is_botocores = any(
        base.__name__ == "BaseClient" and base.__module__ == "botocore.client"
        for base in type(client).__mro__
    )
    return is_botocores and within(client, "meta.service_model.service_name") == _SERVICE


def can_route(client: object) -> bool:  # noqa: ARG001 - the interface of families
    """Return False: the model is named in the URL, which has been signed when it comes to us."""
    return False


def can_shadow(client: object) -> bool:  # noqa: ARG001 - the interface of families
    """Return True: a background call is signed anew."""
    return True


def slots(client: object) -> tuple[Slot, ...]:
    """Return where its HTTP session lives."""
    return (EndpointSlot(client, "http_session"),)


@dataclass(frozen=True, slots=True)
class EndpointSlot(Slot):
    """The session within a client's endpoint; the client is kept as the owner, as it signs what is asked again."""

    @property
    def http(self) -> object:
        """The session that is there now."""
        return within(self.owner, f"_endpoint.{self.name}")

    def put(self, http: object) -> None:
        """Put a guarded one there."""
        setattr(within(self.owner, "_endpoint"), self.name, http)


def background_client(client: BotocoreClient, http: Session, response_class: type) -> SignedBackgroundClient:  # noqa: ARG001
    """Return what asks again through `http`, with signatures by the client's own signer."""
    return SignedBackgroundClient(client, http)


class BotocoreClient(Protocol):
    """A client, as far as signing for it goes."""

    @property
    def meta(self) -> Meta:
        """What it was made with."""

    @property
    def _request_signer(self) -> Signer:
        """What signs its requests."""


class Meta(Protocol):
    """What a client was made with."""

    config: object
    region_name: str


class Signer(Protocol):
    """What signs a request."""

    def sign(self, operation_name: str, request: object) -> None:
        """Sign `request`, fetching credentials where that is due."""


class Session(Protocol):
    """What sends a signed request; `http.botocore_background` has it."""

    def send(self, prepared: object) -> tuple[int, bytes, Headers]:
        """Send a prepared request; returns status, body and headers."""

    def close(self) -> None:
        """Give its connections back."""


class SignedBackgroundClient:
    """Asks one question in the background, with the application's credentials and exactly one attempt."""

    def __init__(self, client: BotocoreClient, http: Session) -> None:
        self._client = client
        self._http = http
        self._connections = CloseWhenIdle(http.close)

    def renews_credentials(self, origin: str, old: bytes = b"") -> bool:  # noqa: ARG002 - part of the interface
        """Never: a token goes with its call, and of a signature only the kind is looked at."""
        return False

    def ask(
        self,
        url: str,
        body: Mapping[str, object],
        headers: Mapping[str, str],
        timeout: Mapping[str, float | None],
    ) -> BackgroundResponse:
        """POST `body` to `url`; errors come back as reasons, never as exceptions."""
        try:  # credentials may be fetched to sign: that has its deadline as well
            status, answer, told = call_within(seconds_for(timeout), lambda: self._send(url, body, headers))
        except CallLost as lost:
            return BackgroundResponse(error=reason_of(lost.cause))
        if status >= 400:
            return BackgroundResponse(error=f"status_{status}")
        return BackgroundResponse(status, answer, headers=told)

    def _send(
        self, url: str, body: Mapping[str, object], headers: Mapping[str, str]
    ) -> tuple[int, bytes, Headers]:
        with self._connections:
            return self._http.send(self._prepared(url, body, headers))

    def _prepared(self, url: str, body: Mapping[str, object], headers: Mapping[str, str]) -> object:
        from botocore.awsrequest import AWSRequest

        kept = {name: value for name, value in headers.items() if is_forwarded(name)}
        credential = kept.pop("authorization", "")
        request = AWSRequest(
            method="POST",
            url=url,
            headers={**kept, "Content-Type": "application/json", "Accept": "application/json"},
            data=json.dumps(body).encode(),
            stream_output=True,
        )
        if credential.startswith("Bearer "):
            request.headers["Authorization"] = credential
        else:
            meta = self._client.meta
            request.context = {"client_config": meta.config, "client_region": meta.region_name}
            self._client._request_signer.sign("Converse", request)
        return request.prepare()

    def close(self) -> None:
        """Give its connections back; the client keeps its own."""
        self._connections.close()
