"""What a user may say to wrap(): plain frozen values that pickle, checked when they are made.

Every mistake raises `ConfigurationError` here, at set-up, and says what to write instead.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from promptguard.core.streams import SELF_TESTS
from promptguard.errors import ConfigurationError

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(value: float | str, name: str) -> float:
    """Return `value` in seconds: a number of seconds, or text such as "90s", "15m", "6h", "1d"."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf"):
        return float(value)
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ConfigurationError(
            f'{name}={value!r} is no duration: write seconds, or "90s", "15m", "6h", "1d"'
        )
    return float(found[1]) * _SECONDS[found[2]]


def _share(value: float, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value <= 1.0:
        raise ConfigurationError(f"{name}={value!r} must be a share between 0 and 1")


def _factory(client: object, option: str) -> None:
    if client is None:
        return
    line = f"{option}(client=lambda: OpenAI(...)), a function without arguments that returns a fresh client"
    if not callable(client):
        raise ConfigurationError(
            f"{option}(client=...) must build a client, not be one: the application's is never shared. Write {line}"
        )
    if inspect.iscoroutinefunction(client):
        raise ConfigurationError(f"{option}(client=...) is a coroutine function: write {line}")


@dataclass(frozen=True, slots=True)
class Price:
    """USD per million tokens, for models that the price list does not know."""

    input: float
    output: float


@dataclass(frozen=True, slots=True)
class Budget:
    """The hard cap of everything PromptGuard asks in the background; reserved before a call is sent.

    A USD cap needs a price: calls of a model without one are not made (counted as `price_unknown`) unless
    `price` gives it.
    """

    usd_per_day: float | None = None
    calls_per_day: int | None = None
    calls_per_minute: int | None = 60
    price: Price | None = None

    def __post_init__(self) -> None:
        for name in ("usd_per_day", "calls_per_day", "calls_per_minute"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not value >= 0):
                raise ConfigurationError(
                    f"Budget({name}={value!r}) must be a number of at least 0, or None for no cap"
                )


@dataclass(frozen=True, slots=True)
class Shadow:
    """Ask a second model version the same question for a share of calls, in the background.

    `sample` is the share of calls; `repeat` the share of those that ask the *same* model again instead, which
    measures the noise floor and tests the instrument itself.
    """

    model: str
    sample: float = 0.05
    repeat: float = 0.1
    budget: Budget = field(default_factory=Budget)
    queue: int = 256
    workers: int = 2
    client: Callable[[], object] | None = None
    """a function that returns a fresh client of the same SDK (for `guard`, an httpx or httpx2 client), for background calls
    alone, which close it. Needed where the wrapped client has something that cannot be built from its settings: a transport
    of your own, aiohttp, a mock. None: built from the settings of the wrapped client"""

    def __post_init__(self) -> None:
        _factory(self.client, "Shadow")
        if not isinstance(self.model, str) or not self.model:
            raise ConfigurationError(
                'Shadow(model=...) must name the second model version, such as "gpt-4-0314"'
            )
        _share(self.sample, "Shadow(sample)")
        _share(self.repeat, "Shadow(repeat)")
        if not 1 <= self.queue <= 100_000 or not 1 <= self.workers <= 64:
            raise ConfigurationError(
                "Shadow(queue) must be 1 to 100,000 calls and Shadow(workers) 1 to 64 threads"
            )


@dataclass(frozen=True, slots=True)
class Replay:
    """Keep a share of requests with their answers, and ask each once more after a while.

    The only way to see a change behind a fixed name: stored answers are from before, new ones from after.
    """

    share: float = 0.02
    after: float | str = "6h"
    reservoir: int = 500
    """stored requests a group, at most; the oldest give way"""
    budget: Budget | None = None
    """None: the shadow's budget. A budget of its own is a cap on the same purse: what the shadow spends that day counts"""

    placebo: str | None = None
    """a pinned snapshot that some stored requests are also asked of, then and later: when its answers change too, it is
    not the model, and replay verdicts become `unmeasured`"""
    placebo_share: float = 0.2
    """share of the stored requests that the placebo is asked as well; each costs two calls"""
    client: Callable[[], object] | None = None
    """as `Shadow(client=...)`, whose client serves both where both are given"""

    def __post_init__(self) -> None:
        _factory(self.client, "Replay")
        _share(self.share, "Replay(share)")
        _share(self.placebo_share, "Replay(placebo_share)")
        if self.placebo is not None and (not isinstance(self.placebo, str) or not self.placebo):
            raise ConfigurationError(
                'Replay(placebo=...) must name a pinned model version, such as "gpt-4-0314"'
            )
        seconds(self.after, "Replay(after)")
        if self.reservoir < 1:
            raise ConfigurationError("Replay(reservoir) must be at least 1 stored request a group")


@dataclass(frozen=True, slots=True)
class Drift:
    """How sure an alarm must be: at most `alpha` false alarms within any `horizon` pairs of a reset."""

    alpha: float = 0.01
    mode: Literal["gate", "monitor"] = "monitor"
    horizon: int = 1000
    split: Mapping[str, float] = field(
        default_factory=lambda: {"candidate": 0.4, "replay": 0.4, "canary": 0.2}
    )
    """how alpha is divided between streams; self-tests have their own and only gate"""
    tolerance: float | None = None
    """for a candidate that is known to differ: candidate pairs alarm only when some feature differs by more than this
    share of answers on average"""
    lifetime: bool = False
    """divide alpha between all epochs (6 alpha / (pi k)^2 for the k-th) instead of renewing it after each alarm"""
    max_groups: int = 500
    """groups of a ledger, at most: calls of further ones are counted under `(other)`; prompts of a library always have
    their own"""

    def __post_init__(self) -> None:
        if not 0.0 < self.alpha < 1.0:
            raise ConfigurationError(f"Drift(alpha={self.alpha!r}) must lie between 0 and 1, both excluded")
        if self.mode not in {"gate", "monitor"}:
            raise ConfigurationError(f'Drift(mode={self.mode!r}) must be "gate" or "monitor"')
        if self.horizon < 1:
            raise ConfigurationError("Drift(horizon) must be at least 1 pair")
        _whole(self.max_groups, "Drift(max_groups)", "groups", 1, 100_000)
        if self.tolerance is not None and not 0.0 < self.tolerance < 1.0:
            raise ConfigurationError(
                f"Drift(tolerance={self.tolerance!r}) must lie between 0 and 1, or be None"
            )
        if any(part < 0 for part in self.split.values()) or sum(self.split.values()) > 1 + 1e-9:
            raise ConfigurationError("Drift(split) must be shares of alpha that add up to at most 1")

    def alpha_of(self, stream: str) -> float:
        """Return the share of alpha that `stream` may spend; self-tests gate and have the whole of their own."""
        return self.alpha if stream in SELF_TESTS else self.alpha * self.split.get(stream, 0.0)


@dataclass(frozen=True, slots=True)
class Warn:
    """On drift: one warning through the logger `promptguard`, and nothing else. The default."""


@dataclass(frozen=True, slots=True)
class Raise:
    """On drift: the next call of the changed prompt raises `DriftDetected`. For tests and batch jobs."""


@dataclass(frozen=True, slots=True)
class Route:
    """On drift: send the changed model's calls to `to`, a pinned snapshot, until the alarm is acknowledged."""

    to: str

    def __post_init__(self) -> None:
        if not isinstance(self.to, str) or not self.to:
            raise ConfigurationError('Route(to=...) must name a pinned model version, such as "gpt-4-0314"')


MAX_VARIANTS = 64
MAX_TAGS = 32
_CACHE_WORDS: Mapping[str, tuple[str, ...]] = {
    "kind": ("memory", "disk"),
    "draw": ("turn", "random"),
    "on_drift": ("bypass", "keep", "reask"),
}


def _whole(value: int, name: str, unit: str, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigurationError(f"{name}={value!r} must be a whole number of {unit}, {least} to {most:,}")


def check_tags(tags: tuple[str, ...], name: str) -> None:
    """Raise ConfigurationError unless `tags` is a tuple of a few short non-empty texts."""
    fine = isinstance(tags, tuple) and len(tags) <= MAX_TAGS
    if not fine or any(not isinstance(tag, str) or not 0 < len(tag) <= 200 for tag in tags):
        raise ConfigurationError(
            f"{name} takes a tuple of at most {MAX_TAGS} texts of 1 to 200 characters, not {tags!r}"
        )


def check_tag(tag: str | None, name: str) -> None:
    """Raise ConfigurationError unless `tag` is one that an entry can have, or None for every entry."""
    if tag is not None and (not isinstance(tag, str) or not 0 < len(tag) <= 200):
        raise ConfigurationError(
            f"{name} takes a text of 1 to 200 characters, not {tag!r}; leave it out for every entry"
        )


Action = Warn | Raise | Route | Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Cache:
    """Where equal requests are answered from, and for how long."""

    kind: Literal["memory", "disk"] = "memory"
    ttl: float | str | None = None
    """None: until evicted, or until the model that answered is found to have changed"""
    max_bytes: int = 64 * 1024 * 1024
    sampled: bool = False
    """also cache calls that ask for variety (temperature above 0 or n above 1)"""
    tenant: str = ""
    """separates entries of one API key, such as one customer of yours from another; needed where the credential is a
    token that is renewed"""
    variants: int = 1
    """with `sampled`: so many answers are collected for a question before any of them is served again"""
    draw: Literal["turn", "random"] = "turn"
    """how collected variants are served: one after the other, or by a draw (seeded by wrap's `seed`)"""
    on_drift: Literal["bypass", "keep", "reask"] = "bypass"
    """entries of a model that changed: not served; served all the same; not served, and paired with the fresh answer
    in the replay stream"""
    reask: float = 0.0
    """share of hits that are asked afresh instead; the stored and the fresh answer are a pair of the replay stream"""
    tags: tuple[str, ...] = ()
    """on every entry, for clearing; `promptguard.cache_tags(...)` adds more for a block"""
    single_flight: bool = True
    """equal calls at the same moment (not streams) wait for one of them and share its answer"""

    def __post_init__(self) -> None:
        for name, known in _CACHE_WORDS.items():
            if getattr(self, name) not in known:
                raise ConfigurationError(
                    f"Cache({name}={getattr(self, name)!r}) must be one of {', '.join(map(repr, known))}"
                )
        if self.ttl is not None:
            seconds(self.ttl, "Cache(ttl)")
        _whole(self.max_bytes, "Cache(max_bytes)", "bytes", 1, 2**50)
        _whole(self.variants, "Cache(variants)", "answers a question", 1, MAX_VARIANTS)
        _share(self.reask, "Cache(reask)")
        for name in ("sampled", "single_flight"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigurationError(f"Cache({name}={getattr(self, name)!r}) must be True or False")
        if not isinstance(self.tenant, str):
            raise ConfigurationError(f"Cache(tenant={self.tenant!r}) must be text that names the tenant")
        if self.variants > 1 and not self.sampled:
            raise ConfigurationError(
                "Cache(variants=...) collects answers of calls that ask for variety: add sampled=True"
            )
        check_tags(self.tags, "Cache(tags=...)")


def cache_option(value: str | Cache | None) -> Cache | None:
    """Read the `cache=` argument of wrap(): None, "memory", "disk" or a Cache."""
    if value is None or isinstance(value, Cache):
        return value
    if value == "memory":
        return Cache("memory")
    if value == "disk":
        return Cache("disk", max_bytes=1024**3)
    raise ConfigurationError(
        f'cache={value!r} is not known: write None, "memory", "disk" or promptguard.Cache(...)'
    )
