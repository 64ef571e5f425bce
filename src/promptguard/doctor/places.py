"""Directories and files: whose they are, and who may read them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from promptguard.assembly import KEY_FILE
from promptguard.cache.entry import MIN_MAC_KEY_BYTES
from promptguard.cache.mackey import FILENAME, VARIABLE
from promptguard.cache.outside import CACHE_DIRECTORY
from promptguard.directories import Place, local_directory
from promptguard.doctor.findings import Finding
from promptguard.errors import ConfigurationError
from promptguard.ledger.engines.sqlite_file import FILE_NAME, LOCK_NAME
from promptguard.shared_secret import FILE_VARIABLE as SHARED_FILE
from promptguard.shared_secret import VARIABLE as SHARED
from promptguard.shared_secret import shared_secret


def places(place: Place) -> Iterator[Finding]:
    """Look at the ledger's directory, its file, the secret and the cache on disk; of a database, at what stays here."""
    yield from _secrets()
    directory = local_directory(place)
    if not directory.exists():
        yield _not_yet(directory)
        return
    if not directory.is_dir():
        yield Finding("places", "broken", f"{directory} is no directory: name another, ledger=...")
        return
    yield _directory(directory)
    for path in (directory / FILE_NAME, directory / LOCK_NAME):
        yield from _file(path)
    yield from _key(directory / KEY_FILE / FILENAME)
    cache = directory / CACHE_DIRECTORY
    if cache.is_dir():
        yield _directory(cache)
    elif os.path.lexists(cache):
        yield Finding(
            "places", "broken", f"{cache} is no directory, and nothing is cached on disk: move it away"
        )


def _key(path: Path) -> Iterator[Finding]:
    """Look at the file of the secret under which the disk cache seals its entries."""
    for finding in _file(path):
        if finding.level != "broken" and path.stat().st_size < MIN_MAC_KEY_BYTES:
            yield Finding(
                "places",
                "broken",
                f"{path} is too short for a secret: delete it, and the next process makes one",
            )
        else:
            yield finding


def _not_yet(directory: Path) -> Finding:
    above = next(parent for parent in directory.parents if parent.exists())
    if os.access(above, os.W_OK | os.X_OK):
        return Finding("places", "ok", f"{directory} is not there yet; it is made when first needed")
    return Finding(
        "places",
        "broken",
        f"{directory} is not there, and {above} is not writable for this user: name another directory",
    )


def _directory(path: Path) -> Finding:
    if not os.access(path, os.W_OK | os.X_OK):
        text = f"{path} is not writable for this user: nothing is kept until it is"
        return Finding("places", "broken", text)
    return _modes(path, 0o077)


def _file(path: Path) -> Iterator[Finding]:
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        yield Finding("places", "broken", f"{path}: {error.strerror}")
        return
    if not stat.S_ISREG(facts.st_mode):
        yield Finding("places", "broken", f"{path} is no regular file, and is not used: move it away")
    elif not os.access(path, os.R_OK):
        yield Finding("places", "broken", f"{path} is not readable for this user")
    else:
        yield _modes(path, 0o077)


def _modes(path: Path, unwanted: int) -> Finding:
    facts = path.stat()
    mode = stat.S_IMODE(facts.st_mode)
    told = f"{path} ({mode:04o})"
    if os.name != "posix":
        return Finding("places", "ok", str(path))
    if facts.st_uid != os.geteuid():
        return Finding(
            "places", "warning", f"{told} belongs to another user (uid {facts.st_uid}), who can read it"
        )
    if mode & unwanted:
        keep = "0700" if path.is_dir() else "0600"
        return Finding("places", "warning", f"{told} can be read by others: chmod {keep} {path}")
    return Finding("places", "ok", told)


def _secrets() -> Iterator[Finding]:
    """Look at the secrets that the environment gives; none is ever shown."""
    given = os.environ.get(VARIABLE)
    if given is not None and len(os.fsencode(given)) < MIN_MAC_KEY_BYTES:
        yield Finding("places", "broken", f"{VARIABLE} must have at least {MIN_MAC_KEY_BYTES} bytes")
    elif given is not None:
        yield Finding("places", "ok", f"{VARIABLE} is set (not shown)")
    try:
        shared = shared_secret()
    except ConfigurationError as error:
        yield Finding("places", "broken", str(error))
        return
    if shared is not None:
        name = SHARED if os.environ.get(SHARED) else SHARED_FILE
        yield Finding("places", "ok", f"{name} is set (not shown)")
