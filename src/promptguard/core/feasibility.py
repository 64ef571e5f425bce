"""What is set up and can find nothing: known from the settings alone, or with the first model that is asked.

Sentences for people, each with what to write instead. Nothing here is an error: the application runs, and may be right.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from promptguard.core.ladder import AGES, DAY
from promptguard.core.options import Action, Budget, Cache, Channel, Drift, Replay, Route, Shadow, seconds

Priced = Callable[[str], bool]
"""Whether the price list knows a model."""

_MOVED = re.compile(
    r"(?:[a-z0-9.-]*[./])?(?:gpt|o[1-9]|chatgpt|claude|gemini|mistral|codestral|ministral|magistral|pixtral|command|grok)\b.*|.*-latest",
    re.IGNORECASE,
)
"""Families whose providers give a new version an old name."""
_PINNED = re.compile(
    r"20\d\d-?\d\d-?\d\d"  # a date: 2024-08-06, 20240806
    r"|[-@](?:[01]\d[0-3]\d|[0-3]\d[01]\d)(?!\d)"  # a short one: 0613, 2409
    r"|[-@]0\d\d(?!\d)"  # a version: -001, @002
    r"|[-:]v\d+:\d+"
    r"|[-_][01]\d-20\d\d|-[01]\d-[0-3]\d(?!\d)"  # 08-2024, 05-20
    r"|^ft:",
)


def is_alias(model: str) -> bool:
    """Whether a model's name is one that its provider is known to move: of such a family, without a date or version."""
    return _MOVED.fullmatch(model) is not None and (
        model.lower().endswith("-latest") or _PINNED.search(model) is None
    )


def of_settings(
    shadow: Shadow | None,
    replay: Replay | None,
    drift: Drift,
    *,
    actions: Sequence[Action],
    cache: Cache | None,
    kept: float,
    priced: Priced,
) -> list[str]:
    """Return what cannot work whatever is asked. `kept` is how many seconds stored questions are kept."""
    found: list[str] = []
    if shadow is not None:
        found += _of_shadow(shadow, drift, priced)
    if replay is not None:
        found += _of_replay(replay, cache, kept)
        found += _of_window(replay, drift)
        if replay.budget is not None:
            found += _of_budget(replay.budget, "Replay", "replay", drift)
    if (
        shadow is None
        and replay is None
        and any(isinstance(each, Route | Channel) or callable(each) for each in actions)
    ):
        found.append(
            "on_drift= and alerts have nothing to act on: nothing is compared without shadow= or replay="
        )
    for action in actions:
        if isinstance(action, Route) and is_alias(action.to):
            found.append(_not_pinned(f"Route(to={action.to!r})"))
    return found


def of_model(
    asked: str,
    shadow: Shadow | None,
    replay: Replay | None,
    *,
    actions: Sequence[Action],
    priced: Priced,
    elsewhere: bool = False,
) -> list[str]:
    """Return what cannot work now that it is known which model the application asks.

    `elsewhere`: the second model is asked of another server, where one name may be another model.
    """
    found: list[str] = []
    if shadow is not None and not shadow.asks_nobody_else:
        if shadow.model == asked and not elsewhere:
            found.append(
                f"Shadow(model={shadow.model!r}) is the model that the application asks: both answers come from one model, "
                "so a change of it cannot show; name a pinned version, or use replay=Replay()"
            )
        elif replay is None and is_alias(asked) and is_alias(shadow.model):
            found.append(
                f"{asked!r} is compared with {shadow.model!r}, and both are names without a date or version, which "
                "providers move: if both change alike nothing shows, and if one does, not which; name a pinned version, "
                "or add replay=Replay()"
            )
    shadows = shadow.budget if shadow is not None and shadow.repeat else None
    budgets = (shadows, replay.budget if replay is not None else None)
    if any(each is not None and each.usd_per_day is not None and each.price is None for each in budgets):
        found += _without_price(asked, "Budget", priced)
    for action in actions:
        if isinstance(action, Route) and action.to == asked:
            found.append(
                f"Route(to={action.to!r}) is the model that the application asks: it changes nothing"
            )
    return found


def _of_shadow(shadow: Shadow, drift: Drift, priced: Priced) -> list[str]:
    found: list[str] = []
    if shadow.sample == 0:
        found.append(
            "Shadow(sample=0) asks nothing, so no change can be found; give a share above 0, or drop shadow="
        )
    elif shadow.asks_nobody_else:
        found.append(
            "Shadow(repeat=1) asks only the same model again, which tests the instrument and no other model; give a share "
            "below 1"
        )
    found += _of_budget(shadow.budget, "Shadow", "candidate", drift)
    if shadow.budget.usd_per_day is not None and shadow.budget.price is None:
        found += _without_price(shadow.model, "Budget", priced)
    return found


def _of_replay(replay: Replay, cache: Cache | None, kept: float) -> list[str]:
    found: list[str] = []
    feeds = cache is not None and (cache.reask > 0 or cache.on_drift == "reask")
    after = seconds(replay.after, "Replay(after)")
    if replay.share == 0 and not feeds:
        found.append(
            "Replay(share=0) stores nothing, so no change can be found; give a share above 0, or drop replay="
        )
    elif after == 0:
        found.append(
            "Replay(after=0) asks again at once: both answers are of one moment, and no change lies between them; give a "
            'while, such as "6h"'
        )
    elif after >= kept:
        found.append(
            f"Replay(after={replay.after!r}) is longer than stored questions are kept ({kept / 86400:g} days): none would "
            "be asked again; give less"
        )
    if replay.placebo is not None and is_alias(replay.placebo):
        found.append(_not_pinned(f"Replay(placebo={replay.placebo!r})"))
    return found


def _of_window(replay: Replay, drift: Drift) -> list[str]:
    """Tell where fewer stored answers can straddle any moment than an alarm takes: then no change is ever found."""
    least, days = pairs_at_least(drift, "replay"), AGES[-1] / DAY
    calls = None if replay.budget is None else replay.budget.calls_per_day
    said = ""
    if replay.reservoir < least:
        said = (
            f"Replay(reservoir={replay.reservoir}) keeps fewer answers than the {least} pairs that an alarm of the replay "
            "stream takes at the very least: after a change only new answers are left before it is found; give more"
        )
    elif calls is not None and 0 < calls * days < least:
        said = (
            f"Replay(budget=Budget(calls_per_day={calls})) asks fewer than {least} stored answers in the {days:g} days "
            "that one waits at most, so not even a change of every answer can be found; give more"
        )
    return [said] if said else []


def _of_budget(budget: Budget, owner: str, stream: str, drift: Drift) -> list[str]:
    for name in ("usd_per_day", "calls_per_day", "calls_per_minute"):
        if getattr(budget, name) == 0:
            return [
                f"{owner}(budget=Budget({name}=0)) lets no call through, so no change can be found; give more, or None"
            ]
    least = pairs_at_least(drift, stream)
    calls = budget.calls_per_day
    if calls is not None and calls < least:
        days = math.ceil(least / calls)
        said = (
            f"{owner}(budget=Budget(calls_per_day={calls})) is below the {least} pairs that an alarm of the {stream} "
            f"stream takes at the very least: a change of every answer is found after {days} days at the earliest"
        )
        return [said]
    return []


def pairs_at_least(drift: Drift, stream: str) -> int:
    """Return the pairs without which no alarm can ring: a pair at most doubles the evidence, which must reach 1/alpha.

    With mode "monitor" it must reach horizon/alpha.
    """
    alpha = drift.alpha_of(stream)
    if alpha <= 0.0:
        return 0
    bar = (drift.horizon if drift.mode == "monitor" else 1) / alpha
    return max(1, math.ceil(math.log2(bar) - 1e-9))


def _without_price(model: str, owner: str, priced: Priced) -> list[str]:
    if priced(model):
        return []
    said = (
        f"no price is known for {model!r}, so {owner}(usd_per_day=...) lets none of its calls through: add "
        "price=promptguard.Price(input=..., output=...), in USD per million tokens, or cap calls_per_day instead"
    )
    return [said]


def _not_pinned(option: str) -> str:
    return f"{option} has no date or version in its name, so its provider may move it; name a pinned version"
