"""A change that was taken back: told beside the verdict of the epoch that shows it, with the moment since when.

Three ways show it. The verdict itself says so (`drift.explain.course`). The stored answers of after the change meet answers
as they were before it: a second drift, the reverse of the first. Or the model is compared with its pinned snapshot: the
first epoch says that the model moved away from it, a later one that they do not differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Document = dict[str, Any]
ALIKE = 0.35
"""Share of the first change within which the answers have to be where they were before it."""


def mark_taken_back(documents: Sequence[Document]) -> None:
    """Say in each group's document since when the answers are as before an earlier epoch's change, None where not."""
    earlier: dict[tuple[str, str], Document] = {}
    for told in sorted(documents, key=lambda told: told["epoch"]):
        for group in told["groups"]:
            place = group["stream"], group["group"]
            ended = _at(group, "ended") if group["status"] == "drift" else None
            group["as_before_since"] = ended or _since(earlier.get(place), group)
            if group["status"] == "drift":
                earlier[place] = group


def _since(before: Document | None, now: Document) -> float | None:
    if before is None:
        return None
    if now["status"] == "drift":
        return _at(now, "onset") if _reverses(before.get("changes") or (), now.get("changes") or ()) else None
    # another snapshot to compare with says nothing of the first one
    same = all(before.get(side) == now.get(side) for side in ("control_model", "candidate_model"))
    quiet = same and now["status"] == "no_drift" and now["stream"] == "candidate"
    return _at(now, "first") if quiet and now["pairs"] else None


def _reverses(first: Sequence[Document], second: Sequence[Document]) -> bool:
    """Whether the second change's most telling features go back to where they were before the first."""
    found = {change["feature"]: change for change in first}
    shared = [(found[change["feature"]], change) for change in second if change["feature"] in found][:3]
    return bool(shared) and all(
        one["difference"] * other["difference"] < 0
        and abs(other["candidate"] - one["control"]) <= ALIKE * abs(one["difference"])
        for one, other in shared
    )


def _at(told: Document, name: str) -> float | None:
    moment = told.get("moments", {}).get(name)
    return None if moment is None else float(moment["at"])
