"""Which of many cases of one kind every run tries, and which are left to `make soak`: the suite is to take minutes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def spread(values: Iterable[Any], quick: int, *, several: bool = False) -> list[Any]:
    """Return the values as parameters of a test: `quick` of them, spread evenly, for every run; the others are slow.

    `several`: each value is a tuple of several parameters.
    """
    given = list(values)
    chosen = {round(number * (len(given) - 1) / max(1, quick - 1)) for number in range(quick)}
    return [
        value if number in chosen else pytest.param(*(value if several else (value,)), marks=pytest.mark.slow)
        for number, value in enumerate(given)
    ]
