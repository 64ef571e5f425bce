"""Prompts in a ledger: read as a library reads a folder, labels moved there, and pushed and pulled between the two."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from promptguard.core.word_diff import changed_words
from promptguard.errors import PromptChanged, PromptError, PromptGuardError
from promptguard.ledger import prompts as stored
from promptguard.ledger.prompts import Key, StoredPrompts, StoredVersion
from promptguard.ledger.store import Ledger
from promptguard.ledger.trouble import LedgerUnavailable
from promptguard.sources.mirror import LABELS, LOCK, Snapshot
from promptguard.templates.labels import Move, read_move
from promptguard.templates.library import PromptLibrary
from promptguard.templates.lock import FORMAT
from promptguard.templates.near import SUFFIX
from promptguard.templates.promptfile import parse
from promptguard.templates.shared_files import append_line, one_writer, replace_file

_MOST_SHOWN = 600
_Line = tuple[str, str]
"""(name, label)"""


@dataclass(frozen=True, slots=True)
class Carried:
    """What became of one version, or of the labels of one prompt, between a folder and a ledger."""

    name: str
    what: str
    """the version, or `label LABEL`"""
    done: str
    """`new` or `there`"""

    def to_dict(self) -> dict[str, str]:
        """Return it as JSON values."""
        return {"name": self.name, "what": self.what, "done": self.done}


class LedgerSource:
    """Fetches what a ledger holds."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def __call__(self, known: str | None) -> Snapshot | None:
        """Return the ledger's prompts, or None where nothing was pushed or moved. Raises PromptError."""
        try:
            found = stored.contents(self._directory, known)
        except PromptGuardError as error:
            raise PromptError(f"ledger:{error}") from error
        return None if found is None else Snapshot(found.state, _as_files(found))


def _as_files(found: stored.Contents) -> dict[str, bytes]:
    files = {f"{name}/{version}{SUFFIX}": kept.text for (name, version), kept in found.versions.items()}
    digests = {f"{name}@{version}": kept.digest for (name, version), kept in sorted(found.versions.items())}
    files[LOCK] = (json.dumps({"format": FORMAT, "prompts": digests}, indent=1) + "\n").encode()
    files[LABELS] = b"".join(line + b"\n" for _, _, line in found.moves)
    return files


def write_move(directory: str, name: str, label: str, moved: stored.Moved) -> Sequence[bytes]:
    """Add moves of a label to a ledger. Raises PromptError where there is none, or it cannot be written."""
    try:
        stored.contents(directory)  # one that is away must not come back empty
        return StoredPrompts(Ledger(directory)).move(name, label, moved)
    except (LedgerUnavailable, PromptGuardError) as error:
        raise (
            error if isinstance(error, PromptError) else PromptError(f"ledger:{directory}: {error}")
        ) from error


def moves_in(lines: Iterable[bytes], where: str) -> list[Move]:
    """Read lines of labels as a ledger keeps them."""
    return [read_move(line.decode("utf-8", "replace"), where) for line in lines]


def line_of(move: Move) -> bytes:
    """Return a move as a line of labels.jsonl."""
    return json.dumps(move.to_dict(), ensure_ascii=False).encode("utf-8", "surrogatepass")


# -- between a folder and a ledger


def push(library: PromptLibrary, directory: str, names: Sequence[str], *, by: str) -> list[Carried]:
    """Put the versions and labels of a folder into a ledger; `names` of prompts, none for all.

    Raises PromptChanged, before anything is written of that prompt, for a version that the ledger has with another text;
    PromptError where a label has moved in both places since they were last alike; UnknownPrompt for a name there is not.
    """
    done: list[Carried] = []
    for name in names or library.names():
        given = _versions_of(library, name)
        ledger = StoredPrompts(Ledger(directory))
        try:
            there = _there(directory)
            _refuse_changed(name, given, there, f"{directory} (pushed before)")
            other = ledger.put(given, at=time.time(), by=by)
            _refuse_changed(name, given, other, f"{directory} (pushed before)")
        except LedgerUnavailable as error:
            raise PromptError(f"ledger:{directory}: {error}") from error
        done += [
            Carried(name, version, "there" if (name, version) in there else "new") for _, version in given
        ]
        own = [move for move in library.history() if move.name == name]
        for label in dict.fromkeys(move.label for move in own):
            mine = [move for move in own if move.label == label]
            added = write_move(directory, name, label, lambda lines, mine=mine: _after(lines, mine))  # type: ignore[misc]
            done.append(Carried(name, f"label {label}", "new" if added else "there"))
    return done


def pull(directory: str, folder: Path, names: Sequence[str]) -> list[Carried]:
    """Write the versions and labels of a ledger into a folder, which is made where there is none.

    Raises PromptChanged for a version that the folder has with another text, PromptError for a name that the ledger has
    not, or a folder that cannot be written. What only the folder has stays.
    """
    try:
        found = stored.contents(directory)
    except PromptGuardError as error:
        raise PromptError(f"ledger:{error}") from error
    assert found is not None  # noqa: S101 - no state was given that it could be
    known = sorted({name for name, _ in found.versions})
    for name in names:
        if name not in known:
            raise PromptError(
                f"ledger:{directory} has no prompt {name!r}; it has: {', '.join(known) or 'none'}"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with one_writer(folder):
            return _pulled(folder, names or known, found)
    except OSError as error:
        raise PromptError(f"{folder} cannot be written: {error.strerror or error}") from None


def _pulled(folder: Path, names: Sequence[str], found: stored.Contents) -> list[Carried]:
    done: list[Carried] = []
    for (name, version), kept in sorted(found.versions.items()):
        if name not in names:
            continue
        place = folder / name / f"{version}{SUFFIX}"
        if place.exists():
            text = place.read_bytes().decode("utf-8-sig", "surrogatepass")
            own = {
                (name, version): StoredVersion(
                    parse(text, str(place)).digest, text.encode("utf-8", "surrogatepass")
                )
            }
            _refuse_changed(name, {(name, version): kept}, own, str(place))
            done.append(Carried(name, version, "there"))
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        replace_file(place, kept.text)
        done.append(Carried(name, version, "new"))
    path = folder / LABELS
    known = set(path.read_bytes().split(b"\n")) if path.exists() else set()
    counted: dict[_Line, int] = {}
    for name, label, line in found.moves:
        if name in names:
            counted.setdefault((name, label), 0)
            if line not in known:
                append_line(path, line.decode("utf-8", "surrogatepass"))
                counted[name, label] += 1
    return done + [
        Carried(name, f"label {label}", "new" if new else "there") for (name, label), new in counted.items()
    ]


def _versions_of(library: PromptLibrary, name: str) -> dict[Key, StoredVersion]:
    """Return every version of a prompt of the folder, each looked at as if it were used."""
    found = {}
    for version in library.versions(name) or [library.get(name).version]:
        prompt = library.get(f"{name}@{version}")
        found[name, version] = StoredVersion(prompt.digest, prompt.source.encode("utf-8", "surrogatepass"))
    return found


def _there(directory: str) -> dict[Key, StoredVersion]:
    try:
        found = stored.contents(directory)
    except PromptGuardError:
        return {}  # no ledger yet: it is made by the first push
    return {} if found is None else found.versions


def _refuse_changed(
    name: str, given: Mapping[Key, StoredVersion], there: Mapping[Key, StoredVersion], where: str
) -> None:
    for (_, version), mine in given.items():
        known = there.get((name, version))
        if known is not None and known.digest != mine.digest:
            shown = changed_words(known.text.decode("utf-8", "replace"), mine.text.decode("utf-8", "replace"))
            raise PromptChanged(
                f"{name}@{version} has another text in {where}: a version never changes, so save yours as a new one. "
                f"What differs: {shown[:_MOST_SHOWN]}{'...' if len(shown) > _MOST_SHOWN else ''}"
            )


def _after(lines: Sequence[bytes], mine: Sequence[Move]) -> list[bytes]:
    """Return those of a folder's moves of one label that came after all that the ledger has."""
    own = [line_of(move) for move in mine]
    theirs = [line_of(move) for move in moves_in(lines, "the ledger")]
    unknown = [line for line in theirs if line not in own]
    last = max((place for place, line in enumerate(own) if line in theirs), default=-1)
    new = own[last + 1 :]
    if unknown and new:
        move = read_move(unknown[-1].decode(), "the ledger")
        who = f"by {move.by or 'somebody'} {move.at}".strip()
        raise PromptError(
            f"{move.name}@{move.label} was moved in the ledger as well (to version {move.version}, {who}): "
            "`promptguard prompts pull` first, then label again"
        )
    return new
