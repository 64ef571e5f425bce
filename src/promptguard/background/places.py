"""The places of sampled calls, taken before their answers are known: room in the queue, and a turn in every stream."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Protocol

from promptguard.background.sides import given_up, not_judged, was_refused
from promptguard.core.background_call import NO_BACKGROUND_CLIENT
from promptguard.core.effects import Abandon, Job
from promptguard.core.events import Event, PairDone
from promptguard.core.streams import CALL, STORED, STREAMS
from promptguard.ledger.rows import PairRow
from promptguard.shadow.admission import Admission
from promptguard.shadow.reorder import MOST_SLOTS, Missing, ReorderBuffer
from promptguard.verdict.reasons import PROCESS_ENDED

if TYPE_CHECKING:
    from promptguard.background.asker import Asker

LONGEST_CALL = 180.0
"""Seconds after which a sampled call whose answer, or whose second answer, has not come gives up its places.

Until then it holds up every pair behind it. The same on both sides: were slow answers lost on one side alone, the two
would not be exchangeable."""

TAKEN_KEPT = 10_000
"""Clusters remembered as taken; older ones are claimed in the ledger."""

Outcome = PairRow | Callable[[], None]
"""What becomes of a place: a row; or, of an answer that is stored, what is done when its turn has come."""
PAIRED_BEFORE = "this question or conversation was paired before"
_ASKED = ("candidate", "repeat")
"""Streams that the call asks somebody for, within the caps of a budget."""


class Lost(Protocol):
    """Makes the row of a pair that is missing a side."""

    def __call__(self, stream: str, group: str, outcome: str, reason: str) -> PairRow:
        """Return the row."""


class Places:
    """Gives places, and fills them. Thread-safe.

    `release` takes rows in the order of a stream's places, within a lock; `lost` makes one without answers; `emit` is told
    of calls that get no place; `epoch` returns that of a stream's group; `most_open` how many calls may be under way.
    """

    def __init__(
        self,
        *,
        release: Callable[[PairRow], None],
        lost: Lost,
        emit: Callable[[Event], None],
        epoch: Callable[[str, str], int],
        most_open: Callable[[], int],
    ) -> None:
        self._release = release
        self._make_lost = lost
        self._emit = emit
        self._epoch = epoch
        self._lock = threading.Lock()
        self._taken: dict[tuple[str, int, str], None] = {}
        self._admission = Admission(lambda: min(most_open(), MOST_SLOTS))
        self._orders: dict[str, ReorderBuffer[Outcome]] = {
            stream: ReorderBuffer(self.tell, time.monotonic, partial(self._unfinished, stream, "abandoned"))
            for stream in (*STREAMS, STORED)
        }

    @property
    def under_way(self) -> int:
        """How many sampled calls take up room."""
        return len(self._admission)

    @property
    def held(self) -> int:
        """How many outcomes wait for one before them."""
        return sum(order.held for order in self._orders.values())

    def order(self, stream: str) -> ReorderBuffer[Outcome]:
        """Return the order of a stream's pairs."""
        return self._orders[stream]

    def take(
        self, asker: Asker, streams: tuple[str, ...], group: str, clusters: tuple[str, ...]
    ) -> dict[str, int]:
        """Return the places of a call that was drawn for `streams`: one in each, and CALL; none where there is no room.

        A stream is left out where one of `clusters` has its pair, and where nobody could be asked; that is counted. A call
        with CALL alone takes up no room: it is offered to note who answered.
        """
        number = self._admission.admit()
        if number is None:
            for stream in streams:
                self.tell(self.lost(stream, group, "dropped", "queue_full"))
            return {}
        places = {CALL: number}
        try:
            self._take_each(places, asker, streams, group, clusters)
        except BaseException:
            self.drop(places, group, "fault")
            raise
        if len(places) == 1:
            self._admission.leave(number)
        return places

    def _take_each(
        self,
        places: dict[str, int],
        asker: Asker,
        streams: tuple[str, ...],
        group: str,
        clusters: tuple[str, ...],
    ) -> None:
        refused = None
        for stream in streams:
            if stream in _ASKED:
                # of two calls of a question the one that tests the instrument is not made alone
                refused = refused or _refusal(asker, stream)
                if refused is not None:
                    self._emit(PairDone(stream, group, *refused, "", 0.0))
                    continue
            if stream == STORED or self._first(stream, self._epoch(stream, group), clusters):
                places[stream] = self._orders[stream].open(group)
                continue
            self.tell(self.lost(stream, group, "not_paired", PAIRED_BEFORE))
            if stream in _ASKED:
                asker.limiter.give_place_back()

    def _first(self, stream: str, epoch: int, clusters: tuple[str, ...]) -> bool:
        places = [(stream, epoch, cluster) for cluster in clusters]
        with self._lock:
            if any(place in self._taken for place in places):
                return False
            self._taken.update(dict.fromkeys(places))
            while len(self._taken) > TAKEN_KEPT:  # the ledger knows the older ones by now
                del self._taken[next(iter(self._taken))]
        return True

    def answered(self, places: Mapping[str, int]) -> bool:
        """Give the second answer of a call as much time as the first had; returns whether there is room for its work."""
        for stream, slot in places.items():
            if stream != CALL:
                self._orders[stream].renew(slot)
        return CALL in places and self._admission.answered(places[CALL])

    def is_open(self, stream: str, slot: int) -> bool:
        """Whether an outcome for this place would still count."""
        return self._orders[stream].is_open(slot)

    def settle(self, stream: str, slot: int, outcome: Outcome) -> bool:
        """Fill a place in a stream's order; False if it was given up before."""
        return self._orders[stream].complete(slot, outcome)

    def leave(self, places: Mapping[str, int]) -> None:
        """Give back the room of a call whose background work is done."""
        if CALL in places:
            self._admission.leave(places[CALL])

    def drop(self, places: Mapping[str, int], group: str, reason: str, outcome: str = "dropped") -> None:
        """Give up the places of a call that could not be taken."""
        self.leave(places)
        for stream, slot in places.items():
            if stream != CALL:
                self.settle(stream, slot, self.lost(stream, group, outcome, reason))

    def refuse(self, job: Job, reason: str) -> None:
        """Give up the places of a call that has its answer, as a lost one; what was to be stored is a pair's control."""
        for stream, slot in job.places.items():
            if stream == STORED and was_refused(job.error):
                self.settle(stream, slot, _nothing)
            else:
                side = "control_error" if stream == STORED else "candidate_error"
                self.drop({stream: slot}, job.group, reason, side)

    def abandon(self, effect: Abandon) -> None:
        """Give up the place of a sampled call whose control has no answer."""
        self.drop({effect.stream: effect.slot}, effect.group, effect.reason, effect.outcome)

    def expire(self) -> None:
        """Give up the places of sampled calls that never ended."""
        for order in self._orders.values():
            order.abandon_older(LONGEST_CALL)
        self._admission.expire(LONGEST_CALL)

    def end(self) -> None:
        """Count the sampled calls that are no pair yet as lost, as the process ends. Raises what the first order did."""
        raised: Exception | None = None
        for stream, order in self._orders.items():
            try:
                order.end(partial(self._unfinished, stream, PROCESS_ENDED), _behind)
            except Exception as error:  # noqa: BLE001 - the other streams have pairs as well
                raised = raised or error
        if raised is not None:
            raise raised

    def _unfinished(self, stream: str, reason: str, group: str, missing: Missing) -> PairRow:
        return self.lost(stream, group, given_up(stream, missing), reason)

    def lost(self, stream: str, group: str, outcome: str, reason: str) -> PairRow:
        """Return the row of a place that is not filled with a pair; of an answer that was to be stored, one of replay."""
        return self._make_lost("replay" if stream == STORED else stream, group, outcome, reason)

    def tell(self, outcome: Outcome) -> None:
        """Have a row written, or do what was put off until its turn came."""
        if callable(outcome):
            outcome()
        else:
            self._release(outcome)


def _nothing() -> None:
    """Have nothing told of an attempt that says nothing of one side."""


def _behind(outcome: Outcome) -> Outcome:
    """Return what becomes of an outcome that waits for one before it as the process ends."""
    return outcome if callable(outcome) else not_judged(outcome)  # what is stored is not judged yet


def _refusal(asker: Asker, stream: str) -> tuple[str, str] | None:
    """Take a call of this minute for a stream; or return why its question could not be asked, as (outcome, reason)."""
    if not asker.can_ask(stream):
        return "not_paired", NO_BACKGROUND_CLIENT
    refused = asker.limiter.take_place()
    if refused is None:
        return None
    asker.repeats.refused()
    return "dropped", f"not_asked: {refused}"
