"""Verdicts and alarms of a ledger, for programs: reading them, and saying that they are known."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from promptguard.arguments import check_clock
from promptguard.core.mistakes import checked_call, nearest, refused
from promptguard.core.streams import STREAMS
from promptguard.directories import check_ledger
from promptguard.errors import ConfigurationError, InputFileError
from promptguard.settings import NOT_GIVEN, NotGiven, current

if TYPE_CHECKING:
    from promptguard.drift import Verdict


@checked_call
def acknowledge(
    ledger: str | Path | NotGiven = NOT_GIVEN,
    group: str | None = None,
    *,
    stream: str | None = None,
    clock: Callable[[], float] = time.time,
) -> list[tuple[str, str]]:
    """Say that alarms are known: routes end, `Raise` stops raising, and a new epoch with its own alpha begins.

    Parameters: `ledger` is the directory (as in settings, where it is not given); `group` and `stream` name one alarm, None
    means all; `clock` gives seconds since the Unix epoch, for tests. Every process that shares the ledger follows within
    seconds. Returns the (stream, group) pairs acknowledged; the group of a self-test is "".

    Raises ConfigurationError when an argument is wrong, when there is no ledger (an InputFileError as well) or when no such
    alarm stands; InputFileError when the ledger cannot be read or written.
    """
    from promptguard.ledger.store import Ledger
    from promptguard.ledger.trouble import LedgerUnavailable
    from promptguard.report.read import read_verdicts, standing_alarms

    ledger = _ledger(ledger)
    check_clock(clock, "acknowledge(clock)")
    if group is not None and not isinstance(group, str):
        raise refused("acknowledge(group)", group, "a group as promptguard status names it, or None for all")
    if stream is not None and stream not in STREAMS:
        meant = nearest(stream, STREAMS)
        raise refused(
            "acknowledge(stream)", stream, f"one of {', '.join(STREAMS)}, or None for all", meant=meant
        )
    found = [
        place
        for place in standing_alarms(read_verdicts(ledger), ledger)
        if group in {None, place[1]} and stream in {None, place[0]}
    ]
    if not found:
        which = " ".join(filter(None, (group and f"of {group!r}", stream and f"in the {stream} stream")))
        raise ConfigurationError(
            f"{ledger}: no alarm {which + ' ' if which else ''}stands; see promptguard status"
        )
    opened = Ledger(ledger)
    try:
        for name, whose in found:
            opened.note(at=clock(), call=0, kind="acknowledge", stream=name, group=whose, detail={})
    except LedgerUnavailable as error:
        raise InputFileError(str(error)) from error
    finally:
        opened.close()
    return found


@checked_call
def verdicts(ledger: str | Path | NotGiven = NOT_GIVEN) -> Iterator[Verdict]:
    """Return the verdict that stands for every stream and group in a ledger: a drift until acknowledged, else the newest.

    `ledger` is the directory; as in settings, where it is not given. Raises ConfigurationError when it is no path, or when
    there is no ledger (an InputFileError as well); InputFileError when the ledger cannot be read.
    """
    from promptguard.drift import Verdict
    from promptguard.report.documents import standing
    from promptguard.report.read import read_verdicts

    return iter([Verdict.from_dict(document) for document in standing(read_verdicts(_ledger(ledger)))])


def _ledger(given: str | Path | NotGiven) -> str | Path:
    return check_ledger(current().ledger if isinstance(given, NotGiven) else given)
