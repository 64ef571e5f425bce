"""Labels of deployment: `production` stands for a version, and every move of it is kept.

`labels.jsonl` is append-only, a line a move, as `Move.to_dict` makes it. The last line
of a name and label counts. Only `name`, `label` and `to` are needed, so that a line may be written by hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from promptguard.core.mistakes import nearest
from promptguard.errors import PromptError, PromptSyntaxError, UnknownPrompt
from promptguard.templates.remembered import Remembered
from promptguard.templates.shared_files import MOST_LINE, append_line, one_writer, whole_lines

FILE = "labels.jsonl"
PATTERN = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_MOST_WHY = 2_000


@dataclass(frozen=True, slots=True)
class Move:
    """One move of a label: `before` and `version` are where it stood and stands, `at` is ISO 8601 in UTC.

    `taken_back` marks a rollback, which puts the label where it stood before its last move.
    """

    name: str
    label: str
    version: str
    before: str | None = None
    at: str = ""
    by: str = ""
    why: str = ""
    taken_back: bool = False

    def to_dict(self) -> dict[str, object]:
        """Return the move as a line of labels.jsonl holds it, with all keys."""
        told = asdict(self)
        return {
            "at": told["at"], "by": told["by"], "name": told["name"], "label": told["label"], "from": told["before"],
            "to": told["version"], "why": told["why"], "rollback": told["taken_back"],
        }  # fmt: skip


class LabelElsewhere(PromptError):  # noqa: N818 - as its siblings in errors.py
    """A label does not stand where whoever moves it says; `version` is where it does."""

    def __init__(self, name: str, label: str, version: str, only_from: str) -> None:
        super().__init__(f"{name}@{label} stands on version {version}, not on {only_from}: it stays there")
        self.version = version


_Moved = Callable[[list[Move]], Move]
"""From the moves of one label so far to the next; the last of them where nothing is to be written."""


class Labels:
    """The labels of one folder of prompts; thread-safe, and shared with other processes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / FILE
        self._moves: Remembered[tuple[Move, ...]] = Remembered(_read)

    def moves(self) -> Sequence[Move]:
        """Return all moves, oldest first; raises PromptSyntaxError with the line that is none."""
        try:
            return self._moves.read(str(self._path))
        except FileNotFoundError:
            return ()
        except (OSError, UnicodeDecodeError) as error:
            raise PromptSyntaxError(f"{self._path}: the labels cannot be read: {error}") from None

    def of(self, name: str) -> dict[str, str]:
        """Return label -> version of a prompt."""
        return {move.label: move.version for move in self.moves() if move.name == name}

    def move(
        self, name: str, label: str, version: str, *, by: str, why: str, only_from: str | None = None
    ) -> Move:
        """Put a label on a version; returns the move, which is the last one where it stands there already.

        Raises PromptError for a label that cannot be one, one that stands elsewhere than `only_from`, or where nothing can
        be written.
        """
        checked_label(label)
        check_words(by=by, why=why)
        return self._write(
            name, label, lambda before: moved_to(before, name, label, version, by, why, only_from)
        )

    def roll_back(self, name: str, label: str, *, to: str | None, by: str, why: str) -> Move:
        """Put a label where it stood before its last move, or on the version `to` of its own history.

        Raises UnknownPrompt where the label stands nowhere, or never stood there; PromptError where nothing can be written.
        """
        check_words(by=by, why=why)
        there = sorted(self.of(name))
        return self._write(name, label, lambda before: rolled_back(before, name, label, to, there, by, why))

    def earlier(self, name: str, label: str) -> str | None:
        """Return where a rollback would put a label; None where it never stood elsewhere."""
        stood = _stack(move for move in self.moves() if (move.name, move.label) == (name, label))
        return stood[-2] if len(stood) > 1 else None

    def _write(self, name: str, label: str, moved: _Moved) -> Move:
        try:
            with one_writer(self._directory):
                # read without what is remembered: another process may have written a moment ago
                known = _read(str(self._path)) if self._path.exists() else ()
                mine = [move for move in known if (move.name, move.label) == (name, label)]
                move = moved(mine)
                if not mine or move is not mine[-1]:
                    append_line(self._path, json.dumps(move.to_dict(), ensure_ascii=False))
                return move
        except OSError as error:
            raise PromptError(f"{self._path} cannot be written: {error.strerror or error}") from None


def moved_to(
    before: Sequence[Move],
    name: str,
    label: str,
    version: str,
    by: str,
    why: str,
    only_from: str | None = None,
) -> Move:
    """Return the move of a label to a version after its moves so far; the last one where it stands there already.

    Raises LabelElsewhere where it stands neither there nor on `only_from`, if that is given.
    """
    if before and before[-1].version == version:
        return before[-1]
    if before and only_from not in (None, before[-1].version):
        raise LabelElsewhere(name, label, before[-1].version, str(only_from))
    return Move(name, label, version, before[-1].version if before else None, _now(), by, why)


def rolled_back(
    before: Sequence[Move], name: str, label: str, to: str | None, there: Sequence[str], by: str, why: str
) -> Move:
    """Return the move of a label back to where it stood before, or on `to`; `there` are the prompt's labels, for hints.

    Raises UnknownPrompt where the label stands nowhere, or never stood there.
    """
    if not before:
        raise UnknownPrompt(
            f"{name} has no label {label!r}{_meant(label, there)}; its labels: {', '.join(there) or 'none'}"
        )
    stood = _stack(before)
    if to is None and len(stood) < 2:
        raise UnknownPrompt(
            f"{name}@{label} has always stood on version {stood[-1]}; put it elsewhere with"
            f" `promptguard prompts label {name}@VERSION {label}`"
        )
    if to == stood[-1]:
        raise UnknownPrompt(f"{name}@{label} stands on version {to} already")
    if to is not None and to not in stood[:-1]:
        earlier = ", ".join(dict.fromkeys(stood[:-1])) or "none"
        raise UnknownPrompt(
            f"{name}@{label} stood on no version {to!r} before; earlier ones, oldest first: {earlier}"
        )
    version = stood[-2] if to is None else to
    return Move(name, label, version, stood[-1], _now(), by, why, taken_back=True)


def checked_label(label: str) -> str:
    """Return `label`; raises PromptError for what cannot be one. A label and a version never look alike."""
    if not isinstance(label, str) or not PATTERN.fullmatch(label):
        raise PromptError(
            f"{label!r} cannot be a label: it begins with a small letter, and has small letters, digits, - and _ only"
            ' (up to 64), such as "production"'
        )
    return label


def check_words(**given: str) -> None:
    """Raise PromptError, naming the argument, for who or why that is no text or too long."""
    for name, value in given.items():
        if not isinstance(value, str) or len(value) > _MOST_WHY:
            raise PromptError(f"{name}= must be text of at most {_MOST_WHY} characters")


def _stack(moves: Iterable[Move]) -> list[str]:
    """Return the versions on which a label stood, the one it stands on last; what was rolled back is not among them."""
    stood: list[str] = []
    for move in moves:
        if stood and move.version == stood[-1]:
            continue
        if not move.taken_back or move.version not in stood[:-1]:
            stood.append(move.version)
            continue
        while stood[-1] != move.version:
            stood.pop()
    return stood


def _meant(given: str, known: Iterable[str]) -> str:
    meant = nearest(given, list(known))
    return "" if meant is None else f" (did you mean {meant!r}?)"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _read(path: str) -> tuple[Move, ...]:
    # The last line without its end is one that a crash left: it was not written.
    lines = whole_lines(Path(path).read_text("utf-8"))
    return tuple(read_move(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip())


def read_move(line: str, where: str) -> Move:
    """Read a line of labels.jsonl; raises PromptSyntaxError, which says `where`, for what is none."""
    try:
        if len(line) > MOST_LINE:
            raise ValueError
        told = json.loads(line)
        name, label, version = told["name"], told["label"], str(told["to"])
        before, at, by, why = (told.get(key) for key in ("from", "at", "by", "why"))
        taken_back = bool(told.get("rollback"))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise PromptSyntaxError(
            f'{where}: not a label; a line is {{"name": ..., "label": ..., "to": ...}}'
        ) from None
    if not isinstance(name, str) or not isinstance(label, str) or not PATTERN.fullmatch(label):
        raise PromptSyntaxError(
            f"{where}: a label begins with a letter and has letters, digits, - and _ only"
        )
    return Move(
        name, label, version, None if before is None else str(before), str(at or ""), str(by or ""), str(why or ""),
        taken_back,
    )  # fmt: skip
