"""Counters of a ledger: what every event adds to them, and their own writer where nothing else runs in the background."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from pathlib import Path

from promptguard.core import events as ev
from promptguard.ledger.store import Ledger
from promptguard.ledger.writer import Writer
from promptguard.reasons import note

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


_open: dict[tuple[Path, int], Counting] = {}


class Counting:
    """Counts what a cache on disk did, for clients that pair nothing. Raises ConfigurationError at construction."""

    @classmethod
    def open(cls, directory: Path, on_fault: Callable[[str, BaseException], None]) -> Counting:
        """Return this process's one of a directory, made on first use; `on_fault` is the first client's."""
        place = directory.resolve(), os.getpid()
        if place not in _open:
            _open[place] = cls(directory, on_fault)
        return _open[place]

    def __init__(self, directory: Path, on_fault: Callable[[str, BaseException], None]) -> None:
        self._ledger = Ledger(directory)
        self._writer = Writer(self._ledger, lambda: None, on_fault)
        self._pid = os.getpid()
        atexit.register(self.close)

    def tally(self, event: ev.Event) -> None:
        """Add an event to the ledger's counters; written within a second."""
        tally(self._writer, event)

    def note_sighting(self, who: tuple[str, ...], at: float) -> None:
        """Record who answered at a moment; written within a second."""
        self._writer.note_sighting(who, at)

    def flush(self, timeout: float) -> bool:
        """Wait until everything counted is committed; False after `timeout` seconds."""
        return self._writer.flush(timeout)

    def close(self) -> None:
        """Commit what is counted; in the process that made it only."""
        atexit.unregister(self.close)
        if self._pid != os.getpid():
            return
        self._writer.close(EXIT_SECONDS)
        self._ledger.close()
        for place, known in list(_open.items()):
            if known is self:
                del _open[place]


def open_countings() -> tuple[Counting, ...]:
    """Return every Counting of this process."""
    return tuple(known for (_, pid), known in list(_open.items()) if pid == os.getpid())
