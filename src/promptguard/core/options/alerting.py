"""Where alerts are sent: `Drift(alerts=[...])`. Addresses and secrets are never shown, in no `repr`, message or page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, ClassVar, Self

from pydantic import AnyUrl, Field, PlainValidator, SecretStr, ValidationError, model_validator

from promptguard.core.addresses import is_public
from promptguard.core.mistakes import nearest, refused, shown
from promptguard.core.options.accepting import Accepts, Switch
from promptguard.core.options.base import Option
from promptguard.errors import ConfigurationError

_URL = AnyUrl
_WEB = ("http", "https")
_NAMED = re.compile(r"[\w.:@/ -]{1,64}")
_LOCAL = ("localhost", "localhost.localdomain", "ip6-localhost")


def _text_of(value: object) -> str:
    """Return a secret as text. Raises ConfigurationError, which does not repeat it."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str) or not text.strip() or not text.strip().isprintable():
        raise ValueError("a text is needed")
    return text.strip()


def _secret(value: object) -> SecretStr:
    return SecretStr(_text_of(value))


def _token(value: object) -> SecretStr:
    text = _text_of(value)
    if not text.isascii() or " " in text:  # a header takes no other
        raise ValueError("no token")
    return SecretStr(text)


def _address(value: object) -> SecretStr:
    text = _text_of(value)
    if " " in text:
        raise ValueError("no address")
    try:
        found = _URL(text)
    except ValidationError:
        raise ValueError("no address") from None
    if found.scheme not in _WEB or not found.host:
        raise ValueError("no address of the web")
    if found.username or found.password:
        raise ConfigurationError(
            "{option}(url=...) holds a user or password: they would be in logs of proxies; give token= instead"
        )
    return SecretStr(text)


def _name(value: object) -> str | None:
    if value is not None and (not isinstance(value, str) or not _NAMED.fullmatch(value)):
        raise ValueError("no name")
    return value


_WEB_URL = 'an address such as "https://example.com/hook"'
Address = Annotated[SecretStr, PlainValidator(_address), Accepts(_WEB_URL, secret=True)]
Secret = Annotated[SecretStr | None, PlainValidator(lambda value: None if value is None else _secret(value)),
                   Accepts("a text, or None", secret=True)]  # fmt: skip
Token = Annotated[SecretStr | None, PlainValidator(lambda value: None if value is None else _token(value)),
                  Accepts("letters, digits and signs of ASCII without spaces, or None", secret=True)]  # fmt: skip
Name = Annotated[
    str | None, PlainValidator(_name), Accepts("up to 64 letters, digits, spaces and . : @ / _ -, or None")
]
_NAME = (
    "what `promptguard alerts list` calls it, and what is kept of it in the ledger; the address may change while it stays. "
    "None: its kind and host"
)
_PRIVATE = (
    "whether its host may be within your own network, or this machine; plain http:// is accepted only then"
)
_EXAMPLES = "whether the question and answers of one pair are sent too, where the ledger has them (`record_content=True`)"
_TOKEN = "sent as `Authorization: Bearer ...`"  # noqa: S105 - a description


class Channel(Option):
    """One receiver of alerts."""

    SYNONYMS: ClassVar[dict[str, str]] = {
        "address": "url", "uri": "url", "endpoint": "url", "key": "secret", "signing_secret": "secret",
        "example": "examples", "private": "allow_private", "bearer": "token", "api_key": "token",
    }  # fmt: skip
    KIND: ClassVar[str] = ""
    RESEND_SECONDS: ClassVar[float | None] = None
    """how often a receiver that forgets wants to be told again what stands"""

    @property
    def label(self) -> str:
        """What people see of it, and the ledger keeps: never a secret."""
        given: object = getattr(self, "name", None)
        return f"{self.KIND} {self._host}" if given is None else str(given)

    @property
    def _host(self) -> str:
        return _URL(self.address).host or ""

    @property
    def address(self) -> str:
        """Where it is, in clear text: to connect, never to show."""
        return self.clear("url") or ""

    def clear(self, field: str) -> str | None:
        """Return a secret field as it is, to send it, never to show; None where it has none."""
        held: object = getattr(self, field, None)
        return held.get_secret_value() if isinstance(held, SecretStr) else None

    @model_validator(mode="after")
    def _check_address(self) -> Self:
        """Refuse at once what would be refused when connecting."""
        url = _URL(self.address)
        host = (url.host or "").strip("[]").rstrip(".")
        if url.scheme not in _WEB or getattr(self, "allow_private", True):
            return self
        if host in _LOCAL or (
            re.fullmatch(r"[\d.]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*", host) and not is_public(host)
        ):
            raise ConfigurationError(
                f"{type(self).__name__}(url=...): the host {host} is not on the public internet: if that is meant, add "
                "allow_private=True"
            )
        if url.scheme != "https":
            raise ConfigurationError(
                f"{type(self).__name__}(url=...): http:// would send alerts in clear text: give an https:// address, or "
                "add allow_private=True for one within your own network"
            )
        return self


class Webhook(Channel):
    """Alerts as JSON in the shape of Alertmanager's webhooks (version 4), signed as Standard Webhooks say.

    Headers: `webhook-id` (the same for every attempt), `webhook-timestamp`, and with a secret `webhook-signature`.
    """

    KIND: ClassVar[str] = "webhook"
    url: Address = Field(description="where it is posted to")
    secret: Secret = Field(
        default=None,
        description="signs each message with HMAC-SHA256: `whsec_` and base64, or any text; None: not signed",
    )
    token: Token = Field(default=None, description=_TOKEN)
    name: Name = Field(default=None, description=_NAME)
    examples: Switch = Field(default=False, description=_EXAMPLES)
    allow_private: Switch = Field(default=False, description=_PRIVATE)


class Alertmanager(Channel):
    """Alerts to an Alertmanager's `/api/v2/alerts`; told again every five minutes, because it keeps them in memory."""

    KIND: ClassVar[str] = "alertmanager"
    RESEND_SECONDS: ClassVar[float | None] = 300.0
    url: Address = Field(description="its address without the path, such as http://alertmanager:9093")
    token: Token = Field(default=None, description=_TOKEN)
    name: Name = Field(default=None, description=_NAME)
    allow_private: Switch = Field(default=False, description=_PRIVATE)


class Slack(Channel):
    """Alerts as text to an incoming webhook of Slack, or of what takes the same (Mattermost, Rocket.Chat)."""

    KIND: ClassVar[str] = "slack"
    url: Address = Field(description="the incoming webhook's address, which is a secret")
    name: Name = Field(default=None, description=_NAME)
    examples: Switch = Field(default=False, description=_EXAMPLES)
    allow_private: Switch = Field(default=False, description=_PRIVATE)


def _apprise_address(value: object) -> SecretStr:
    text = _text_of(value)
    if not re.match(r"[a-z][a-z0-9+.-]*://.", text):
        raise ValueError("no address")
    return SecretStr(text)


class Apprise(Channel):
    """Alerts as text to any of the services that the package `apprise` knows (mail, Teams, Telegram, PagerDuty, ...).

    Needs `pip install 'promptguard-shadow[alerts]'`. apprise connects by itself: addresses are not checked.
    """

    KIND: ClassVar[str] = "apprise"
    url: Annotated[
        SecretStr,
        PlainValidator(_apprise_address),
        Accepts('an address of apprise, such as "mailto://..."', secret=True),
    ] = Field(description="the service's address, as apprise writes it")
    name: Name = Field(default=None, description=_NAME)
    examples: Switch = Field(default=False, description=_EXAMPLES)

    @property
    def _host(self) -> str:
        return self.address.partition("://")[0]  # what follows may be a credential

    @model_validator(mode="after")
    def _check_address(self) -> Self:
        return self


CHANNELS: tuple[type[Channel], ...] = (Webhook, Alertmanager, Slack, Apprise)
KINDS = {kind.KIND: kind for kind in CHANNELS}
ACCEPTED = "a list of promptguard.Webhook(...), Alertmanager(...), Slack(...) and Apprise(...)"


def check_channels(given: object) -> tuple[Channel, ...]:
    """Return the channels of a list, or of one alone. Raises ConfigurationError, in which no address is repeated."""
    several = (
        tuple(given) if isinstance(given, Sequence) and not isinstance(given, (str, bytes)) else (given,)
    )
    for each in several:
        if isinstance(each, type) and issubclass(each, Channel):
            raise ConfigurationError(
                f"{{option}}(alerts={each.__name__}) is the class: write {each.__name__}(url=...)"
            )
        if not isinstance(each, Channel) or type(each) is Channel:
            word = each.partition(":")[0].strip().lower() if isinstance(each, str) else ""
            meant = nearest(word, KINDS)
            hint = f" (did you mean promptguard.{KINDS[meant].__name__}(url=...)?)" if meant else ""
            what = "a text" if isinstance(each, (str, bytes)) else shown(type(each).__name__)
            raise ConfigurationError(f"{{option}}(alerts={what}) is not accepted{hint}: give {ACCEPTED}")
    channels = tuple(each for each in several if isinstance(each, Channel))
    labels = [each.label for each in channels]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise ConfigurationError(
            f"{{option}}(alerts=[...]): two channels are called {twice!r}: give each its own name="
        )
    return channels


def written_channel(where: str, given: object) -> Channel:
    """Return a channel of settings: `slack:https://...`, or a table such as {slack = "https://...", name = "oncall"}.

    Raises ConfigurationError, in which no address is repeated; `where` names the variable, or the file and key.
    """
    if isinstance(given, str):
        word, _, url = given.strip().partition(":")
        fields: dict[str, object] = {word.strip().lower(): url.strip()}
    elif isinstance(given, dict):
        fields = {str(name): value for name, value in given.items()}
    else:
        fields = {}
    kinds = [name for name in fields if name in KINDS]
    if len(kinds) != 1:
        unknown = next(iter(fields), "") if len(fields) == 1 or not kinds else ""
        meant = nearest(unknown, KINDS)
        accepted = f"{', '.join(KINDS)}, each with its address, such as slack:https://..."
        raise refused(where, unknown[:20], accepted, meant=meant and f"{meant}:...")
    kind = KINDS[kinds[0]]
    try:
        return kind(**{"url": fields.pop(kinds[0]), **fields})
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None


Channels = Annotated[
    tuple[Channel, ...] | None,
    PlainValidator(lambda given: None if given is None else check_channels(given)),
    Accepts(ACCEPTED, secret=True),
]
