"""Counters of a ledger: what every event adds to them, and their own writer where nothing else runs in the background."""

from __future__ import annotations

import logging
import math
import time

from promptguard.core import events as ev
from promptguard.directories import Place
from promptguard.ledger.store import Ledger
from promptguard.ledger.trouble import Trouble
from promptguard.ledger.writer import Writer
from promptguard.lifetime.error_counter import ErrorCounter
from promptguard.lifetime.shared import Shared
from promptguard.lifetime.threads import OnFault
from promptguard.reasons import note

log = logging.getLogger("promptguard")

EXIT_SECONDS = 0.5


def tally(writer: Writer, event: ev.Event) -> None:
    """Add an event to the ledger's counters."""
    if isinstance(event, ev.CacheLooked):
        writer.count("cache", event.result if not event.reason else f"{event.result}: {event.reason}")
        if event.result == "hit":
            writer.count("cache saved tokens", f"{event.model}: input", event.input_tokens)
            writer.count("cache saved tokens", f"{event.model}: output", event.output_tokens)
    elif isinstance(event, ev.CacheStore):
        writer.count("cache store", f"{event.kind}: {event.reason}")
    elif isinstance(event, ev.PairDone):
        writer.count("pairs", f"{event.stream}: {event.outcome}")
        writer.count("group", event.group)
        if event.outcome != "compared":
            writer.count("not paired", note("not paired", event.reason or event.outcome))
    elif isinstance(event, ev.NotPaired):
        writer.count("not paired", event.reason)
    elif isinstance(event, ev.NotRead):
        writer.count("not read", event.reason)
    elif isinstance(event, ev.Fault):
        writer.count("faults", f"{event.operation}: {event.error}")


class Counting:
    """Counts what a cache on disk did, for clients that pair nothing."""

    def __init__(self, place: Place, on_fault: OnFault) -> None:
        self.ledger = Ledger(place, tell=tell_trouble)
        self.writer = Writer(self.ledger, lambda: None, on_fault)

    def tally(self, event: ev.Event) -> None:
        """Add an event to the ledger's counters; written within a second."""
        tally(self.writer, event)

    def note_sighting(self, who: tuple[str, ...], at: float) -> None:
        """Record who answered at a moment; written within a second."""
        self.writer.note_sighting(who, at)

    def flush(self, timeout: float) -> bool:
        """Wait until everything counted is committed; False after `timeout` seconds."""
        return self.writer.flush(timeout)

    def stop(self, deadline: float = math.inf) -> None:  # noqa: ARG002 - join() is told as well
        """Commit what is counted, then end; returns at once."""
        self.writer.stop()

    def join(self, deadline: float) -> None:
        """Wait for the end, until `deadline` (monotonic seconds) at most."""
        self.writer.join(deadline)
        self.ledger.close()

    def close(self) -> None:
        """End now: for tests."""
        self.stop()
        self.join(time.monotonic() + EXIT_SECONDS)
        countings.discard(self)


def tell_trouble(found: Trouble | None) -> None:
    """Say once that a ledger cannot be used, and once that it can be again."""
    if found is None:
        log.info("the ledger can be used again")
    else:
        log.warning("%s. The application's calls are not affected; the watch goes on when it can", found.told)


_faults = ErrorCounter()
countings: Shared[Place, Counting] = Shared("counting", _faults.add)
"""Every Counting of this process, by the ledger's place."""


def open_countings() -> tuple[Counting, ...]:
    """Return every Counting of this process."""
    return countings.living()
