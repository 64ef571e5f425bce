"""Two rules for import-linter that it does not have: an allow-list for pure rooms, and libraries kept to some rooms.

A list of what is forbidden forgets the next module that reads a clock; a list of what is allowed does not.
"""

from __future__ import annotations

from collections.abc import Iterable

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output

OURS = "promptguard"


class _ExternalImports(Contract):
    """Breaks on each import of a module that is not ours and that `unwanted` names."""

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002 - import-linter's signature
        found = sorted(
            (importer, imported)
            for importer in graph.modules
            if _is_in(importer, [OURS])
            for imported in graph.find_modules_directly_imported_by(importer)
            if not _is_in(imported, [OURS]) and self.unwanted(importer, imported)
        )
        return ContractCheck(kept=not found, metadata={"found": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for importer, imported in check.metadata["found"]:
            output.print_error(f"{importer} may not import {imported}")

    def unwanted(self, importer: str, imported: str) -> bool:
        raise NotImplementedError


class AllowList(_ExternalImports):
    """`source_modules` import only `allowed` of the standard library and of other packages."""

    source_modules = fields.ListField(subfield=fields.StringField())
    allowed = fields.ListField(subfield=fields.StringField())

    def unwanted(self, importer: str, imported: str) -> bool:
        return _is_in(importer, self.source_modules) and not _is_in(imported, self.allowed)


class KeptTo(_ExternalImports):
    """`packages` are imported in `rooms` and nowhere else."""

    packages = fields.ListField(subfield=fields.StringField())
    rooms = fields.ListField(subfield=fields.StringField())

    def unwanted(self, importer: str, imported: str) -> bool:
        return _is_in(imported, self.packages) and not _is_in(importer, self.rooms)


def _is_in(module: str, packages: Iterable[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)
