"""Durations as users write them: seconds, or a number with a unit."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import PlainValidator

from promptguard.core.mistakes import refused
from promptguard.core.options.accepting import Accepts

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_LIKE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)\.?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
LONGEST = 1e10
"""Seconds; three centuries."""
_WORDS = {"sec": "s", "second": "s", "min": "m", "minute": "m", "hr": "h", "hour": "h", "day": "d"}
_WEEK = {"w", "week"}
ACCEPTED = 'seconds, or text such as "90s", "15m", "6h", "1d"'


def seconds(value: float | str, name: str) -> float:
    """Return `value` in seconds: a number of seconds, or text such as "90s", "15m", "6h", "1d".

    Raises ConfigurationError, which calls it `name`, for what is no duration.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= LONGEST:
        return float(value)
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    length = None if found is None else float(found[1]) * _SECONDS[found[2]]
    if length is None or length > LONGEST:
        raise refused(name, value, ACCEPTED, meant=_meant(value))
    return length


def _meant(value: object) -> str | None:
    """Return how a duration is written whose unit is spelled out, or None."""
    found = _LIKE.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    if found is None:
        return None
    unit = found[2] if found[2] in _WEEK else found[2].removesuffix("s")
    if unit in _WEEK:
        return f'"{7 * float(found[1]):g}d"'
    return f'"{found[1]}{_WORDS[unit]}"' if unit in _WORDS else None


def _checked(value: float | str) -> float | str:
    seconds(value, "")
    return value


Duration = Annotated[float | str, PlainValidator(_checked), Accepts(ACCEPTED, meant=_meant)]
