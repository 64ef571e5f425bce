"""Which epoch a stream's pairs belong to: evidence starts anew with each, and never silently.

A route begins one, because the application's answers then come from another model; so does an acknowledgement, because
the promise on false alarms begins again with it. Built from what a ledger notes, in order, so that every process and
every reader comes to the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from promptguard.core.streams import SELF_TESTS

EVERY_GROUP = ""
"""A self-test is about the instrument, so it is acknowledged for all groups at once."""
_FIRST = 1


class Epochs:
    """Epochs by stream and group; `apply` takes what was noted, oldest first."""

    def __init__(self) -> None:
        self._begun: dict[tuple[str, str], int] = {}
        self._closed: dict[tuple[str, str], int] = {}
        self._routes: set[str] = set()
        self.routed: set[tuple[str, int]] = set()
        """(group, candidate epoch) in which the application's calls went elsewhere"""

    def of(self, stream: str, group: str) -> int:
        """Return the epoch that the next pair of a group belongs to, counted from 1."""
        place = (stream, EVERY_GROUP if stream in SELF_TESTS else group)
        return _FIRST + self._begun.get(place, 0)

    def is_closed(self, stream: str, group: str, epoch: int) -> bool:
        """Whether an alarm of this epoch has been acknowledged."""
        place = (stream, EVERY_GROUP if stream in SELF_TESTS else group)
        return epoch <= self._closed.get(place, 0)

    def apply(self, noted: Mapping[str, object]) -> None:
        """Take one alarm, route, its undoing or acknowledgement; anything else begins nothing."""
        stream, group = str(noted["stream"]), str(noted["group"])
        if noted["kind"] == "route":
            self._routes.add(group)
            self.routed.add((group, self._begin("candidate", group)))
        elif noted["kind"] == "undo_route":
            if group in self._routes:
                self._routes.discard(group)
                self._begin("candidate", group)  # the application's answers are the alias's again
        elif noted["kind"] == "acknowledge":
            self._close(stream, group)
            if group in self._routes and stream not in SELF_TESTS:
                self._routes.discard(group)
                if stream != "candidate":
                    self._begin("candidate", group)  # the application's answers are the alias's again

    def _close(self, stream: str, group: str) -> None:
        place = (stream, EVERY_GROUP if stream in SELF_TESTS else group)
        self._closed[place] = self.of(stream, group)
        self._begin(*place)

    def _begin(self, stream: str, group: str) -> int:
        self._begun[stream, group] = self._begun.get((stream, group), 0) + 1
        return self.of(stream, group)
