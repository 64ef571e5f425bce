"""What `promptguard.prompts(source)` may be given: a folder, or one of three addresses.

=============================================  ==============================================================
`prompts/`                                     a folder of this machine
`package:shop.support/prompts`                 files inside an installed package
`git:/srv/prompts.git@production#prompts`      a folder of a repository, at a branch, tag or commit
`ledger:.promptguard`                          what `promptguard prompts push` has put into a ledger
=============================================  ==============================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from promptguard.core.mistakes import nearest, refused, shown
from promptguard.directories import check_database
from promptguard.errors import ConfigurationError

KINDS = ("package", "git", "ledger")
ACCEPTED = 'a folder such as "prompts", or "package:NAME/FOLDER", "git:REPOSITORY@REFERENCE#FOLDER", "ledger:DIRECTORY"'
_SCHEME = re.compile(r"([A-Za-z]{2,16}):(?!//)(.*)", re.DOTALL)
"""One letter is a drive of Windows."""
_PACKAGE = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?:/(.*))?")


@dataclass(frozen=True, slots=True)
class InPackage:
    """Files of an installed package; `folder` is relative to it, "" for the package itself."""

    package: str
    folder: str


@dataclass(frozen=True, slots=True)
class InGit:
    """A folder of a repository, which is a path or a URL, at a branch, tag or commit."""

    repository: str
    reference: str
    folder: str

    @property
    def is_local(self) -> bool:
        """Whether the repository is a folder of this machine."""
        return Path(self.repository).expanduser().is_dir()


@dataclass(frozen=True, slots=True)
class InLedger:
    """The prompts that were pushed into a ledger."""

    directory: str


Address = InPackage | InGit | InLedger


def address_of(source: object) -> Address | None:
    """Return the address that `source` is, None for a folder. Raises ConfigurationError for an address that cannot be."""
    if not isinstance(source, str):
        return None
    found = _SCHEME.fullmatch(source)
    if found is None or Path(source).is_dir():
        return None
    kind, rest = found[1].lower(), found[2]
    if kind not in KINDS:
        meant = nearest(kind, KINDS)
        hint = "" if meant is None else f"; did you mean {meant + ':'!r}?"
        raise ConfigurationError(
            f"prompts({shown(source)}): there is no such kind of place{hint} Give {ACCEPTED}"
        )
    if kind == "ledger":
        if not rest:
            raise refused("prompts(source)", source, 'a directory behind it: "ledger:.promptguard"')
        return InLedger(check_database(rest))
    return _in_package(source, rest) if kind == "package" else _in_git(source, rest)


def _in_package(source: str, rest: str) -> InPackage:
    found = _PACKAGE.fullmatch(rest)
    folder = "" if found is None else (found[2] or "").strip("/")
    if found is None or not _is_inside(folder):
        raise refused(
            "prompts(source)",
            source,
            'a package behind it, and a folder in it: "package:shop.support/prompts"',
        )
    return InPackage(found[1], folder)


def _in_git(source: str, rest: str) -> InGit:
    place, _, folder = rest.partition("#")
    repository, at, reference = place.rpartition("@")
    if not at or ":" in reference:  # `git@host:path` has an @ of its own
        repository, reference = place, "HEAD"
    folder = folder.strip("/")
    # What begins with a dash would be an option of git's.
    if (
        not repository
        or repository[0] == "-"
        or not reference
        or reference[0] == "-"
        or not _is_inside(folder)
    ):
        raise refused(
            "prompts(source)",
            without_password(source),
            'a repository behind it: "git:/srv/prompts.git@main#prompts"',
        )
    return InGit(repository, reference, folder)


def _is_inside(folder: str) -> bool:
    return ".." not in folder.split("/") and "\0" not in folder and "\\" not in folder


def without_password(text: str) -> str:
    """Return an address without what stands before the @ of its URLs: a user, and often a token."""
    return re.sub(r"(://)[^/@\s]*@", r"\1", text)
