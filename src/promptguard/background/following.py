"""Background calls in telemetry: each has a span of its own, linked to the call it repeats, and no instrumentor sees it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptguard.core.events import CallBegan, CallMade, CallObserver, CallTrace
from promptguard.lifetime.threads import OnFault

if TYPE_CHECKING:
    from promptguard.core.background_call import BackgroundResponse
    from promptguard.core.model import Facts, Reading


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a background call is for."""

    role: str
    """the stream that it makes a pair of"""
    group: str
    link: str | None = None
    """the call it repeats, as `CallTrace.link` gave it"""


_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")


def trace_id(link: str | None) -> str:
    """Return the id of the trace that a traceparent belongs to, "" without one.

    >>> trace_id("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    '4bf92f3577b34da6a3ce929d0e0e4736'
    """
    found = None if link is None else _TRACEPARENT.fullmatch(link)
    return found[1] if found else ""


class Following:
    """Follows background calls where the application records telemetry. A fault in that is counted, never raised."""

    def __init__(self, on_fault: OnFault) -> None:
        self.observer: CallObserver | None = None
        """telemetry of the wrapped clients, once there is one"""
        self._on_fault = on_fault

    def begin(self, purpose: Purpose, facts: Facts, origin: str, model: str) -> CallTrace | None:
        """Follow a call that is about to be made."""
        observer = self.observer
        try:
            if observer is None or not observer.is_recorded:
                return None
            return observer.begin(
                CallBegan(
                    facts=facts,
                    origin=origin,
                    group=purpose.group,
                    started=time.monotonic(),
                    model=model,
                    role=purpose.role,
                    link=purpose.link,
                )
            )
        except Exception as error:  # noqa: BLE001 - telemetry must not cost the pair it tells about
            self._on_fault("telemetry", error)
            return None

    def unseen(self, ask: Callable[[], BackgroundResponse]) -> BackgroundResponse:
        """Ask while instrumentation of others keeps quiet."""
        observer = self.observer
        if observer is None or not observer.is_recorded:
            return ask()
        with observer.unseen():
            return ask()

    def end(self, trace: CallTrace | None, reading: Reading) -> None:
        """Tell how a call ended."""
        if trace is None:
            return
        failed = reading.error
        if failed is not None and failed.startswith("status_"):
            failed = failed.removeprefix("status_").partition(":")[0]
        try:
            trace.end(CallMade(trace, time.monotonic(), failed, reading))
        except Exception as error:  # noqa: BLE001
            self._on_fault("telemetry", error)
