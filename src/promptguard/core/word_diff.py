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
"""Words a side that are compared between what is equal at both ends: the time grows faster than the words."""
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
    """Return one text that reads from `one` to `other`: what both have, what went and what came, in order.

    What is too long to be compared, and differs, is told as gone and come.
    """
    first, second = words_of(one), words_of(other)
    begin = _equal_ahead(first, second)
    end = _equal_ahead(first[begin:][::-1], second[begin:][::-1])
    head, tail = first[:begin], first[len(first) - end :]
    first, second = first[begin : len(first) - end], second[begin : len(second) - end]
    found: list[tuple[Kind, str]] = [("same", "".join(head))]
    near, other_near = first[:_MOST_WORDS], second[:_MOST_WORDS]
    for kind, low, high, start, stop in SequenceMatcher(None, near, other_near, autojunk=False).get_opcodes():
        if kind == "equal":
            found.append(("same", "".join(near[low:high])))
        else:
            found += [("del", "".join(near[low:high])), ("ins", "".join(other_near[start:stop]))]
    found += [("del", "".join(first[_MOST_WORDS:])), ("ins", "".join(second[_MOST_WORDS:]))]
    return _joined([*found, ("same", "".join(tail))])


def _equal_ahead(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many words are equal at the beginning."""
    return next(
        (number for number, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )


def _joined(found: Sequence[tuple[Kind, str]]) -> Runs:
    """Put neighbours of one kind together, and leave out what is empty."""
    joined: list[tuple[Kind, str]] = []
    for kind, text in found:
        if text and joined and joined[-1][0] == kind:
            joined[-1] = (kind, joined[-1][1] + text)
        elif text:
            joined.append((kind, text))
    return tuple(joined)


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
