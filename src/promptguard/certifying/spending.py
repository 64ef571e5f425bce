"""What an examination may spend: the hard cap of `shadow.budget`, kept for the length of a run in place of a day."""

from __future__ import annotations

import re
import threading
import time

from promptguard.core.options import Budget, Price
from promptguard.errors import ConfigurationError
from promptguard.shadow.budget import BudgetLimiter

_PURPOSE = "certify"
_AMOUNT = re.compile(r"\$?\s*(\d+(?:\.\d+)?)\s*(usd|\$|calls?)?", re.IGNORECASE)
_EXAMPLE = "--budget 2usd, --budget 200calls or --budget 2usd,200calls"


class RunStore:
    """Reservations of one run. Thread-safe."""

    def __init__(self, calls: int = 0, usd: float = 0.0) -> None:
        self._lock = threading.Lock()
        self.calls, self.usd = calls, usd

    def reserve(
        self,
        day: str,  # noqa: ARG002 - the interface of stores
        purpose: str,  # noqa: ARG002
        usd: float,
        cap_usd: float | None,
        cap_calls: int | None,
    ) -> bool:
        """Reserve one call; False where a cap would be passed."""
        with self._lock:
            if cap_usd is not None and self.usd + usd > cap_usd:
                return False
            if cap_calls is not None and self.calls + 1 > cap_calls:
                return False
            self.calls += 1
            self.usd += usd
            return True

    def settle(self, day: str, purpose: str, difference: float) -> None:  # noqa: ARG002 - the interface of stores
        """Correct what was reserved."""
        with self._lock:
            self.usd += difference

    def calls_reserved(self, day: str, purpose: str) -> int:  # noqa: ARG002
        """Return how many calls were made."""
        return self.calls


def parsed_budget(text: str) -> tuple[float | None, int | None]:
    """Return (USD, calls) of a budget as it is written. Raises ConfigurationError.

    >>> parsed_budget("2usd"), parsed_budget("0.5usd,100calls")
    ((2.0, None), (0.5, 100))
    """
    usd: float | None = None
    calls: int | None = None
    for part in text.split(","):
        found = _AMOUNT.fullmatch(part.strip())
        if found is None or float(found[1]) <= 0:
            raise ConfigurationError(f"--budget {text!r} is not known; write {_EXAMPLE}")
        if (found[2] or "usd").lower().startswith("call"):
            calls = int(float(found[1]))
        else:
            usd = float(found[1])
    return usd, calls


def parsed_price(text: str) -> Price:
    """Return a price as it is written, USD per million tokens of questions and of answers. Raises ConfigurationError."""
    first, comma, second = text.partition(",")
    try:
        return Price(input=float(first), output=float(second)) if comma else Price(input=-1.0, output=0.0)
    except ValueError:
        raise ConfigurationError(
            f"--price {text!r} is not known; write --price 1.25,10: USD per million tokens of questions and of answers"
        ) from None


class Purse:
    """The budget of one run; `spent` is what an earlier part of it has used (calls, USD)."""

    def __init__(
        self, usd: float | None, calls: int | None, price: Price | None, spent: tuple[int, float] = (0, 0.0)
    ) -> None:
        self.store = RunStore(*spent)
        self._most_usd = usd
        budget = Budget(usd_per_day=usd, calls_per_day=calls, calls_per_minute=None, price=price)
        self.limiter = BudgetLimiter(budget, self.store, _PURPOSE, time.time)
        self._has_calls = calls is not None

    def check(self, *models: str) -> None:
        """Raise ConfigurationError for a model whose price is not known, where money alone is capped."""
        for model in models:
            known = self.limiter.usd(model, 1_000, 1_000) is not None
            if not known and self._most_usd is not None:
                raise ConfigurationError(
                    f"the price of {model} is not known, so that --budget {self._most_usd:g}usd cannot be held: add --price"
                    " 1.25,10 (USD per million tokens of questions and of answers), or write a cap of calls alone,"
                    " --budget 200calls"
                )
