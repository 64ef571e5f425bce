"""What was rendered lately, so that a request is recognised without more code in the application.

Rendering remembers digests of the messages; the transport asks with the messages it sees on the wire. The rendered messages
may be all of the request or a part: further turns after them, history or few shots before, the system part alone. Roles and
the form of content (text, parts, blocks with `cache_control`) do not matter. Only digests, names and the label rules are
kept here: no prompt text, no variables. What is recognised is a fact of the call and travels with it; nobody asks again.
"""

from __future__ import annotations

import os
import struct
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import NamedTuple

from promptguard.core.model import PromptReference

CAPACITY = 10_000
"""Renderings kept; the ones used longest ago are forgotten first. Their system parts are kept apart, equal ones once."""

USED: ContextVar[PromptReference | None] = ContextVar("promptguard_prompt", default=None)
"""Set by `with prompt.use():`."""

UNIT: ContextVar[str | None] = ContextVar("promptguard_unit", default=None)
"""Set by `with promptguard.unit(...)`: whose calls these are, for rollouts."""

MOST_BLOCKS = 100
"""Blocks of one system message that are looked at each on its own."""

_SYSTEM = "system"
_ROLES = {"developer": _SYSTEM, "model": "assistant"}
_AFTER_QUESTION = frozenset({"assistant", "tool", "function", ""})
"""Roles of what may follow a question before its answer is there: tool calls and what they brought."""


class _Message(NamedTuple):
    role: str
    key: bytes
    """digest of role and text; empty for a message without text"""


class Recognition:
    """A bounded, thread-safe, fork-safe memory from digests of messages to the prompts they were rendered from."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[bytes, PromptReference] = OrderedDict()
        """whole renderings: the digests of their messages, one after the other"""
        self._systems: OrderedDict[bytes, PromptReference | None] = OrderedDict()
        """system parts of renderings; None where several prompts share one, which then tells nothing"""
        self._lengths: tuple[int, ...] = ()
        """of whole renderings in messages, the longest first; one a shape of prompt"""
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def remember(self, messages: Sequence[Mapping[str, str]], rendered: PromptReference) -> bytes:
        """Keep where `messages` came from and return the key they are known by.

        A later rendering of equal messages that says no reference leaves a known one in place: two threads
        asking one question must not make each other forget its true answer.
        """
        keys, system = [], b""
        for message in messages:
            role = message["role"]
            role = _ROLES.get(role, role)
            keys.append(_key(role, message["content"]))
            if role == _SYSTEM and len(system) == _SIZE * (len(keys) - 1):
                system += keys[-1]
        key = b"".join(keys)
        with self._lock:
            known = self._entries.get(key)
            truth = known.reference if known is not None and known.digest == rendered.digest else None
            if truth is not None and rendered.reference is None:
                # Of a rollout the last rendering says whose it is.
                rendered = replace(rendered, reference=truth)
            self._keep(key, rendered)
            if system:
                self._keep_system(system, rendered)
            if len(keys) not in self._lengths:
                self._lengths = tuple(sorted((*self._lengths, len(keys)), reverse=True))
        return key

    def expect(self, key: bytes, rendered: PromptReference, reference: str) -> None:
        """Add the true answer to what is known under `key`, which `remember` returned."""
        with self._lock:
            self._keep(key, replace(rendered, reference=reference))

    def recognise(self, messages: Sequence[object]) -> PromptReference | None:
        """Return the prompt that a request was rendered from, or None; never raises, whatever the messages hold.

        Its reference is there only where the rendering is what the request asks now: a follow-up is another question.
        """
        if not self._entries and not self._systems:
            return None  # an application without templates pays for no digest
        try:
            read = [_read(message) for message in messages]
        except TypeError:
            return None  # no messages at all
        with self._lock:
            return self._asked(read) or self._said_before(read) or self._of_system(read, messages)

    def _asked(self, read: list[_Message]) -> PromptReference | None:
        """Return the prompt whose rendering is the question: at the end, but for the tool calls that it led to."""
        end, system = len(read), _system_part(read)
        while end and (read[end - 1].role in _AFTER_QUESTION or not read[end - 1].key):
            end -= 1
        # Without tool calls, a rendering may end with what the assistant is to continue.
        for last in dict.fromkeys((len(read), end)):
            keys = [message.key for message in read[:last]]
            for length in self._lengths:
                rest = length - len(system) // _SIZE
                # History may stand between the system part and the question.
                for key, fits in (
                    (b"".join(keys[last - length :]), length <= last),
                    (system + b"".join(keys[last - rest :]), system and 0 < rest <= last),
                ):
                    found = self._entries.get(key) if fits else None
                    if found is not None:
                        self._entries.move_to_end(key)
                        return found
        return None

    def _said_before(self, read: list[_Message]) -> PromptReference | None:
        """Return the prompt whose rendering stands somewhere in the request, the latest of the longest."""
        keys = [message.key for message in read]
        for length in self._lengths:
            for first in range(len(keys) - length, -1, -1):
                found = self._entries.get(b"".join(keys[first : first + length]))
                if found:
                    return _without_reference(found)
        return None

    def _of_system(self, read: list[_Message], messages: Sequence[object]) -> PromptReference | None:
        """Return the prompt whose system part is one of the request's, whole or as a block of its own."""
        parts = [_system_part(read)]
        for message, this in zip(messages, read, strict=True):
            if this.role == _SYSTEM and isinstance(message, Mapping):
                parts.append(this.key)
                parts += [_key(_SYSTEM, text) for text in _texts(message.get("content"))[:MOST_BLOCKS]]
        for part in parts:
            found = self._systems.get(part) if part else None
            if found is not None:
                self._systems.move_to_end(part)
                return _without_reference(found)
        return None

    def forget(self) -> None:
        """Forget everything (for tests and for a changed library)."""
        with self._lock:
            self._entries.clear()
            self._systems.clear()
            self._lengths = ()

    def after_fork(self) -> None:
        """Replace the lock, which another thread of the parent may have held at the fork."""
        self._lock = threading.Lock()

    def _keep(self, key: bytes, rendered: PromptReference) -> None:
        self._entries[key] = rendered
        self._entries.move_to_end(key)
        while len(self._entries) > self._capacity:
            self._entries.popitem(last=False)

    def _keep_system(self, part: bytes, rendered: PromptReference) -> None:
        known = self._systems.get(part, rendered)
        alone = known is not None and known.digest == rendered.digest
        self._systems[part] = _without_reference(rendered) if alone else None
        self._systems.move_to_end(part)
        while len(self._systems) > self._capacity:
            self._systems.popitem(last=False)


_KEY = struct.Struct("<qII")
_SIZE = _KEY.size
"""Bytes of a message's digest."""


def _key(role: str, text: str) -> bytes:
    """Return the digest of a message: SipHash keyed with the secret of this process, and the text's length.

    It is made twice a call and never leaves the process. blake2b takes five times as long, which for a long document
    is more than rendering it. Blanks around a text do not count: applications strip them, or add a line's end.
    """
    text = text.strip()  # the text itself where there are none
    return _KEY.pack(str.__hash__(text), str.__hash__(role) & _LOW, len(text) & _LOW)


_LOW = 0xFFFF_FFFF


def _read(message: object) -> _Message:
    """Return what is compared of a message: its role, and its text however it is packed."""
    if type(message) is not dict and not isinstance(message, Mapping):
        return _Message("", b"")
    said = message.get("role")
    role = _ROLES.get(said, said) if isinstance(said, str) else ""
    content = message.get("content")
    if isinstance(content, str):
        return _Message(role, _key(role, content) if role else b"")
    text = "".join(_texts(content))
    return _Message(role, _key(role, text) if text and role else b"")


def _texts(content: object) -> list[str]:
    """Return the texts of a content's parts, whatever provider's; images and files beside them are passed over."""
    if not isinstance(content, list):
        return []
    texts = (part.get("text") for part in content if isinstance(part, Mapping))
    return [text for text in texts if isinstance(text, str)]


def _system_part(read: Sequence[_Message]) -> bytes:
    """Return the digests of the system messages that a request or rendering begins with."""
    part = b""
    for message in read:
        if message.role != _SYSTEM:
            break
        part += message.key
    return part


def _without_reference(rendered: PromptReference) -> PromptReference:
    """Return what is known of a call that is not the rendering itself: neither its true answer nor whose it was."""
    if rendered.reference is None and rendered.staged is None:
        return rendered
    return replace(rendered, reference=None, staged=None)


PROCESS = Recognition()
"""The one memory of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=PROCESS.after_fork)

remember = PROCESS.remember


def recognise(messages: Sequence[object]) -> PromptReference | None:
    """Return the prompt of a call: the one that `with prompt.use():` names, else the one that was rendered, or None."""
    used = USED.get()
    if used is not None and used.reference is not None:
        return used
    found = PROCESS.recognise(messages)
    return found if used is None or (found is not None and found.digest == used.digest) else used
