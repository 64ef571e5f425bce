"""PromptGuard: notice when the model behind a prompt changes, before the product breaks.

Names are loaded when first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from promptguard._version import __version__

_HOMES = {
    "wrap": "promptguard.wrapping",
    "unwrap": "promptguard.wrapping",
    "guard": "promptguard.wrapping",
    "is_wrapped": "promptguard.wrapping",
    "flush": "promptguard.wrapping",
    "acknowledge": "promptguard.alarms",
    "undo": "promptguard.alarms",
    "bypass": "promptguard.blocks",
    "cache_status": "promptguard.deliveries",
    "cache_tags": "promptguard.blocks",
    "clear_cache": "promptguard.wrapping",
    "cluster": "promptguard.blocks",
    "subject": "promptguard.blocks",
    "group": "promptguard.blocks",
    "unit": "promptguard.blocks",
    "verdicts": "promptguard.alarms",
    "prompts": "promptguard.prompting",
    "purge": "promptguard.purging",
    "Shadow": "promptguard.core.options",
    "Budget": "promptguard.core.options",
    "Price": "promptguard.core.options",
    "Replay": "promptguard.core.options",
    "Drift": "promptguard.core.options",
    "Cache": "promptguard.core.options",
    "BypassCache": "promptguard.core.options",
    "RollBack": "promptguard.core.options",
    "Compat": "promptguard.core.options",
    "Warn": "promptguard.core.options",
    "Raise": "promptguard.core.options",
    "Route": "promptguard.core.options",
    "Webhook": "promptguard.core.options",
    "Slack": "promptguard.core.options",
    "Apprise": "promptguard.core.options",
    "Alertmanager": "promptguard.core.options",
    "Alarm": "promptguard.verdict",
    "PromptGuardSettings": "promptguard.settings.model",
    "PromptGuardError": "promptguard.errors",
    "ConfigurationError": "promptguard.errors",
    "DriftDetected": "promptguard.errors",
}

__all__ = [
    "Alarm",
    "Alertmanager",
    "Apprise",
    "Budget",
    "BypassCache",
    "Cache",
    "Compat",
    "ConfigurationError",
    "Drift",
    "DriftDetected",
    "Price",
    "PromptGuardError",
    "PromptGuardSettings",
    "Raise",
    "Replay",
    "RollBack",
    "Route",
    "Shadow",
    "Slack",
    "Warn",
    "Webhook",
    "__version__",
    "acknowledge",
    "bypass",
    "cache_status",
    "cache_tags",
    "clear_cache",
    "cluster",
    "flush",
    "group",
    "guard",
    "is_wrapped",
    "prompts",
    "purge",
    "subject",
    "undo",
    "unit",
    "unwrap",
    "verdicts",
    "wrap",
]

if TYPE_CHECKING:
    from promptguard.alarms import acknowledge, undo, verdicts
    from promptguard.blocks import bypass, cache_tags, cluster, group, subject, unit
    from promptguard.core.options import (
        Alertmanager,
        Apprise,
        Budget,
        BypassCache,
        Cache,
        Compat,
        Drift,
        Price,
        Raise,
        Replay,
        RollBack,
        Route,
        Shadow,
        Slack,
        Warn,
        Webhook,
    )
    from promptguard.deliveries import cache_status
    from promptguard.errors import ConfigurationError, DriftDetected, PromptGuardError
    from promptguard.prompting import prompts
    from promptguard.purging import purge
    from promptguard.settings.model import PromptGuardSettings
    from promptguard.verdict import Alarm
    from promptguard.wrapping import clear_cache, flush, guard, is_wrapped, unwrap, wrap


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'promptguard' has no attribute {name!r}")
    module, _, attribute = home.partition(":")
    found = getattr(importlib.import_module(module), attribute or name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
