"""The filters and tests a prompt template may use: an allow-list, each one measured.

Left out on purpose: `center`, `format`, `indent`, `wordwrap`, `batch`, `slice` (an argument alone asks for
gigabytes), `attr`, `pprint` (reach into objects), `random` (a prompt must render the same twice), and
everything about HTML. `tojson` here writes plain JSON: jinja2's own escapes `<`, `>` and `&` for HTML, which
garbles code in a prompt.
"""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from jinja2 import Undefined
from jinja2.filters import FILTERS
from jinja2.tests import TESTS

from promptguard.errors import RenderLimit
from promptguard.templates.limits import Purse

Function = Callable[..., Any]

_FILTERS = """
    abs capitalize count d default dictsort first float int items last length list lower map max min reject
    rejectattr reverse select selectattr sort string title trim truncate unique upper wordcount
"""

_TESTS = """
    boolean defined divisibleby eq equalto even false float ge greaterthan gt in integer iterable le lessthan
    lower lt mapping ne none number odd sequence string true undefined upper == != < <= > >=
"""


class _Current(threading.local):
    """The purse of the render this thread is in; rendering never awaits, so a thread is enough."""

    purse: Purse | None = None


CURRENT = _Current()


def purse() -> Purse:
    """Return the purse of the running render."""
    current = CURRENT.purse
    if current is None:  # only when a template is run around `Sandbox.render`
        raise RenderLimit("a template can be rendered by its sandbox only")
    return current


def settled(value: Any) -> Any:
    """Turn iterators into lists, so that nothing unmeasured travels through a template, and pay."""
    kind = type(value)
    if kind is str:
        purse().pay(len(value) + 1)
        return value
    if kind is not list and kind is not dict and isinstance(value, Iterator):
        value = list(value)
    purse().pay_for(value)
    return value


def measured(function: Function) -> Function:
    """Wrap a filter or test: its arguments and its result are paid for."""
    passes = 1 if hasattr(function, "jinja_pass_arg") else 0

    @functools.wraps(function)  # keeps jinja2's pass_context and pass_environment marks
    def paid(*args: Any, **kwargs: Any) -> Any:
        plain = map(settled, args[passes:])
        for each in kwargs.values():
            settled(each)
        return settled(function(*args[:passes], *plain, **kwargs))

    return paid


def join(value: Iterable[Any], d: str = "", attribute: str | int | None = None) -> str:
    """Join the texts of `value` by `d`; `attribute` is one name, without dots."""
    parts = [str(each if attribute is None else each[attribute]) for each in value]
    purse().pay(sum(map(len, parts)) + len(d) * len(parts))
    return str(d).join(parts)


def replace(s: Any, old: str, new: str, count: int = -1) -> str:
    """Replace `old` by `new`; the length of the result is paid for before it is made."""
    text = str(s)
    hits = text.count(old) if count < 0 else min(text.count(old), count)
    purse().pay(len(text) + hits * max(len(new) - len(old), 0))
    return text.replace(old, new, count)


def sum_(value: Iterable[Any], attribute: str | int | None = None, start: float = 0) -> Any:
    """Add numbers; lists and texts are refused, since adding them takes quadratic time."""
    numbers = [each if attribute is None else each[attribute] for each in value]
    if not all(isinstance(each, int | float) for each in [*numbers, start]):
        raise RenderLimit("sum adds numbers only")
    return sum(numbers, start)


def round_(value: float, precision: int = 0) -> float:
    """Round to at most 15 places."""
    return round(float(value), max(min(precision, 15), -15))


def tojson(value: Any, indent: int | None = None) -> str:
    """Write plain JSON, non-ASCII text as it is; `indent` of at most 8."""
    if isinstance(value, Undefined):
        str(value)
    return json.dumps(value, ensure_ascii=False, indent=indent if indent is None else max(0, min(indent, 8)))


ALLOWED_FILTERS: dict[str, Function] = {
    **{name: measured(cast("Function", FILTERS[name])) for name in _FILTERS.split()},
    "join": measured(join),
    "replace": measured(replace),
    "round": measured(round_),
    "sum": measured(sum_),
    "tojson": measured(tojson),
}
ALLOWED_TESTS: dict[str, Function] = {
    name: measured(cast("Function", TESTS[name])) for name in _TESTS.split()
}
