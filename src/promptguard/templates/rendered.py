"""What was rendered lately, so that a request is recognised without more code in the application.

Rendering remembers the digest of the messages; the transport asks with the messages it sees on the wire. Only
digests, names and the label rules are kept here: no prompt text, no variables.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from promptguard.core.canonical import digest
from promptguard.core.model import PromptReference

CAPACITY = 10_000
"""Renderings kept; the ones used longest ago are forgotten first."""


class Recognition:
    """A bounded, thread-safe, fork-safe memory from message digests to renderings."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[str, PromptReference] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def remember(self, messages: Sequence[Any], rendered: PromptReference) -> str:
        """Keep where `messages` came from and return the digest they are known by.

        A later rendering of equal messages that says no reference leaves a known one in place: two threads
        asking one question must not make each other forget its true answer.
        """
        key = digest("messages", messages)
        with self._lock:
            known = self._entries.get(key)
            if rendered.reference is None and known is not None and known.digest == rendered.digest:
                rendered = known
            self._keep(key, rendered)
        return key

    def expect(self, key: str, rendered: PromptReference, reference: str) -> None:
        """Add the true answer to what is known under `key`, the digest that `remember` returned."""
        with self._lock:
            self._keep(key, replace(rendered, reference=reference))

    def recognise(self, messages: Sequence[Any]) -> PromptReference | None:
        """Return where `messages` came from, or None; never raises, whatever the messages hold."""
        if not self._entries:
            return None  # an application without templates pays for no digest
        try:
            key = digest("messages", messages)
        except (TypeError, ValueError, RecursionError):
            return None  # not plain JSON: certainly not ours
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
            return found

    def forget(self) -> None:
        """Forget everything (for tests and for a changed library)."""
        with self._lock:
            self._entries.clear()

    def after_fork(self) -> None:
        """Replace the lock, which another thread of the parent may have held at the fork."""
        self._lock = threading.Lock()

    def _keep(self, key: str, rendered: PromptReference) -> None:
        self._entries[key] = rendered
        self._entries.move_to_end(key)
        while len(self._entries) > self._capacity:
            self._entries.popitem(last=False)


PROCESS = Recognition()
"""The one memory of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=PROCESS.after_fork)

remember = PROCESS.remember
recognise = PROCESS.recognise
