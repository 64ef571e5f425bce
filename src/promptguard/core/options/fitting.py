"""How the application's own requests are written, where it wants them in words that the model takes."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from promptguard.core.mistakes import nearest, refused
from promptguard.core.options.accepting import Accepts
from promptguard.core.options.base import Option

MODES = ("apply", "lossless")
REPORT = "report"
"""Refusals are told, and no request of the application's is touched: the default."""


class Compat(Option):
    """Write the application's own requests as the model takes them, also where `Route` sends them to another one."""

    SYNONYMS: ClassVar[dict[str, str]] = {"apply": "mode", "kind": "mode", "file": "rules", "path": "rules"}

    mode: Literal["apply", "lossless"] = Field(
        default="apply",
        description='"apply": what a model refuses is said in other words, and left out where there are none; '
        '"lossless": only said in other words',
    )
    rules: Annotated[str, Accepts("the path of a TOML file")] | None = Field(
        default=None,
        description="a TOML file with rules of your own, in addition to PromptGuard's (docs/reference/compatibility.md)",
    )


def compat_option(value: str | Compat | None, name: str = "compat") -> Compat | None:
    """Read the `compat=` argument of wrap(): "report" or None, "apply", "lossless" or a Compat.

    `name` is where it was written. Raises ConfigurationError for anything else.
    """
    if isinstance(value, Compat):
        return value
    if value is None or (isinstance(value, str) and value == REPORT):
        return None
    if isinstance(value, str) and value in MODES:
        return Compat(mode=value)  # type: ignore[arg-type]
    meant = nearest(value, (REPORT, *MODES))
    raise refused(
        name,
        value,
        '"report", "apply", "lossless" or promptguard.Compat(...)',
        meant=None if meant is None else f'"{meant}"',
    )
