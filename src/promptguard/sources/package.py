"""Prompts that an installed package carries: its folder where it has one, a copy where it is a zip file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from promptguard.errors import ConfigurationError
from promptguard.sources.address import InPackage
from promptguard.sources.mirror import Snapshot


def place_of(address: InPackage) -> Traversable:
    """Return the folder of a package. Raises ConfigurationError where there is no such package or folder."""
    told = f"package:{address.package}" + (f"/{address.folder}" if address.folder else "")
    try:
        place = files(address.package)
        for part in address.folder.split("/") if address.folder else ():
            place = place.joinpath(part)
        is_there = place.is_dir()
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"prompts({told!r}): no package {error.name!r} is installed") from None
    except (OSError, TypeError, ValueError, ImportError) as error:
        raise ConfigurationError(f"prompts({told!r}): the package cannot be read: {error}") from None
    if not is_there:
        raise ConfigurationError(
            f"prompts({told!r}): {address.package} has no folder {address.folder!r}; its files must be installed with it"
            " (package data)"
        )
    return place


def folder_of(place: Traversable) -> Path | None:
    """Return the path of a package's folder; None where it lies in a zip file."""
    return place if isinstance(place, Path) else None


def snapshot(place: Traversable) -> Snapshot:
    """Return all files below a folder of a package."""
    found = dict(_walk(place, ""))
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(name.encode() + b"\0" + hashlib.sha256(found[name]).digest())
    return Snapshot(digest.hexdigest(), found)


def _walk(place: Traversable, above: str) -> Iterator[tuple[str, bytes]]:
    for each in place.iterdir():
        if each.is_dir():
            yield from _walk(each, f"{above}{each.name}/")
        else:
            yield above + each.name, each.read_bytes()
