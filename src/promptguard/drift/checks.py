"""Wrong settings of a monitor are named at construction."""

from __future__ import annotations

from promptguard.drift.features.labels import check_labeller


def check_tolerance(tolerance: object) -> None:
    """Raise ValueError for anything but a share or None."""
    if tolerance is not None and not _is_share(tolerance):
        raise ValueError(f"tolerance must be a share between 0 and 1, or None, not {tolerance!r}")


def check_share(name: str, value: object) -> None:
    """Raise ValueError for anything but a number between 0 and 1, both excluded."""
    if not _is_share(value):
        raise ValueError(f"{name} must be a share between 0 and 1, not {value!r}")


def _is_share(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float)) and 0.0 < value < 1.0


NO_GROUP = ""
"""What pairs without a group are counted under."""


def check_settings(
    *, alpha: object, mode: object, horizon: object, stream: object, labels: object, seed: object
) -> None:
    """Raise ValueError that names the first argument of a monitor that cannot be."""
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must be a number between 0 and 1, not {alpha!r}")
    if mode not in ("gate", "monitor"):
        raise ValueError(f"mode must be 'gate' or 'monitor', not {mode!r}")
    if mode == "gate" and horizon is not None:
        raise ValueError("horizon belongs to mode='monitor'; a gate has none")
    if mode == "monitor" and (isinstance(horizon, bool) or not isinstance(horizon, int) or horizon < 1):
        raise ValueError(
            f"horizon must be the pairs between resets (at least 1) in mode='monitor', not {horizon!r}"
        )
    if not isinstance(stream, str) or not stream:
        raise ValueError("stream must be a non-empty string")
    check_labeller(labels)
    if not isinstance(seed, bytes):
        raise ValueError(f"seed must be bytes, not {type(seed).__name__}")


def group_name(group: str | None) -> str:
    """Return the name that pairs are counted under. Raises ValueError for what is no name."""
    if group is None:
        return NO_GROUP
    if not isinstance(group, str) or not group:
        raise ValueError("group must be a non-empty string or None")
    return group
