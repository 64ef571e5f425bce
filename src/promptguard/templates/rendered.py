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
from typing import TypeVar

from promptguard.core.model import PromptReference

CAPACITY = 10_000
"""Renderings kept; the ones used longest ago are forgotten first. Their system parts are kept apart, equal ones once."""

USED: ContextVar[PromptReference | None] = ContextVar("promptguard_prompt", default=None)
"""Set by `with prompt.use():`."""

UNIT: ContextVar[str | None] = ContextVar("promptguard_unit", default=None)
"""Set by `with promptguard.unit(...)`: whose calls these are, for rollouts."""

MOST_BLOCKS = 100
"""Blocks of one system message that are looked at each on its own."""

T = TypeVar("T")
_SYSTEM = "system"
_ROLES = {"developer": _SYSTEM, "model": "assistant"}
_AFTER_QUESTION = frozenset({"assistant", "tool", "function", ""})
"""Roles of what may follow a question before its answer is there: tool calls and what they brought."""


class _Asked:
    """The messages of a request: roles, and digests of role and text, empty for a message without text."""

    __slots__ = ("joined", "keys", "roles", "system")

    def __init__(self, messages: Sequence[object]) -> None:
        roles: list[str] = []
        keys: list[bytes] = []
        for message in messages:
            if type(message) is dict:
                said, content = message.get("role"), message.get("content")
                if (
                    type(content) is str and type(said) is str and said
                ):  # nearly all of them: without a call each
                    role, text = _ROLES.get(said, said), content.strip()
                    roles.append(role)
                    keys.append(_pack(_hash(text), _hash(role), len(text)))
                    continue
            role, key = _read(message)
            roles.append(role)
            keys.append(key)
        self.roles, self.keys = roles, keys
        self.system = _system_part(roles, keys)
        self.joined = b"" if b"" in keys else b"".join(keys)
        """all digests one after the other, where every message has one"""

    def key(self, first: int, last: int) -> bytes:
        """Return the digests of messages from `first` to before `last`, one after the other."""
        if self.joined:
            return self.joined[first * _SIZE : last * _SIZE]
        return b"".join(self.keys[first:last])


class _Forms:
    """Renderings in one of their forms, by digests of their messages. Not thread-safe: `Recognition` has the lock."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.entries: OrderedDict[bytes, PromptReference] = OrderedDict()
        """whole renderings: the digests of their messages, one after the other"""
        self._systems: OrderedDict[bytes, PromptReference | None] = OrderedDict()
        """system parts of renderings; None where several prompts share one, which then tells nothing"""
        self._lengths: tuple[int, ...] = ()
        """of whole renderings in messages, the longest first; one a shape of prompt"""

    def remember(self, keys: list[bytes], system: bytes, rendered: PromptReference) -> bytes:
        """Keep a rendering under the digests of its messages, and return its key.

        `system`: of the system messages that it begins with. One that says no reference leaves a known one in place.
        """
        key = b"".join(keys)
        known = self.entries.get(key)
        truth = known.reference if known is not None and known.digest == rendered.digest else None
        if truth is not None and rendered.reference is None:
            # Of a rollout the last rendering says whose it is.
            rendered = replace(rendered, reference=truth)
        _put(self.entries, key, rendered, self._capacity)
        if system:
            self._keep_system(system, rendered)
        if len(keys) not in self._lengths:
            self._lengths = tuple(sorted((*self._lengths, len(keys)), reverse=True))
        return key

    def keep(self, key: bytes, rendered: PromptReference) -> None:
        """Keep what is known under a key."""
        _put(self.entries, key, rendered, self._capacity)

    def asked(self, read: _Asked) -> PromptReference | None:
        """Return the prompt whose rendering is the question: at the end, but for the tool calls that it led to."""
        roles, keys, system = read.roles, read.keys, read.system
        whole = end = len(keys)
        while end and (roles[end - 1] in _AFTER_QUESTION or not keys[end - 1]):
            end -= 1
        before = len(system) // _SIZE
        # Without tool calls, a rendering may end with what the assistant is to continue.
        for last in (whole, end) if end != whole else (whole,):
            for length in self._lengths:
                if length <= last:
                    found = self._found(read.key(last - length, last))
                    if found is not None:
                        return found
                rest = length - before
                # History may stand between the system part and the question.
                if system and 0 < rest <= last:
                    found = self._found(system + read.key(last - rest, last))
                    if found is not None:
                        return found
        return None

    def _found(self, key: bytes) -> PromptReference | None:
        found = self.entries.get(key)
        if found is not None:
            self.entries.move_to_end(key)
        return found

    def said_before(self, read: _Asked) -> PromptReference | None:
        """Return the prompt whose rendering stands somewhere in the request, the latest of the longest."""
        known, joined, count = self.entries.get, read.joined, len(read.keys)
        for length in self._lengths:
            size = length * _SIZE
            for first in range(count - length, -1, -1):
                at = first * _SIZE
                found = known(joined[at : at + size] if joined else read.key(first, first + length))
                if found is not None:
                    return _without_reference(found)
        return None

    def of_system(self, read: _Asked, messages: Sequence[object]) -> PromptReference | None:
        """Return the prompt whose system part is one of the request's, whole or as a block of its own."""
        if _SYSTEM not in read.roles:
            return None
        parts = [read.system]
        for message, role, key in zip(messages, read.roles, read.keys, strict=True):
            if role == _SYSTEM and isinstance(message, Mapping):
                parts.append(key)
                parts += [_key(_SYSTEM, text) for text in _texts(message.get("content"))[:MOST_BLOCKS]]
        for part in parts:
            found = self._systems.get(part) if part else None
            if found is not None:
                self._systems.move_to_end(part)
                return _without_reference(found)
        return None

    def _keep_system(self, part: bytes, rendered: PromptReference) -> None:
        known = self._systems.get(part, rendered)
        alone = known is not None and known.digest == rendered.digest
        _put(self._systems, part, _without_reference(rendered) if alone else None, self._capacity)


class Recognition:
    """A bounded, thread-safe, fork-safe memory from digests of messages to the prompts they were rendered from."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self.forget()

    def __len__(self) -> int:
        return len(self._own.entries)

    def remember(self, messages: Sequence[Mapping[str, str]], rendered: PromptReference) -> bytes:
        """Keep where `messages` came from and return the key they are known by.

        A later rendering of equal messages that says no reference leaves a known one in place: two threads
        asking one question must not make each other forget its true answer.
        """
        keys, system, systems = _digests(messages)
        if not systems or (systems == 1 and system and system != _BLANK):  # nearly all of them
            with self._lock:
                return self._own.remember(keys, system, rendered)
        others = [_digests(form) for form in _hoisted(messages)]
        with self._lock:
            own = self._own.remember(keys, system, rendered)
            hoisted = tuple(self._one_system.remember(other, first, rendered) for other, first, _ in others)
            _put(self._alike, own, hoisted, self._capacity)
            return own

    def expect(self, key: bytes, rendered: PromptReference, reference: str) -> None:
        """Add the true answer to what is known under `key`, which `remember` returned."""
        answered = replace(rendered, reference=reference)
        with self._lock:
            self._own.keep(key, answered)
            for each in self._alike.get(key, ()):
                self._one_system.keep(each, answered)

    def recognise(self, messages: Sequence[object]) -> PromptReference | None:
        """Return the prompt that a request was rendered from, or None; never raises, whatever the messages hold.

        Its reference is there only where the rendering is what the request asks now: a follow-up is another question.
        """
        own, other = self._own, self._one_system
        if not own.entries:
            return None  # an application without templates pays for no digest
        try:
            read = _Asked(messages)
        except TypeError:
            return None  # no messages at all
        with self._lock:
            if not other.entries:
                return own.asked(read) or own.said_before(read) or own.of_system(read, messages)
            # What one prompt is goes before what another one looks like, and a whole rendering before a part.
            return (
                own.asked(read)
                or own.said_before(read)
                or other.asked(read)
                or own.of_system(read, messages)
                or other.said_before(read)
                or other.of_system(read, messages)
            )

    def forget(self) -> None:
        """Forget everything (for tests and for a changed library)."""
        with self._lock:
            self._own = _Forms(self._capacity)
            self._one_system = _Forms(self._capacity)
            """renderings as they are asked of providers that have one system part, where that is another form"""
            self._alike: OrderedDict[bytes, tuple[bytes, ...]] = OrderedDict()
            """a rendering → its keys among those"""

    def after_fork(self) -> None:
        """Replace the lock, which another thread of the parent may have held at the fork."""
        self._lock = threading.Lock()


def _digests(messages: Sequence[Mapping[str, str]]) -> tuple[list[bytes], bytes, int]:
    """Return the digests of messages, those of the system messages at the beginning, and how many there are of these."""
    keys, system, systems = [], b"", 0
    for message in messages:
        role = message["role"]
        role = _ROLES.get(role, role)
        keys.append(_key(role, message["content"]))
        if role == _SYSTEM:
            systems += 1
            if len(system) == _SIZE * (len(keys) - 1):
                system += keys[-1]
    return keys, system, systems


def _put(kept: OrderedDict[bytes, T], key: bytes, value: T, capacity: int) -> None:
    """Keep a value as the newest, and forget the oldest beyond `capacity`."""
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > capacity:
        kept.popitem(last=False)


def _hoisted(messages: Sequence[Mapping[str, str]]) -> list[list[Mapping[str, str]]]:
    """Return messages as providers take them that have one system part, before the turns: Anthropic, Google, Bedrock.

    Several parts are one text with a blank line between, as `request()` writes them, or one after the other, as blocks
    are read; one of blanks is none.
    """
    own = [each for each in messages if _ROLES.get(each["role"], each["role"]) == _SYSTEM]
    turns = [each for each in messages if _ROLES.get(each["role"], each["role"]) != _SYSTEM]
    texts = [each["content"] for each in own]
    systems = dict.fromkeys(joined.strip() for joined in ("\n\n".join(texts), "".join(texts)))
    forms = [[*([{"role": _SYSTEM, "content": joined}] * bool(joined)), *turns] for joined in systems]
    return [form for form in forms if form]


_KEY = struct.Struct("<qqq")
_SIZE = _KEY.size
"""Bytes of a message's digest."""


def _key(role: str, text: str) -> bytes:
    """Return the digest of a message: SipHash keyed with the secret of this process, and the text's length.

    It is made twice a call and never leaves the process. blake2b takes five times as long, which for a long document
    is more than rendering it. Blanks around a text do not count: applications strip them, or add a line's end.
    """
    text = text.strip()  # the text itself where there are none
    return _pack(_hash(text), _hash(role), len(text))


_pack, _hash = _KEY.pack, str.__hash__
_BLANK = _key(_SYSTEM, "")
"""The digest of a system part without a text."""


def _read(message: object) -> tuple[str, bytes]:
    """Return what is compared of a message: its role, and a digest of its text however it is packed."""
    if not isinstance(message, Mapping):
        return "", b""
    said = message.get("role")
    role = _ROLES.get(said, said) if isinstance(said, str) else ""
    content = message.get("content")
    if isinstance(content, str):
        return role, _key(role, content) if role else b""
    text = "".join(_texts(content))
    return role, _key(role, text) if text and role else b""


def _texts(content: object) -> list[str]:
    """Return the texts of a content's parts, whatever provider's; images and files beside them are passed over."""
    if not isinstance(content, list):
        return []
    texts = (part.get("text") for part in content if isinstance(part, Mapping))
    return [text for text in texts if isinstance(text, str)]


def _system_part(roles: Sequence[str], keys: Sequence[bytes]) -> bytes:
    """Return the digests of the system messages that a request begins with."""
    part = b""
    for role, key in zip(roles, keys, strict=True):
        if role != _SYSTEM:
            break
        part += key
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
