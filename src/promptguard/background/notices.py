"""What cannot work is said once: in a log line, and in the ledger, where `promptguard status` of any process finds it.

Said from any thread; written by the evaluator's, which calls `write`.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from promptguard.core.feasibility import of_model
from promptguard.core.options import Action, Replay, RollBack, Shadow
from promptguard.directories import Place
from promptguard.ledger.store import Ledger
from promptguard.lifetime.forks import survive_fork
from promptguard.shadow.budget import list_price

log = logging.getLogger("promptguard")

AGAIN_SECONDS = 86400.0
"""How often a process says again, to the ledger alone, what still holds."""
_KEPT = 1000
_said: dict[tuple[str, str], None] = {}
"""(ledger, what was said of it): an application that makes a client a request is told once."""
MOST_MODELS = 100
"""Models asked that are looked at; an application that asks more has been told."""


def has_price(model: str) -> bool:
    """Whether the price list knows a model."""
    return list_price(model) is not None


def say(ledger: Place, text: str) -> bool:
    """Log a warning about a ledger, once a process; whether it was the first time. Never raises."""
    place = (str(ledger), text)
    if place in _said:
        return False
    while len(_said) >= _KEPT:
        with contextlib.suppress(KeyError, StopIteration, RuntimeError):
            del _said[next(iter(_said))]
    _said[place] = None
    with contextlib.suppress(Exception):  # a filter of the application's may raise
        log.warning("%s (said once; promptguard status lists it)", text)
    return True


def _without_folder(actions: tuple[Action, ...]) -> Iterator[str]:
    """Yield what to say of labels that could not be put back: an alarm is no moment to learn of a misspelled folder."""
    for action in actions:
        if isinstance(action, RollBack) and ":" not in action.prompts and not _is_folder(action.prompts):
            yield f"RollBack({action.prompts!r}): there is no such folder of prompts, so no label would be put back"


def _is_folder(written: str) -> bool:
    try:
        return Path(written).expanduser().is_dir()
    except (OSError, RuntimeError, ValueError):
        return False


class Notices:
    """The notices of one ledger in this process. Thread-safe."""

    def __init__(self, ledger: Ledger, wall: Callable[[], float]) -> None:
        self._ledger = ledger
        self._wall = wall
        self._waiting: dict[str, float] = {}
        """what was said → when (monotonic seconds) it has to be written, the first time and then every day"""
        self._seen: set[tuple[str, Shadow | None, Replay | None]] = set()
        self._lock = threading.Lock()
        survive_fork(self)

    def after_fork(self) -> None:
        """Replace the lock, which another thread of the parent may have held."""
        self._lock = threading.Lock()

    def add(self, texts: Iterable[str]) -> None:
        """Say what cannot work; it is written with the next turn."""
        for text in texts:
            say(self._ledger.place, text)
            with self._lock:
                self._waiting[text] = time.monotonic()

    def look(
        self,
        asked: str,
        shadow: Shadow | None,
        replay: Replay | None,
        actions: tuple[Action, ...],
        *,
        elsewhere: bool = False,
    ) -> None:
        """Say what cannot work for a model that the application asks; looks once at each."""
        place = (asked, shadow, replay)
        if place in self._seen or len(self._seen) >= MOST_MODELS:
            return
        self._seen.add(place)
        self.add(of_model(asked, shadow, replay, actions=actions, priced=has_price, elsewhere=elsewhere))
        self.add(_without_folder(actions))

    def write(self) -> None:
        """Put what was said into the ledger. Raises what it does."""
        now = time.monotonic()
        with self._lock:
            waiting = [text for text, due in self._waiting.items() if due <= now]
        if not waiting:
            return
        self._ledger.put_notices(waiting, self._wall())
        with self._lock:
            self._waiting.update(dict.fromkeys(waiting, now + AGAIN_SECONDS))
