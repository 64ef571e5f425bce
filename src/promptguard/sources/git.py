"""Prompts of a git repository, at a branch, tag or commit, read with the `git` command; nothing is ever checked out.

A repository of this machine is read as it is; of another one, the commit alone is fetched into a bare one beside the copy.
"""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

from promptguard.errors import PromptError
from promptguard.sources.address import InGit, without_password
from promptguard.sources.mirror import MOST_BYTES, MOST_FILES, Snapshot

SECONDS = 30.0
"""How long one command of git's may take."""
_SAFE = ("-c", "protocol.ext.allow=never", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false")
"""An address must not be able to run anything."""


class GitSource:
    """Fetches one folder of a repository."""

    def __init__(self, address: InGit, beside: Path) -> None:
        """Read `address`; what is fetched of a repository elsewhere is kept in the directory `beside`."""
        self._address = address
        self._beside = beside

    def __call__(self, known: str | None) -> Snapshot | None:
        """Return what the folder holds, or None where the commit is the known one. Raises PromptError."""
        address = self._address
        if address.is_local:
            repository = str(Path(address.repository).expanduser())
            commit = self._text(
                repository, "rev-parse", "--verify", "--end-of-options", f"{address.reference}^{{commit}}"
            )
        else:
            repository, commit = self._fetched(known)
        if commit == known:
            return None
        tree = f"{commit}:{address.folder}" if address.folder else commit
        return Snapshot(commit, _files(self._bytes(repository, "archive", "--format=tar", tree)))

    def _fetched(self, known: str | None) -> tuple[str, str]:
        """Return a bare repository that has the commit, and the commit."""
        url, reference = self._address.repository, self._address.reference
        repository = str(self._beside)
        if not (self._beside / "HEAD").exists():
            self._beside.mkdir(parents=True, exist_ok=True)
            self._bytes(repository, "init", "--quiet", "--bare")
        told = self._text(repository, "ls-remote", "--", url, reference, f"{reference}^{{}}").split("\n")
        # Of an annotated tag the commit is told in a second line.
        found = {name: commit for commit, _, name in (line.partition("\t") for line in told if line)}
        commit = next((found[name] for name in sorted(found, reverse=True) if name.endswith("^{}")), None)
        commit = commit or next(iter(found.values()), None) or reference
        if commit != known:
            self._bytes(
                repository, "fetch", "--quiet", "--depth=1", "--no-tags", "--end-of-options", url, commit
            )
        return repository, commit

    def _text(self, repository: str, *command: str) -> str:
        return self._bytes(repository, *command).decode("utf-8", "replace").strip()

    def _bytes(self, repository: str, *command: str) -> bytes:
        told = f"git:{without_password(self._address.repository)}@{self._address.reference}"
        try:
            done = subprocess.run(  # noqa: S603 - no shell, and nothing of an address can be an option
                ["git", *_SAFE, "-C", repository, *command],  # noqa: S607 - the one in the user's PATH
                capture_output=True, check=False, timeout=SECONDS, env=_environment(), stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except FileNotFoundError:
            raise PromptError(f"{told}: the command `git` is not installed") from None
        except (OSError, subprocess.TimeoutExpired) as error:
            why = (
                f"no answer within {SECONDS:.0f} s"
                if isinstance(error, subprocess.TimeoutExpired)
                else error.strerror
            )
            raise PromptError(f"{told}: {why}") from None
        if done.returncode:
            raise PromptError(f"{told}: {_last_line(done.stderr)}")
        return done.stdout


def _environment() -> dict[str, str]:
    # Nobody is there to be asked for a password. A hook that runs us sets GIT_DIR, which would win over -C.
    own = {
        name: value
        for name, value in os.environ.items()
        if name not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
    }
    return {**own, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


def _last_line(said: bytes) -> str:
    lines = [line for line in said.decode("utf-8", "replace").split("\n") if line.strip()]
    fatal: Sequence[str] = [line for line in lines if line.startswith(("fatal:", "error:"))] or lines
    return (
        without_password(fatal[0].removeprefix("fatal: ").removeprefix("error: ")) if fatal else "git failed"
    )


def _files(archive: bytes) -> dict[str, bytes]:
    """Return the regular files of a tar archive: links are no prompts, and lead elsewhere."""
    found: dict[str, bytes] = {}
    size = 0
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        for member in members:
            size += member.size
            if len(found) > MOST_FILES or size > MOST_BYTES:
                raise PromptError(
                    f"more than {MOST_FILES} files or {MOST_BYTES // 10**6} MB: name a folder behind #"
                )
            content = members.extractfile(member) if member.isreg() else None
            if content is not None:
                found[member.name] = content.read()
    return found
