"""What one process has of a ledger, as far as alerts go; time is a number that the test moves."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import promptguard
from promptguard.background.alerting import Alerting
from promptguard.ledger.store import Ledger

_names = itertools.count()
START = 1_795_000_000.0


@dataclass
class Time:
    now: float = START

    def __call__(self) -> float:
        return self.now


class Process:
    def __init__(self, directory, time, *channels, **more):
        self.time = time
        self.faults = []
        self.ledger = Ledger(directory)
        self.alerting = Alerting(
            self.ledger,
            f"process {next(_names)}",
            lambda what, error: self.faults.append((what, error)),
            time,
            lease_clock=time,
            **more,
        )
        self.alerting.use(channels)
        self.alerting._closed = True  # no thread: the test takes the turns
        self.alerting.register()

    def turn(self, **how):
        return self.alerting.turn(**how)

    def run_for(self, seconds):
        """Take every turn of so many seconds when it is due."""
        until = self.time.now + seconds
        while self.time.now < until:
            pause = self.turn()
            self.time.now = min(until, self.time.now + max(pause, 0.01))
        self.turn()


def note(ledger, kind, group, *, at, stream="candidate", **detail):
    known = {
        "epoch": 1,
        "pairs": 30,
        "log10_evidence": 4.5,
        "asked": "gpt-4",
        "sentence": f"{group} answers in less words.",
    }
    ledger.note(at=at, call=7, kind=kind, stream=stream, group=group, detail={**known, **detail})


def webhook(receiver, **more):
    return promptguard.Webhook(receiver.url, allow_private=True, **more)
