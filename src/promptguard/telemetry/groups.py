"""From the name a call is counted under to a prompt's name and version."""

from __future__ import annotations


def split_group(group: str) -> tuple[str, str | None]:
    """Return a group's prompt name and version; groups without a template have no version."""
    prompt, at, version = group.rpartition("@")
    return (prompt, version) if at else (group, None)
