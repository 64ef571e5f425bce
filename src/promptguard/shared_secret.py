"""The secret that hosts share: `PROMPTGUARD_SECRET`, or the file that `PROMPTGUARD_SECRET_FILE` names.

It keys the digests of credentials, the MAC of cached answers and all else that several hosts must read alike. Where none is
given, each ledger has one of its own: then what one host has written is nothing that another one knows.
"""

from __future__ import annotations

import os
from pathlib import Path

from promptguard.errors import ConfigurationError

VARIABLE = "PROMPTGUARD_SECRET"
FILE_VARIABLE = "PROMPTGUARD_SECRET_FILE"
"""As container platforms mount secrets."""
LEAST_BYTES = 16
_MOST_BYTES = 4096
MAKE = 'python -c "import secrets; print(secrets.token_hex(32))"'


def shared_secret() -> bytes | None:
    """Return the secret that was given to this process, without white space around it; None where none was.

    Raises ConfigurationError, which does not repeat it: one that is too short, two at once, a file that cannot be read.
    """
    given, path = os.environ.get(VARIABLE), os.environ.get(FILE_VARIABLE)
    if given and path:
        raise ConfigurationError(f"{VARIABLE} and {FILE_VARIABLE} are both set: unset one of them")
    if not given and not path:
        return None
    name = VARIABLE if given else f"{FILE_VARIABLE}={path}"
    secret = os.fsencode(given).strip() if given else _read(Path(path or ""))
    if len(secret) < LEAST_BYTES:
        raise ConfigurationError(f"{name} must have at least {LEAST_BYTES} bytes; make one with: {MAKE}")
    return secret


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).strip()
    except OSError as error:
        raise ConfigurationError(
            f"{FILE_VARIABLE}={path} cannot be read: {error.strerror or type(error).__name__}"
        ) from None
