"""What the active watch runs: the background work of one ledger, as a wrapped client has it, without anybody's calls."""

from __future__ import annotations

import time
from pathlib import Path

from promptguard import sdks
from promptguard.background.asker import Asker
from promptguard.background.engine import Background, backgrounds
from promptguard.core.model import Headers
from promptguard.core.options import Budget, Drift, Replay
from promptguard.directories import ledger_place
from promptguard.guarding import Interceptor
from promptguard.http.transport import ports_of
from promptguard.lifetime.shared import Use
from promptguard.settings import current
from promptguard.watch.asking import server_asked
from promptguard.wrapping import unwrap, wrap

STOP_SECONDS = 10.0
"""What ending may take: calls that are under way are waited for, for most of it."""


class Watching:
    """Background work of `ledger`, with `client` for what is asked, or None where nothing is."""

    def __init__(self, ledger: str | Path, client: object | None) -> None:
        self._client = client
        self._learned: set[str] = set()
        self._asker: Asker | None = None
        self._canaries: Asker | None = None
        """asks them, with a budget of its own"""
        self._origin, self._who = "", _NOBODY
        self._use: Use[Background] | None = None
        """held where nothing is asked: else the wrapped client holds the background work"""
        if client is None:
            self._use = _judging(ledger)
            self.background = self._use.thing
            return
        server, self._who = server_asked(client)
        self._origin = server.origin
        wrap(
            client,
            ledger=ledger,
            drift=_drift(),
            replay=current().replay or Replay(),
            shadow=None,
            cache=None,
        )
        family = sdks.family_of(client)
        assert family is not None  # noqa: S101 - `server_asked` has looked
        ports = ports_of(family.slots(client)[0].http)
        assert isinstance(ports, Interceptor)  # noqa: S101 - it was wrapped just now
        assert ports.background is not None  # noqa: S101 - as there is a replay
        self.background, self._asker = ports.background, ports.asker
        budget = (current().replay or Replay()).budget or Budget()
        limiter = self.background.limiter("canary", budget)
        self._canaries = Asker(
            ports.make_client,
            shadow=None,
            replay=Replay(),
            secret=ports.settings.secret,
            limiter=limiter,
            replay_limiter=limiter,
        )

    @property
    def asker(self) -> Asker | None:
        """What asks; None where nothing is asked."""
        return self._asker

    def look(self) -> None:
        """Learn whose stored questions this watch may ask, all of its own server's; begin rounds of canaries."""
        if self._asker is None:
            return
        self.ask_canaries(due=True)
        for source in self.background.ledger.sources():
            if source not in self._learned and source.rpartition("|")[0] == self._origin:
                self.background.replaying.sources.learn(source, self._asker, self._who)
                self._learned.add(source)

    def ask_canaries(self, *, due: bool) -> int:
        """Begin a round of each canary of this server that is due, or of each; returns how many began."""
        if self._canaries is None:
            return 0
        return self.background.canaries.look(self._canaries, self._origin, self._who, due=due)

    def stop(self) -> None:
        """End the work; leases are given back."""
        if self._client is not None:
            unwrap(self._client)
        self.background.stop()
        self.background.join(time.monotonic() + STOP_SECONDS)
        if self._use is not None:
            self._use.release()
        backgrounds.discard(self.background)


_NOBODY: Headers = ()


def _drift() -> Drift:
    """Return how the settings judge; a watch is who does it."""
    known = current().drift or Drift()
    return known.model_copy(update={"evaluate": "here"})


def _judging(ledger: str | Path) -> Use[Background]:
    from promptguard.arguments import wanted
    from promptguard.settings import NOT_GIVEN

    found = wanted(
        ledger=ledger, cache=None, shadow=None, replay=None, drift=_drift(), on_drift=NOT_GIVEN, prompts=None,
        record_content=NOT_GIVEN, fields=NOT_GIVEN, compat=None, clock=time.time, seed=None,
    )  # fmt: skip
    return backgrounds.acquire(
        ledger_place(ledger),
        lambda: Background(
            ledger_place(ledger),
            found.drift or Drift(),
            found.actions,
            record_content=found.record_content,
            queue=256,
            threads=2,
            wall=found.clock,
        ),
    )
