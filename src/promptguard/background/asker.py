"""An Asker: everything that can ask one client's questions again, and nothing of the application's.

It has an own client with own connections (made when first needed), the options that say what is asked, and the limiters
that say how much. Background work knows Askers only, never wrapped clients, so an Asker may outlive its client: answers
of a client that lived for one request are still paired, and its stored requests asked again.
"""

from __future__ import annotations

import itertools
import logging
import math
import threading
import time
from collections.abc import Callable

from promptguard.background.suspicion import Suspicion
from promptguard.core.background_call import BackgroundClient, NoBackgroundClient, OtherServer
from promptguard.core.options import Replay, Shadow
from promptguard.core.repeats import RepeatShare
from promptguard.lifetime.forks import survive_fork
from promptguard.lifetime.shared import Shared, Use
from promptguard.shadow.budget import BudgetLimiter

log = logging.getLogger("promptguard")


class _Closing:
    """A background client as a thing that ends in order."""

    def __init__(self, client: BackgroundClient) -> None:
        self.client = client

    def stop(self, deadline: float = math.inf) -> None:
        """Nothing: what is under way goes on."""

    def join(self, deadline: float) -> None:  # noqa: ARG002 - closing does not wait
        """Close it."""
        try:
            self.client.close()
        except Exception as error:
            log.debug("a background client could not be closed", exc_info=error)


def _on_fault(operation: str, error: BaseException) -> None:
    log.warning("%s failed (%s); the application's calls are not affected", operation, type(error).__name__)


_clients: Shared[int, _Closing] = Shared("client", _on_fault, linger=0.0, at_exit=False)
_numbers = itertools.count(1)


class Asker:
    """Asks again for one wrapped client; closed when neither the client, nor a job, nor stored requests need it.

    Parameters: `make` builds the background client; `secret` keys digests of who asks; `limiter` and `replay_limiter`
    hold the budgets of shadow calls and of replays; `elsewhere` builds the server that the second model is asked of, where
    it is not the application's.
    """

    def __init__(
        self,
        make: Callable[[], BackgroundClient],
        *,
        shadow: Shadow | None,
        replay: Replay | None,
        secret: bytes,
        limiter: BudgetLimiter,
        replay_limiter: BudgetLimiter,
        calls: Callable[[], int] = lambda: 0,
        elsewhere: Callable[[], OtherServer | None] | None = None,
    ) -> None:
        self.is_mute = make is NoBackgroundClient
        """nothing can be asked: the application's own transport cannot be built again"""
        self.retired_at = -math.inf
        """when a client was unwrapped that asks through it, or wrapped anew (Unix seconds): others ask for older calls"""
        self.shadow = shadow
        self.replay = replay
        self.repeats = RepeatShare(shadow, time.monotonic)
        self.suspicion = Suspicion()
        self.secret = secret
        self.limiter = limiter
        self.replay_limiter = replay_limiter
        self.calls = calls
        self._make: Callable[[], BackgroundClient] | None = make
        self._use: Use[_Closing] | None = None
        self._elsewhere = elsewhere
        self._server: tuple[OtherServer | None, Use[_Closing] | None] | None = None
        self._lock = threading.Lock()
        survive_fork(self)

    @property
    def client(self) -> BackgroundClient:
        """The background client, made when first needed; raises what making it does."""
        with self._lock:
            if self._use is None:
                assert self._make is not None  # noqa: S101 - it is dropped below, once there is a client
                make = self._make
                self._use = _clients.acquire(next(_numbers), lambda: _Closing(make()))
                # What makes it holds the application's client, which an Asker must not keep alive.
                self._make = None
            return self._use.thing.client

    def can_ask(self, stream: str) -> bool:
        """Whether a stream's questions can be asked at all."""
        return not self.is_mute or (stream == "candidate" and self._elsewhere is not None)

    @property
    def is_elsewhere(self) -> bool:
        """Whether the second model is asked of another server than the application's."""
        return self._elsewhere is not None

    def server(self) -> OtherServer | None:
        """Return the other server, made when first needed; None where it could not be."""
        with self._lock:
            if self._server is None:
                made = None if self._elsewhere is None else self._elsewhere()
                use = (
                    None if made is None else _clients.acquire(next(_numbers), lambda: _Closing(made.client))
                )
                self._server = made, use
            return self._server[0]

    def budget_of(self, stream: str) -> BudgetLimiter:
        """Return what limits the calls of a stream."""
        return self.replay_limiter if stream in {"replay", "canary", "placebo"} else self.limiter

    def after_fork(self) -> None:
        """Leave the parent's connections alone; the child's client makes an Asker of its own."""
        self._lock = threading.Lock()
        self.suspicion = Suspicion()
