"""What wrap() and guard() were given, checked before any client is touched; what was not given comes from settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from promptguard.clocks import check_clock
from promptguard.core.fields import FieldEffect, check_fields
from promptguard.core.mistakes import refused
from promptguard.core.options import (
    Action,
    Cache,
    Channel,
    Compat,
    Drift,
    Option,
    Replay,
    Shadow,
    Warn,
    cache_option,
    check_action,
    compat_option,
)
from promptguard.core.telemetry_for import Backend
from promptguard.directories import check_ledger
from promptguard.errors import ConfigurationError
from promptguard.settings import NotGiven, current

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user asked for: checked."""

    ledger: str | Path = ".promptguard"
    cache: Cache | None = None
    shadow: Shadow | None = None
    replay: Replay | None = None
    drift: Drift | None = None
    actions: tuple[Action, ...] = (Warn(),)
    record_content: bool | None = None
    clock: Callable[[], float] = time.time
    seed: int | None = None
    renewing: bool = False
    """the client has credentials that it renews by itself"""
    fields: Mapping[str, FieldEffect] | None = None
    """what the user knows of requests' fields"""
    compat: Compat | None = None
    telemetry_for: tuple[Backend, ...] = ()
    """backends for which spans have further attributes"""


def wanted(
    *,
    ledger: str | Path | NotGiven,
    cache: str | Cache | NotGiven | None,
    shadow: Shadow | NotGiven | None,
    replay: Replay | NotGiven | None,
    drift: Drift | NotGiven | None,
    on_drift: Action | Sequence[Action] | NotGiven,
    prompts: object,
    record_content: bool | NotGiven | None,
    fields: Mapping[str, FieldEffect] | NotGiven | None,
    compat: str | Compat | NotGiven | None,
    clock: Callable[[], float],
    seed: int | NotGiven | None,
    renewing: bool = False,
) -> Wanted:
    """Return what holds. Raises ConfigurationError for the first argument, or combination, that cannot work."""
    known = current()
    _check_prompts(prompts)
    classified = _or(fields, known.fields)
    told = _option("drift", _or(drift, known.drift), Drift)
    found = Wanted(
        ledger=check_ledger(_or(ledger, known.ledger)),
        cache=cache_option(_or(cache, known.cache)),
        shadow=_option("shadow", _or(shadow, known.shadow), Shadow),
        replay=_option("replay", _or(replay, known.replay), Replay),
        drift=_without_alerts(told),
        actions=(*_actions(_or(on_drift, known.on_drift)), *_alerts(told, known.alerts)),
        record_content=_flag(_or(record_content, known.record_content)),
        clock=check_clock(clock),
        seed=_seed(_or(seed, known.seed)),
        renewing=renewing,
        fields=None if classified is None else check_fields(classified),
        compat=compat_option(_or(compat, known.compat)),
        telemetry_for=known.telemetry_for,
    )
    _check_together(found)
    return found


def _or(given: T | NotGiven, setting: T) -> T:
    return setting if isinstance(given, NotGiven) else given


_OPTION = TypeVar("_OPTION", bound=Option)


def _option(name: str, value: object, kind: type[_OPTION]) -> _OPTION | None:
    if value is None or isinstance(value, kind):
        return value
    accepted = f"promptguard.{kind.__name__}(...) or None"
    raise refused(name, value, accepted, meant=_meant(value, kind))


def _meant(value: object, kind: type[Option]) -> str | None:
    """Return the line that was probably meant: a value of an option's first field, or True for its defaults."""
    try:
        made = kind() if value is True else kind(value)
    except (ConfigurationError, TypeError):
        return None
    first = next(iter(kind.model_fields))
    return f"promptguard.{kind.__name__}({'' if value is True else f'{first}={getattr(made, first)!r}'})"


def _actions(on_drift: object) -> tuple[Action, ...]:
    several = isinstance(on_drift, Sequence) and not isinstance(on_drift, (str, bytes))
    actions: tuple[Action, ...] = tuple(on_drift) if several else (on_drift,)  # type: ignore[arg-type,assignment]
    for action in actions:
        check_action(action)
    return actions


def _alerts(drift: Drift | None, settings: tuple[Channel, ...]) -> tuple[Channel, ...]:
    """Return where alerts are sent: as the code says, else as settings do, also where code says other things of Drift.

    Addresses are secrets of a place, and code is the same in all of them.
    """
    return settings if drift is None or drift.alerts is None else drift.alerts


def _without_alerts(drift: Drift | None) -> Drift | None:
    """Return how alarms are judged, which does not change with who is told."""
    if drift is None or drift.alerts is None:
        return drift
    return Drift(**{name: getattr(drift, name) for name in Drift.model_fields if name != "alerts"})


def _flag(value: object) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise refused("record_content", value, "True or False, or None to keep only what replay= needs")
    return value


def _seed(value: object) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise refused("seed", value, "a whole number, or None for another sampling each time")
    return value


def _check_prompts(prompts: object) -> None:
    if prompts is None or all(callable(getattr(prompts, name, None)) for name in ("get", "names")):
        return
    meant = f"promptguard.prompts({str(prompts)!r})" if isinstance(prompts, (str, Path)) else None
    raise refused(
        "prompts", prompts, "a prompt library, as promptguard.prompts(directory) returns it", meant=meant
    )


def _check_together(found: Wanted) -> None:
    """Raise ConfigurationError for settings that are right one by one, and cannot work together."""
    if found.replay is not None and found.record_content is False:
        raise ConfigurationError(
            "replay= keeps requests until they are asked again, and record_content=False forbids it: drop one of the two"
        )
    cache = found.cache
    if cache is not None and found.replay is None:
        wish = "reask=..." if cache.reask else 'on_drift="reask"' if cache.on_drift == "reask" else None
        if wish is not None:
            raise ConfigurationError(
                f"Cache({wish}) feeds the replay stream: add replay=promptguard.Replay(...), with share=0 for nothing else"
            )
    if found.drift is None:
        return
    for argument, stream, option in (
        ("shadow", "candidate", found.shadow),
        ("replay", "replay", found.replay),
    ):
        if option is not None and not found.drift.split.get(stream):
            raise ConfigurationError(
                f"drift=Drift(split=...) gives the {stream} stream no share of alpha, so {argument}= could never alarm: "
                f'give it one, such as split={{"{stream}": 0.5, ...}}'
            )
