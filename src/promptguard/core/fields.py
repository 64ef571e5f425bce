"""What is known of a request's fields: an allow-list, so that a field nobody has looked at is never taken for harmless.

Whether a call may be answered from the cache or asked again in the background is decided here: only where every field,
tool type, beta header and query parameter of it is known to leave nothing at the provider and to depend on nothing kept
there. The tables themselves are in `wire.known`, one a protocol. (The cache *key* is the opposite, a deny-list: core/key.)
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args, overload

from promptguard.core.mistakes import refused, shown
from promptguard.core.model import Finding, Request
from promptguard.errors import ConfigurationError

FieldEffect = Literal["none", "stateful"]
"""What a user may say of a field: without side effect and state, or not."""

MOST_FINDINGS = 8
"""Findings of one request; whoever classifies the first ones sees the others next."""

_NAME = re.compile(r"[A-Za-z0-9_.:/$@+-]{1,64}")
_WHOLE = re.compile(r"[A-Za-z0-9_.:/$@+?=-]{1,200}")
"""Names as providers give them. Anything else may be content, and is never repeated."""

UNREADABLE = "(unreadable name)"


@dataclass(frozen=True, slots=True)
class Members:
    """What is known of an object's members. `within` is looked into; of all others any value will do."""

    harmless: frozenset[str]
    stateful: Mapping[str, str] = field(default_factory=dict)
    """member → what it does where it has a value"""
    kept: Mapping[str, str] = field(default_factory=dict)
    """member → what it keeps at the provider; a background copy leaves it out, so that such calls may be paired"""
    within: Mapping[str, Members | Kinds | Words | Texts] = field(default_factory=dict)

    def look(self, value: object, path: str, found: list[Finding]) -> None:
        """Add what is found in an object, or in each object of a list, to `found`."""
        if isinstance(value, list):
            for item in value:
                self.look(item, path, found)
        elif isinstance(value, Mapping):
            if not self.harmless.issuperset(value):
                self._tell(value, path, found)
            for name, inner in self.within.items():
                if name in value:
                    inner.look(value[name], f"{path}{name}.", found)

    def _tell(self, value: Mapping[str, object], path: str, found: list[Finding]) -> None:
        for name in value.keys() - self.harmless - self.within.keys():
            said = value[name]
            if name in self.stateful:
                if _says(said):
                    found.append(Finding(path + name, "stateful", self.stateful[name]))
            elif name in self.kept:
                if _says(said):
                    found.append(Finding(path + name, "kept", self.kept[name]))
            elif said is not None:
                found.append(Finding(path + named(name), "unknown"))


@dataclass(frozen=True, slots=True)
class Kinds:
    """What is known of objects that say in `type` what they are."""

    harmless: frozenset[str]
    members: Members
    """what any of them may have"""
    stateful: Mapping[str, str] = field(default_factory=dict)
    """kind → what it does"""
    untyped: Members | None = None
    """of an object without a type; None: as of any other"""
    referring: frozenset[str] = frozenset()
    """members beside which an `id` says nothing but which object of the provider's is meant"""
    only_objects: bool = False
    """whether anything else in its place is not known; where False, a text is just text"""

    def look(self, value: object, path: str, found: list[Finding]) -> None:
        """Add what is found in an object, or in each object of a list, to `found`."""
        if isinstance(value, list):
            for item in value:
                self.look(item, path, found)
        elif isinstance(value, Mapping):
            kind = value.get("type")
            if isinstance(kind, str) and kind in self.stateful:
                found.append(Finding(f"{path}type={kind}", "stateful", self.stateful[kind]))
            elif self._refers(value):
                found.append(Finding(f"{path}id", "stateful", "names an item that is kept at the provider"))
            elif kind is None:
                (self.untyped or self.members).look(value, path, found)
            elif isinstance(kind, str) and kind in self.harmless:
                self.members.look(value, path, found)
            else:
                found.append(Finding(f"{path}type={named(kind)}", "unknown"))
        elif self.only_objects and value is not None:
            found.append(Finding(f"{path.removesuffix('.')}={named(value)}", "unknown"))

    def _refers(self, value: Mapping[str, object]) -> bool:
        said = {name for name, inner in value.items() if inner is not None} if self.referring else frozenset()
        return "id" in said and said <= self.referring


@dataclass(frozen=True, slots=True)
class Texts:
    """What is known of a member by what it says: a model that searches by itself, a time of nothing."""

    stateful: re.Pattern[str]
    """what does something, as a whole"""
    why: str

    def look(self, value: object, path: str, found: list[Finding]) -> None:
        """Add a value that does something, or each one of a list, to `found`."""
        if isinstance(value, list):
            for each_value in value:
                self.look(each_value, path, found)
            return
        said = str(value) if isinstance(value, (str, int, float)) else ""
        if self.stateful.fullmatch(said):
            found.append(Finding(f"{path.removesuffix('.')}={named(said)}", "stateful", self.why))


@dataclass(frozen=True, slots=True)
class Words:
    """What is known of a list of names, or of the names in a text with commas: beta features."""

    harmless: frozenset[str]
    stateful: Mapping[str, str] = field(default_factory=dict)

    def look(self, value: object, path: str, found: list[Finding]) -> None:
        """Add the names that are not harmless to `found`."""
        words = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else ()
        place = path.removesuffix(".")
        for word in words:
            said = word.strip() if isinstance(word, str) else word
            if said == "" or (isinstance(said, str) and said in self.harmless):
                continue
            why = self.stateful.get(said) if isinstance(said, str) else None
            effect: Literal["stateful", "unknown"] = "unknown" if why is None else "stateful"
            found.append(Finding(f"{place}={named(said)}", effect, why or ""))


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one protocol's requests."""

    body: Members
    query: frozenset[str] = frozenset()
    """query parameters without effect"""
    headers: Mapping[bytes, Words] = field(default_factory=dict)
    """header (lower case) → the features that it may turn on"""
    source: str = ""
    """where the fields are documented, for people"""

    def examine(self, request: Request, body: Mapping[str, object]) -> Sequence[Finding]:
        """Return what in a request is stateful, kept at the provider, or unknown; () for a call that may be repeated.

        Looked for when somebody asks: a call that is neither cached nor paired is only followed by telemetry.
        """
        return _Findings(functools.partial(self._found, request, body))

    def _found(self, request: Request, body: Mapping[str, object]) -> tuple[Finding, ...]:
        found: list[Finding] = []
        self.body.look(body, "", found)
        query = request.path.partition("?")[2]
        if query:
            names = {part.partition("=")[0] for part in query.split("&")} - self.query - {""}
            found += (Finding("?" + named(name), "unknown") for name in names)
        for raw, value in request.headers:
            name = raw.lower()
            words = self.headers.get(name)
            if words is not None:
                words.look(value.decode("latin-1"), name.decode("latin-1"), found)
            elif b"beta" in name:  # of another provider, or a later way to say it
                found.append(Finding(named(name.decode("latin-1")), "unknown"))
        return tuple(sorted(set(found), key=_first)[:MOST_FINDINGS]) if found else ()


class _Findings(Sequence[Finding]):
    """Findings that are looked for when first asked about; equal to a tuple of the same."""

    __slots__ = ("_known", "_look")

    def __init__(self, look: Callable[[], tuple[Finding, ...]]) -> None:
        self._look = look
        self._known: tuple[Finding, ...] | None = None

    @property
    def _all(self) -> tuple[Finding, ...]:
        if self._known is None:
            self._known = self._look()
        return self._known

    def __len__(self) -> int:
        return len(self._all)

    @overload
    def __getitem__(self, index: int) -> Finding: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Finding]: ...
    def __getitem__(self, index: int | slice) -> Finding | Sequence[Finding]:
        return self._all[index]

    def __eq__(self, other: object) -> bool:
        return self._all == (other._all if isinstance(other, _Findings) else other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._all)


def _first(finding: Finding) -> tuple[int, str]:
    # What is surely stateful tells more than what nobody knows; then by name, so that a reason is the same each time.
    return ("stateful", "unknown", "kept").index(finding.effect), finding.name


def _says(value: object) -> bool:
    """Whether a member asks for anything: null, false and nothing at all do not."""
    return value is not None and value is not False and value not in ("", [])


def named(name: object) -> str:
    """Return a name that may be counted, logged and shown."""
    return name if isinstance(name, str) and _NAME.fullmatch(name) else UNREADABLE


def is_name(text: object) -> bool:
    """Whether a text may be the name of a finding, as reasons have it: with its place, a `=` or a `?`."""
    return isinstance(text, str) and _WHOLE.fullmatch(text) is not None


def names(text: str) -> frozenset[str]:
    """Return the names in a text, for tables."""
    return frozenset(text.split())


def each(why: str, text: str) -> dict[str, str]:
    """Return the names in a text, all of which do the same, for tables."""
    return dict.fromkeys(text.split(), why)


def objected(
    findings: Iterable[Finding], body: Mapping[str, object], said: Mapping[str, FieldEffect], *, kept: bool
) -> str | None:
    """Return why a call may not be repeated, or None when it may be.

    `said` is what the user knows of fields, by the names that reasons give them; `kept` whether what a background copy
    can leave out counts as well, which it does for the cache.
    """
    for name, theirs in said.items():
        if theirs == "stateful" and body.get(name) is not None:
            return f"field `{name}`: said to be stateful"
    for finding in findings:
        effect = said.get(finding.name) if said else None
        if effect == "stateful":
            return f"field `{finding.name}`: said to be stateful"
        if effect is None and (kept or finding.effect != "kept"):
            return finding.reason
    return None


def check_fields(fields: object) -> dict[str, FieldEffect]:
    """Return the user's classification of fields. Raises ConfigurationError for what is none."""
    if not isinstance(fields, Mapping):
        raise refused("fields", fields, 'a mapping of names of fields to "none" or "stateful"')
    for name, effect in fields.items():
        if not is_name(name):
            raise ConfigurationError(
                f"fields: {shown(name)} is no field's name: write it as the reason has it between the back quotes"
            )
        if effect not in get_args(FieldEffect):
            raise ConfigurationError(
                f'fields[{name!r}]={shown(effect)} must be "none" (without side effect or state) or "stateful"'
            )
    return dict(fields)
