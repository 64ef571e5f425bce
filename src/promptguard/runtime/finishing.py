"""What is to be finished of calls that were collected: not where that happens, but soon after.

A collection can happen within any allocation, also one made while holding a lock that finishing would take.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable

_abandoned: deque[Callable[[], object]] = deque()
_inherited: list[object] = []
"""What came through a fork: kept, because dropping it would finish it in its own way."""


def finish_later(finish: Callable[[], object]) -> None:
    """Have `finish` called by the next `finish_abandoned`; safe where objects are collected."""
    _abandoned.append(finish)


def finish_abandoned() -> None:
    """Finish what was put off, in the order in which it was."""
    while _abandoned:
        try:
            finish = _abandoned.popleft()
        except IndexError:
            return  # another thread was first
        finish()


def _leave_to_parent() -> None:
    """Finish nothing in a child that its parent began, and finishes as well."""
    _inherited.extend(_abandoned)
    _abandoned.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
