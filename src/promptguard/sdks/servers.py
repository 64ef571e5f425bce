"""Whom an SDK's client asks: the server, its protocol, and with what it asks. Read from the client, never guessed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode, urlsplit

from promptguard.core.background_call import is_forwarded
from promptguard.sdks.slots import is_kind, within

KNOWN = ("openai", "anthropic", "google-genai", "groq", "together", "ollama")
"""Families whose servers can be asked instead of another one's."""
_PLAIN = frozenset(("Anthropic", "AsyncAnthropic"))
_CLOUDS = frozenset(
    f"{kind}{name}"
    for kind in ("", "Async")
    for name in (
        "AnthropicBedrock",
        "AnthropicVertex",
        "AnthropicBedrockMantle",
        "AnthropicFoundry",
        "AnthropicAWS",
    )
)


@dataclass(frozen=True, slots=True)
class Server:
    """A server as a client of its own SDK asks it.

    Attributes:
        protocol: the NAME of a protocol
        base: URL that paths come after, without a slash at its end
        path: model → path
        headers: what the client sends of itself: credentials, versions; names in lower case
    """

    protocol: str
    base: str
    path: Callable[[str], str]
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def origin(self) -> str:
        """scheme://host[:port], as calls are told by: without a user and password."""
        parts = urlsplit(self.base)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def server_of(family: str, client: object) -> Server | None:
    """Return the server that a client of `family`, by its NAME, asks; None where nothing is known of it."""
    read = _READERS.get(family)
    try:
        return None if read is None else read(client)
    except AttributeError:  # a version that keeps it elsewhere
        return None


def _chat(path: str, *, asks_itself: bool = False) -> Callable[[object], Server]:
    """Return what reads a client of OpenAI's kind; one that `asks_itself` adds its own query to what it asks."""

    def read(client: object) -> Server:
        whole = path if asks_itself else path + _query(client)
        return Server("openai_chat", _base(client), lambda _model: whole, _sent_by(client))

    return read


def _anthropic(client: object) -> Server | None:
    if type(client).__name__ not in _PLAIN and is_kind(client, _CLOUDS, "anthropic"):
        return None  # which sign, name the model in the URL, or authorize in a way of their own
    path = "/v1/messages" + _query(client)
    return Server("anthropic_messages", _base(client), lambda _model: path, _sent_by(client))


def _google(client: object) -> Server | None:
    api = within(client, "_api_client")
    if getattr(api, "vertexai", False):
        return None  # with tokens that run out, and a project in the URL
    options = within(api, "_http_options")
    base = f"{str(within(options, 'base_url')).rstrip('/')}/{within(options, 'api_version')}"
    return Server(
        "gemini",
        base,
        lambda model: f"/models/{quote(model.rpartition('models/')[2], safe='')}:generateContent",
        _texts(within(options, "headers")),
    )


def _ollama(client: object) -> Server:
    http = within(client, "_client")
    return Server(
        "ollama",
        str(within(http, "base_url")).rstrip("/"),
        lambda _model: "/api/chat",
        _texts(within(http, "headers")),
    )


_READERS: Mapping[str, Callable[[object], Server | None]] = {
    "openai": _chat("/chat/completions", asks_itself=True),
    "groq": _chat("/openai/v1/chat/completions"),
    "together": _chat("/chat/completions"),
    "anthropic": _anthropic,
    "google-genai": _google,
    "ollama": _ollama,
}


def _query(client: object) -> str:
    """Return the query that a client adds to every call."""
    told = getattr(client, "default_query", None)
    return f"?{urlencode(dict(told))}" if told else ""


def _base(client: object) -> str:
    return str(within(client, "base_url")).rstrip("/")


def _sent_by(client: object) -> dict[str, str]:
    """Return what clients that Stainless generates send with every call."""
    return _texts(within(client, "default_headers"))


def _texts(headers: object) -> dict[str, str]:
    items = dict(headers).items() if headers is not None else ()  # type: ignore[call-overload]
    # what is to be left out is said by a value that is no text
    told = {str(name).lower(): value for name, value in items if isinstance(value, str)}
    return {name: value for name, value in told.items() if is_forwarded(name)}
