"""Transforms of an answer that may restore what an application was used to: small, named, and safe on any text. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_FENCE = "```"
_QUOTES = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"'})
_OPENERS = {"{": "}", "[": "]"}
_MOST_JSON = 200_000


@dataclass(frozen=True, slots=True)
class Remedy:
    """One transform.

    Attributes:
        name: as the command line takes it
        what: what it does, as a sentence says it
        of: returns the text as the application would use it
    """

    name: str
    what: str
    of: Callable[[str], str]


def without_fence(text: str) -> str:
    r"""Return what stands within the one code fence of a text; the text itself where there is none, or are several.

    >>> without_fence("Here:\n```python\nx = 1\n```\n")
    'x = 1'
    """
    before, opened, rest = text.partition(_FENCE)
    if not opened or (before and not before.endswith("\n")):
        return text
    first, newline, inside = rest.partition("\n")
    body, closed, after = inside.partition(_FENCE)
    if not newline or _FENCE in after or " " in first.strip():
        return text
    return (body if closed else inside).strip("\n")


def only_json(text: str) -> str:
    """Return the first JSON object or array that stands in a text, as it is written; the text where there is none.

    >>> only_json('Sure! {"label": "bug"} Anything else?')
    '{"label": "bug"}'
    """
    decoder = json.JSONDecoder()
    looked = text[:_MOST_JSON]
    # every failed start may read to the end, so only the first few are tried
    for start in [place for place, letter in enumerate(looked) if letter in _OPENERS][:16]:
        try:
            value, end = decoder.raw_decode(looked, start)
        except (ValueError, RecursionError):
            continue
        if value:
            return looked[start:end]
    return text


def plain_marks(text: str) -> str:
    """Return a text with straight quotation marks and single line ends."""
    return text.replace("\r\n", "\n").translate(_QUOTES)


REMEDIES: Mapping[str, Remedy] = {
    each.name: each
    for each in (
        Remedy("strip-fence", "the code fence stripped", without_fence),
        Remedy("strip-space", "the white space around the text stripped", str.strip),
        Remedy("only-json", "only the JSON taken out of the text", only_json),
        Remedy("plain-marks", "typographic quotation marks and Windows line ends replaced", plain_marks),
    )
}
"""By name, in the order in which they are tried."""
