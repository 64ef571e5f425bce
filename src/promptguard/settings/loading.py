"""Settings as they are now: read when first asked for, and again only when environment or file have changed."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from promptguard.settings import reading
from promptguard.settings.values import Values

_lock = threading.Lock()
_known: tuple[object, Values] | None = None
DEFAULTS = Values()


def current() -> Values:
    """Return the settings of this moment. Raises ConfigurationError for what is written wrong, naming where.

    What it costs after the first time: a look at the environment, and a few `stat`.
    """
    global _known  # noqa: PLW0603 - one environment a process
    variables, file = reading.variables(), reading.project_file()
    key = (variables, reading.stamp(file))
    with _lock:
        if _known is None or _known[0] != key:
            # Without anything to read, pydantic-settings is not even imported.
            is_silent = not variables and not reading.table(file)
            _known = (key, DEFAULTS if is_silent else _loaded())
        return _known[1]


def _loaded() -> Values:
    from promptguard.settings.model import PromptGuardSettings

    return PromptGuardSettings().values()


def origins() -> Mapping[tuple[str, ...], str]:
    """Return where each setting that is set was written: path, such as ("shadow", "model") → variable or file and key."""
    from promptguard.settings.model import PromptGuardSettings

    entries = [
        *reading.environment(tuple(PromptGuardSettings.model_fields)),
        *reading.table(reading.project_file()),
    ]
    found: dict[tuple[str, ...], str] = {}
    for entry in entries:
        found.setdefault(entry.path, entry.where)
    return found
