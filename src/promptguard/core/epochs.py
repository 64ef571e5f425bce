"""Which epoch a stream's pairs belong to: evidence starts anew with each, and never silently.

A route begins one, because the application's answers then come from another model; so does an acknowledgement, because
the promise on false alarms begins again with it. Built from what a ledger notes, in order, so that every process and
every reader comes to the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from promptguard.core.streams import SELF_TESTS

EVERY_GROUP = ""
"""In place of a group: all of a stream. A self-test is about the instrument, and a change that only all prompts together
show is nobody's own: either is acknowledged for all groups at once."""
ALL_PROMPTS = "(all)"
"""How `EVERY_GROUP` is shown, and given to commands."""
_FIRST = 1


def shown_group(group: str) -> str:
    """Return a group as people read and write it."""
    return group or ALL_PROMPTS


class Epochs:
    """Epochs by stream and group; `apply` takes what was noted, oldest first."""

    def __init__(self) -> None:
        self._base: dict[str, int] = {}
        """the epoch at which all groups of a stream were put on one number, last"""
        self._begun: dict[tuple[str, str], int] = {}
        """how many epochs a group has begun since then"""
        self._closed: dict[tuple[str, str], int] = {}
        self._routes: set[str] = set()
        self.routed: set[tuple[str, int]] = set()
        """(group, candidate epoch) in which the application's calls went elsewhere"""
        self.together: set[tuple[str, int]] = set()
        """(stream, epoch) whose prompts showed a change together, before any did alone"""

    def of(self, stream: str, group: str) -> int:
        """Return the epoch that the next pair of a group belongs to, counted from 1."""
        place = (stream, EVERY_GROUP if stream in SELF_TESTS else group)
        return self._base.get(stream, _FIRST) + self._begun.get(place, 0)

    def is_routed(self, group: str, epoch: int) -> bool:
        """Whether the application's calls of a group went elsewhere in a candidate epoch."""
        return (group, epoch) in self.routed or (EVERY_GROUP, epoch) in self.routed

    def is_closed(self, stream: str, group: str, epoch: int) -> bool:
        """Whether an alarm of this epoch has been acknowledged."""
        closed = self._closed
        return epoch <= max(closed.get((stream, group), 0), closed.get((stream, EVERY_GROUP), 0))

    def apply(self, noted: Mapping[str, object]) -> None:
        """Take one alarm, route, its undoing or acknowledgement; anything else begins nothing."""
        stream, group = str(noted["stream"]), str(noted["group"])
        if noted["kind"] == "alarm":
            if group == EVERY_GROUP and stream not in SELF_TESTS:
                self.together.add((stream, _epoch_of(noted)))
        elif noted["kind"] == "route":
            self._routes.add(group)
            self.routed.add((group, self._begin("candidate", group)))
        elif noted["kind"] == "undo_route":
            if group in self._routes:
                self._routes.discard(group)
                self._begin("candidate", group)  # the application's answers are the alias's again
        elif noted["kind"] == "acknowledge":
            ends = group in self._routes and stream not in SELF_TESTS
            if ends:
                self._routes.discard(group)
            self._close(stream, group)
            if ends and stream != "candidate":
                self._begin("candidate", group)  # the application's answers are the alias's again

    def _close(self, stream: str, group: str) -> None:
        place = (stream, EVERY_GROUP if stream in SELF_TESTS else group)
        self._closed[place] = self._newest(stream) if place[1] == EVERY_GROUP else self.of(stream, group)
        self._begin(*place)

    def _begin(self, stream: str, group: str) -> int:
        if group == EVERY_GROUP:
            # One number for all, and one that none has had: their pairs are judged together from here on.
            self._base[stream] = self._newest(stream) + 1
            self._begun = {place: begun for place, begun in self._begun.items() if place[0] != stream}
        else:
            self._begun[stream, group] = self._begun.get((stream, group), 0) + 1
        epoch = self.of(stream, group)
        if stream == "candidate":
            # Routes that stand go on: those of single prompts where all begin anew, that of all where one prompt does.
            if group == EVERY_GROUP:
                self.routed |= {(name, epoch) for name in self._routes}
            elif EVERY_GROUP in self._routes:
                self.routed.add((group, epoch))
        return epoch

    def _newest(self, stream: str) -> int:
        """Return the highest epoch that a group of the stream is in."""
        begun = (begun for (name, _), begun in self._begun.items() if name == stream)
        return self._base.get(stream, _FIRST) + max(begun, default=0)


def _epoch_of(noted: Mapping[str, object]) -> int:
    detail = noted.get("detail")
    epoch = detail.get("epoch") if isinstance(detail, Mapping) else None
    return epoch if isinstance(epoch, int) else 0
