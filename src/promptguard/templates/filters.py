"""The filters and tests a prompt template may use: an allow-list, each one measured.

Left out on purpose: `center`, `format`, `indent`, `wordwrap`, `batch`, `slice` (an argument alone asks for
gigabytes), `attr`, `pprint` (reach into objects), `random` (a prompt must render the same twice), and
everything about HTML. `tojson` here writes plain JSON: jinja2's own escapes `<`, `>` and `&` for HTML, which
garbles code in a prompt.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
import threading
from collections.abc import Callable, Iterable
from typing import Any, cast

from jinja2 import Undefined, pass_context
from jinja2.filters import FILTERS
from jinja2.runtime import Context
from jinja2.tests import TESTS

from promptguard.errors import RenderLimit
from promptguard.templates.limits import CONTAINER_UNITS, PART_UNITS, SCALAR_UNITS, RenderBudget

Function = Callable[..., object]

_FILTERS = """
    abs dictsort first float int items last reverse string truncate
"""
_LISTING_FILTERS = "list max min reject rejectattr select selectattr sort title unique"
"""These make a list of what they are given, or take a step an item: of a text, its characters."""
_TEXT_FILTERS: dict[str, Callable[[str], str]] = {
    "capitalize": str.capitalize,
    "lower": str.lower,
    "trim": str.strip,
    "upper": str.upper,
}

_TESTS = """
    boolean defined divisibleby eq equalto even false float ge greaterthan gt in integer iterable le lessthan
    lower lt mapping ne none number odd sequence string true undefined upper == != < <= > >=
"""


class _Current(threading.local):
    """The budget of the render this thread is in; rendering never awaits, so a thread is enough."""

    budget: RenderBudget | None = None


CURRENT = _Current()


def budget() -> RenderBudget:
    """Return the budget of the running render; what is called often looks at `CURRENT.budget` first, a call less."""
    current = CURRENT.budget
    if current is None:  # only when a template is run around `Sandbox.render`
        raise RenderLimit("a template can be rendered by its sandbox only")
    return current


def measured(function: Function) -> Function:
    """Wrap a filter or test: its arguments and its result are charged for."""
    passes = hasattr(function, "jinja_pass_arg")

    @functools.wraps(function)  # keeps jinja2's pass_context and pass_environment marks
    def charged(first: object, /, *args: object, **kwargs: object) -> object:
        settle = (CURRENT.budget or budget()).settle
        if not passes:
            first = settle(first)
        if not (args or kwargs):  # as most filters are used
            return settle(function(first))
        for each in kwargs.values():
            settle(each)
        return settle(function(first, *map(settle, args), **kwargs))

    return charged


def measured_listing(function: Function) -> Function:
    """Wrap a filter that goes through the characters of a text: they are charged for beforehand."""
    general = measured(function)
    place = 1 if hasattr(function, "jinja_pass_arg") else 0

    @functools.wraps(function)
    def charged(*args: object, **kwargs: object) -> object:
        value = args[place] if len(args) > place else None
        if isinstance(value, str):
            (CURRENT.budget or budget()).charge_characters(value)
        return general(*args, **kwargs)

    return charged


def measured_text(function: Function, of_text: Callable[[str], str]) -> Function:
    """Wrap a filter whose text is about as long as the one it is given: both are charged for in one step.

    `of_text` is the same for what is a text already.
    """
    general = measured(function)

    @functools.wraps(function)
    def charged(value: object, /, *args: object, **kwargs: object) -> object:
        if type(value) is not str or args or kwargs:
            return general(value, *args, **kwargs)
        made = of_text(value)
        (CURRENT.budget or budget()).charge_texts(len(value), len(made))
        return made

    return charged


def join(value: Iterable[Any], d: str = "", attribute: str | int | None = None) -> str:
    """Join the texts of `value` by `d`; `attribute` is one name, without dots."""
    current = CURRENT.budget or budget()
    if type(value) is list and value and type(value[0]) is str and type(d) is str and attribute is None:
        taken = made = 0
        try:  # what nearly all of them are: a list of texts, charged for at once
            length, count = sum(map(len, value)), len(value)
            taken, made = _list_units(count) + length, length + len(d) * count
            current.charge_texts(taken, made)
            return d.join(value)
        except TypeError:  # of something else too, which is charged for below
            current.charge_texts(-taken, -made)
    if type(value) is str:
        current.charge_characters(value)
    # The separator's length is charged for with the text that is made.
    value, separator = current.settle(value), d if type(d) is str else str(current.settle(d))
    parts = list(map(str, value if attribute is None else (each[attribute] for each in value)))
    current.charge(sum(map(len, parts)) + len(separator) * len(parts) + 1)
    return separator.join(parts)


def _list_units(count: int) -> int:
    """Return the size of a list without that of its parts beyond the least."""
    return CONTAINER_UNITS + (PART_UNITS + SCALAR_UNITS) * count


def default_(value: object, default_value: object = "", boolean: bool = False) -> object:
    """Return `value`, or `default_value` where it is undefined (or false, with `boolean`); nothing is made."""
    if isinstance(value, Undefined) or (boolean and not value):
        value = default_value
    return (CURRENT.budget or budget()).settle(value)


def length(value: object) -> int:
    """Return the number of items or characters."""
    return len((CURRENT.budget or budget()).settle(value))


@pass_context
def map_(context: Context, value: Iterable[object], *args: object, **kwargs: object) -> Iterable[object]:
    """Take an attribute of each item, at once where the items are mappings that have it; the rest is jinja2's own."""
    name = kwargs.get("attribute")
    if type(name) is str and name.isidentifier() and len(kwargs) == 1 and not args:
        current = CURRENT.budget or budget()
        value = current.settle(value)
        try:
            made = [item[name] for item in cast("Iterable[Any]", value)]
        except (TypeError, LookupError):
            pass  # a text, a gap: jinja2 knows what to say
        else:
            # What stands in it was measured with `value`, as a part of it.
            current.charge(_list_units(len(made)))
            return made
    return cast("Iterable[object]", _MAP(context, value, *args, **kwargs))


_MAP = measured_listing(FILTERS["map"])


def replace(s: object, old: str, new: str, count: int = -1) -> str:
    """Replace `old` by `new`; the length of the result is charged before it is made."""
    text = str(s)
    hits = text.count(old) if count < 0 else min(text.count(old), count)
    budget().charge(len(text) + hits * max(len(new) - len(old), 0))
    return text.replace(old, new, count)


_LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"


def split_lines(text: str, keepends: bool = False) -> list[str]:
    """Split a text at its line ends; how many there are is looked at before."""
    if sum(map(text.count, _LINE_ENDS)) > budget().most_parts:
        raise RenderLimit(f"a list of more than {budget().most_parts} texts was asked for")
    return text.splitlines(keepends)


def split(text: str, sep: str | None = None, maxsplit: int = -1) -> list[str]:
    """Split a text; never into more parts than a list may have."""
    return _bounded_split(text.split, sep, maxsplit)


def split_right(text: str, sep: str | None = None, maxsplit: int = -1) -> list[str]:
    """Split a text from its end; never into more parts than a list may have."""
    return _bounded_split(text.rsplit, sep, maxsplit)


def _bounded_split(cut: Callable[[str | None, int], list[str]], sep: str | None, maxsplit: int) -> list[str]:
    most = budget().most_parts
    parts = cut(sep, most if maxsplit < 0 else min(maxsplit, most))
    if len(parts) > most:
        raise RenderLimit(f"a list of more than {most} texts was asked for")
    return parts


def wordcount(value: object) -> int:
    """Return the number of words, as jinja2 counts them, without a list of them all."""
    current = budget()
    words, count = _WORD.finditer(str(current.settle(value))), 0
    while some := sum(1 for _ in itertools.islice(words, _WORDS_A_LOOK)):
        count += some
        current.charge(some * SCALAR_UNITS)
    return count


_WORD = re.compile(r"\w+")
_WORDS_A_LOOK = 10_000


def sum_(value: Iterable[Any], attribute: str | int | None = None, start: float = 0) -> object:
    """Add numbers; lists and texts are refused, since adding them takes quadratic time."""
    if isinstance(value, str):
        raise RenderLimit("sum adds numbers only")
    numbers = [each if attribute is None else each[attribute] for each in value]
    if not all(isinstance(each, int | float) for each in [*numbers, start]):
        raise RenderLimit("sum adds numbers only")
    return sum(numbers, start)


def round_(value: float, precision: int = 0) -> float:
    """Round to at most 15 places."""
    return round(float(value), max(min(precision, 15), -15))


def tojson(value: object, indent: int | None = None) -> str:
    """Write plain JSON, non-ASCII text as it is; `indent` of at most 8."""
    if isinstance(value, Undefined):
        str(value)
    current = budget()
    value = current.settle(value)
    if indent is None:
        made = _ON_ONE_LINE.encode(value)
    else:
        made = json.dumps(value, ensure_ascii=False, indent=max(0, min(current.settle(indent), 8)))
    current.charge(len(made) + 1)
    return made


_ON_ONE_LINE = json.JSONEncoder(ensure_ascii=False, check_circular=False)  # nothing here can hold itself


ALLOWED_FILTERS: dict[str, Function] = {
    **{name: measured(cast("Function", FILTERS[name])) for name in _FILTERS.split()},
    **{name: measured_listing(cast("Function", FILTERS[name])) for name in _LISTING_FILTERS.split()},
    **{name: measured_text(FILTERS[name], method) for name, method in _TEXT_FILTERS.items()},
    "count": length,
    "d": default_,
    "default": default_,
    "join": join,
    "length": length,
    "map": map_,
    "replace": measured(replace),
    "round": measured(round_),
    "sum": measured(sum_),
    "tojson": tojson,
    "wordcount": wordcount,
}
ALLOWED_TESTS: dict[str, Function] = {
    name: measured(cast("Function", TESTS[name])) for name in _TESTS.split()
}
