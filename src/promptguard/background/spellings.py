"""Which texts of an answer's structure a ledger may hold in clear, when texts of answers are not to be kept.

A vector holds digests of JSON paths and short values. Their texts go beside them only where they are no secret of an
answer: the name of a tool, a label, what the request's own schema lists, and paths that many different calls had in common.
Values that only the model chose stay digests; with `record_content=True` everything is told.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial

from promptguard.drift import MayTell
from promptguard.drift.features.places import ALWAYS_TOLD, LABEL, TOOL

COMMON = 8
"""calls that had a path before it is written down"""
_MOST_PATHS = 4096
_MOST_LISTED = 512
_DEEPEST = 24


class Spellings:
    """Counts the paths of one process's answers; safe to use from several threads."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}
        self._lock = threading.Lock()

    def of_request(self, response_format: Mapping[str, object] | None) -> MayTell:
        """Return which texts of a pair that answers such a request may be told."""
        listed: set[str] = set()
        if response_format is not None:
            _list(response_format, listed, 0)
        return partial(self._may_tell, listed)

    def _may_tell(self, listed: set[str], place: str, value: str | None) -> bool:
        if value is not None:
            return place in (TOOL, LABEL) or value in listed
        if place in ALWAYS_TOLD:
            return True
        with self._lock:
            count = self._seen.pop(place, 0) + 1
            self._seen[place] = count
            if len(self._seen) > _MOST_PATHS:
                del self._seen[next(iter(self._seen))]
        return count >= COMMON


def _list(schema: object, listed: set[str], depth: int) -> None:
    """Gather the values that a schema lists, of any depth within bounds."""
    if depth > _DEEPEST or len(listed) > _MOST_LISTED:
        return
    if isinstance(schema, Mapping):
        for word, inner in schema.items():
            if word in ("enum", "const"):
                values = inner if isinstance(inner, (list, tuple)) else [inner]
                listed.update(str(value) for value in values[:_MOST_LISTED])
            else:
                _list(inner, listed, depth + 1)
    elif isinstance(schema, (list, tuple)):
        for inner in schema[:_MOST_LISTED]:
            _list(inner, listed, depth + 1)
