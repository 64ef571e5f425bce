"""What an answer says by place: the paths of its JSON, the tools it calls and their arguments.

A place is a path with ids and indices left out: `$.items[].price`, `$.users.*.name`, so that a map keyed by ids is one
place and not a thousand. At most `MOST_NODES` values are looked at, of lists the first `MOST_ITEMS`, down to `DEEPEST`;
what lies beyond is not seen. Never raises on content.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple, cast

from promptguard.drift.features.answer import Answer
from promptguard.drift.features.catalogue import TEXTUAL_LIMIT
from promptguard.drift.features.correctness import is_right, short_answer

MOST_NODES, MOST_ITEMS, DEEPEST = 1_000, 32, 12
MOST_MEMBERS = 64
"""members of one object; the keys of a larger one are ids"""
_LONGEST_KEY = 40
_LONGEST_VALUE, _LONGEST_NUMBER = 32, 16
_SHAPED, _LONGEST_SHAPED = 24, 48
"""characters whose shape is told, of strings of at most so many: how a longer text begins is no shape"""
_LARGEST_VALUE, _LONGEST_FRACTION = 9_999, 3
"""numbers that may be one of a few: grades and codes are, amounts are not"""
_MOST_BITS, _LARGEST = 900, 1e270
_MOST_CALLS = 16
TOOL, CALLS, ARGUMENTS, KEYS = "tool", "calls", "arguments", "keys"
"""Places outside JSON: the tool called first, how many are called, arguments by name, and the order of keys."""
RIGHT, LABEL, ANSWER = "right", "label", "answer"
"""And whether the answer agrees with the reference, its label, and a short answer itself."""
CERTAINTY, FIRST_CERTAINTY = "certainty", "certainty of the first token"
"""And how likely the model held its answer to be: the mean log-probability of its tokens, and that of the first."""
ALWAYS_TOLD = frozenset(
    (TOOL, CALLS, ARGUMENTS, KEYS, RIGHT, LABEL, ANSWER, CERTAINTY, FIRST_CERTAINTY, "$", "$[]")
)
"""places that every answer may have: their names tell nothing of it"""

ABSENT, NULL, FALSE, TRUE, NUMBER, STRING, LIST, OBJECT, MIXED = range(9)
"""What is found at a place; MIXED where a list holds several kinds."""
NOTHING = object()
"""In place of a document: the text is no JSON."""


class Said(NamedTuple):
    """What one answer says at one place.

    `size` orders values of one kind: a number itself, the length of a string or list, the mean where the place is in a
    list; of objects only those keyed by ids have one. `shape` is how a string is made of letters, digits and marks.
    `value` is the value itself where it is short, else empty.
    """

    kind: int
    size: float
    shape: str = ""
    value: str = ""


Places = dict[str, Said]


def document_of(trimmed: str) -> object:
    """Return the JSON of an answer that is nothing else, `NOTHING` otherwise; one code fence around it is taken off."""
    if trimmed.startswith("```") and trimmed.endswith("```") and len(trimmed) > 6:
        trimmed = trimmed[3:-3].removeprefix("json").removeprefix("JSON").strip()
    if trimmed[:1] + trimmed[-1:] not in ("{}", "[]") or len(trimmed) > TEXTUAL_LIMIT:
        return NOTHING
    if trimmed[0] == "[" and trimmed[1:].lstrip()[:1] not in _ITEM_STARTS:  # "[Yes]": an exception is dear
        return NOTHING
    return parsed(trimmed)


_ITEM_STARTS = frozenset('"{[]-0123456789tfn')


def parsed(text: str) -> object:
    """Return what a JSON text holds, `NOTHING` for any other text."""
    try:
        return json.loads(text)
    except RecursionError:
        return NOTHING
    except ValueError:
        if not _may_hold_long_numbers(text):
            return NOTHING
    try:
        return json.loads(text, parse_int=_integer)
    except (ValueError, RecursionError):
        return NOTHING


def _may_hold_long_numbers(text: str) -> bool:
    """Whether some digits may be more than Python reads at once (4,300 by default)."""
    return len(text) > 640


def _integer(digits: str) -> int | float:
    # of longer numbers only the size is of interest, and reading them takes quadratic time
    return int(digits) if len(digits) <= _LONGEST_NUMBER else float(digits[:300])


def places_of_json(document: object) -> Places:
    """Return what a JSON document says by place; empty for `NOTHING` and for a single value."""
    found: dict[str, list[Said]] = {}
    if isinstance(document, (dict, list)):
        _walk(document, "$", found, [MOST_NODES], 0)
        if isinstance(document, dict):
            found[KEYS] = [Said(STRING, 0.0, ",".join(map(str, document))[:512])]
    return {path: _joined(each) for path, each in found.items()}


def places_of_tools(answer: Answer) -> tuple[Places, frozenset[str] | None]:
    """Return what is said by tool calls, and the names of the tools called; None where some arguments are no JSON."""
    names: list[str] = []
    sound = True
    found: dict[str, list[Said]] = {}
    budget = [MOST_NODES]
    for call in list(answer.tool_calls)[:_MOST_CALLS]:
        inner = call.get("function")
        body: Mapping[str, object] = inner if isinstance(inner, Mapping) else call
        names.append(str(body.get("name", ""))[:_LONGEST_KEY])
        given = body.get("arguments", body.get("input"))
        if isinstance(given, str):
            given = parsed(given) if len(given) <= TEXTUAL_LIMIT else NOTHING
        if isinstance(given, dict):
            _members(given, ARGUMENTS, found, budget, 1)
        sound = sound and isinstance(given, dict)
    told = {path: _joined(each) for path, each in found.items()}
    told[CALLS] = Said(NUMBER, float(len(names)))
    told[TOOL] = Said(STRING, 0.0, "", names[0] if names else "")
    return told, frozenset(names) if sound else None


def places_of_answer(answer: Answer, label: str | None, reference: str | None) -> Places:
    """Return whether an answer is right, where there is a reference, and what it is labelled, or says in a word or two."""
    found: Places = {}
    if reference is not None:
        right = is_right(answer.text, label, reference)
        found[RIGHT] = Said(TRUE if right else FALSE, float(right))
    if answer.logprobs:
        # rounded, as servers' last digits depend on the batch
        found[CERTAINTY] = Said(NUMBER, round(math.fsum(answer.logprobs) / len(answer.logprobs), 6))
        found[FIRST_CERTAINTY] = Said(NUMBER, round(answer.logprobs[0], 6))
    if label is not None:
        found[LABEL] = Said(STRING, 0.0, "", label.casefold()[:_LONGEST_VALUE])
    elif not answer.tool_calls:
        said = short_answer(answer.text)
        if said:
            found[ANSWER] = Said(STRING, 0.0, "", said)
    return found


def _walk(value: object, path: str, found: dict[str, list[Said]], budget: list[int], depth: int) -> None:
    budget[0] -= 1
    if budget[0] < 0 or depth > DEEPEST:
        return
    said = _said(value)
    if path in found:
        found[path].append(said)
    else:
        found[path] = [said]
    if said.kind == OBJECT:
        _members(cast("dict[str, object]", value), path, found, budget, depth)
    elif said.kind == LIST:
        inner = f"{path}[]"
        for item in cast("list[object]", value)[:MOST_ITEMS]:
            _walk(item, inner, found, budget, depth + 1)


def _members(
    value: dict[str, object], path: str, found: dict[str, list[Said]], budget: list[int], depth: int
) -> None:
    keyed_by_ids = len(value) > MOST_MEMBERS
    for key, inner in value.items():
        if budget[0] <= 0:
            return
        # what is longer is asked of no cache
        named = not keyed_by_ids and isinstance(key, str) and len(key) <= _LONGEST_KEY and _is_name(key)
        name = key if named else "*"
        _walk(inner, f"{path}.{name}", found, budget, depth + 1)


@lru_cache(maxsize=4096)
def _is_name(key: str) -> bool:
    """Whether a key is one that people gave, and no id, date, address or sentence."""
    if key.isidentifier() and not any(char.isdigit() for char in key):
        return True
    digits = sum(char.isdigit() for char in key)
    return digits <= 2 and key.replace("-", "_").replace(" ", "_").replace("$", "_").isidentifier()


def _said(value: object) -> Said:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bool):
        return Said(TRUE if value else FALSE, float(value))
    if isinstance(value, (int, float)):
        return _number(value)
    if isinstance(value, list):
        return Said(LIST, float(len(value)))
    if isinstance(value, dict):
        # a member more or less is told by its own place
        return Said(OBJECT, float(len(value)) if len(value) > MOST_MEMBERS else 0.0)
    return Said(NULL, 0.0)


def _string(value: str) -> Said:
    size = len(value)
    if size > _LONGEST_SHAPED:
        return Said(STRING, float(size))
    short = value if size <= _LONGEST_VALUE and value.isprintable() else ""
    return Said(STRING, float(size), _shape(value), short)


def _number(value: float) -> Said:
    if isinstance(value, int):
        if value.bit_length() > _MOST_BITS:  # beyond what a float holds, and dear to write down
            return Said(NUMBER, _LARGEST if value > 0 else -_LARGEST, "9")
        return Said(NUMBER, _bounded(value), "9", repr(value) if abs(value) <= _LARGEST_VALUE else "")
    if not math.isfinite(value):
        return Said(NUMBER, 0.0, "9.9")
    text = repr(value)
    return Said(NUMBER, _bounded(value), "9.9", text if len(text) <= _LONGEST_FRACTION else "")


def _bounded(value: float) -> float:
    return min(max(float(value), -_LARGEST), _LARGEST)


_AGAIN = re.compile(r"(.)\1+", re.DOTALL)
_CLASSES = str.maketrans(
    {
        **dict.fromkeys("abcdefghijklmnopqrstuvwxyz", "a"),
        **dict.fromkeys("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "A"),
        **dict.fromkeys("0123456789", "9"),
    }
)


def _shape(text: str) -> str:
    """Return how the beginning of a text is made: `C-12345` and `K-9` are both `A-9`."""
    return _AGAIN.sub(r"\1", text[:_SHAPED].translate(_CLASSES))


def _joined(each: list[Said]) -> Said:
    """Return one summary of what a list holds at a place."""
    if len(each) == 1:
        return each[0]
    kinds = {TRUE if said.kind == FALSE else said.kind for said in each}
    mean = math.fsum(said.size for said in each) / len(each)
    kind = kinds.pop() if len(kinds) == 1 else MIXED
    if kind == TRUE:
        kind = TRUE if mean >= 0.5 else FALSE
    return Said(kind, mean, each[0].shape, each[0].value)
