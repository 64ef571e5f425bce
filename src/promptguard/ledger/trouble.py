"""What can be wrong with a ledger, told in one line.

The machine's state is no mistake of configuration: a ledger that is damaged is set aside (renamed, never deleted), one
that is away, locked, full, read-only or of a newer version is waited for. Nothing here raises into an application.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "damaged", "foreign", "newer", "locked", "full", "read-only", "missing", "denied", "away", "unusable"
]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a ledger cannot be used now."""

    kind: Kind
    told: str
    """one line for people: which place, what is wrong, what to do"""


class LedgerUnavailable(Exception):  # noqa: N818 - a state of the machine, told as such
    """The ledger cannot be used at this moment; `trouble` says why."""

    is_told = True
    """by the ledger, once a change of its state: whoever counts this need not say it again"""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.told)
        self.trouble = trouble
