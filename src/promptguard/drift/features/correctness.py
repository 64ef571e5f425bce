"""Whether an answer is right, and what a short answer says: by rules that are the same for both sides, and bounded.

An answer is right when its label equals the reference; without a label, when the text equals the reference but for case,
spaces, marks around it and ways to write a number; or when it *gives* the reference: its last number is the reference's,
its first or last capital letter standing alone is, or a reference of words stands in it, whole.
"""

from __future__ import annotations

from promptguard.drift.features.labels import tidy

_LONGEST = 512
"""characters of a reference beyond which it is only compared whole"""
_READ = 4_096
"""characters at either end of an answer that are looked at"""
_MARKS = " \t\r\n.,;:!?'\"`*_()[]{}<>#$%=\\"
_SHORT = 48


def is_right(text: str, label: str | None, reference: str) -> bool:
    """Whether an answer with this text, and this label if it has one, agrees with `reference`."""
    if label is not None:
        return label.casefold() == (tidy(reference) or "").casefold()
    wanted, said = _plain(reference), _plain(text)
    if said == wanted or not wanted or len(wanted) > _LONGEST:
        return said == wanted
    return _gives(text, said, wanted)


def _gives(text: str, said: str, wanted: str) -> bool:
    number = _number(wanted)
    if number is not None:
        return number == _last_number(said)
    if len(wanted) == 1 and wanted.isalpha():
        return wanted in _letters(text)
    return f" {wanted} " in f" {_words(said)} " or f" {_words(wanted)} " in f" {_words(said)} "


def short_answer(text: str) -> str:
    """Return what a short answer says, empty for a longer one, or one that says nothing."""
    return _plain(text) if len(text) <= _SHORT + 32 and len(_plain(text)) <= _SHORT else ""


def _plain(text: str) -> str:
    read = text if len(text) <= 2 * _READ else f"{text[:_READ]} {text[-_READ:]}"
    return " ".join(read.casefold().strip(_MARKS).split())


def _words(text: str) -> str:
    return " ".join("".join(char if char.isalnum() else " " for char in text).split())


def _number(text: str) -> float | None:
    plain = text.replace(",", "").strip(_MARKS)
    if len(plain) > 40 or not plain.lstrip("+-").replace(".", "", 1).isdecimal():
        return None
    return float(plain)


def _last_number(text: str) -> float | None:
    for word in reversed(text[-_READ:].replace("=", " ").replace("/", " ").split()):
        found = _number(word)
        if found is not None:
            return found
    return None


def _letters(text: str) -> set[str]:
    """Return the first and the last capital letter that stand alone, in lower case."""
    ends = text if len(text) <= 2 * _READ else f"{text[:_READ]} {text[-_READ:]}"
    found = [
        word for word in "".join(char if char.isalnum() else " " for char in ends).split() if len(word) == 1
    ]
    capitals = [word.casefold() for word in found if word.isupper()]
    return set(capitals[:1] + capitals[-1:])
