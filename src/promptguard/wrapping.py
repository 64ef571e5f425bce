"""The composition root: what a user's one line becomes. Every mistake is reported here, before any call is made."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from promptguard import __version__, sdks
from promptguard.core.options import (
    Action,
    Budget,
    Cache,
    Drift,
    Raise,
    Replay,
    Route,
    Shadow,
    Warn,
    cache_option,
)
from promptguard.core.policy import Settings
from promptguard.errors import ConfigurationError, UnknownClient
from promptguard.guard import BYPASS, CLUSTER, Guard

if TYPE_CHECKING:
    from promptguard.background import Background
    from promptguard.drift import Verdict

C = TypeVar("C")

KEY_FILE = "keys"


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
    clock: Callable[[], float] = time.time,
    seed: int | None = None,
) -> C:
    """Guard an SDK client and return the same object; its calls, streams, errors and types stay what they are.

    `ledger` is a directory; nothing is written there unless `cache="disk"`, `shadow` or `replay` need it. `clock`
    (seconds since the Unix epoch) and `seed` (of the sampling) are for tests. Wrapping twice replaces the first.

    Raises UnknownClient for what is no SDK client, ConfigurationError for settings that cannot work.
    """
    from promptguard.http.family import is_client
    from promptguard.http.transport import guarded, original_of, ports_of

    family = sdks.family_of(client)
    if family is None:
        known = ", ".join(module.NAME for module in sdks.FAMILIES)
        raise UnknownClient(
            f"cannot wrap a {type(client).__module__}.{type(client).__qualname__}: give a client of: {known}"
        )
    http = original_of(family.http_client(client)) or family.http_client(client)
    if not is_client(http):
        raise UnknownClient(
            f"this {type(client).__qualname__} talks through {type(http).__qualname__}, not through httpx or httpx2"
        )
    if http.is_closed:
        raise ConfigurationError("this client is closed already: wrap a fresh one")
    actions = _actions(on_drift)
    if not family.names_model_in_body(client) and (
        shadow is not None or any(isinstance(action, Route) for action in actions)
    ):
        raise ConfigurationError(
            f"{type(client).__qualname__} names the model in its URL, where shadow= and Route cannot change it yet; "
            "use replay= and Warn()"
        )
    _check(replay=replay, record_content=record_content, prompts=prompts)
    directory = Path(ledger) if "://" not in str(ledger) else _no_database(ledger)
    settings = Settings(
        cache=cache_option(cache), shadow=shadow, replay=replay, secret=secrets.token_bytes(32)
    )

    def open_background() -> Background | None:
        if shadow is None and replay is None:
            return None
        return _background(directory, drift or Drift(), actions, settings, record_content, clock)

    guard = _guard(client, family, settings, directory, open_background, clock, seed)
    replaced = ports_of(family.http_client(client))
    family.set_http_client(client, guarded(http, guard))
    if replaced is not None:
        replaced.retire()
    return client


def _actions(on_drift: Action | Sequence[Action]) -> tuple[Action, ...]:
    actions = tuple(on_drift) if isinstance(on_drift, Sequence) else (on_drift,)
    for action in actions:
        if not isinstance(action, (Warn, Raise, Route)) and not callable(action):
            raise ConfigurationError(
                f"on_drift={action!r}: give promptguard.Warn(), Route(to=...), Raise() or a callable"
            )
    return actions


def _check(*, replay: Replay | None, record_content: bool | None, prompts: Any) -> None:
    if replay is not None and record_content is False:
        raise ConfigurationError(
            "replay= keeps requests until they are asked again, and record_content=False forbids it: drop one of the two"
        )
    if prompts is not None and not hasattr(prompts, "get"):
        raise ConfigurationError(
            "prompts= takes a prompt library, as promptguard.prompts(directory) returns it"
        )


def _no_database(ledger: str | Path) -> Path:
    raise ConfigurationError(
        f"ledger={str(ledger)!r}: only directories (SQLite) work in this version; give a path"
    )


def _background(
    directory: Path,
    drift: Drift,
    actions: tuple[Action, ...],
    settings: Settings,
    record_content: bool | None,
    clock: Callable[[], float],
) -> Background:
    from promptguard.background import Background

    shadow = settings.shadow
    return Background.open(
        directory,
        drift,
        actions,
        record_content=record_content,
        queue=shadow.queue if shadow else 256,
        threads=shadow.workers if shadow else 2,
        wall=clock,
    )


def _guard(
    client: Any,
    family: Any,
    settings: Settings,
    directory: Path,
    open_background: Callable[[], Background | None],
    clock: Callable[[], float],
    seed: int | None,
) -> Guard:
    from promptguard.http.background import background_client
    from promptguard.http.family import family_of
    from promptguard.telemetry.otel import Telemetry, current_context, is_recorded

    http = family.http_client(client)
    telemetry = Telemetry(__version__)
    persistent = settings.shadow is not None or settings.replay is not None
    cache, settings = _cache(settings, directory, persistent=persistent)
    guard = Guard(
        settings,
        cache=cache,
        telemetry=telemetry,
        make_twin=lambda: family.twin(client, background_client(http), family_of(http).Response),  # type: ignore[union-attr]
        is_recorded=is_recorded,
        context=current_context,
        wall=clock,
        rng=random.Random(seed) if seed is not None else None,
        renew=lambda guard: _serve(guard, open_background(), clock),
    )
    _serve(guard, open_background(), clock)
    return guard


def _serve(guard: Guard, background: Background | None, clock: Callable[[], float]) -> None:
    """Connect a guard to its background work: at wrap(), and once more in each forked child."""
    from promptguard.shadow.spending import Spending

    if background is None:
        return
    shadow, replay = guard.settings.shadow, guard.settings.replay
    guard.spending = Spending(shadow.budget if shadow else Budget(), background.ledger, clock)
    own = replay.budget if replay else None
    guard.replay_spending = guard.spending if own is None else Spending(own, background.ledger, clock)
    guard.faults = background.faults
    guard.background = background
    background.serve(guard)


def _cache(settings: Settings, directory: Path, *, persistent: bool) -> tuple[Any, Settings]:
    """Return the response cache, and the settings with the secret that keys digests of credentials.

    What outlives the process (entries on disk, stored requests) needs the same secret next time.
    """
    from promptguard.cache.mackey import load_mac_key

    option = settings.cache
    if persistent or (option is not None and option.kind == "disk"):
        settings = replace(settings, secret=load_mac_key(directory / KEY_FILE))
    if option is None:
        return None, settings
    if option.kind == "memory":
        from promptguard.cache.memory import MemoryCache

        return MemoryCache(option.max_bytes), settings
    from promptguard.cache.disk import DiskCache

    return DiskCache(directory / "cache", settings.secret, max_bytes=option.max_bytes), settings


def unwrap(client: C) -> C:
    """Take the guard out again; returns the same object. A client that is not wrapped is left as it is."""
    from promptguard.http.transport import original_of, ports_of

    family = sdks.family_of(client)
    if family is not None and (original := original_of(family.http_client(client))) is not None:
        guard = ports_of(family.http_client(client))
        family.set_http_client(client, original)
        if guard is not None:
            guard.retire()
    return client


def is_wrapped(client: object) -> bool:
    """Whether calls of `client` are guarded at this moment."""
    from promptguard.http.transport import original_of

    family = sdks.family_of(client)
    return family is not None and original_of(family.http_client(client)) is not None


def flush(timeout: float = 2.0) -> bool:
    """Wait until sampled calls are paired, committed and judged; False if that took longer than `timeout` seconds."""
    import sys

    engine = sys.modules.get("promptguard.background.engine")
    if engine is None:
        return True
    sys.modules["promptguard.http.streams"].finish_abandoned()
    deadline = time.monotonic() + timeout
    return all(known.flush(max(0.0, deadline - time.monotonic())) for known in engine.open_backgrounds())


@contextmanager
def bypass() -> Iterator[None]:
    """Within this block, calls of this thread or task are neither answered from the cache nor saved to it."""
    token = BYPASS.set(True)
    try:
        yield
    finally:
        BYPASS.reset(token)


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


def verdicts(ledger: str | Path = ".promptguard") -> Iterator[Verdict]:
    """Yield the verdict that stands for every stream and group in a ledger: a drift until acknowledged, else the newest.

    Raises InputFileError when there is no ledger.
    """
    from promptguard.drift import Verdict
    from promptguard.report.read import read_verdicts, standing

    for document in standing(read_verdicts(ledger)):
        yield Verdict.from_dict(document)
