"""What a user may say to wrap(): frozen pydantic models that pickle, checked when they are made.

Every mistake raises `ConfigurationError` where it is written, and says what to write instead.
"""

from __future__ import annotations

from promptguard.core.options.accepting import Repeat
from promptguard.core.options.alerting import (
    KINDS,
    Alertmanager,
    Apprise,
    Channel,
    Slack,
    Webhook,
    check_channels,
    written_channel,
)
from promptguard.core.options.answering import MAX_VARIANTS, Cache, cache_option, check_tag, check_tags
from promptguard.core.options.asking import Budget, Logprobs, Price, Replay, Shadow
from promptguard.core.options.base import Option
from promptguard.core.options.durations import seconds
from promptguard.core.options.fitting import Compat, compat_option
from promptguard.core.options.judging import (
    Action,
    BypassCache,
    Drift,
    Raise,
    RollBack,
    Route,
    Warn,
    check_action,
)

__all__ = [
    "KINDS",
    "MAX_VARIANTS",
    "Action",
    "Alertmanager",
    "Apprise",
    "Budget",
    "BypassCache",
    "Cache",
    "Channel",
    "Compat",
    "Drift",
    "Logprobs",
    "Option",
    "Price",
    "Raise",
    "Repeat",
    "Replay",
    "RollBack",
    "Route",
    "Shadow",
    "Slack",
    "Warn",
    "Webhook",
    "cache_option",
    "check_action",
    "check_channels",
    "check_tag",
    "check_tags",
    "compat_option",
    "seconds",
    "written_channel",
]
