"""The composition root: what a user's one line becomes. Every mistake is reported here, before any call is made."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from promptguard import sdks
from promptguard.arguments import wanted
from promptguard.assembly import Assembly
from promptguard.background_clients import Maker, maker_for_http, makers_for
from promptguard.core.fields import FieldEffect
from promptguard.core.mistakes import checked_call, refused
from promptguard.core.options import Action, Cache, Compat, Drift, Replay, Shadow, check_tag
from promptguard.errors import ConfigurationError, UnknownClient
from promptguard.settings import NOT_GIVEN, NotGiven
from promptguard.unknown_clients import unknown, what

if TYPE_CHECKING:
    from promptguard.sdks import SdkFamily
    from promptguard.sdks.slots import Slot

log = logging.getLogger("promptguard")

LONGEST_WAIT = 86_400.0
"""Seconds that flush() waits, at most: a lock takes no infinite number."""

C = TypeVar("C")
H = TypeVar("H")


@checked_call
def wrap(
    client: C,
    *,
    ledger: str | Path | NotGiven = NOT_GIVEN,
    cache: str | Cache | NotGiven | None = NOT_GIVEN,
    shadow: Shadow | NotGiven | None = NOT_GIVEN,
    replay: Replay | NotGiven | None = NOT_GIVEN,
    drift: Drift | NotGiven | None = NOT_GIVEN,
    on_drift: Action | Sequence[Action] | NotGiven = NOT_GIVEN,
    prompts: object = None,
    record_content: bool | NotGiven | None = NOT_GIVEN,
    fields: Mapping[str, FieldEffect] | NotGiven | None = NOT_GIVEN,
    compat: str | Compat | NotGiven | None = NOT_GIVEN,
    clock: Callable[[], float] = time.time,
    seed: int | NotGiven | None = NOT_GIVEN,
) -> C:
    """Guard an SDK client and return the same object; its calls, streams, errors and types stay what they are.

    What is not given comes from `PROMPTGUARD_*` environment variables, `[tool.promptguard]` of the nearest pyproject.toml,
    or the default, in this order (docs/reference/settings.md).

    Parameters:
        client: an open client of an SDK that PromptGuard knows; wrapping it twice replaces the first
        ledger: directory of what is kept (default ".promptguard"); nothing is written there unless `cache="disk"`, `shadow`
            or `replay` need it
        cache: "memory", "disk", "redis://..." or Cache(...): where equal requests are answered from (default None: nowhere)
        shadow: Shadow(...): a second model version that is asked the same questions (default None)
        replay: Replay(...): stored questions that are asked again after a while (default None)
        drift: Drift(...): how sure an alarm must be (default None: those of Drift())
        on_drift: what is done about an alarm, besides a warning in the log: Warn(), Raise(), Route(to=...), a function that
            is given the Alarm (a coroutine function is awaited), or a list of these (default Warn())
        prompts: a prompt library, as promptguard.prompts(directory) returns it (default None)
        record_content: whether questions and answers of pairs are kept in the ledger (default None: only what replay needs,
            until it is asked again)
        fields: what requests' fields do that PromptGuard does not know, or knows otherwise: "none" (without side effect or
            state) or "stateful", by the names that reasons give them (docs/reference/fields.md): {"my_field": "none"}
        compat: "apply", "lossless" or Compat(...): the application's own requests are written as their model takes them,
            also under Route (default "report": they are never touched; docs/reference/compatibility.md)
        clock: a function that returns seconds since the Unix epoch; for tests
        seed: a whole number that seeds the sampling; for tests

    Raises ConfigurationError for settings that cannot work, naming the argument, the environment variable or the file, and
    for what is no SDK client (then it is its subclass `promptguard.errors.UnknownClient`).
    """
    family = sdks.family_of(client)
    if family is None:
        raise UnknownClient(unknown(client))
    assembly = Assembly(
        wanted(
            ledger=ledger,
            cache=cache,
            shadow=shadow,
            replay=replay,
            drift=drift,
            on_drift=on_drift,
            prompts=prompts,
            record_content=record_content,
            fields=fields,
            compat=compat,
            clock=clock,
            seed=seed,
            renewing=_renews(client),
        )
    )
    _check_models(client, family, assembly)
    slots = family.slots(client)
    if not slots:
        raise UnknownClient(
            f"this version of {family.NAME} does not talk through httpx or httpx2: use a newer one"
        )
    for slot in slots:
        _usable(slot.http, type(client).__qualname__)
    makers, assembly.elsewhere = makers_for(client, family, slots, assembly.background_wish)
    for slot, maker in zip(slots, makers, strict=True):
        _guard_slot(slot, maker, assembly)
    return client


def _check_models(client: object, family: SdkFamily, assembly: Assembly) -> None:
    """Raise ConfigurationError where another model would have to be named, and cannot be."""
    instead = {}
    if assembly.shadows and not family.can_shadow(client):
        instead["shadow="] = "replay="
    if assembly.routes and not family.can_route(client):
        instead["Route"] = "Warn()"
    if instead:
        raise ConfigurationError(
            f"{type(client).__qualname__} names the model where {' and '.join(instead)} cannot change it (a "
            f"signed body); use {' and '.join(instead.values())}"
        )


@checked_call
def guard(
    http_client: H,
    *,
    ledger: str | Path | NotGiven = NOT_GIVEN,
    cache: str | Cache | NotGiven | None = NOT_GIVEN,
    shadow: Shadow | NotGiven | None = NOT_GIVEN,
    replay: Replay | NotGiven | None = NOT_GIVEN,
    drift: Drift | NotGiven | None = NOT_GIVEN,
    on_drift: Action | Sequence[Action] | NotGiven = NOT_GIVEN,
    prompts: object = None,
    record_content: bool | NotGiven | None = NOT_GIVEN,
    fields: Mapping[str, FieldEffect] | NotGiven | None = NOT_GIVEN,
    compat: str | Compat | NotGiven | None = NOT_GIVEN,
    clock: Callable[[], float] = time.time,
    seed: int | NotGiven | None = NOT_GIVEN,
) -> H:
    """Return a guarded clone of an httpx or httpx2 client, sync or async, for any SDK that takes one.

    The clone shares the connections of the client it was made from, which stays as it is. Arguments are those of
    `wrap`. Calls that are no model provider's pass through untouched.

    Raises UnknownClient for anything but an open httpx or httpx2 client, ConfigurationError for settings that cannot
    work.

    >>> client = Anthropic(http_client=promptguard.guard(httpx2.Client(), cache="memory"))  # doctest: +SKIP
    """
    from promptguard.http import transport

    original = transport.original_of(http_client) or http_client
    _usable(original, "guard(http_client)", transport)
    assert transport.is_client(original)  # noqa: S101 - `_usable` has checked
    assembly = Assembly(
        wanted(
            ledger=ledger,
            cache=cache,
            shadow=shadow,
            replay=replay,
            drift=drift,
            on_drift=on_drift,
            prompts=prompts,
            record_content=record_content,
            fields=fields,
            compat=compat,
            clock=clock,
            seed=seed,
        )
    )
    maker = maker_for_http(original, assembly.background_wish)
    return cast("H", transport.guarded(original, assembly.guard(maker)))


def _family_or_http(client: object, doing: str) -> SdkFamily | None:
    """Return the family of an SDK client, None for an HTTP client; raises UnknownClient for anything else."""
    family = sdks.family_of(client)
    if family is None and (isinstance(client, type) or _seam(client) is None):
        raise UnknownClient(unknown(client, doing))
    return family


_RENEWED_BY = ("_api_key_provider", "_azure_ad_token_provider", "_workload_identity_auth")
"""Where SDKs keep what gives them a new credential when one runs out."""


def _renews(client: object) -> bool:
    return any(getattr(client, name, None) is not None for name in _RENEWED_BY)


def _usable(http: object, whose: str, *seams: ModuleType) -> None:
    """Raise UnknownClient or ConfigurationError unless `http` can be guarded, by one of `seams` if there are any."""
    from promptguard.http.transport import original_of

    http = original_of(http) or http
    seam = _seam(http)
    if seam is None or (seams and seam not in seams):
        kind = what(http)
        raise UnknownClient(
            f"{whose} takes a client of httpx or httpx2, not {kind}; an SDK's client goes to promptguard.wrap()"
            if seams
            else f"{whose} talks through {kind}, not through httpx or httpx2: give it a client of these"
        )
    if getattr(http, "is_closed", False):
        raise ConfigurationError("this client is closed already: use a fresh one")


def _seam(http: object) -> ModuleType | None:
    """Return the module that guards what an SDK sends through, or None where nobody knows it."""
    from promptguard.http import botocore_session, transport

    return next((seam for seam in (transport, botocore_session) if seam.is_client(http)), None)


def _guard_slot(slot: Slot, maker: Maker, assembly: Assembly) -> None:
    from promptguard.http.transport import original_of, ports_of

    replaced = ports_of(slot.http)
    http = original_of(slot.http) or slot.http
    seam = _seam(http)
    assert seam is not None  # noqa: S101 - `_usable` has checked
    slot.put(seam.guarded(http, assembly.guard(maker), inner=slot.inner))
    if replaced is not None:
        replaced.retire()


@checked_call
def unwrap(client: C) -> C:
    """Take the guard out again; returns the same object. A client that is not wrapped is left as it is.

    What `guard` returned stays guarded: the HTTP client that it was made from is the bare one. Raises UnknownClient for
    what is no client.
    """
    from promptguard.http.transport import original_of, ports_of

    family = _family_or_http(client, "unwrap")
    for slot in () if family is None else family.slots(client):
        original, replaced = original_of(slot.http), ports_of(slot.http)
        if original is not None and replaced is not None:
            slot.restore(original)
            replaced.retire()
    return client


@checked_call
def is_wrapped(client: object) -> bool:
    """Whether calls of `client`, an SDK client or an httpx or httpx2 client, are guarded at this moment.

    Raises UnknownClient for what is no client.
    """
    from promptguard.http.transport import original_of

    family = _family_or_http(client, "tell whether calls are guarded of")
    if family is None:
        return original_of(client) is not None
    return any(original_of(slot.http) is not None for slot in family.slots(client))


@checked_call
def flush(timeout: float = 2.0) -> bool:
    """Wait until sampled calls are paired, committed and judged; False if that took longer than `timeout` seconds.

    True means, of every sampled call before it, and by `Drift(evaluate=...)`:

    - `"here"` and `"auto"`: its pair is committed, and part of verdicts that are written, by this process or by the one
      that judges for it (a watch, or another process of the ledger). Outcomes of rollouts are judged as well. Alarms are
      given to the functions in `on_drift`, and alerts to their channels, once.
    - `"never"`: its pair is committed, or, where the database of the ledger is away, in the bounded file of this machine
      that the next process delivers. When it is judged is another process's business, and nobody is told of alarms first.

    False also where a pair was dropped since the last time, and where a call is still being answered.

    Raises ConfigurationError unless `timeout` is a number of seconds of at least 0.

    Call it before a platform freezes or ends the process without notice, as serverless ones do after each invocation: what
    True was returned for is on disk. Without it nothing breaks; what was under way goes on when the process is thawed. A
    process that ends in order does the same for a second at most, whatever it waits for, and leaves pairs that a database
    has not acknowledged by then in that file.
    """
    import sys

    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout >= 0:
        raise refused("flush(timeout)", timeout, "a number of seconds of at least 0, such as 2.0")
    counting = sys.modules.get("promptguard.background.counting")
    if counting is None:  # which the engine imports as well
        return True
    engine = sys.modules.get("promptguard.background.engine")
    finishing = sys.modules.get("promptguard.runtime.finishing")
    if finishing is not None:  # an application that only renders prompts has none
        finishing.finish_abandoned()
    deadline = time.monotonic() + min(timeout, LONGEST_WAIT)
    rolling = sys.modules.get("promptguard.background.rolling")
    working = (
        *(engine.open_backgrounds() if engine else ()),
        *counting.open_countings(),
        *(rolling.rollings.living() if rolling else ()),
    )
    # Every one of them, also after one that was not in time.
    return all([_flushed(known, max(0.0, deadline - time.monotonic())) for known in working])  # noqa: C419


class _Flushing(Protocol):
    def flush(self, timeout: float) -> bool: ...


def _flushed(working: _Flushing, timeout: float) -> bool:
    """Flush one thing; a fault of ours is told, and is not "everything was judged"."""
    try:
        return working.flush(timeout)
    except Exception as error:
        log.warning("flush() met a fault of PromptGuard's own (%s)", type(error).__name__)
        log.debug("the fault in full", exc_info=error)
        return False


@checked_call
def clear_cache(client: object, tag: str | None = None) -> None:
    """Forget every answer in the cache of a wrapped client, or those with `tag`. Out of sight at once.

    A cache on disk is cleared in the background, also for other processes, within seconds; `promptguard cache clear`
    does it from outside. Nothing happens for a wrapped client without a cache.

    Raises ConfigurationError for a tag that no entry can have and for a client that is not wrapped, UnknownClient for what
    is no client.
    """
    from promptguard.http.transport import ports_of

    check_tag(tag, "clear_cache(tag)")
    family = _family_or_http(client, "clear the cache of")
    clients = [client] if family is None else [slot.http for slot in family.slots(client)]
    ports = [known for known in map(ports_of, clients) if known is not None]
    if not ports:
        raise ConfigurationError(
            f"clear_cache({type(client).__qualname__}) has no cache to clear: the client is not wrapped; write "
            "promptguard.wrap(client, cache=...) first"
        )
    for each in ports:
        cache = getattr(each, "cache", None)
        if cache is not None:
            cache.clear(tag)
