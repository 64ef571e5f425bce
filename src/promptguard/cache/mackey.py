"""The secret that cache entries are authenticated with."""

from __future__ import annotations

import logging
import os
import secrets
import stat
import tempfile
from pathlib import Path

from promptguard.cache.entry import MIN_MAC_KEY_BYTES
from promptguard.errors import ConfigurationError
from promptguard.shared_secret import shared_secret

log = logging.getLogger("promptguard")


class SecretUnavailable(ConfigurationError):  # noqa: N818
    """The secret can neither be read nor kept; the message says why and what to do. wrap() goes on without."""


VARIABLE = "PROMPTGUARD_CACHE_KEY"
FILENAME = "cache.key"


def load_mac_key(state_dir: Path) -> bytes:
    """Return the secret: PROMPTGUARD_CACHE_KEY, the one that hosts share, or a 0600 file's in `state_dir`, made if missing.

    `state_dir` must not be the cache directory: who can edit the entries must not find the secret beside
    them. Raises ConfigurationError when a given one is too short or cannot be read, and SecretUnavailable when the
    file can neither be read nor made.
    """
    given = os.environ.get(VARIABLE)
    if given is not None:
        key = os.fsencode(given)
        if len(key) < MIN_MAC_KEY_BYTES:
            raise ConfigurationError(
                f"{VARIABLE} must have at least {MIN_MAC_KEY_BYTES} bytes; make one with: "
                'python -c "import secrets; print(secrets.token_hex(32))"'
            )
        return key
    shared = shared_secret()
    if shared is not None:
        return shared
    path = Path(state_dir) / FILENAME
    try:
        if not os.path.lexists(path):
            _make(path)
        return _read(path)
    except OSError as error:
        raise SecretUnavailable(
            f"{path}: the secret of the cache cannot be kept here ({error.strerror}): choose a directory this user can "
            f"write to, or set {VARIABLE}"
        ) from None


def is_shared() -> bool:
    """Whether the secret was given to this process, as it is where hosts share it. Raises as `load_mac_key`."""
    return os.environ.get(VARIABLE) is not None or shared_secret() is not None


def read_only(state_dir: Path) -> bytes | None:
    """Return the secret if there is one; makes none. Raises ConfigurationError as `load_mac_key` does."""
    known = is_shared() or os.path.lexists(Path(state_dir) / FILENAME)
    return load_mac_key(state_dir) if known else None


def keep(state_dir: Path, secret: bytes) -> None:
    """Keep a secret in `state_dir` unless there is one. Raises SecretUnavailable."""
    path = Path(state_dir) / FILENAME
    try:
        if not os.path.lexists(path):
            _make(path, secret)
    except OSError as error:
        raise SecretUnavailable(f"{path}: the secret cannot be kept here ({error.strerror})") from None


def _make(path: Path, secret: bytes | None = None) -> None:
    """Write the file beside its place and link it there: nobody ever reads half a secret, and one wins."""
    for directory in (
        path.parent.parent,
        path.parent,
    ):  # `parents=True` would make the outer one for everybody to read
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".key-", dir=path.parent)  # mode 0600, whatever the umask
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(secrets.token_bytes(32) if secret is None else secret)
        path.hardlink_to(name)
    except FileExistsError:
        pass  # another process was first, and its secret is the one
    finally:
        Path(name).unlink(missing_ok=True)


def _make_private(handle: int, path: Path) -> None:
    """Take others' access away: a volume with a group of its own gives it to every file when it is mounted."""
    try:
        os.fchmod(handle, 0o600)
    except PermissionError:
        log.warning("%s can be read by other users, and belongs to one: chmod 600 %s", path, path)


def _read(path: Path) -> bytes:
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(handle, "rb") as stream:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise SecretUnavailable(f"{path} is not a regular file: move it away")
        if os.name == "posix" and facts.st_mode & 0o077:
            _make_private(handle, path)
        key = stream.read(1_024)
    if len(key) < MIN_MAC_KEY_BYTES:
        raise SecretUnavailable(f"{path} holds no secret ({len(key)} bytes): delete it for a new one")
    return key
