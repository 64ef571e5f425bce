"""The hard cap: what a background call may cost at most is reserved before it is sent, and corrected after.

Prices come from `genai-prices`; a model it does not know has no price, and a USD cap then lets no call through.
"""

from __future__ import annotations

import functools
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from promptguard.core.options import Budget, Price

LOOK_AGAIN = 10.0
"""Seconds for which a spent day is remembered before the ledger is asked again."""
MINUTE = 60.0
DEFAULT_OUTPUT_TOKENS = 4096
"""Reserved for an answer whose request names no limit; corrected to the real use afterwards."""


class BudgetStore(Protocol):
    """Where reservations are kept, so that restarts and other processes see them."""

    def reserve(
        self, day: str, purpose: str, usd: float, cap_usd: float | None, cap_calls: int | None
    ) -> bool:
        """Reserve one call of at most `usd` for a purpose; False when that purpose's cap would be passed."""

    def settle(self, day: str, purpose: str, difference: float) -> None:
        """Correct a reservation by `difference` USD."""

    def calls_reserved(self, day: str, purpose: str) -> int:
        """Return how many calls of a purpose were reserved on a day."""


Note = Callable[[str, str, int, float], None]


class Reservation:
    """One call's reserved money."""

    __slots__ = ("day", "model", "usd")

    def __init__(self, day: str, model: str, usd: float) -> None:
        self.day = day
        self.model = model
        self.usd = usd


class BudgetLimiter:
    """Reserves calls against one Budget. Thread-safe.

    `purpose` is what the money is for, `shadow` or `replay`: each has its own caps. `wall` gives seconds since the Unix
    epoch, `clock` monotonic seconds. `note` adds (day, purpose, calls, USD) to what is spent, sooner or later: used where
    the budget has no cap a day.
    """

    def __init__(
        self,
        budget: Budget,
        store: BudgetStore,
        purpose: str,
        wall: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
        note: Note | None = None,
    ) -> None:
        # Here is imported what looking up a price needs, not by the first background call: that would take the interpreter
        # from calls for 20 ms, and a fork amid it would leave the lock of an import to the child.
        list_price("gpt-4")
        self._budget = budget
        self._store = store
        self._purpose = purpose
        self._note = note
        self._wall = wall
        self._clock = clock
        self._lock = threading.Lock()
        self._minute: deque[float] = deque()
        """when the calls of the last minute were reserved"""
        self._spent_until = -math.inf
        self._capped = budget.usd_per_day is not None or budget.calls_per_day is not None

    def exhausted(self) -> str | None:
        """Return why no call would be let through at this moment, as far as is known without looking: never waits.

        So that a call is not even prepared whose reservation would be refused.
        """
        if self._clock() < self._spent_until:
            return "budget"
        return "rate" if self.room() == 0 else None

    def take_place(self) -> str | None:
        """Take one of the calls of this minute for a `reserve` to come, or return why there is none; never waits.

        Of a call that is to be paired this is done before its own answer is there. Were the place taken afterwards, those
        whose answers are short would have it, and the two sides of their pairs would differ where nothing has changed.
        """
        if self._clock() < self._spent_until:
            return "budget"
        return None if self._take_place() else "rate"

    def give_place_back(self) -> None:
        """Undo `take_place`, at once: the call is not paired after all, for a reason that no answer had a part in."""
        with self._lock:
            if self._minute:
                self._minute.pop()

    def left(self) -> int | None:
        """Return how many calls the caps a minute and a day let through now; None without either. Looks into the store."""
        room, most = self.room(), self._budget.calls_per_day
        if most is None:
            return room
        left = max(0, most - self._store.calls_reserved(self._today(), self._purpose))
        return left if room is None else min(room, left)

    def _today(self) -> str:
        return datetime.fromtimestamp(self._wall(), UTC).strftime("%Y-%m-%d")

    def reserve(
        self, model: str, question_bytes: int, output_tokens: int | None, *, placed: bool = False
    ) -> Reservation | str:
        """Reserve one call, or return why not: "rate", "price_unknown", "budget".

        A token is at least one byte of the question, so its bytes bound what it can cost. `placed`: it has its place in the
        minute already (`take_place`).
        """
        if not placed and not self._take_place():
            return "rate"
        most = self.usd(model, question_bytes, output_tokens or DEFAULT_OUTPUT_TOKENS)
        if most is None and self._budget.usd_per_day is not None:
            return "price_unknown"
        day = self._today()
        reserved = most or 0.0
        if (
            self._note is not None and not self._capped
        ):  # nothing to hold it against: one transaction less a call
            self._note(day, self._purpose, 1, reserved)
            return Reservation(day, model, reserved)
        budget = self._budget
        if not self._store.reserve(day, self._purpose, reserved, budget.usd_per_day, budget.calls_per_day):
            if budget.calls_per_day is not None or not reserved:
                self._spent_until = self._clock() + LOOK_AGAIN
            return "budget"
        return Reservation(day, model, reserved)

    def settle(self, reservation: Reservation, input_tokens: int | None, output_tokens: int | None) -> float:
        """Correct a reservation to the tokens used; returns USD. Unknown use keeps the whole reservation."""
        if input_tokens is None or output_tokens is None:
            return reservation.usd
        usd = self.usd(reservation.model, input_tokens, output_tokens) or 0.0
        if self._note is not None and not self._capped:
            self._note(reservation.day, self._purpose, 0, usd - reservation.usd)
        else:
            self._store.settle(reservation.day, self._purpose, usd - reservation.usd)
        return usd

    def usd(self, model: str, input_tokens: int, output_tokens: int) -> float | None:
        """Return what so many tokens cost, or None for a model without a price."""
        price = self._budget.price or list_price(model)
        return None if price is None else (price.input * input_tokens + price.output * output_tokens) / 1e6

    def room(self) -> int | None:
        """Return how many calls the cap a minute lets through at this moment; None without one."""
        rate = self._budget.calls_per_minute
        if rate is None:
            return None
        with self._lock:
            return max(0, rate - self._calls_of_the_minute(self._clock()))

    def _take_place(self) -> bool:
        """Take one of the calls of this minute: of any sixty seconds, as a provider may count them from any moment."""
        rate = self._budget.calls_per_minute
        if rate is None:
            return True
        with self._lock:
            now = self._clock()
            if self._calls_of_the_minute(now) >= rate:
                return False
            self._minute.append(now)
            return True

    def _calls_of_the_minute(self, now: float) -> int:
        while self._minute and now - self._minute[0] >= MINUTE:
            self._minute.popleft()
        return len(self._minute)


_BEDROCK = "aws"
"""Bedrock's ids, inference profiles and ARNs are known under their provider alone."""


@functools.lru_cache(maxsize=256)
def list_price(model: str) -> Price | None:
    """Return the list price of a model from `genai-prices`, in USD per million tokens, or None when it has none."""
    from genai_prices import Usage, calc_price

    for provider in (None, _BEDROCK):
        try:
            # Of a thousand, not of a million: for some models long questions cost more.
            cost_in = calc_price(Usage(input_tokens=1000), model, provider_id=provider).total_price
            cost_out = calc_price(Usage(output_tokens=1000), model, provider_id=provider).total_price
        except LookupError:
            continue
        return Price(float(1000 * cost_in), float(1000 * cost_out))
    return None
