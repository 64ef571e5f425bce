"""The secret of a ledger that is not on this machine: one for all that write to it, kept in the ledger itself.

A ledger in a directory has its secret in a file beside it (`cache.mackey`).
"""

from __future__ import annotations

import secrets
import threading

from sqlalchemy import select

from promptguard.directories import Database
from promptguard.ledger import schema
from promptguard.ledger.engines import words
from promptguard.ledger.migrations import stored_once
from promptguard.ledger.reading import reading
from promptguard.ledger.store import Ledger
from promptguard.lifetime.forks import survive_fork

NAME = "shared_secret"
"""Its name in `meta`."""
SECRET_BYTES = 32
WAIT = 2.0
"""Seconds that `wrap()` waits for it, once a process and ledger."""


class NoSecret(Exception):  # noqa: N818 - a state of the machine, told as such
    """The ledger did not say its secret in time."""


class _Known:
    """What ledgers have said, by address."""

    def __init__(self) -> None:
        self.secrets: dict[str, bytes] = {}

    def after_fork(self) -> None:
        """Keep it: a child has the same ledger."""


_known = _Known()
survive_fork(_known)


def shared_secret(database: Database, wait: float = WAIT) -> bytes:
    """Return the secret of a ledger, made at the first use. Raises NoSecret where that takes longer than `wait` seconds.

    One that was given to the process counts more (`promptguard.shared_secret`).
    """
    known = _known.secrets.get(database.url)
    if known is not None:
        return known
    found: list[bytes] = []
    why: list[str] = []
    thread = threading.Thread(
        target=_ask, args=(database, found, why), name="promptguard-secret", daemon=True
    )
    thread.start()
    thread.join(wait)
    if not found:
        raise NoSecret(why[0] if why else f"{database}: no answer within {wait:g} s")
    return _known.secrets.setdefault(database.url, found[0])


def _ask(database: Database, found: list[bytes], why: list[str]) -> None:
    try:
        with Ledger(database).transaction() as connection:
            found.append(stored_once(connection, NAME, secrets.token_bytes(SECRET_BYTES)))
    except Exception as error:  # noqa: BLE001 - told by who waits
        why.append(str(error) or type(error).__name__)


def kept_secret(database: Database) -> bytes | None:
    """Return the secret that a ledger has, None where it has none yet. Raises InputFileError where it cannot be read."""
    query = select(schema.meta.c.value).where(schema.meta.c.name == NAME)
    with reading(database) as connection:
        found = connection.execute(query).scalar_one_or_none()
    return None if found is None else bytes(found)


def take_secret(database: Database, secret: bytes) -> None:
    """Give a ledger the secret of the one that it is a copy of. Raises what `ledger.door.Door` says."""
    with Ledger(database).transaction() as connection:
        statement = words(connection).upsert(schema.meta).values(name=NAME, value=secret)
        connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": secret}))
    _known.secrets.pop(database.url, None)
