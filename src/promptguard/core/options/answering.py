"""Where equal requests are answered from."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, PlainValidator, SecretStr, model_validator

from promptguard.core.mistakes import is_text, nearest, refused
from promptguard.core.options.accepting import Accepts, Share, Switch
from promptguard.core.options.base import Option
from promptguard.core.options.durations import Duration, seconds
from promptguard.core.options.servers import Server, is_address, shown_address
from promptguard.errors import ConfigurationError

MAX_VARIANTS = 64
MAX_TAGS = 32
DISK_BYTES = 1024**3
_A_TAG = "a text of 1 to 200 characters"


def _is_tag(tag: object) -> bool:
    return isinstance(tag, str) and 0 < len(tag) <= 200 and is_text(tag)


def check_tags(tags: object, name: str) -> tuple[str, ...]:
    """Return `tags` if they are a tuple of a few short non-empty texts. Raises ConfigurationError otherwise."""
    if isinstance(tags, tuple) and len(tags) <= MAX_TAGS and all(map(_is_tag, tags)):
        return tags
    raise refused(name, tags, f"a tuple of at most {MAX_TAGS} texts of 1 to 200 characters")


def check_tag(tag: str | None, name: str) -> None:
    """Raise ConfigurationError unless `tag` is one that an entry can have, or None for every entry."""
    if tag is not None and not _is_tag(tag):
        raise refused(name, tag, f"{_A_TAG}; leave it out for every entry")


def _text(value: str) -> str:
    if not is_text(value):
        raise ValueError("half a character")
    return value


def _tags(value: object) -> tuple[str, ...]:
    return check_tags(value, "Cache(tags)")


class Cache(Option):
    """Where equal requests are answered from, and for how long."""

    SYNONYMS: ClassVar[dict[str, str]] = {
        "size": "max_bytes", "max_size": "max_bytes", "expire": "ttl", "timeout": "ttl", "backend": "kind", "type": "kind",
        "address": "url", "uri": "url", "dsn": "url",
    }  # fmt: skip

    kind: Literal["memory", "disk", "redis"] = Field(
        default="memory",
        description='"memory" of this process, "disk" in the ledger\'s directory, or "redis": a server of Redis or Valkey',
    )
    ttl: Duration | None = Field(
        default=None,
        description='how long an answer is served: seconds, or "15m", "6h", "1d"; None: until evicted, or until the model '
        "that answered is found to have changed",
    )
    max_bytes: Annotated[int, Field(ge=1, le=2**50), Accepts("a whole number of bytes, at least 1")] = Field(
        default=64 * 1024 * 1024,
        description="bytes of all answers, at most; the least used give way. A server of Redis or Valkey has its own limit",
    )
    sampled: Switch = Field(
        default=False, description="also cache calls that ask for variety (temperature above 0 or n above 1)"
    )
    tenant: Annotated[str, AfterValidator(_text), Accepts("text that names the tenant")] = Field(
        default="",
        description="separates entries of one API key, such as one customer of yours from another; needed where the "
        "credential is a token that is renewed",
    )
    variants: Annotated[
        int,
        Field(ge=1, le=MAX_VARIANTS),
        Accepts(f"a whole number of answers a question, 1 to {MAX_VARIANTS}"),
    ] = Field(
        default=1,
        description="with `sampled`: so many answers are collected for a question before any of them is served again",
    )
    draw: Literal["turn", "random"] = Field(
        default="turn",
        description="how collected variants are served: one after the other, or by a draw (seeded by wrap's `seed`)",
    )
    on_drift: Literal["bypass", "keep", "reask"] = Field(
        default="bypass",
        description="entries of a model that changed: not served; served all the same; not served, and paired with the "
        "fresh answer in the replay stream",
    )
    reask: Share = Field(
        default=0.0,
        description="fraction of cache hits to revalidate upstream; the stored and the fresh answer are a pair of "
        "the replay stream",
    )
    tags: Annotated[
        tuple[str, ...],
        PlainValidator(_tags),
        Accepts(f"a tuple of at most {MAX_TAGS} texts of 1 to 200 characters"),
    ] = Field(
        default=(),
        description="on every entry, for clearing; `promptguard.cache_tags(...)` adds more for a block",
    )
    single_flight: Switch = Field(
        default=True,
        description="equal calls at the same moment (not streams) wait for one of them and share its answer",
    )

    url: Server = Field(
        default=None,
        description='with kind "redis": where the server is; `wrap(cache="redis://...")` says both. Never shown',
    )

    @property
    def server(self) -> str:
        """Where the server is, in clear text: to connect, never to show; "" where there is none."""
        return self.url.get_secret_value() if isinstance(self.url, SecretStr) else ""

    @property
    def shown(self) -> str:
        """Where the server is, without what is secret of it; "" where there is none."""
        return shown_address(self.url) if isinstance(self.url, SecretStr) else ""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.kind != "redis":
            if self.url is not None:
                raise ConfigurationError('Cache(url=...) is for kind="redis" alone')
        elif self.url is None:
            raise ConfigurationError('Cache("redis") needs the server\'s address: add url="redis://..."')
        elif self.max_bytes != type(self).model_fields["max_bytes"].default:
            raise ConfigurationError(
                "Cache(max_bytes=...) does not bind a server: its own maxmemory and maxmemory-policy say what is kept"
            )
        return self

    @model_validator(mode="after")
    def _serves_something(self) -> Self:
        if self.ttl is not None and not seconds(self.ttl, "Cache(ttl)"):
            raise ConfigurationError(
                "Cache(ttl=0) would serve nothing: give a while, None for no limit, or cache=None"
            )
        return self

    @model_validator(mode="after")
    def _variants_need_variety(self) -> Self:
        if self.variants > 1 and not self.sampled:
            raise ConfigurationError(
                "Cache(variants=...) collects answers of calls that ask for variety: add sampled=True"
            )
        return self


def cache_option(value: str | Cache | None) -> Cache | None:
    """Read the `cache=` argument of wrap(): None, "memory", "disk", an address or a Cache."""
    if value is None or isinstance(value, Cache):
        return value
    if isinstance(value, str) and value == "memory":
        return Cache("memory")
    if isinstance(value, str) and value == "disk":
        return Cache("disk", max_bytes=DISK_BYTES)
    if isinstance(value, str) and is_address(value):
        return Cache("redis", url=value)
    meant = nearest(value, ("memory", "disk"))
    raise refused(
        "cache",
        value,
        'None, "memory", "disk", "redis://..." or promptguard.Cache(...)',
        meant=None if meant is None else f'"{meant}"',
    )
