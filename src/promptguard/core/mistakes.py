"""How a mistake is told: what was given, what is accepted, and the nearest right spelling."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ParamSpec, TypeVar

from promptguard.errors import ConfigurationError

P = ParamSpec("P")
R = TypeVar("R")

LONGEST_SHOWN = 80
"""Characters of a wrong value that a message repeats."""


def shown(value: object) -> str:
    """Return a value as a message repeats it: short, on one line, whatever its own `repr` does."""
    if isinstance(value, type):
        return f"<class {value.__qualname__}>"
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a stranger's object
        text = f"<{type(value).__qualname__}>"
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


def is_text(value: object) -> bool:
    """Whether a string can be written as UTF-8: one with half a character (a lone surrogate) cannot."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def nearest(given: object, known: Iterable[str]) -> str | None:
    """Return the name in `known` that was most likely meant: one that holds it, or is spelled alike."""
    if not isinstance(given, str) or not given:
        return None
    word, names = given.strip().lower(), list(known)
    parts = [name for name in names if word in name.split("_") or name in word.split("_")]
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.66)
    return next(iter(close or parts), None)


def listed(names: Sequence[str], last: str = "or") -> str:
    """Return names as a sentence has them: "a, b or c"."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {last} {names[-1]}"


def with_article(name: str) -> str:
    """Return a name of a kind as a sentence has it: "an int", "a list"."""
    return f"{'an' if name[:1].lower() in tuple('aeio') else 'a'} {name}"


def refused(argument: str, given: object, accepted: str, *, meant: str | None = None) -> ConfigurationError:
    """Return the error for a value that is not accepted.

    Parameters: `argument` as the user wrote it, such as "Shadow(sample)"; `accepted` completes "give ..."; `meant` is the
    spelling that was probably wanted.
    """
    hint = f" (did you mean {meant}?)" if meant is not None else ""
    if isinstance(given, type):
        hint = f" ({given.__qualname__} is a class: an instance of it is made by {given.__qualname__}(...))"
    return ConfigurationError(f"{written(argument, given)} is not accepted{hint}: give {accepted}")


def written(argument: str, given: object) -> str:
    """Return `argument` with its value as it stands in the code: "Shadow(sample=5)", or "cache='disc'"."""
    opened = argument.endswith(")")
    return f"{argument.removesuffix(')')}={shown(given)}{')' if opened else ''}"


def unknown(
    owner: str, given: str, known: Sequence[str], synonyms: Mapping[str, str] | None = None
) -> ConfigurationError:
    """Return the error for a keyword that `owner`, such as "Budget" or "wrap", does not have."""
    meant = (synonyms or {}).get(given) or nearest(given, known)
    hint = f"did you mean {meant}=? " if meant else ""
    return ConfigurationError(
        f"{owner}({shown(given)[1:-1]}=...) is not known: {hint}{owner} takes {listed(known, 'and')}"
    )


def takes(function: Callable[..., object], count: int) -> bool:
    """Whether a callable can be called with `count` positional arguments; True where that cannot be seen."""
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # some functions written in C do not say what they take
        return True
    return True


def checked_call(function: Callable[P, R]) -> Callable[P, R]:
    """Have a call whose arguments `function` does not have raise ConfigurationError, with the nearest name.

    Python itself raises a bare TypeError there. Costs nothing for a call that is right.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            inside = error.__traceback__.tb_next if error.__traceback__ else None
            if inside is not None:  # the function was entered, so its arguments fitted
                raise
            raise _misfit(function, kwargs, error) from None

    return call


def _misfit(
    function: Callable[..., object], kwargs: Mapping[str, object], error: TypeError
) -> ConfigurationError:
    name = function.__name__
    parameters = [each for each in inspect.signature(function).parameters.values() if each.name != "self"]
    known = [each.name for each in parameters if each.kind is not each.VAR_POSITIONAL]
    wrong = next((each for each in kwargs if each not in known), None)
    if wrong is not None:
        return unknown(name, wrong, known)
    return ConfigurationError(
        f"{name}(...): {str(error).rpartition('() ')[2]}; it takes {listed(known, 'and')}"
    )
