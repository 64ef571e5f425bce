"""Where settings are written: environment variables and `[tool.promptguard]`. Reads text; judges no value."""

from __future__ import annotations

import logging
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from promptguard.core.mistakes import nearest
from promptguard.errors import ConfigurationError

log = logging.getLogger("promptguard")

PREFIX = "PROMPTGUARD_"
NESTED = "__"
FILE_NAME = "pyproject.toml"
TABLE = "tool.promptguard"
NOT_SETTINGS = (
    "PROMPTGUARD_CACHE_KEY",
    "PROMPTGUARD_DASHBOARD_TOKEN",
    "PROMPTGUARD_DASHBOARD_TRACE_URL",
    "PROMPTGUARD_DEBUG",
    "PROMPTGUARD_LOCAL",
    "PROMPTGUARD_SECRET",
    "PROMPTGUARD_SECRET_FILE",
)
"""Variables with a meaning of their own: secrets, a directory, and tracebacks of commands."""

Path_ = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One value that was written somewhere."""

    path: Path_
    """such as ("shadow", "model")"""
    value: object
    where: str
    """the variable, or file, table and key, as messages name it"""
    is_text: bool
    """it came as text, whatever is meant"""
    directory: Path | None = None
    """of the file; paths in it are relative to it"""


def environment(known: tuple[str, ...]) -> list[Entry]:
    """Return what the environment says of the settings in `known`. An empty variable says nothing.

    Raises ConfigurationError for a variable that is probably one of them, misspelled; others are told once.
    """
    found = []
    for variable, text in sorted(variables().items()):
        path = tuple(variable[len(PREFIX) :].lower().split(NESTED))
        if path[0] not in known:
            _unknown_variable(variable, path, known)
        elif text.strip():
            found.append(Entry(path, text.strip(), variable, is_text=True))
    return found


def variables() -> dict[str, str]:
    """Return the environment variables that may be settings."""
    return {
        name: text
        for name, text in os.environ.items()
        if name.startswith(PREFIX) and name not in NOT_SETTINGS
    }


_told: set[str] = set()


def _unknown_variable(variable: str, path: Path_, known: tuple[str, ...]) -> None:
    meant = nearest(path[0], known) or next((name for name in known if path[0].startswith(f"{name}_")), None)
    if meant is not None:
        rest = path[1:] or tuple(filter(None, (path[0].removeprefix(f"{meant}_"),))) * path[0].startswith(
            f"{meant}_"
        )
        right = PREFIX + NESTED.join((meant, *rest)).upper()
        raise ConfigurationError(f"the environment variable {variable} is not known: did you mean {right}?")
    if variable not in _told:
        _told.add(variable)
        log.warning("the environment variable %s is no setting of PromptGuard's: it is left alone", variable)


def project_file() -> Path | None:
    """Return the nearest pyproject.toml, from the working directory upwards, or None."""
    try:
        here = Path.cwd()
    except OSError:  # it was removed
        return None
    for directory in (here, *here.parents):
        path = directory / FILE_NAME
        try:
            if path.is_file():
                return path
        except OSError:
            continue
    return None


def stamp(path: Path | None) -> tuple[str, int, int] | None:
    """Return what changes whenever the file does."""
    if path is None:
        return None
    try:
        facts = path.stat()
    except OSError:
        return None
    return str(path), facts.st_mtime_ns, facts.st_size


def table(path: Path | None) -> list[Entry]:
    """Return what `[tool.promptguard]` of a file says.

    Raises ConfigurationError, naming the file, where it cannot be read as TOML though it speaks of PromptGuard.
    """
    if path is None:
        return []
    try:
        raw = path.read_bytes()
    except OSError as error:
        log.warning("%s cannot be read (%s): no settings are taken from it", path, error.strerror)
        return []
    if b"promptguard" not in raw:
        return []
    try:
        document: object = tomllib.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        if b"tool.promptguard" not in raw:
            return []
        raise ConfigurationError(f"{path}: not readable as TOML: {error}") from None
    for key in TABLE.split("."):
        document = document.get(key) if isinstance(document, Mapping) else None
    if document is None:
        return []
    if not isinstance(document, Mapping):
        raise ConfigurationError(f"{path}: tool.promptguard must be a table, not {document!r}")
    return list(_entries(document, (), path))


def _entries(document: Mapping[str, object], above: Path_, path: Path) -> Iterator[Entry]:
    """Yield the values of a table: those of tables within it two levels deep, deeper ones as they are."""
    if not document and above:
        yield Entry(above, {}, _where(path, above), is_text=False, directory=path.parent)
    for key, value in document.items():
        place = (*above, key)
        if (
            isinstance(value, Mapping)
            and len(place) <= 2
            and place[0] not in {"fields", "alerts"}
            and place[-1] not in {"split", "on_drift"}
        ):
            yield from _entries(value, place, path)
        else:
            yield Entry(place, value, _where(path, place), is_text=False, directory=path.parent)


def _where(path: Path, place: Path_) -> str:
    header = ".".join((TABLE, *place[:-1]))
    return f"{path}: [{header}] {place[-1]}"
