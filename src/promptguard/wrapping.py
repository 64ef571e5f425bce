"""The composition root: what a user's one line becomes. Every mistake is reported here, before any call is made."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from promptguard import sdks
from promptguard.assembly import Assembly, Wanted
from promptguard.background_clients import Maker, maker_for_http, makers_for
from promptguard.core.fields import FieldEffect
from promptguard.core.options import Action, Cache, Drift, Replay, Shadow, Warn, check_tag, check_tags
from promptguard.errors import ConfigurationError, InputFileError, UnknownClient
from promptguard.guarding import BYPASS, CLUSTER, GROUP, TAGS
from promptguard.unknown_clients import unknown

if TYPE_CHECKING:
    from promptguard.drift import Verdict
    from promptguard.sdks import SdkFamily
    from promptguard.sdks.slots import Slot

C = TypeVar("C")
H = TypeVar("H")


def wrap(
    client: C,
    *,
    ledger: str | Path = ".promptguard",
    cache: str | Cache | None = None,
    shadow: Shadow | None = None,
    replay: Replay | None = None,
    drift: Drift | None = None,
    on_drift: Action | Sequence[Action] = Warn(),  # noqa: B008 - a frozen value
    prompts: Any = None,
    record_content: bool | None = None,
    fields: Mapping[str, FieldEffect] | None = None,
    clock: Callable[[], float] = time.time,
    seed: int | None = None,
) -> C:
    """Guard an SDK client and return the same object; its calls, streams, errors and types stay what they are.

    `ledger` is a directory; nothing is written there unless `cache="disk"`, `shadow` or `replay` need it. `fields` says
    what requests' fields do that PromptGuard does not know, or knows otherwise: "none" (without side effect or state) or
    "stateful", by the names that reasons give them (docs/reference/fields.md), such as `{"my_field": "none"}`. `clock`
    (seconds since the Unix epoch) and `seed` (of the sampling) are for tests. Wrapping twice replaces the first.

    Raises UnknownClient for what is no SDK client, ConfigurationError for settings that cannot work.
    """
    family = sdks.family_of(client)
    if family is None:
        raise UnknownClient(unknown(client))
    assembly = Assembly(
        Wanted(
            ledger,
            cache,
            shadow,
            replay,
            drift,
            on_drift,
            prompts,
            record_content,
            clock,
            seed,
            _renews(client),
            fields,
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
    makers = makers_for(client, family, slots, assembly.background_wish)
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


def guard(
    http_client: H,
    *,
    ledger: str | Path = ".promptguard",
    cache: str | Cache | None = None,
    shadow: Shadow | None = None,
    replay: Replay | None = None,
    drift: Drift | None = None,
    on_drift: Action | Sequence[Action] = Warn(),  # noqa: B008 - a frozen value
    prompts: Any = None,
    record_content: bool | None = None,
    fields: Mapping[str, FieldEffect] | None = None,
    clock: Callable[[], float] = time.time,
    seed: int | None = None,
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
    assembly = Assembly(
        Wanted(
            ledger,
            cache,
            shadow,
            replay,
            drift,
            on_drift,
            prompts,
            record_content,
            clock,
            seed,
            fields=fields,
        )
    )
    maker = maker_for_http(original, assembly.background_wish)
    made: H = transport.guarded(original, assembly.guard(maker))
    return made


_RENEWED_BY = ("_api_key_provider", "_azure_ad_token_provider", "_workload_identity_auth")
"""Where SDKs keep what gives them a new credential when one runs out."""


def _renews(client: object) -> bool:
    return any(getattr(client, name, None) is not None for name in _RENEWED_BY)


def _usable(http: Any, whose: str, *seams: ModuleType) -> None:
    """Raise UnknownClient or ConfigurationError unless `http` can be guarded, by one of `seams` if there are any."""
    from promptguard.http.transport import original_of

    http = original_of(http) or http
    seam = _seam(http)
    if seam is None or (seams and seam not in seams):
        kind = f"{type(http).__module__}.{type(http).__qualname__}"
        raise UnknownClient(
            f"{whose} takes a client of httpx or httpx2, not a {kind}; an SDK's client goes to promptguard.wrap()"
            if seams
            else f"{whose} talks through a {kind}, not through httpx or httpx2: give it a client of these"
        )
    if getattr(http, "is_closed", False):
        raise ConfigurationError("this client is closed already: use a fresh one")


def _seam(http: Any) -> ModuleType | None:
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


def unwrap(client: C) -> C:
    """Take the guard out again; returns the same object. A client that is not wrapped is left as it is.

    What `guard` returned stays guarded: the HTTP client that it was made from is the bare one.
    """
    from promptguard.http.transport import original_of, ports_of

    family = sdks.family_of(client)
    for slot in () if family is None else family.slots(client):
        original, replaced = original_of(slot.http), ports_of(slot.http)
        if original is not None and replaced is not None:
            slot.restore(original)
            replaced.retire()
    return client


def is_wrapped(client: object) -> bool:
    """Whether calls of `client`, an SDK client or an httpx or httpx2 client, are guarded at this moment."""
    from promptguard.http.transport import original_of

    family = sdks.family_of(client)
    if family is None:
        return original_of(client) is not None
    return any(original_of(slot.http) is not None for slot in family.slots(client))


def flush(timeout: float = 2.0) -> bool:
    """Wait until sampled calls are paired, committed and judged; False if that took longer than `timeout` seconds.

    Call it before a platform freezes or ends the process without notice, as serverless ones do after each invocation: what
    True was returned for is on disk. Without it nothing breaks; what was under way goes on when the process is thawed.
    """
    import sys

    counting = sys.modules.get("promptguard.background.counting")
    if counting is None:  # which the engine imports as well
        return True
    engine = sys.modules.get("promptguard.background.engine")
    sys.modules["promptguard.http.streams"].finish_abandoned()
    deadline = time.monotonic() + timeout
    working = (*(engine.open_backgrounds() if engine else ()), *counting.open_countings())
    # Every one of them, also after one that was not in time.
    return all([known.flush(max(0.0, deadline - time.monotonic())) for known in working])  # noqa: C419


@contextmanager
def bypass() -> Iterator[None]:
    """Within this block, calls of this thread or task are neither answered from the cache nor saved to it."""
    token = BYPASS.set(True)
    try:
        yield
    finally:
        BYPASS.reset(token)


@contextmanager
def cache_tags(*tags: str) -> Iterator[None]:
    """Within this block, answers of this thread or task are kept in the cache with these tags, for clearing them later.

    Blocks add up. Tags are kept beside the answers, as they are. Raises ConfigurationError for what is no short text.

    >>> with cache_tags("customer-42"):
    ...     pass  # calls
    """
    both = tuple(dict.fromkeys((*TAGS.get(), *tags)))
    check_tags(both, "cache_tags(...)")
    token = TAGS.set(both)
    try:
        yield
    finally:
        TAGS.reset(token)


def clear_cache(client: object, tag: str | None = None) -> None:
    """Forget every answer in the cache of a wrapped client, or those with `tag`. Out of sight at once.

    A cache on disk is cleared in the background, also for other processes, within seconds; `promptguard cache clear`
    does it from outside. Nothing happens for a client without a cache. Raises ConfigurationError for a tag that no
    entry can have.
    """
    from promptguard.http.transport import ports_of

    check_tag(tag, "clear_cache(tag=...)")
    family = sdks.family_of(client)
    clients = [client] if family is None else [slot.http for slot in family.slots(client)]
    for each in clients:
        cache = getattr(ports_of(each), "cache", None)
        if cache is not None:
            cache.clear(tag)


_GROUP = re.compile(r"[^\W_][\w .:/@+-]{0,99}")


@contextmanager
def group(name: str) -> Iterator[None]:
    """Within this block, calls of this thread or task that no prompt was rendered for are counted under `name`.

    Without it, such calls are grouped by their system prompt and tools, with numbers, dates, ids and names masked. `name`
    stands in the ledger and in reports as it is: use one for each task of the application, not for each customer; of more
    than `Drift(max_groups)` the rest is counted under `(other)`. The innermost block counts.

    Raises ConfigurationError unless `name` has 1 to 100 letters, digits, spaces or `_ . : / @ + -`, beginning with a
    letter or digit.

    >>> with group("summaries"):
    ...     pass  # calls
    """
    if not isinstance(name, str) or not _GROUP.fullmatch(name) or name.startswith("system:"):
        raise ConfigurationError(
            f"group({name!r}): give 1 to 100 letters, digits, spaces or _ . : / @ + -, a letter or digit first"
        )
    token = GROUP.set(name)
    try:
        yield
    finally:
        GROUP.reset(token)


@contextmanager
def cluster(name: str) -> Iterator[None]:
    """Say that calls within this block depend on each other: a conversation, one user's session, one document.

    Of the calls of one cluster at most one pair enters a stream's evidence (an epoch), because the bound on false
    alarms needs pairs that do not repeat each other's accidents. The ledger keeps a keyed digest of `name` only.

    Raises ValueError when `name` is not a non-empty string.
    """
    if not isinstance(name, str) or not name:
        raise ValueError("cluster(name) must be a non-empty string, such as a conversation's id")
    token = CLUSTER.set(name)
    try:
        yield
    finally:
        CLUSTER.reset(token)


def acknowledge(
    ledger: str | Path = ".promptguard",
    group: str | None = None,
    *,
    stream: str | None = None,
    clock: Callable[[], float] = time.time,
) -> list[tuple[str, str]]:
    """Say that alarms are known: routes end, `Raise` stops raising, and a new epoch with its own alpha begins.

    Of one group, or of all; of one stream, or of all. Every process that shares the ledger follows within seconds.
    Returns the (stream, group) pairs acknowledged; the group of a self-test is "".

    Raises InputFileError when there is no ledger, ConfigurationError when no such alarm stands.
    """
    from promptguard.ledger.store import Ledger
    from promptguard.ledger.trouble import LedgerUnavailable
    from promptguard.report.read import read_verdicts, standing_alarms

    found = [
        place
        for place in standing_alarms(read_verdicts(ledger), ledger)
        if group in {None, place[1]} and stream in {None, place[0]}
    ]
    if not found:
        which = " ".join(filter(None, (group and f"of {group!r}", stream and f"in the {stream} stream")))
        raise ConfigurationError(
            f"{ledger}: no alarm {which + ' ' if which else ''}stands; see promptguard status"
        )
    opened = Ledger(ledger)
    try:
        for name, whose in found:
            opened.note(at=clock(), call=0, kind="acknowledge", stream=name, group=whose, detail={})
    except LedgerUnavailable as error:
        raise InputFileError(str(error)) from error
    finally:
        opened.close()
    return found


def verdicts(ledger: str | Path = ".promptguard") -> Iterator[Verdict]:
    """Yield the verdict that stands for every stream and group in a ledger: a drift until acknowledged, else the newest.

    Raises InputFileError when there is no ledger.
    """
    from promptguard.drift import Verdict
    from promptguard.report.read import read_verdicts, standing

    for document in standing(read_verdicts(ledger)):
        yield Verdict.from_dict(document)
