"""`promptguard status --watch`: the same screen again and again; in a pipe, once for every change."""

from __future__ import annotations

import os
import select
import stat
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext

from rich.console import Group
from rich.live import Live

from promptguard.report.memory import Memory
from promptguard.report.status import Situation
from promptguard.terminal.standing import standing_parts
from promptguard.terminal.verdict import console
from promptguard.verdict import Status


def watch(read: Callable[[Memory], Situation], interval: float, *, every: bool) -> Status:
    """Show what `read` returns every `interval` seconds until the user interrupts; returns the last status.

    `every` is as for `standing_parts`. On a terminal the last screen stays; in a pipe each change is printed once, and
    it ends when nobody reads the pipe any more. What `read` raises ends it.
    """
    memory, out = Memory(), console(unbroken=True)
    last = situation = read(memory)
    on_screen = sys.stdout.isatty()
    screen = Live(console=out, screen=True, auto_refresh=False) if on_screen else nullcontext()
    with screen as live:
        try:
            while True:
                shown = Group(*standing_parts(situation, out, every=every))
                changed = situation is last or _standing(situation) != _standing(last)
                last = (
                    situation  # before it is shown: whoever interrupts at the sight of it gets its exit code
                )
                if live is not None:
                    live.update(shown, refresh=True)
                elif changed:
                    out.print(shown)
                    sys.stdout.flush()
                if _reader_goes_within(interval):
                    break
                situation = read(memory)
        except KeyboardInterrupt:
            pass
    if on_screen:
        out.print(*standing_parts(last, out, every=every), sep="\n")
    return last.overview.status


def _reader_goes_within(seconds: float) -> bool:
    """Wait so long; returns True as soon as standard output is a pipe that nobody reads any more."""
    try:
        handle = sys.stdout.fileno()
        piped = hasattr(select, "poll") and stat.S_ISFIFO(os.fstat(handle).st_mode)
    except (OSError, ValueError):
        piped = False
    if not piped:
        time.sleep(seconds)
        return False
    gone = select.poll()
    gone.register(handle, 0)  # a pipe's end is told without being asked for
    return bool(gone.poll(seconds * 1000))


def _standing(situation: Situation) -> list[tuple[str, str, str, bool]]:
    return [(row.group, row.stream, row.status, row.acknowledged) for row in situation.overview.rows]
