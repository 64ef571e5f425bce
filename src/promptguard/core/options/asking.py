"""What is asked in the background, of whom, and for how much at most."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, InstanceOf

from promptguard.core.mistakes import takes
from promptguard.core.options.accepting import MOST, Accepts, Calls, Model, Repeat, Share, Usd
from promptguard.core.options.base import Option
from promptguard.core.options.durations import Duration
from promptguard.errors import ConfigurationError


class Price(Option):
    """USD per million tokens, for models that the price list does not know."""

    input: Annotated[
        float, Field(ge=0.0, allow_inf_nan=False), Accepts("USD per million input tokens, such as 2.5")
    ] = Field(description="USD per million tokens of questions")
    output: Annotated[
        float, Field(ge=0.0, allow_inf_nan=False), Accepts("USD per million output tokens, such as 10.0")
    ] = Field(description="USD per million tokens of answers")


class Budget(Option):
    """The hard cap of what PromptGuard asks in the background; reserved before a call is sent.

    A USD cap needs a price: calls of a model without one are not made (counted as `price_unknown`) unless
    `price` gives it.
    """

    SYNONYMS: ClassVar[dict[str, str]] = {
        "usd": "usd_per_day", "dollars": "usd_per_day", "cost": "usd_per_day", "calls": "calls_per_day",
        "rpm": "calls_per_minute", "rate": "calls_per_minute",
    }  # fmt: skip

    usd_per_day: Usd | None = Field(default=None, description="USD a day (UTC) at most; None for no cap")
    calls_per_day: Calls | None = Field(
        default=None, description="calls a day (UTC) at most; None for no cap"
    )
    calls_per_minute: Calls | None = Field(
        default=60, description="calls a minute at most, counted in each process; None for no cap"
    )
    price: (
        Annotated[Price, InstanceOf(), Accepts("promptguard.Price(input, output), in USD per million tokens")]
        | None
    ) = Field(
        default=None, description="a Price for models without a list price; None: prices of genai-prices"
    )


def _factory(client: object) -> object:
    if client is None:
        return client
    line = "{option}(client=lambda: OpenAI(...)), a function without arguments that returns a fresh client"
    if not callable(client):
        raise ConfigurationError(
            f"{{option}}(client=...) must build a client, not be one: the application's is never shared. Write {line}"
        )
    if inspect.iscoroutinefunction(client):
        raise ConfigurationError(f"{{option}}(client=...) is a coroutine function: write {line}")
    if not takes(client, 0):
        raise ConfigurationError(f"{{option}}(client=...) needs arguments to be called: write {line}")
    return client


Factory = Annotated[Callable[[], object] | None, BeforeValidator(_factory), Accepts("a function")]
OwnBudget = Annotated[
    Budget,
    InstanceOf(),
    Accepts("promptguard.Budget(usd_per_day=..., calls_per_day=..., calls_per_minute=...)"),
]


Logprobs = Literal["auto", "always", "never"]
"""Whether background calls ask for log-probabilities."""


class Shadow(Option):
    """Ask a second model version the same question for a share of calls, in the background."""

    SYNONYMS: ClassVar[dict[str, str]] = {
        "rate": "sample", "share": "sample", "fraction": "sample", "percent": "sample", "threads": "workers",
        "name": "model", "queue_size": "queue", "factory": "client",
    }  # fmt: skip

    model: Model = Field(description='the second model version, such as "gpt-4-0314"')
    sample: Share = Field(default=0.05, description="share of calls that are asked again, 0 to 1")
    repeat: Repeat = Field(
        default=0.1,
        description="share of the sampled calls that ask the *same* model again as well, 0 to 1: measures the noise floor, "
        "tests the instrument itself, and shows which of three answers is the odd one; with 1 nobody else is asked. "
        '`"auto"` is 0.02, and 1 while past pairs speak for a change and the budget refuses no call',
    )
    budget: OwnBudget = Field(default_factory=Budget, description="the hard cap of shadow calls")
    queue: Annotated[int, Field(ge=1, le=100_000), Accepts("a whole number of calls, 1 to 100,000")] = Field(
        default=256,
        description="sampled calls that may wait for an answer, their own or the second one, beside those that `workers` "
        "ask, in each process, 1 to 100,000; while there are so many, or 8,192, no further call is taken, which is counted",
    )
    workers: Annotated[int, Field(ge=1, le=64), Accepts("a whole number of threads, 1 to 64")] = Field(
        default=2, description="threads that ask, 1 to 64"
    )
    logprobs: Logprobs = Field(
        default="auto",
        description="whether the two background calls of a call drawn for `repeat` ask for log-probabilities, which show a "
        'small change soonest: `"auto"` where model and server are known to give them, `"always"` wherever the protocol '
        'has a word for them (a refusal is remembered), `"never"`',
    )
    client: Factory = Field(
        default=None,
        description="a function that returns a fresh client of the same SDK (for `guard`, an httpx or httpx2 client), for "
        "background calls alone, which close it. Needed where the wrapped client has something that cannot be built from "
        "its settings: a transport of your own, aiohttp, a mock. None: built from the settings of the wrapped client",
    )
    rules: Annotated[str, Accepts("the path of a TOML file")] | None = Field(
        default=None,
        description="a TOML file with rules of your own, in addition to PromptGuard's, for what the second model does not "
        "take of the first one's requests (docs/reference/compatibility.md)",
    )

    @property
    def asks_nobody_else(self) -> bool:
        """Whether every sampled call asks the same model again, and no other."""
        return self.repeat == 1.0


class Replay(Option):
    """Keep a share of requests with their answers, and ask each once more after a while.

    The only way to see a change behind a fixed name: stored answers are from before, new ones from after. Some wait for
    `after`, others up to a fortnight, so that a change stays visible for so long.
    """

    SYNONYMS: ClassVar[dict[str, str]] = {
        "rate": "share", "sample": "share", "fraction": "share", "delay": "after", "interval": "after", "every": "after",
    }  # fmt: skip

    share: Share = Field(default=0.02, description="share of requests that are stored, 0 to 1")
    after: Duration = Field(
        default="6h",
        description="how long until a stored request is asked again, at least: seconds, or text such as 15m, 6h, 1d; most "
        "wait longer (6 h, 1 d, 3 d, 7 d, 14 d), so that a change stays visible for a fortnight",
    )
    reservoir: Annotated[
        int, Field(ge=1, le=MOST), Accepts("a whole number of stored requests a group, at least 1")
    ] = Field(
        default=1000,
        description="stored requests a group, at most; those that were to be asked soonest give way to newer ones",
    )
    budget: OwnBudget | None = Field(
        default=None, description="the hard cap of replays; None: replays spend from the shadow's budget"
    )
    placebo: Model | None = Field(
        default=None,
        description="a pinned snapshot that some stored requests are also asked of, then and later: when its answers "
        "change too, it is not the model, and replay verdicts become `unmeasured`",
    )
    placebo_share: Share = Field(
        default=0.2,
        description="share of the stored requests that the placebo is asked as well, 0 to 1; each costs two calls",
    )
    logprobs: Logprobs = Field(
        default="auto",
        description="as `Shadow(logprobs=...)`, for the placebo and for canaries: both answers are asked in the background",
    )
    client: Factory = Field(
        default=None, description="as `Shadow(client=...)`, whose client serves both where both are given"
    )
