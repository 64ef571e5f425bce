"""Writing the files that the wheel carries into a directory of the user's."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from promptguard.errors import ConfigurationError

RELATIVE = "runbook_url: runbooks/"
"""How rules name a runbook: beside themselves, until told where they are published."""


def export(directory: str | Path, runbooks: str | None = None) -> list[Path]:
    """Write dashboards, rules and runbooks below `directory`; returns the files, each replaced as a whole.

    `runbooks` is the address under which the runbooks are published; links of rules begin with it. Raises
    ConfigurationError where they cannot be written.
    """
    target = Path(directory).expanduser()
    base = None if runbooks is None else f"{runbooks.rstrip('/')}/"
    written = []
    try:
        for place, source in _files():
            path = target / place
            path.parent.mkdir(parents=True, exist_ok=True)
            text = source.read_text("utf-8")
            path.write_text(text if base is None else text.replace(RELATIVE, f"runbook_url: {base}"), "utf-8")
            written.append(path)
    except OSError as error:
        raise ConfigurationError(
            f"{target}: the dashboards cannot be written: {error.strerror or error}"
        ) from None
    return written


def _files() -> list[tuple[str, Traversable]]:
    folders = resources.files("promptguard.monitoring").joinpath("files")
    return [
        (f"{folder.name}/{each.name}", each)
        for folder in sorted(folders.iterdir(), key=lambda each: each.name)
        for each in sorted(folder.iterdir(), key=lambda each: each.name)
    ]
