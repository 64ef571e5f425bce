"""What settings come to, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from promptguard.core.fields import FieldEffect
from promptguard.core.options import Action, Cache, Channel, Compat, Drift, Replay, Shadow, Warn
from promptguard.core.telemetry_for import Backend


class NotGiven(Enum):
    """Tells an argument that was left out from one that is None."""

    NOT_GIVEN = "from settings"

    def __repr__(self) -> str:
        """Return what `help()` shows as the default."""
        return "<from settings>"


NOT_GIVEN = NotGiven.NOT_GIVEN
DEFAULT_LEDGER = ".promptguard"


@dataclass(frozen=True, slots=True)
class Values:
    """What holds for an argument of wrap() that is not given. The defaults are those of the library."""

    ledger: str | Path = DEFAULT_LEDGER
    cache: Cache | None = None
    shadow: Shadow | None = None
    replay: Replay | None = None
    drift: Drift | None = None
    on_drift: tuple[Action, ...] = (Warn(),)
    alerts: tuple[Channel, ...] = ()
    record_content: bool | None = None
    fields: Mapping[str, FieldEffect] | None = field(default=None, hash=False)
    compat: Compat | None = None
    telemetry_for: tuple[Backend, ...] = ()
    certificates_last: float | str = "90d"
    seed: int | None = None
