"""What calls without a template are counted under: a digest of their instructions, with what varies in them masked.

A system prompt with a date, a number or a customer's name in it would otherwise make a group a call, each too small for any
verdict. What masking misses is bounded: at most `Drift(max_groups)` groups a ledger and process, the rest under OTHER.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from promptguard.core.canonical import canonical_json, digest
from promptguard.directories import Place

log = logging.getLogger("promptguard")

OTHER = "(other)"
REMEMBERED = 1024
"""Instructions whose group is remembered, by digest: an application has few, and asks with them again and again."""
LONGEST = 65_536
"""Characters of instructions in which what varies is masked; the rest counts as it stands."""

_MARK = "\x1f"
_NAME = r"[\p{Lu}\p{Lt}][\p{L}\p{M}]*(?:['’.-][\p{L}\p{M}]+)*"
_NAMES = rf"{_NAME}(?:[ \t]+{_NAME}){{0,3}}"
_TIMES = (
    "January|February|March|April|May|June|July|August|September|October|November|December|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?"
    "|Oct|Nov|Dec|Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday|Mon|Tue|Wed|Thu|Fri|Sat|Sun"
)
_BEFORE_NAMES = (
    "account|called|caller|client|company|customer|dr|employee|guest|member|mr|mrs|ms|name|named|patient|student|tenant"
    "|user"
)
_ANY_NAME = (
    rf"(?i:(\b(?:{_BEFORE_NAMES})(?:[.:=][ \t]*|[ \t]+)(?:(?:is|named|called)[ \t]+)?[\"'“]?))"
    rf"(?:<n>|<mail>|[\p{{L}}\p{{M}}]+(?:['’.-][\p{{L}}\p{{M}}]+)*)(?:[ \t]+(?:<n>|{_NAME})){{0,3}}"
)
_PATTERNS = (
    (r"(?i:\b(?:https?|ftp|wss?)://)[^\s\x1f]+|\bwww\.[^\s\x1f]+", "<url>"),
    (r"[\p{L}\p{N}._%+-]+@[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)+", "<mail>"),
    # Numbers, dates, times, versions, UUIDs, keys and ids of all kinds: whatever word has a digit in it.
    (r"[\p{L}\p{N}_#$€£%+:/.,-]*\p{Nd}(?:[\p{L}\p{N}_#%:/.,-]*[\p{L}\p{N}_%])?", "<n>"),
    (r"\b[0-9a-f]{12,}\b", "<n>"),
    (rf"\b(?:{_TIMES})\b", "<n>"),
    # Words that a name follows, whatever it looks like; more words belong to it when they look like names.
    (_ANY_NAME, r"\1<name>"),
    # And words that may be followed by anything: only what looks like a name is one.
    (
        rf"(\b(?:for|For|Dear|Hi|Hello|with|to|from|by|of|is|am|are|assist|help|helping)[ \t]+){_NAMES}",
        r"\1<name>",
    ),
)


class Groups:
    """The groups of one ledger in this process. Thread-safe; on the caller's path."""

    def __init__(self, most: int) -> None:
        import re2

        self._most = most
        self._masks = tuple((re2.compile(pattern), instead) for pattern, instead in _PATTERNS)
        self._known: set[str] = set()
        self._by_instructions: OrderedDict[bytes, str] = OrderedDict()
        self._lock = threading.Lock()
        self._told = False

    def __len__(self) -> int:
        return len(self._known)

    def of_instructions(self, instructions: tuple[object, ...]) -> str:
        """Return the group of a call without a template: `system:` and 12 hex digits, or OTHER. Never raises."""
        try:
            raw = hashlib.blake2b(canonical_json(instructions), digest_size=16).digest()
        except (ValueError, RecursionError):  # numbers that are no JSON, and nesting beyond the stack
            return OTHER
        group = self._by_instructions.get(raw)
        if group is None:
            # What has nothing to mask has the digest that it always had.
            group = "system:" + digest("instructions", self.masked(instructions))[7:19]
            with self._lock:
                self._by_instructions[raw] = group
                while len(self._by_instructions) > REMEMBERED:
                    self._by_instructions.popitem(last=False)
        return self.admitted(group)

    def admitted(self, group: str, *, always: bool = False) -> str:
        """Return `group`, or OTHER where there are too many already; `always` for prompts of a library, which are few."""
        if group in self._known:
            return group
        with self._lock:
            if always or len(self._known) < self._most:
                self._known.add(group)
                return group
            told, self._told = self._told, True
        if not told:
            with suppress(Exception):  # a filter of the application's may raise
                log.warning(
                    "more than %d groups: further ones are counted under %s; name them with promptguard.group(...), or "
                    "raise Drift(max_groups)",
                    self._most,
                    OTHER,
                )
        return OTHER

    def known(self, groups: Iterable[str]) -> None:
        """Take over the groups that a ledger has already, of this process's past and of other processes."""
        with self._lock:
            self._known.update(group for group in groups if group != OTHER)

    def masked(self, instructions: tuple[object, ...]) -> object:
        """Return instructions with what varies in their texts masked; everything else is as it was."""
        texts: list[str] = []
        _gather(instructions, texts)
        whole = _MARK.join(text.replace(_MARK, " ") for text in texts).encode("utf-8", "replace").decode()
        if len(whole) <= LONGEST:
            for pattern, instead in self._masks:
                whole = pattern.sub(instead, whole)
        return _replaced(instructions, iter(whole.split(_MARK)))

    def after_fork(self) -> None:
        """Replace the lock, which another thread of the parent may have held at the fork."""
        self._lock = threading.Lock()


def _gather(value: object, texts: list[str]) -> None:
    if isinstance(value, str):
        texts.append(value)
    elif isinstance(value, dict):
        for inner in value.values():
            _gather(inner, texts)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _gather(inner, texts)


def _replaced(value: object, texts: Iterator[str]) -> object:
    if isinstance(value, str):
        return next(texts)
    if isinstance(value, dict):
        return {name: _replaced(inner, texts) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replaced(inner, texts) for inner in value]
    return value


_open: dict[Place, Groups] = {}


def groups_of(ledger: Place, most: int) -> Groups:
    """Return this process's groups of a ledger, made on first use; the newest `most` counts."""
    place = (
        Path(os.path.realpath(ledger)) if isinstance(ledger, Path) else ledger
    )  # which a loop of links may be
    known = _open.setdefault(place, Groups(most))
    known._most = most
    return known


def _after_fork() -> None:
    for known in _open.values():
        known.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
