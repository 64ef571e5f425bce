"""The variables of a render: copied to plain JSON types, and measured on the way.

An object in the context would put `{{ obj.api_key }}` and `{{ obj.drop() }}` into a template's reach.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from promptguard.core.mistakes import with_article
from promptguard.errors import PromptError
from promptguard.templates.limits import (
    CONTAINER_UNITS,
    PART_UNITS,
    SCALAR_UNITS,
    SMALL_UNITS,
    Sizes,
    scalar_units,
)

_DEEPEST = 64
_CONTAINERS = frozenset((list, tuple, dict))
_ENTRY_UNITS = 2 * (PART_UNITS + SCALAR_UNITS)
"""of a key and a text, without their characters"""


class _UnusualError(Exception):
    """A value that is none of the exact types of JSON; it may still become one."""


def plain(value: object, where: str, sizes: Sizes | None = None) -> object:
    """Copy a variable to plain JSON types; raises PromptError for anything else, which begins with `where`.

    The sizes of the lists and mappings in the copy are added to `sizes`, so that no render walks them again.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    known: Sizes = {} if sizes is None else sizes
    try:
        copy, size = _copied(value, known, 0)
        if kind in _CONTAINERS:  # however small: a variable is what filters are given most
            known[id(copy)] = copy, size
        return copy
    except _UnusualError:
        return _made_plain(value, where, 0)


def _copied(value: Any, sizes: Sizes, depth: int) -> tuple[object, int]:
    """Copy what is JSON already, which nearly every variable is, and return its size; raises _UnusualError for the rest."""
    kind = type(value)
    copy: Any
    if depth <= _DEEPEST and (kind is list or kind is tuple):
        copy = [*value]
        size = CONTAINER_UNITS + _copy_parts(copy, sizes, depth + 1)
    elif kind is dict:
        parts = [value]
        size = _copy_parts(parts, sizes, depth) - PART_UNITS
        copy = parts[0]
    else:
        scalar = scalar_units(value)
        if scalar is None or (kind is float and not math.isfinite(value)):
            raise _UnusualError
        return value, scalar
    if size > SMALL_UNITS:
        sizes[id(copy)] = copy, size
    return copy, size


def _copy_parts(parts: list[Any], sizes: Sizes, depth: int) -> int:
    """Put copies in place of the parts of a list, and return their size in it.

    Mappings are copied here: for the rows of a table, a call each would take as long as the work.
    """
    size = (PART_UNITS + SCALAR_UNITS) * len(parts)
    for at, part in enumerate(parts):
        if type(part) is str:
            size += len(part)
        elif type(part) is dict:
            if depth > _DEEPEST:
                raise _UnusualError
            parts[at] = copy = part.copy()
            size += _ENTRY_UNITS * len(copy)  # CONTAINER_UNITS are the SCALAR_UNITS of above
            for key, each in copy.items():
                if type(key) is not str:
                    raise _UnusualError
                if type(each) is str:
                    size += len(key) + len(each)
                elif type(each) is bool:
                    size += len(key)
                elif type(each) is int:
                    size += len(key) + (each.bit_length() >> 3)
                else:
                    copy[key], units = _copied(each, sizes, depth + 1)
                    size += len(key) + units - SCALAR_UNITS
        else:
            parts[at], units = _copied(part, sizes, depth)
            size += units - SCALAR_UNITS
    return size


def _made_plain(value: object, where: str, depth: int) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)  # an enum's or a subclass's own __str__ does not count
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float) and math.isfinite(value):
        return float.__float__(value)
    if depth > _DEEPEST:
        raise PromptError(f"{where} is nested deeper than {_DEEPEST} levels")
    if isinstance(value, list | tuple):
        return [_made_plain(each, f"{where}[{index}]", depth + 1) for index, each in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {
            str.__str__(key): _made_plain(each, f"{where}.{key}", depth + 1) for key, each in value.items()
        }
    raise PromptError(
        f"{where} is {with_article(type(value).__name__)}; a prompt takes text, numbers, lists and mappings of them only"
    )
