"""Labels: the user's own reading of an answer ("yes", "no", "billing"), by a named and versioned rule.

A verdict about accuracy depends on the extractor: on the prime task another rule reverses the verdict on
GPT-3.5. So a rule has a name and a version, and both travel with the state.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from promptguard.drift.features.catalogue import LABEL_SLOTS

_LONGEST = 48
_MOST_LABELS = 64


class _Pattern(Protocol):
    """A compiled expression of re2's, which has no types."""

    def search(self, text: str) -> object:
        """Return what was found, or None."""


class LabelRule:
    r"""An ordered mapping label -> regular expression; the first that matches anywhere names the answer.

    Patterns run on re2, in time linear in the text. Look-around and back-references do not exist there: such
    a pattern is a ValueError that names it.

    >>> rule = LabelRule("prime", "1", {"yes": r"(?i)yes", "no": r"(?i)\bno\b"})
    >>> rule.label("[No]"), rule.label("perhaps")
    ('no', None)
    """

    __slots__ = ("_compiled", "name", "patterns", "version")

    def __init__(self, name: str, version: str, patterns: Mapping[str, str]) -> None:
        import re2

        _check_name(name, version)
        if not isinstance(patterns, Mapping) or not 0 < len(patterns) <= _MOST_LABELS:
            raise ValueError(f"patterns must map 1 to {_MOST_LABELS} labels to regular expressions")
        options = re2.Options()
        options.log_errors = False
        self.name, self.version, self.patterns = name, version, dict(patterns)
        self._compiled: list[tuple[str, _Pattern]] = []
        for label, pattern in self.patterns.items():
            if not isinstance(label, str) or not label or not isinstance(pattern, str):
                raise ValueError("patterns must map non-empty labels to regular expressions given as strings")
            try:
                self._compiled.append((label, re2.compile(pattern, options)))
            except re2.error as error:
                cause = error.args[0] if error.args else error
                said = cause.decode("utf-8", "replace") if isinstance(cause, bytes) else cause
                raise ValueError(
                    f"patterns[{label!r}] = {pattern!r} is no regular expression that re2 knows "
                    f"(no look-around, no back-references): {said}"
                ) from None

    def label(self, text: str) -> str | None:
        """Return the first label whose pattern is found in `text`, or None. Any text, linear time."""
        clean = text.encode("utf-8", "replace").decode()
        return next((label for label, pattern in self._compiled if pattern.search(clean)), None)

    @property
    def first(self) -> str | None:
        """The label that counts as "yes"."""
        return next(iter(self.patterns))

    def slot(self, label: str) -> int:
        """Return the one-hot place of `label`: its rank in the rule, the last place for all that follow."""
        try:
            return min(list(self.patterns).index(label), LABEL_SLOTS - 1)
        except ValueError:
            return free_slot(label)

    def to_dict(self) -> dict[str, object]:
        """Return the rule as JSON values; order is kept."""
        return {
            "name": self.name,
            "version": self.version,
            "patterns": [list(i) for i in self.patterns.items()],
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> LabelRule:
        """Rebuild a rule from `to_dict()`."""
        return cls(value["name"], value["version"], dict(value["patterns"]))


class LabelFunction:
    """A label by the user's own code: `function(text)` returns a label or None.

    A function that raises, or returns anything else, gives no label and is counted in `failures`; it never
    stops the detector. It must be deterministic, blind to the side, and bounded in time: `text` is the whole
    answer. State cannot hold code, so `PairMonitor.from_state` has to be given it again, by the same name and
    version. Its labels have no order: give references, or the side that counts as "yes" is unknown.

    >>> LabelFunction("last word", "1", lambda text: text.split()[-1]).label("it is so")
    'so'
    """

    __slots__ = ("failures", "function", "name", "version")

    def __init__(self, name: str, version: str, function: Callable[[str], str | None]) -> None:
        _check_name(name, version)
        if not callable(function):
            raise ValueError(f"function must be callable, not {type(function).__name__}")
        self.name, self.version, self.function = name, version, function
        self.failures = 0

    def label(self, text: str) -> str | None:
        """Return what the function calls `text`."""
        try:
            found: object = self.function(text)
        except Exception:  # noqa: BLE001 - the user's code; answers must not be able to stop the detector
            self.failures += 1
            return None
        if found is not None and not isinstance(found, str):
            self.failures += 1
            return None
        return found

    def slot(self, label: str) -> int:
        """Return the one-hot place of `label`."""
        return free_slot(label)

    @property
    def first(self) -> str | None:
        """None: no label is known to count as "yes"."""
        return None

    def to_dict(self) -> dict[str, object]:
        """Return name and version as JSON values."""
        return {"name": self.name, "version": self.version}


Labeller = LabelRule | LabelFunction
"""What reads labels off answers."""


def check_labeller(labels: object) -> None:
    """Raise ValueError for anything but a Labeller or None."""
    if labels is not None and not isinstance(labels, (LabelRule, LabelFunction)):
        raise ValueError(f"labels must be a LabelRule, a LabelFunction or None, not {type(labels).__name__}")


def restored_labeller(told: Mapping[str, object] | None, given: Labeller | None) -> Labeller | None:
    """Return the labeller that a state was made with. ValueError when it has to be given and is not."""
    if told is None:
        return None
    if "patterns" in told:
        return LabelRule.from_dict(told)
    if not isinstance(given, LabelFunction) or given.to_dict() != dict(told):
        raise ValueError(f"labels must be the LabelFunction {told['name']!r} of version {told['version']!r}")
    return given


def _check_name(name: object, version: object) -> None:
    for argument, value in (("name", name), ("version", version)):
        if not isinstance(value, str) or not value:
            raise ValueError(f"{argument} must be a non-empty string")


def tidy(label: str | None) -> str | None:
    """Return a label or reference as it is kept: trimmed, at most 48 characters, valid Unicode."""
    if label is None:
        return None
    return label[: 4 * _LONGEST].strip()[:_LONGEST].encode("utf-8", "replace").decode()


def free_slot(label: str) -> int:
    """Return the one-hot place of a label that no rule ranks.

    By digest, so that it needs no memory; a collision costs power only.
    """
    return zlib.crc32(label.casefold().encode("utf-8", "replace")) % LABEL_SLOTS
