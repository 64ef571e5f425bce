"""The hard cap: what a background call may cost at most is booked before it is sent, and corrected after.

Prices come from `genai-prices`; a model it does not know has no price, and a USD cap then lets no call through.
"""

from __future__ import annotations

import functools
import importlib
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from promptguard.core.options import Budget, Price

DEFAULT_OUTPUT_TOKENS = 4096
"""Booked for an answer whose request names no limit; corrected to the real use afterwards."""


class Purse(Protocol):
    """Where bookings are kept, so that restarts and other processes see them."""

    def reserve(self, day: str, usd: float, cap_usd: float | None, cap_calls: int | None) -> bool:
        """Book one call of at most `usd`; False when a cap would be passed."""

    def settle(self, day: str, difference: float) -> None:
        """Correct a booking by `difference` USD."""


class Booking:
    """One call's reserved money."""

    __slots__ = ("day", "model", "usd")

    def __init__(self, day: str, model: str, usd: float) -> None:
        self.day = day
        self.model = model
        self.usd = usd


class Spending:
    """Books calls against one Budget. Thread-safe."""

    def __init__(
        self,
        budget: Budget,
        purse: Purse,
        wall: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # Imported here, not by the first background call: a fork amid that import would leave its lock to the child.
        importlib.import_module("genai_prices")
        self._budget = budget
        self._purse = purse
        self._wall = wall
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens = float(budget.calls_per_minute or 0)
        self._refilled = clock()

    def book(self, model: str, question_bytes: int, output_tokens: int | None) -> Booking | str:
        """Reserve one call, or return why not: "rate", "price_unknown", "budget".

        A token is at least one byte of the question, so its bytes bound what it can cost.
        """
        if not self._take_token():
            return "rate"
        most = self.usd(model, question_bytes, output_tokens or DEFAULT_OUTPUT_TOKENS)
        if most is None and self._budget.usd_per_day is not None:
            return "price_unknown"
        day = datetime.fromtimestamp(self._wall(), UTC).strftime("%Y-%m-%d")
        reserved = most or 0.0
        if not self._purse.reserve(day, reserved, self._budget.usd_per_day, self._budget.calls_per_day):
            return "budget"
        return Booking(day, model, reserved)

    def settle(self, booking: Booking, input_tokens: int | None, output_tokens: int | None) -> float:
        """Correct a booking to the tokens used; returns USD. Unknown use keeps the whole reservation."""
        if input_tokens is None or output_tokens is None:
            return booking.usd
        usd = self.usd(booking.model, input_tokens, output_tokens) or 0.0
        self._purse.settle(booking.day, usd - booking.usd)
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
            return int(self._refill(rate))

    def _take_token(self) -> bool:
        rate = self._budget.calls_per_minute
        if rate is None:
            return True
        with self._lock:
            if self._refill(rate) < 1.0:
                return False
            self._tokens -= 1.0
            return True

    def _refill(self, rate: int) -> float:
        now = self._clock()
        self._tokens = min(float(rate), self._tokens + (now - self._refilled) * rate / 60.0)
        self._refilled = now
        return self._tokens


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
