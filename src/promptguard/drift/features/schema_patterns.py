"""Patterns and formats of JSON Schema, on re2: linear in the text, bounded in memory."""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol


class UnknownError(Exception):
    """The schema has something that is not understood here."""


class Pattern(Protocol):
    """A compiled expression of re2's, which has no types."""

    def search(self, text: str) -> object:
        """Return what was found, or None."""


_PATTERN_MEMORY = 1 << 17
"""bytes of one compiled pattern"""
FORMATS = {
    "date": r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$",
    "time": r"^([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?([Zz]|[+-]\d\d:?\d\d)?$",
    "date-time": (
        r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[Tt ]([01]\d|2[0-3]):[0-5]\d(:([0-5]\d|60)(\.\d+)?)?"
        r"([Zz]|[+-]\d\d:?\d\d)?$"
    ),
    "duration": r"^[+-]?P([0-9.]+[YMWD])*(T([0-9.]+[HMS])+)?$",
    "uuid": r"^[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}$",
    "email": r"^[^@\s]+@[^@\s]+$",
    "ipv4": r"^((25[0-5]|2[0-4]\d|1?\d?\d)(\.|$)){4}$",
}
"""As pydantic reads them; a format that is not here says nothing, as in the standard."""


def clean(text: str) -> str:
    """Return a text that re2 can read: lone surrogates are no Unicode."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def pattern_of(pattern: str) -> Pattern:
    """Compile a pattern. UnknownError for one that re2 does not know, or that takes too much memory."""
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_MEMORY
    try:
        found: Pattern = re2.compile(pattern, options)
    except re2.error:
        raise UnknownError from None
    return found


@lru_cache(maxsize=len(FORMATS))
def format_of(kind: str) -> Pattern:
    """Return the pattern of a format in `FORMATS`."""
    return pattern_of(FORMATS[kind])
