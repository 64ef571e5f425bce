"""Two texts beside each other, word by word. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Literal

Kind = Literal["same", "del", "ins"]
Runs = tuple[tuple[Kind, str], ...]
_WORDS = re.compile(r"\s+|\w+|[^\w\s]")
_MOST_WORDS = 4_000
"""Words a side that are compared: the time grows faster than the words."""
_AROUND = 3


def words_of(text: str) -> list[str]:
    """Cut a text into words, marks and white space; joined they are the text again."""
    return _WORDS.findall(text)


def runs(one: Sequence[str], other: Sequence[str]) -> tuple[Runs, Runs]:
    """Return both sides as runs of words: those of both, and those that only one side has."""
    first: list[tuple[Kind, str]] = []
    second: list[tuple[Kind, str]] = []
    for kind, low, high, begin, end in SequenceMatcher(None, one, other, autojunk=True).get_opcodes():
        gone, come = "".join(one[low:high]), "".join(other[begin:end])
        if kind == "equal":
            first.append(("same", gone))
            second.append(("same", come))
            continue
        if gone:
            first.append(("del", gone))
        if come:
            second.append(("ins", come))
    return tuple(first), tuple(second)


def merged(one: str, other: str) -> Runs:
    """Return one text that reads from `one` to `other`: what both have, what went and what came, in order."""
    first, second = words_of(one)[:_MOST_WORDS], words_of(other)[:_MOST_WORDS]
    found: list[tuple[Kind, str]] = []
    for kind, low, high, begin, end in SequenceMatcher(None, first, second, autojunk=False).get_opcodes():
        gone, come = "".join(first[low:high]), "".join(second[begin:end])
        if kind == "equal":
            found.append(("same", gone))
            continue
        if gone:
            found.append(("del", gone))
        if come:
            found.append(("ins", come))
    return tuple(found)


def changed_words(one: str, other: str) -> str:
    """Return what differs, on one line: [-went-] and {+came+}, with a few words around each."""
    parts = []
    told = merged(one, other)
    for place, (kind, text) in enumerate(told):
        if kind == "same":
            parts.append(_shortened(text, begins=place == 0, ends=place == len(told) - 1))
        else:
            parts.append(f"[-{text}-]" if kind == "del" else f"{{+{text}+}}")
    return " ".join("".join(parts).split())


def _shortened(text: str, *, begins: bool, ends: bool) -> str:
    words = words_of(text)
    if len(words) <= 4 * _AROUND:
        return text
    head = "" if begins else "".join(words[: 2 * _AROUND])
    tail = "" if ends else "".join(words[-2 * _AROUND :])
    return f"{head} ... {tail}"
