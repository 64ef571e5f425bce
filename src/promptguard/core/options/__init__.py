"""What a user may say to wrap(): frozen pydantic models that pickle, checked when they are made.

Every mistake raises `ConfigurationError` where it is written, and says what to write instead.
"""

from __future__ import annotations

from promptguard.core.options.answering import MAX_VARIANTS, Cache, cache_option, check_tag, check_tags
from promptguard.core.options.asking import Budget, Price, Replay, Shadow
from promptguard.core.options.base import Option
from promptguard.core.options.durations import seconds
from promptguard.core.options.judging import Action, Drift, Raise, Route, Warn, check_action

__all__ = [
    "MAX_VARIANTS",
    "Action",
    "Budget",
    "Cache",
    "Drift",
    "Option",
    "Price",
    "Raise",
    "Replay",
    "Route",
    "Shadow",
    "Warn",
    "cache_option",
    "check_action",
    "check_tag",
    "check_tags",
    "seconds",
]
