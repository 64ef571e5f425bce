"""Two answers beside each other: which words went and came, and what JSON says at which path."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Literal

from promptguard.core.word_diff import runs, words_of
from promptguard.report.pairs import Pair, Texts

Runs = tuple[tuple[Literal["same", "del", "ins", "cut"], str], ...]
_MOST_WORDS = {False: 160, True: 1200}
"""Words a side that are compared, on a list and on a pair's own page: the time grows faster than the words."""
_MOST_PATHS = 200
_MOST_JSON = 200_000
_MOST_DEPTH = 60
_FENCE = re.compile(r"\A\s*```(?:json)?\s*\n(.*?)\n?```\s*\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PathDifference:
    """What two JSON answers say at one path; None where one says nothing."""

    path: str
    first: str | None
    second: str | None


@dataclass(frozen=True, slots=True)
class TextDiff:
    """Both answers as runs of words; `paths` is None where not both are JSON."""

    first: Runs
    second: Runs
    paths: tuple[PathDifference, ...] | None
    cut: bool


def text_diff(pair: Pair, full: bool) -> TextDiff:
    """Return the difference of a pair's texts, up to a length."""
    texts = pair.texts or Texts("", "", "")
    most = _MOST_WORDS[full]
    # A slice bounds the time that a very long answer takes to be cut into words.
    first, second = (words_of(text[: 40 * most]) for text in (texts.control, texts.candidate))
    one, other, cut = first[:most], second[:most], len(first) > most or len(second) > most
    sides: tuple[Runs, Runs] = runs(one, other)
    if cut:
        sides = _more(sides[0], len(first) > most), _more(sides[1], len(second) > most)
    return TextDiff(*sides, json_diff(texts.control, texts.candidate) if full else None, cut)


def _more(runs: Runs, longer: bool) -> Runs:
    return (*runs, ("cut", " …")) if longer else runs


def json_diff(first: str, second: str) -> tuple[PathDifference, ...] | None:
    """Return where two JSON answers differ, by path; None where not both are JSON objects or lists."""
    one, other = _read(first), _read(second)
    if one is None or other is None:
        return None
    found: list[PathDifference] = []
    _compare("$", one, other, found, 0)
    return tuple(found[:_MOST_PATHS])


def _read(text: str) -> object | None:
    if len(text) > _MOST_JSON:
        return None
    fenced = _FENCE.match(text)
    try:
        found: object = json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, (dict, list)) else None


_ABSENT = object()


def _compare(path: str, one: object, other: object, found: list[PathDifference], depth: int) -> None:
    if len(found) >= _MOST_PATHS or (
        one is not _ABSENT and other is not _ABSENT and type(one) is type(other) and one == other
    ):
        return
    if depth < _MOST_DEPTH and isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(key for key in other if key not in one)]:
            name = f".{key}" if key.isidentifier() else f"[{json.dumps(key)}]"
            _compare(path + name, one.get(key, _ABSENT), other.get(key, _ABSENT), found, depth + 1)
    elif depth < _MOST_DEPTH and isinstance(one, list) and isinstance(other, list):
        for place in range(max(len(one), len(other))):
            first, second = (side[place] if place < len(side) else _ABSENT for side in (one, other))
            _compare(f"{path}[{place}]", first, second, found, depth + 1)
    else:
        found.append(PathDifference(path, _written(one), _written(other)))


def _written(value: object) -> str | None:
    return None if value is _ABSENT else json.dumps(value, ensure_ascii=False)[:2000]
