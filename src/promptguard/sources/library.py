"""Libraries of prompts that come from elsewhere, and the one way to open any of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from promptguard.core.mistakes import checked_call
from promptguard.core.options.durations import seconds
from promptguard.core.rollouts import Table
from promptguard.directories import ledger_place
from promptguard.errors import PromptError
from promptguard.settings import current
from promptguard.sources.address import Address, InGit, InLedger, InPackage, address_of, without_password
from promptguard.sources.mirror import Mirror, home_of
from promptguard.templates.certificates import LASTS, Certificate
from promptguard.templates.labels import Move, check_words, checked_label, moved_to, rolled_back
from promptguard.templates.library import PromptLibrary, nothing_rolled_out

REFRESH_SECONDS = 1.0
"""A ledger or a repository of this machine: as quick as a person at another terminal."""
REFRESH_ELSEWHERE = 60.0
"""A repository that is reached over a network."""


def open_prompts(
    source: str | Path,
    every: float | None = None,
    certificates_last: float = LASTS,
    rollouts: Callable[[], Table] = nothing_rolled_out,
) -> PromptLibrary:
    """Open prompts from wherever they are; as `promptguard.prompts`, with seconds for durations.

    `rollouts` gives what is being rolled out.
    """
    address = address_of(source)
    if address is None:
        return PromptLibrary(source, certificates_last, rollouts)
    if isinstance(address, InPackage):
        return _of_package(address, certificates_last, rollouts)
    return MirroredLibrary(_mirror(address, every), address, certificates_last, rollouts)


@checked_call
def open_as_set(source: str | Path) -> PromptLibrary:
    """Open prompts as settings say, for commands and pages, which follow no rollout; as `promptguard.prompts`."""
    return open_prompts(source, certificates_last=seconds(current().certificates_last, "certificates_last"))


def _of_package(address: InPackage, certificates_last: float, rollouts: Callable[[], Table]) -> PromptLibrary:
    from promptguard.sources.package import folder_of, place_of, snapshot

    place = place_of(address)
    folder = folder_of(place)
    if folder is not None:
        return PromptLibrary(folder, certificates_last, rollouts)
    mirror = Mirror(_told(address), lambda _known: snapshot(place), None)
    return MirroredLibrary(mirror, address, certificates_last, rollouts)


def _mirror(address: InGit | InLedger, every: float | None) -> Mirror:
    if isinstance(address, InLedger):
        from promptguard.sources.in_ledger import LedgerSource

        return Mirror(_told(address), LedgerSource(address.directory), every or REFRESH_SECONDS)
    from promptguard.sources.git import GitSource

    usual = REFRESH_SECONDS if address.is_local else REFRESH_ELSEWHERE
    home = home_of(_told(address))
    return Mirror(_told(address), GitSource(address, home / "repository"), every or usual, home)


def _told(address: Address) -> str:
    if isinstance(address, InLedger):
        return f"ledger:{ledger_place(address.directory)}"
    if isinstance(address, InPackage):
        return f"package:{address.package}/{address.folder}"
    repository = (
        str(Path(address.repository).expanduser().absolute()) if address.is_local else address.repository
    )
    return f"git:{without_password(repository)}@{address.reference}#{address.folder}"


class MirroredLibrary(PromptLibrary):
    """Prompts whose source is elsewhere. Labels of a ledger's can be moved; those of others move where they come from."""

    def __init__(
        self,
        mirror: Mirror,
        address: Address,
        certificates_last: float = LASTS,
        rollouts: Callable[[], Table] = nothing_rolled_out,
    ) -> None:
        mirror.open()
        self._mirror = mirror
        self._address = address
        super().__init__(mirror.directory, certificates_last, rollouts)

    @property
    def place(self) -> str:
        """Where these prompts come from, as `open_prompts` takes it from any directory."""
        return self._mirror.told

    @property
    def trouble(self) -> str | None:
        """Why the source could not be read when it was last looked at; None where it could."""
        return self._mirror.trouble

    def all_versions(self) -> dict[str, list[str]]:
        """Return name -> versions, lowest first, of all prompts."""
        self._mirror.look()
        return super().all_versions()

    def versions(self, name: str) -> list[str]:
        """Return the versions of a prompt, lowest first; empty when there is no such prompt."""
        self._mirror.look()
        return super().versions(name)

    def labels(self, name: str) -> Mapping[str, str]:
        """Return label -> version of a prompt, as the last moves have it."""
        self._mirror.look()
        return super().labels(name)

    def history(self, name: str | None = None) -> Sequence[Move]:
        """Return every move of a label, oldest first: of one prompt, or of all."""
        self._mirror.look()
        return super().history(name)

    @checked_call
    def label(
        self, reference: str, label: str, *, why: str = "", by: str = "", only_from: str | None = None
    ) -> Move:
        """Put a label on a version, in the ledger that the prompts come from; as `PromptLibrary.label`."""
        prompt = self._get(reference)
        checked_label(label)
        check_words(by=by, why=why)
        return self._moved(
            prompt.name,
            label,
            lambda before: moved_to(before, prompt.name, label, prompt.version, by, why, only_from),
        )

    @checked_call
    def rollback(
        self, name: str, label: str = "production", *, to: str | None = None, why: str = "", by: str = ""
    ) -> Move:
        """Put a label back, in the ledger that the prompts come from; as `PromptLibrary.rollback`."""
        check_words(by=by, why=why)
        there = sorted(self.labels(name))
        target = to if to is not None else self.earlier(name, label)
        if target is not None and target != self.labels(name).get(label):
            self.get(f"{name}@{target}")  # what could not be used must not be rolled back to
        return self._moved(name, label, lambda before: rolled_back(before, name, label, to, there, by, why))

    @checked_call
    def certify(self, certificate: Certificate) -> Certificate:
        """Raise PromptError: certificates are kept with a folder of prompts, which can be committed and pulled into."""
        raise self._only_in_a_folder(certificate.reference)

    @checked_call
    def withdraw(self, reference: str, model: str, *, why: str, by: str = "") -> Sequence[Certificate]:  # noqa: ARG002 - as of a folder
        """Raise PromptError: certificates are kept with a folder of prompts."""
        raise self._only_in_a_folder(reference)

    def _only_in_a_folder(self, reference: str) -> PromptError:
        return PromptError(
            f"certificates of {reference} are kept with a folder of prompts, not with {self._mirror.told}: give the folder"
        )

    def _moved(self, name: str, label: str, moved: Callable[[list[Move]], Move]) -> Move:
        if not isinstance(self._address, InLedger):
            raise PromptError(
                f"{self._mirror.told} is read, not written: move the label where the prompts come from, and commit"
            )
        from promptguard.sources.in_ledger import line_of, moves_in, write_move

        found: list[Move] = []

        def added(lines: Sequence[bytes]) -> Sequence[bytes]:
            before = moves_in(lines, self._mirror.told)
            found[:] = [moved(before)]
            return [] if before and found[0] is before[-1] else [line_of(found[0])]

        write_move(self._address.directory, name, label, added)
        self._mirror.bring()
        return found[0]
