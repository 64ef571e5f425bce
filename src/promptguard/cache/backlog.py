"""The bounded queue between callers and the thread that writes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from promptguard.core.model import StoredReply


@dataclass(frozen=True, slots=True)
class Job:
    """One thing for the writer to do."""

    kind: Literal["write", "clear", "look", "open", "probe", "release", "unshare", "stop"]
    key: str = ""
    """of a write; of a clear the tag, or empty for everything"""
    reply: StoredReply | None = None
    token: str = ""
    """of a claim that is given up"""

    @property
    def size(self) -> int:
        """Bytes it holds."""
        return 0 if self.reply is None else self.reply.size


class Backlog:
    """Jobs in order, at most `max_jobs` and `max_bytes` of them; adding never waits."""

    def __init__(self, max_jobs: int = 512, max_bytes: int = 32 * 2**20) -> None:
        self._max_jobs = max_jobs
        self._max_bytes = max_bytes
        self._jobs: deque[Job] = deque()
        self._bytes = 0
        self._unfinished = 0
        self._changed = threading.Condition()

    def add(self, job: Job) -> bool:
        """Queue `job`; returns False when there is no room (only writes are ever refused)."""
        with self._changed:
            full = len(self._jobs) >= self._max_jobs or self._bytes + job.size > self._max_bytes
            if full and job.kind == "write":
                return False
            self._jobs.append(job)
            self._bytes += job.size
            self._unfinished += 1
            self._changed.notify_all()
            return True

    def take(self, timeout_s: float | None = None) -> Job | None:
        """Wait for the next job, which `done` must follow; None when none came in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: bool(self._jobs), timeout_s):
                return None
            job = self._jobs.popleft()
            self._bytes -= job.size
            return job

    def done(self) -> None:
        """Note that a job taken is finished."""
        with self._changed:
            self._unfinished -= 1
            self._changed.notify_all()

    def forget_writes(self, told: Callable[[str], None]) -> None:
        """Give up the writes that wait, so that a stop is next; `told` is called for each."""
        with self._changed:
            kept = [job for job in self._jobs if job.kind != "write"]
            lost = len(self._jobs) - len(kept)
            self._jobs = deque(kept)
            self._bytes = 0
            self._unfinished -= lost
            self._changed.notify_all()
        for _ in range(lost):
            told("closed")

    def drained(self, timeout_s: float) -> bool:
        """Wait until everything queued so far is finished; returns whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._unfinished == 0, timeout_s)
