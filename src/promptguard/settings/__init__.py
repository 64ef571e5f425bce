"""Settings from the environment and from pyproject.toml, for what wrap() and guard() are not given in code.

Precedence: code, then `PROMPTGUARD_*`, then `[tool.promptguard]`, then defaults (docs/reference/settings.md).
"""

from __future__ import annotations

from promptguard.settings.loading import current, origins
from promptguard.settings.values import NOT_GIVEN, NotGiven, Values

__all__ = ["NOT_GIVEN", "NotGiven", "Values", "current", "origins"]
