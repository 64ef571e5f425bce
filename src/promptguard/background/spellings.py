"""Which texts of an answer's structure a ledger may hold in clear, when texts of answers are not to be kept.

A vector holds digests of JSON paths and short values. Their texts go beside them only where they are no secret of an
answer: a label, tools, fields and values that the request itself lists, and paths that many different calls had in
common.
Values that only the model chose stay digests; with `record_content=True` everything is told.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from promptguard.drift import MayTell
from promptguard.drift.features.places import ALWAYS_TOLD, ARGUMENTS, LABEL, TOOL

COMMON = 32
"""pairs that had a path before it is written down: one call is in four at most, so eight calls had it"""
_MOST_PATHS = 4096
_MOST_LISTED = 512
_DEEPEST = 24


class Spellings:
    """Counts the paths of one process's answers; safe to use from several threads."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}
        self._lock = threading.Lock()

    def of_request(
        self, response_format: Mapping[str, object] | None, body: Mapping[str, object] | None = None
    ) -> MayTell:
        """Return which texts of a pair that answers such a request may be told; `body` is the request's, for its tools."""
        listed = _Listed()
        if response_format is not None:
            _list(response_format, listed, 0)
        for name in _TOOLS:
            if body is not None and name in body:
                _list(body[name], listed, 0)
        return partial(self._may_tell, listed)

    def _may_tell(self, listed: _Listed, place: str, value: str | None) -> bool:
        if value is not None:
            return place == LABEL or value in (listed.tools if place == TOOL else listed.values)
        if place in ALWAYS_TOLD:
            return True
        parts = _PARTS.findall(place.removeprefix(ARGUMENTS))
        if parts and all(part in listed.fields for part in parts):
            return True
        with self._lock:
            count = self._seen.pop(place, 0) + 1
            self._seen[place] = count
            if len(self._seen) > _MOST_PATHS:
                del self._seen[next(iter(self._seen))]
        return count >= COMMON


_TOOLS = ("tools", "toolConfig", "functions", "config")
"""Where requests list their tools, by protocol."""
_PARTS = re.compile(r"[^.\[\]$*]+")


@dataclass(slots=True)
class _Listed:
    """What a request lists by itself."""

    values: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)
    tools: set[str] = field(default_factory=set)


def _list(schema: object, listed: _Listed, depth: int) -> None:
    """Gather what a schema, or a list of tools, names: of any depth within bounds."""
    if depth > _DEEPEST or len(listed.values) + len(listed.fields) > _MOST_LISTED:
        return
    if isinstance(schema, Mapping):
        for word, inner in schema.items():
            if word in ("enum", "const"):
                values = inner if isinstance(inner, (list, tuple)) else [inner]
                listed.values.update(str(value) for value in values[:_MOST_LISTED])
                continue
            if word == "properties" and isinstance(inner, Mapping):
                listed.fields.update(str(name) for name in list(inner)[:_MOST_LISTED])
            elif word == "name" and isinstance(inner, str):
                listed.tools.add(inner)
            _list(inner, listed, depth + 1)
    elif isinstance(schema, (list, tuple)):
        for inner in schema[:_MOST_LISTED]:
            _list(inner, listed, depth + 1)
