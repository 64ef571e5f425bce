"""How sure an alarm must be, and what is done about one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator

from promptguard.core.mistakes import listed, nearest, refused, shown, takes
from promptguard.core.options.accepting import MOST, Accepts, Model, Switch
from promptguard.core.options.alerting import Channel, Channels
from promptguard.core.options.base import Option
from promptguard.core.options.durations import Duration, seconds
from promptguard.core.streams import SELF_TESTS, STREAMS
from promptguard.errors import ConfigurationError

JUDGING = tuple(stream for stream in STREAMS if stream not in SELF_TESTS)


def _split(value: object) -> dict[str, float]:
    if not isinstance(value, Mapping):
        raise ValueError("a mapping is needed")
    for name, part in value.items():
        if name not in JUDGING:
            meant = nearest(name, JUDGING)
            why = "self-tests have an alpha of their own" if name in SELF_TESTS else "there is no such stream"
            raise ConfigurationError(
                f"Drift(split={{{shown(name)}: ...}}): {why}{f'; did you mean {meant!r}?' if meant else ''}: "
                f"give shares of {listed([repr(stream) for stream in JUDGING], 'and')}"
            )
        if isinstance(part, bool) or not isinstance(part, (int, float)) or not 0.0 <= part <= 1.0:
            raise ConfigurationError(
                f"Drift(split={{{name!r}: {shown(part)}}}) must be a share between 0 and 1"
            )
        if 0.0 < part < LEAST:
            raise ConfigurationError(
                f"Drift(split={{{name!r}: {shown(part)}}}) is so little that no change could be found: give more, or 0"
            )
    if sum(value.values()) > 1 + 1e-9:
        raise ConfigurationError(
            f"Drift(split=...) must be shares of alpha that add up to at most 1, not {sum(value.values()):g}"
        )
    return dict(value)


Split = Annotated[
    Mapping[str, float],
    PlainValidator(_split),
    Accepts('shares of alpha by stream, such as {"candidate": 0.5, "replay": 0.5}'),
]
LEAST = 1e-9
"""Of alpha and its shares: with less, not even a change of every answer would alarm within a reasonable time."""
Open = Annotated[
    float, Field(gt=0.0, lt=1.0), Accepts("a number between 0 and 1, both excluded, such as 0.01")
]


class Drift(Option):
    """How sure an alarm must be: at most `alpha` false alarms within any `horizon` pairs of a reset."""

    SYNONYMS: ClassVar[dict[str, str]] = {
        "threshold": "alpha", "significance": "alpha", "p": "alpha", "window": "horizon", "groups": "max_groups",
        "stale": "stale_after", "max_age": "stale_after", "judge": "evaluate",
    }  # fmt: skip

    alpha: Annotated[
        float,
        Field(ge=LEAST, lt=1.0),
        Accepts(f"a number between {LEAST:g} and 1 (excluded), such as 0.01"),
    ] = Field(default=0.01, description="the bound on the probability of a false alarm, above 0 and below 1")
    mode: Literal["gate", "monitor"] = Field(
        default="monitor",
        description='"monitor" watches without end and begins anew after a reset; "gate" judges once, and alpha bounds all',
    )
    horizon: Annotated[int, Field(ge=1, le=MOST), Accepts("a whole number of pairs, at least 1")] = Field(
        default=1000, description="pairs of a stream within which alpha holds, with mode monitor"
    )
    split: Split = Field(
        default_factory=lambda: {"candidate": 0.4, "replay": 0.4, "canary": 0.2},
        description="how alpha is divided between streams, stream → share; self-tests have their own and only gate",
    )
    tolerance: Open | None = Field(
        default=None,
        description="for a candidate that is known to differ, or an endpoint that is never quite the same: pairs alarm "
        "only when some feature differs by more than this share of answers on average; None: any difference counts",
    )
    cause_error: Open = Field(
        default=0.05,
        description="how often a stated cause may be wrong: of all changes that verdicts name, the expected share that did "
        'not change; with less, more alarms say "cause not yet clear" for longer. Alarms are not touched by it',
    )
    lifetime: Switch = Field(
        default=False,
        description="divide alpha between all epochs (6 alpha / (pi k)^2 for the k-th) instead of renewing it after each "
        "alarm",
    )
    max_groups: Annotated[int, Field(ge=1, le=100_000), Accepts("a whole number of groups, 1 to 100,000")] = (
        Field(
            default=500,
            description="groups of a ledger, at most: calls of further ones are counted under `(other)`; prompts of a "
            "library always have their own",
        )
    )
    stale_after: Duration | None = Field(
        default=None,
        description='how old the last pair may be for "no drift" to stand: seconds, or "90m", "6h", "2d"; None: '
        "three times the usual gap between pairs, at least 1 h, at most 24 h",
    )
    evaluate: Literal["auto", "here", "never"] = Field(
        default="auto",
        description='who judges pairs and asks stored questions again: "here" this process may, one at a time a ledger; '
        '"never" it does not; "auto": it may where no `promptguard watch` of the ledger is alive',
    )
    alerts: Channels = Field(
        default=None,
        description="where alerts are sent, each change once; None: as the setting `alerts` says",
    )

    def alpha_of(self, stream: str) -> float:
        """Return the share of alpha that `stream` may spend; self-tests gate and have the whole of their own."""
        return self.alpha if stream in SELF_TESTS else self.alpha * self.split.get(stream, 0.0)

    @property
    def stale_seconds(self) -> float | None:
        """How old the last pair may be, in seconds; None for the default."""
        return None if self.stale_after is None else seconds(self.stale_after, "stale_after")


class Warn(Option):
    """On drift: a warning through the logger `promptguard`, which there is always, and nothing else. The default."""


class Raise(Option):
    """On drift: the next call of the changed prompt raises `DriftDetected`. For tests and batch jobs."""


class Route(Option):
    """On drift: send the changed model's calls to `to`, a pinned snapshot, until the alarm is acknowledged."""

    SYNONYMS: ClassVar[dict[str, str]] = {"model": "to", "target": "to"}

    to: Model = Field(description='the pinned model version that calls go to, such as "gpt-4-0314"')
    dry_run: Switch = Field(
        default=False, description="only tell what would be done, where actions are listed"
    )


class BypassCache(Option):
    """On drift: calls of the changed prompt are not answered from the cache, until the alarm is acknowledged.

    Entries of before the change are not served anyway (`Cache(on_drift=...)`); this asks the model each time.
    """

    dry_run: Switch = Field(
        default=True,
        description="only tell what would be done, where actions are listed; False does it: every call is paid for",
    )


class RollBack(Option):
    """On drift: put a label of the changed prompt back on the version it stood on before.

    Only where the label stands on the version that changed. Processes that ask the folder for `name@label` have the earlier
    version at their next `get()`. It stays there when the alarm is acknowledged; `promptguard undo` puts it forward again.
    """

    SYNONYMS: ClassVar[dict[str, str]] = {"folder": "prompts", "directory": "prompts", "name": "label"}

    prompts: Annotated[
        str, Field(min_length=1), Accepts('the path of a folder of prompts, such as "prompts"')
    ] = Field(description="the folder of prompts, as promptguard.prompts() takes it")
    label: Annotated[
        str, Field(pattern=r"\A[a-z][a-z0-9_-]{0,63}\z"), Accepts('a label, such as "production"')
    ] = Field(default="production", description="the label that is put back")
    dry_run: Switch = Field(
        default=True,
        description="only tell what would be done, where actions are listed; False does it",
    )


Action = Warn | Raise | Route | BypassCache | RollBack | Channel | Callable[[Any], object]
_ACTIONS = (
    "promptguard.Warn(), promptguard.Raise(), promptguard.Route(to=...), promptguard.BypassCache(), "
    'promptguard.RollBack("prompts"), a function of one '
    "argument (the Alarm), or a list of these"
)
_BY_NAME = {
    "warn": "promptguard.Warn()",
    "raise": "promptguard.Raise()",
    "route": "promptguard.Route(to=...)",
    "bypass": "promptguard.BypassCache()",
    "rollback": 'promptguard.RollBack("prompts")',
}


def _yields(function: object) -> bool:
    """Whether calling `function`, or its `__call__`, only makes a generator."""
    while isinstance(function, functools.partial):
        function = function.func
    own = getattr(type(function), "__call__", None)  # noqa: B004 - looked at, not asked for
    called = [function, own]
    return any(inspect.isgeneratorfunction(each) or inspect.isasyncgenfunction(each) for each in called)


def check_action(action: object) -> None:
    """Raise ConfigurationError unless `action` is something that can be done about an alarm.

    A function takes one argument, the Alarm; coroutine functions are awaited.
    """
    if isinstance(action, (Warn, Raise, Route, BypassCache, RollBack)):
        return
    if isinstance(action, type) and issubclass(action, Option):
        needed = {Route: "to=...", RollBack: '"prompts"'}.get(action, "")
        raise ConfigurationError(
            f"on_drift={action.__name__} is the class: write on_drift=promptguard.{action.__name__}({needed})"
        )
    if isinstance(action, Channel):
        raise ConfigurationError(
            f"on_drift={type(action).__name__}(...): channels go to drift=Drift(alerts=[...])"
        )
    if not callable(action) or isinstance(action, type):
        meant = _BY_NAME.get(action.lower()) if isinstance(action, str) else None
        raise refused("on_drift", action, _ACTIONS, meant=meant)
    if _yields(action):
        raise ConfigurationError(
            f"on_drift={shown(action)} is a generator function, and calling one runs nothing of it: give a function that "
            "returns, without `yield`"
        )
    if not takes(action, 1):
        raise ConfigurationError(
            f"on_drift={shown(action)} cannot be called with one argument: it is given the Alarm, as in "
            "def on_drift(alarm): ..."
        )
