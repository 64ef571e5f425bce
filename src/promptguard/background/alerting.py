"""Alerts go to channels (webhooks, Alertmanager, Slack, apprise): at least once each, whatever happens in between.

What is owed stands in the ledger (`ledger.outbox`), so nothing is lost with a process. Here is when it is sent: a moment
after the first alarm, so that prompts that change together are one message; again after pauses that grow while a receiver
is down; by one process a channel, under a lease. Nothing here holds up the evaluator or a caller.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from promptguard.core.epochs import EVERY_GROUP
from promptguard.core.options import Channel
from promptguard.errors import PromptGuardError
from promptguard.ledger.outbox import Outbox, Owed
from promptguard.ledger.store import Ledger
from promptguard.ledger.trouble import LedgerUnavailable
from promptguard.lifetime.threads import OnFault, supervised
from promptguard.shadow.retry import LONGEST_PAUSE, pause_after

if TYPE_CHECKING:
    from promptguard.alerts.message import Alert

log = logging.getLogger("promptguard")

LEASE_SECONDS = 30.0
"""Longer than one message may take."""
WAIT_SECONDS = 30.0
"""After the first alarm of a change, for the other prompts that show it."""
UPDATE_SECONDS = 300.0
"""Between messages about one change that goes on to show in further prompts."""
POLL_SECONDS = 10.0
OTHERS_SECONDS = 2.0
"""Between looks at what another process, which holds the lease, has sent."""
REVIEW_SECONDS = 60.0
"""Between looks whether an alarm that was told has been taken back."""
TOLD_EVERY = 12
"""Failed attempts between two lines of the log about one alert and channel."""


class Send(Protocol):
    """What sends an alert through a channel, or raises NotDelivered."""

    def __call__(self, channel: Channel, alert: Alert, wall: Callable[[], float]) -> None:
        """Send it once."""


class Alerting:
    """Sends the alerts of one ledger through this process's channels. Thread-safe.

    Parameters: `holder` names this process in leases; `on_fault` is told what goes wrong here; `wall` gives seconds since
    the Unix epoch; `lease_clock` the same for leases, which live by the real clock.
    """

    def __init__(
        self,
        ledger: Ledger,
        holder: str,
        on_fault: OnFault,
        wall: Callable[[], float],
        *,
        lease_clock: Callable[[], float] = time.time,
        send: Send | None = None,
    ) -> None:
        self._ledger = ledger
        self._outbox = Outbox(ledger)
        self._holder = holder
        self._on_fault = on_fault
        self._wall = wall
        self._lease_clock = lease_clock
        self._send = send or _send
        self._channels: tuple[Channel, ...] = ()
        self._registered: tuple[bytes, tuple[Channel, ...]] = (b"", ())
        self._review_at = -math.inf
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = self._woken = False
        self._flushes = self._answered = 0
        self._succeeded = False

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What alerts are sent through."""
        return self._channels

    def use(self, channels: tuple[Channel, ...]) -> None:
        """Send to these from now on."""
        self._channels = channels

    def register(self) -> None:
        """Have the ledger know the channels, before an alarm can ring that they should hear of. Raises what it does."""
        if not self._channels:
            return
        self._ledger.open()
        wanted = (self._ledger.identity, self._channels)
        if wanted != self._registered:
            self._outbox.register({each.label: each.KIND for each in self._channels}, self._wall())
            self._registered = wanted
        with self._wake:
            if self._thread is None and not self._closed:
                self._thread = supervised("promptguard-alerts", self._run, self._on_fault)
                self._thread.start()

    def wake(self) -> None:
        """Something was noted in the ledger."""
        with self._wake:
            self._woken = True
            self._wake.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until everything that was noted was tried once; False where `timeout` seconds are not enough."""
        if not self._channels or self._thread is None:
            return True
        with self._wake:
            wanted = self._flushes = self._flushes + 1
            self._wake.notify_all()
            return self._wake.wait_for(
                lambda: self._answered >= wanted and self._succeeded, max(0.0, timeout)
            )

    def stop(self) -> None:
        """Try what was not tried yet, then end; returns at once. What is left over stays in the ledger."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()

    def join(self, deadline: float) -> None:
        """Wait for the end, until `deadline` (monotonic seconds) at most."""
        thread = self._thread
        if thread is not None:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        pause = 0.0
        while True:
            with self._wake:
                self._wake.wait_for(
                    lambda: self._closed or self._woken or self._flushes > self._answered, max(0.0, pause)
                )
                closed, asked, self._woken = self._closed, self._flushes, False
            try:
                pause, done = self.turn(hurry=closed or asked > self._answered, closing=closed), True
            except (LedgerUnavailable, PromptGuardError):
                pause, done = OTHERS_SECONDS, False  # told by the ledger itself
            except Exception as error:  # noqa: BLE001 - counted; the next turn tries again
                self._on_fault("alerts", error)
                pause, done = OTHERS_SECONDS, False
            with self._wake:
                self._answered, self._succeeded = asked, done
                self._wake.notify_all()
            if closed:
                self._give_back()
                return

    def turn(self, *, hurry: bool = False, closing: bool = False) -> float:
        """Send what is due; returns how many seconds may pass until the next turn.

        With `hurry` no further prompts are waited for; when `closing`, not with updates either.
        """
        self._outbox.follow()
        self._review()
        return min(
            (self._deliver(each, hurry=hurry, closing=closing) for each in self._channels),
            default=POLL_SECONDS,
        )

    def _review(self) -> None:
        """Take back what a failed self-test has taken back since, and put up again what it speaks for again."""
        now = self._wall()
        if 0 <= now - self._review_at < REVIEW_SECONDS:
            return
        self._review_at = now
        watched = {each.place: each.ended for alert in self._outbox.watched() for each in alert.members}
        if not watched:
            return
        from promptguard.report.read import read_verdicts

        try:
            documents = read_verdicts(self._ledger.place)
        except PromptGuardError:
            return  # what cannot be read has taken nothing back
        status = {
            (each["stream"], each["epoch"], each.get("group") or EVERY_GROUP): each["status"]
            for document in documents
            for each in (document, *document["groups"])
            if each["alarm_at"] is not None and not each["acknowledged"]
        }
        back = {place for place, ended in watched.items() if not ended and status.get(place) == "unmeasured"}
        again = {place for place, ended in watched.items() if ended and status.get(place) == "drift"}
        if back:
            self._outbox.take_back(back, now)
        if again:
            self._outbox.put_up_again(again, now)

    def _deliver(self, channel: Channel, *, hurry: bool, closing: bool) -> float:
        """Send what is due through one channel; returns when the next is."""

        def waits(owed: Owed) -> float:
            return _due(channel, owed, self._wall(), hurry=hurry, closing=closing) - self._wall()

        found = self._outbox.owed(channel.label)
        if any(waits(owed) <= 0 for owed in found):
            if not self._hold(channel):
                return OTHERS_SECONDS
            # Looked at again under the lease: another process may have sent it a moment ago.
            for owed in self._outbox.owed(channel.label):
                if waits(owed) <= 0:
                    if not self._hold(channel):
                        return OTHERS_SECONDS
                    self._try(channel, owed)
            found = self._outbox.owed(channel.label)
        return min([POLL_SECONDS, *(max(0.1, waits(owed)) for owed in found)])

    def _hold(self, channel: Channel) -> bool:
        return self._ledger.take_lease(_lease(channel), self._holder, self._lease_clock(), LEASE_SECONDS)

    def _try(self, channel: Channel, owed: Owed) -> None:
        from promptguard.alerts.sending import NotDelivered
        from promptguard.report.alerts import compose

        alert = owed.alert
        wants_example = bool(getattr(channel, "examples", False))
        try:
            self._send(channel, compose(self._ledger.place, alert, example=wants_example), self._wall)
        except NotDelivered as error:
            self._failed(channel, owed, str(error))
        except LedgerUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - of this alert alone: the others go on
            self._on_fault("alert", error)
            self._failed(channel, owed, type(error).__name__)
        else:
            self._outbox.delivered(alert.id, channel.label, alert.revision, self._wall())

    def _failed(self, channel: Channel, owed: Owed, why: str) -> None:
        attempts = owed.attempts + 1
        self._outbox.failed(
            owed.alert.id,
            channel.label,
            attempts=attempts,
            next_at=self._wall() + pause_after(attempts),
            error=why,
        )
        if attempts % TOLD_EVERY == 1:
            # a filter of the application's may raise anything
            with contextlib.suppress(Exception, SystemExit):
                log.warning(
                    "alert %s could not be delivered to %s (%s); it stays in the ledger and is tried again",
                    owed.alert.id, channel.label, why,
                )  # fmt: skip

    def _give_back(self) -> None:
        for channel in self._channels:
            try:
                self._ledger.drop_lease(_lease(channel), self._holder)
            except Exception as error:
                log.debug("a lease of alerts could not be given back", exc_info=error)


def _send(channel: Channel, alert: Alert, wall: Callable[[], float]) -> None:
    """Send it. What that needs is loaded with the first alert: most processes never send one."""
    from promptguard.alerts.sending import send

    send(channel, alert, wall)


def _lease(channel: Channel) -> str:
    return f"alerts: {channel.label}"


def _due(channel: Channel, owed: Owed, now: float, *, hurry: bool, closing: bool) -> float:
    """Return when an alert is to be sent (seconds since the Unix epoch); infinity for never.

    What lies in the future was noted by a clock that has been set back since, and waits for nothing.
    """
    alert = owed.alert
    if owed.attempts:
        return owed.next_at if owed.next_at <= now + LONGEST_PAUSE + 1.0 else now
    if not owed.is_pending:
        resend = channel.RESEND_SECONDS
        since = owed.delivered_at
        return math.inf if resend is None or since is None else _after(since, resend, now)
    if closing or alert.ended_at is not None:
        return now
    if owed.revision == 0:
        return now if hurry else _after(alert.opened_at, WAIT_SECONDS, now)
    return _after(owed.delivered_at or now, UPDATE_SECONDS, now)


def _after(since: float, pause: float, now: float) -> float:
    return since + pause if since <= now else now
