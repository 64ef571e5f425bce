"""The file a page is written to."""

from __future__ import annotations

import os
from pathlib import Path

from promptguard.errors import ConfigurationError


def check_writable(path: Path) -> None:
    """Raise ConfigurationError now when a page could not be written there later; leaves everything as it is."""
    new = not path.exists()
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    except OSError as error:
        raise _unwritable(path, error) from error
    if new:
        path.unlink()


def write_private(path: Path, text: str) -> None:
    """Write a file that its owner alone may read: the page can hold prompts and answers."""
    try:
        with os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8"
        ) as file:
            file.write(text)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"{path} cannot be written ({error.strerror}): give another file with -o")
