"""Where the cache of a ledger is and which secret keys both, for commands: no client is made, nothing is created."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promptguard.cache.contract import Backend


def cache_of(ledger: str | Path) -> Path | Backend:
    """Return the server that settings name, or else the cache's directory. Raises what `secret_of` does."""
    from promptguard.cache.outside import CACHE_DIRECTORY, backend_of
    from promptguard.directories import ledger_place, local_directory
    from promptguard.settings import current

    option, local = current().cache, local_directory(ledger_place(ledger))
    if option is None or option.kind in {"memory", "disk"}:
        return local / CACHE_DIRECTORY
    return backend_of(option, local, secret_of(ledger))


def secret_of(ledger: str | Path) -> bytes:
    """Return the secret that keys the digests of a ledger and the entries of its cache.

    Raises InputFileError where there is none.
    """
    from promptguard.assembly import KEY_FILE
    from promptguard.cache.mackey import FILENAME, VARIABLE, is_shared, read_only
    from promptguard.directories import Database, ledger_place, local_directory
    from promptguard.errors import InputFileError

    place = ledger_place(ledger)
    if isinstance(place, Database) and not is_shared():
        from promptguard.ledger.secret import kept_secret

        kept = kept_secret(place)
        if kept is None:
            raise InputFileError(
                f"{place} has no secret of its own: set {VARIABLE} as its applications have it"
            )
        return kept
    path = local_directory(place) / KEY_FILE
    found = read_only(path)
    if found is None:
        raise InputFileError(
            f"{path / FILENAME} is missing and {VARIABLE} is not set: "
            f"there is no cache of {ledger}, or its secret is elsewhere"
        )
    return found


def copy_secret(source: str | Path, target: str | Path) -> None:
    """Give a copy of a ledger the secret of the one it was copied from; one that was given to the process needs no copy."""
    from promptguard.assembly import KEY_FILE
    from promptguard.cache.mackey import is_shared, keep, read_only
    from promptguard.directories import Database, ledger_place
    from promptguard.ledger.secret import kept_secret, take_secret

    if is_shared():
        return
    here, there = ledger_place(source), ledger_place(target)
    found = kept_secret(here) if isinstance(here, Database) else read_only(here / KEY_FILE)
    if found is None:
        return
    if isinstance(there, Database):
        take_secret(there, found)
    else:
        keep(there / KEY_FILE, found)
