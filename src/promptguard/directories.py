"""What `ledger=` means: the path of a directory, checked before anything looks into it."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from promptguard.core.mistakes import refused
from promptguard.errors import ConfigurationError

ACCEPTED = 'the path of a directory, such as ".promptguard"'
_SCHEME = re.compile(
    r"(?:[a-z][a-z0-9+.-]*(?=://)|(?:postgres(?:ql)?|sqlite|mysql|mariadb|redis|s3|gs|https?|file)(?:\+\w+)?(?=:/?))",
    re.IGNORECASE,
)
"""Of an address; a `Path` has lost one of its two slashes."""


def check_ledger(ledger: object, name: str = "ledger") -> str | Path:
    """Return `ledger` if it can be a directory. Raises ConfigurationError; says nothing of what is on the disk."""
    try:
        path = os.fspath(ledger) if isinstance(ledger, os.PathLike) else ledger
    except Exception as error:
        raise ConfigurationError(
            f"{name}= raised {type(error).__name__} when asked for its path: give {ACCEPTED}"
        ) from error
    if not isinstance(path, str) or not path.strip() or "\0" in path or path == ":memory:":
        raise refused(name, ledger, ACCEPTED)
    address = _SCHEME.match(path)
    if address is not None:  # what follows may be a password
        raise ConfigurationError(
            f"{name}={address[0] + '://...'!r}: only directories (SQLite) work in this version; give a path"
        )
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise refused(name, path, "a path that the file system can write") from None
    return ledger if isinstance(ledger, Path) else path


def expanded(ledger: object, name: str = "ledger") -> Path:
    """Return the path that `ledger` means, `~` replaced, whether there is anything or not.

    Raises ConfigurationError, which calls it `name`, for what is no path of this machine.
    """
    path = Path(check_ledger(ledger, name))
    try:
        path = path.expanduser()
    except RuntimeError:
        accepted = "a path whose ~ stands for a home directory that is known"
        raise refused(name, str(path), accepted) from None
    try:
        path.lstat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise refused(name, str(path), "a shorter path: the file system takes none as long") from None
    return path


def ledger_directory(ledger: object, name: str = "ledger") -> Path:
    """Return the absolute path that `ledger` means. Raises as `expanded`."""
    path = expanded(ledger, name)
    try:
        return path.absolute()
    except OSError:  # the working directory was removed: no reason not to start
        return Path(os.environ.get("PWD") or os.sep) / path
