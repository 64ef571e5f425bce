"""Log-probabilities asked for in background calls, and who refuses them.

They are bet on where both sides of a pair have them. The application's own request is never altered, so that is where both
answers are asked in the background: the two of a second control, a pinned snapshot's, a canary's.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping

from promptguard.core.background_call import BackgroundResponse
from promptguard.core.options import Logprobs
from promptguard.wire.logprobs import asking, known_to_give

log = logging.getLogger("promptguard")

_MOST_REFUSING = 1000
_MOST_IN_VAIN = 10
"""questions in a row that were refused either way; each costs a request more"""
_REFUSED = ("status_400", "status_403", "status_422")
"""403 is what OpenAI says of models that give none"""
Body = Mapping[str, object]


class Certainty:
    """Asks for log-probabilities where they are given; remembers, for this process, where they are not. Thread-safe."""

    def __init__(self) -> None:
        self._refusing: set[tuple[str, str]] = set()
        """(server, model)"""
        self._in_vain: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def ask(
        self,
        send: Callable[[Body], BackgroundResponse],
        body: Body,
        *,
        how: Logprobs,
        protocol: str,
        origin: str,
        model: str,
        place: Callable[[], str | None] = lambda: None,
    ) -> BackgroundResponse:
        """Send `body`, with a request for log-probabilities where `how` says so and the model is not known to refuse.

        What a server refuses is sent once more as it was. A refused call is not billed, so both are one call of a day's
        budget; `place` takes another one of this minute's, or says why there is none.
        """
        fuller = self._with_request(body, how, protocol, origin, model)
        if fuller is None:
            return send(body)
        answered = send(fuller)
        if not (answered.error or "").startswith(_REFUSED):
            self._in_vain.pop((origin, model), None)
            return answered
        why_not = place()
        if why_not is not None:
            return BackgroundResponse(error=f"not_asked: {why_not}")
        plain = send(body)
        # Where that is refused too, it was not the request for log-probabilities: unless nothing is ever taken.
        if not (plain.error or "").startswith(_REFUSED) or self._is_in_vain(origin, model):
            self._remember(origin, model)
        return plain

    def _is_in_vain(self, origin: str, model: str) -> bool:
        with self._lock:
            self._in_vain[origin, model] += 1
            return self._in_vain[origin, model] >= _MOST_IN_VAIN

    def _with_request(self, body: Body, how: Logprobs, protocol: str, origin: str, model: str) -> Body | None:
        if how == "never" or (origin, model) in self._refusing:
            return None
        if how == "auto" and not known_to_give(protocol, origin, model):
            return None
        return asking(protocol, body)

    def _remember(self, origin: str, model: str) -> None:
        with self._lock:
            if (origin, model) in self._refusing or len(self._refusing) >= _MOST_REFUSING:
                return
            self._in_vain.pop((origin, model), None)
            self._refusing.add((origin, model))
        log.info("%s refuses to give log-probabilities: background calls do not ask for them any more", model)
