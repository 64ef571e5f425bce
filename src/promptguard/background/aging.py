"""Verdicts that grow old while no pairs come: told to the log and to telemetry when it happens, with the reason.

Readers see it by themselves (`report.freshness`); who watches a log would not, as nothing is written then.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict

from promptguard.background.folding import WHOLE, Fold, StreamFold
from promptguard.core.events import Event, PairDone, VerdictGiven
from promptguard.core.streams import SELF_TESTS
from promptguard.ledger.folds import Folds
from promptguard.report.freshness import Clock, Document, as_of

log = logging.getLogger("promptguard")

LOOK_SECONDS = 60.0
"""Between two looks for verdicts that grew old."""
WRITE_SECONDS = 10.0
"""Calls that were not even prepared are noted in the ledger at most this often."""


class Refusals:
    """Why calls of a stream were not even prepared (a spent budget, say), and when last. Thread-safe."""

    def __init__(self, folds: Folds, wall: Callable[[], float]) -> None:
        self._folds = folds
        self._wall = wall
        self._lock = threading.Lock()
        self._waiting: dict[str, tuple[str, float]] = {}
        self._written_at = -WRITE_SECONDS
        self.known: dict[str, tuple[str, float]] = {}

    def note(self, stream: str, reason: str) -> None:
        """Note a call that was not prepared; written with a turn of the evaluator's."""
        with self._lock:
            self._waiting[stream] = self.known[stream] = reason, self._wall()

    def hear(self, event: Event) -> None:
        """Note an event that tells of such a call."""
        if (
            isinstance(event, PairDone)
            and event.outcome == "dropped"
            and event.reason.startswith("not_asked")
        ):
            self.note(event.stream, event.reason)

    def write(self, *, now: bool = False) -> None:
        """Put what was noted into the ledger. Raises what it does."""
        if not self._waiting or not (now or time.monotonic() - self._written_at >= WRITE_SECONDS):
            return
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        self._written_at = time.monotonic()
        self._folds.note_refused(waiting)


class Aging:
    """Looks now and then which verdicts of a fold have grown too old to stand."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._look_at = time.monotonic() + LOOK_SECONDS
        self._told: dict[tuple[str, int, str], str] = {}
        """(stream, epoch, group) → the reason that was told"""

    def look(
        self, fold: Fold, epoch: Callable[[str, str], int], clock: Clock
    ) -> Iterator[tuple[str, int, str]]:
        """Tell what grew old since the last look; yields the (stream, epoch, group) told. Looks once a minute at most."""
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_SECONDS
        newest = dict(sorted(fold.streams))
        for (stream, number), known in sorted(fold.streams.items()):
            for name in known.seen:
                if number == (newest[stream] if name == WHOLE else epoch(stream, name)):
                    place = (stream, number, name)
                    reason = aged(known, stream, name, clock)
                    if reason is None:
                        self._told.pop(place, None)
                    elif self._told.get(place) != reason:
                        self._told[place] = reason
                        self._say(known, place, reason)
                        yield place

    def _say(self, known: StreamFold, place: tuple[str, int, str], reason: str) -> None:
        stream, _, name = place
        if name == WHOLE:
            if stream not in SELF_TESTS:
                with contextlib.suppress(Exception):  # a filter of the application's may raise
                    log.warning("the %s stream is not measured any more: %s", stream, reason)
            return
        brief = known.monitor.brief(name)
        sentence = brief.unmeasured(reason).sentence()
        self._emit(VerdictGiven(stream, name, "unmeasured", brief.log10_evidence, sentence))


def aged(known: StreamFold, stream: str, name: str, clock: Clock) -> str | None:
    """Return why a verdict that says `no_drift` does not stand any more; None where it does, or says something else."""
    brief = known.monitor.brief(None if name == WHOLE else name)
    if brief.status != "no_drift":
        return None
    missing = known.missing.get(name)
    told: Document = {
        "status": brief.status,
        "reason": None,
        "stream": stream,
        "pairs": brief.pairs,
        "skipped": brief.skipped,
        "moments": {"last": {"at": known.seen[name].last[1]}},
        "pace": {
            "ages": {"gap": known.age(name).gap},
            "missing": None if missing is None else asdict(missing),
        },
    }
    as_of(told, clock)
    return None if told["status"] == "no_drift" else told["reason"]
