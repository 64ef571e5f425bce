"""What a field accepts, in words: the half of an error message that helps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

MOST = 10**12
"""Of anything that is counted: what a database and floating point take without loss."""


def _nothing(_value: object) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Accepts:
    """Metadata of a field: `words` complete "give ..."; `meant` guesses what a wrong value was to say.

    What a `secret` field was given is not repeated.
    """

    words: str
    meant: Callable[[object], str | None] = _nothing
    secret: bool = False


def _as_share(value: object) -> str | None:
    """Return how a percentage is written as a share."""
    text = value.strip() if isinstance(value, str) else ""
    number = text.removesuffix("%").strip()
    try:
        share = float(number) / (100.0 if text.endswith("%") else 1.0)
    except ValueError:
        return None
    return f"{share:g}" if 0.0 <= share <= 1.0 else None


def _as_number(value: object) -> str | None:
    """Return the number within a text such as "5$"."""
    text = (
        value.strip().strip("$€").removeprefix("USD").removesuffix("USD").strip()
        if isinstance(value, str)
        else ""
    )
    try:
        return f"{float(text):g}"
    except ValueError:
        return None


Share = Annotated[
    float,
    Field(ge=0.0, le=1.0, allow_inf_nan=False),
    Accepts("a share between 0 and 1, such as 0.05", meant=_as_share),
]
Repeat = Annotated[
    Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)] | Literal["auto"],
    Accepts('a share between 0 and 1, such as 0.1, or "auto"', meant=_as_share),
]
Usd = Annotated[
    float,
    Field(ge=0.0, allow_inf_nan=False),
    Accepts("a number of US dollars of at least 0, such as 5.0, or None for no cap", meant=_as_number),
]
Calls = Annotated[
    int,
    Field(ge=0, le=MOST),
    Accepts("a whole number of calls of at least 0, or None for no cap", meant=_as_number),
]
Switch = Annotated[bool, Accepts("True or False")]


def _stripped(value: object) -> str | None:
    """Return a name without what stands around it."""
    text = value.strip() if isinstance(value, str) else ""
    return repr(text) if text and text != value and text.isprintable() else None


Model = Annotated[
    str,
    Field(min_length=1, max_length=512, pattern=r"\A[^\s\p{C}]([^\p{C}]*[^\s\p{C}])?\z"),
    Accepts('the name of a pinned model version, such as "gpt-4-0314"', meant=_stripped),
]
