"""What a check finds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "broken"]
_LEVELS: tuple[Level, ...] = ("ok", "warning", "broken")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: which check, how it stands, and what to do where it does not stand well."""

    check: str
    level: Level
    text: str


def worst(findings: Iterable[Finding]) -> Level:
    """Return the level of the worst finding."""
    return max((each.level for each in findings), key=_LEVELS.index, default="ok")
