"""What was read from a file or folder, kept for as long as the file system says that nothing has changed there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

Value = TypeVar("Value")

UNSURE_SECONDS = 3.0
"""Younger changes prove nothing: another one may follow within one tick of the file system's clock (2 s at worst)."""


class _State(NamedTuple):
    device: int
    inode: int
    changed: int
    modified: int
    size: int


class Remembered(Generic[Value]):
    """Reads a path again only when its inode, times or size differ, or changed so lately that the times cannot tell."""

    def __init__(self, read: Callable[[str], Value]) -> None:
        self._read = read
        self._known: dict[str, tuple[_State, Value]] = {}

    def read(self, path: str) -> Value:
        """Return what is at `path`; raises what `read` raises, and OSError when there is nothing."""
        state = _state(path)
        known = self._known.get(path)
        if known is not None and known[0] == state:
            return known[1]
        value = self._read(path)
        # The state from before the reading: what changed amid it will differ at the next look.
        if time.time() - max(state.modified, state.changed) / 1e9 > UNSURE_SECONDS:
            self._known[path] = state, value
        return value


def _state(path: str) -> _State:
    found = os.stat(path)  # noqa: PTH116 - called for every lookup; a Path would take twice as long
    return _State(found.st_dev, found.st_ino, found.st_ctime_ns, found.st_mtime_ns, found.st_size)
