"""Verdicts and alarms of a ledger, for programs: reading them, saying that they are known, taking actions back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptguard.clocks import check_clock
from promptguard.core.epochs import ALL_PROMPTS, EVERY_GROUP
from promptguard.core.mistakes import checked_call, nearest, refused
from promptguard.core.streams import SELF_TESTS, STREAMS
from promptguard.directories import check_ledger
from promptguard.errors import ConfigurationError, InputFileError
from promptguard.settings import NOT_GIVEN, NotGiven, current

if TYPE_CHECKING:
    from promptguard.core.actions import Done
    from promptguard.drift import Verdict


@checked_call
def acknowledge(
    ledger: str | Path | NotGiven = NOT_GIVEN,
    group: str | None = None,
    *,
    stream: str | None = None,
    accept: bool = False,
    clock: Callable[[], float] = time.time,
    by: str = "",
) -> list[tuple[str, str]]:
    """Say that alarms are known: routes end, `Raise` stops raising, and a new epoch with its own alpha begins.

    Whatever was done about a prompt ends with any alarm of it that is acknowledged, whichever stream's; labels stay.
    `accept` makes today's answers the reference, so that the same change does not alarm again: answers stored before are
    not asked again, and a candidate that alarmed is not compared with until `Shadow(model=...)` names another.

    Parameters: `ledger` is the directory (as in settings, where it is not given); `group` and `stream` name one alarm, None
    means all, and the group "(all)" an alarm of all prompts together, with those of single prompts in its stream; `clock`
    gives seconds since the Unix epoch, for tests; `by` says who does it, and is kept. Every process that shares the ledger
    follows within seconds. Returns the (stream, group) acknowledged; the group of a self-test, and of all prompts, is "".

    Raises ConfigurationError when an argument is wrong, when there is no ledger (an InputFileError as well) or when no such
    alarm stands; InputFileError when the ledger cannot be read or written.
    """
    from promptguard.ledger.store import Ledger
    from promptguard.ledger.trouble import LedgerUnavailable
    from promptguard.report.read import read_verdicts, standing_alarms

    ledger = _ledger(ledger)
    clock = check_clock(clock, "acknowledge(clock)")
    if group is not None and not isinstance(group, str):
        raise refused("acknowledge(group)", group, "a group as promptguard status names it, or None for all")
    if stream is not None and stream not in STREAMS:
        meant = nearest(stream, STREAMS)
        raise refused(
            "acknowledge(stream)", stream, f"one of {', '.join(STREAMS)}, or None for all", meant=meant
        )
    documents = read_verdicts(ledger)
    found = _meant(standing_alarms(documents, ledger), group, stream)
    if not found:
        which = " ".join(filter(None, (group and f"of {group!r}", stream and f"in the {stream} stream")))
        raise ConfigurationError(
            f"{ledger}: no alarm {which + ' ' if which else ''}stands; see promptguard status"
        )
    opened = Ledger(ledger)
    try:
        for name, whose in found:
            at, detail = clock(), _by(by)
            if accept:
                detail["accepted"] = _compared_with(documents, name, whose)
                opened.forget_stored(name, whose, at)
            opened.note(at=at, call=0, kind="acknowledge", stream=name, group=whose, detail=detail)
    except LedgerUnavailable as error:
        raise InputFileError(str(error)) from error
    finally:
        opened.close()
    return found


@checked_call
def undo(
    ledger: str | Path | NotGiven = NOT_GIVEN,
    action: int = 0,
    *,
    clock: Callable[[], float] = time.time,
    by: str = "",
) -> Done:
    """Take one action back and leave the alarm standing: a route ends, calls no longer raise, the cache is asked again.

    It is not done again until the alarm is acknowledged. Parameters: `ledger` is the directory (as in settings, where it is
    not given); `action` is its number, as `promptguard status` tells it; `clock` gives seconds since the Unix epoch, for
    tests; `by` says who does it, and is kept. Every process that shares the ledger follows within seconds. Returns the
    action, ended.

    Raises ConfigurationError when there is no ledger (an InputFileError as well), no such action, or it has ended already;
    InputFileError when the ledger cannot be read or written.
    """
    from promptguard.core.actions import UNDO
    from promptguard.ledger.store import Ledger
    from promptguard.ledger.trouble import LedgerUnavailable
    from promptguard.report.alerts import done_in

    ledger = _ledger(ledger)
    if isinstance(action, bool) or not isinstance(action, int):
        raise refused("undo(action)", action, "the number of an action, as promptguard status tells it")
    done = done_in(ledger).found.get(action)
    if done is None:
        raise ConfigurationError(f"{ledger}: there is no action {action}; see promptguard status")
    if done.ended or done.dry_run:
        why = f"was {done.ended} already" if done.ended else "was a dry run: nothing was done"
        raise ConfigurationError(f"{ledger}: action {action} {why}")
    if done.kind == "rollback":
        _put_forward(done, by)
    at = clock()
    opened = Ledger(ledger)
    try:
        detail = {"action": action, "asked": done.asked, **_by(by)}
        opened.note(
            at=at, call=0, kind=f"{UNDO}{done.kind}", stream=done.stream, group=done.group, detail=detail
        )
    except LedgerUnavailable as error:
        raise InputFileError(str(error)) from error
    finally:
        opened.close()
    return replace(done, ended="undone", ended_at=at)


def _meant(
    standing: Sequence[tuple[str, str]], group: str | None, stream: str | None
) -> list[tuple[str, str]]:
    """Return the (stream, group) that are acknowledged, those of single prompts before that of all of them together."""
    asked = EVERY_GROUP if group == ALL_PROMPTS else group
    of_stream = [place for place in standing if stream in {None, place[0]}]
    found = [place for place in of_stream if asked in {None, place[1]}]
    if (
        group == ALL_PROMPTS and stream is None
    ):  # a self-test is of all prompts too, and says nothing of the model
        found = [place for place in found if place[0] not in SELF_TESTS]
    all_of = {name for name, whose in found if whose == EVERY_GROUP}
    found += [place for place in of_stream if place[0] in all_of and place not in found]
    return sorted(found, key=lambda place: place[1] == EVERY_GROUP)


def _compared_with(documents: Sequence[Mapping[str, Any]], stream: str, group: str) -> str:
    """Return the model that a group was compared with in the newest epoch that drifted; "" where none is known."""
    models = [
        str(each.get("candidate_model", ""))
        for told in documents
        for each in (told, *told["groups"])
        if (told["stream"], each.get("group") or EVERY_GROUP, each["status"]) == (stream, group, "drift")
    ]
    return models[-1] if models else ""


def _put_forward(done: Done, by: str) -> None:
    """Put a label on the version it stood on before it was rolled back; nothing where somebody has moved it since."""
    from promptguard.templates.library import open_library

    name = done.group.rpartition("@")[0]
    library = open_library(done.folder)
    if library.labels(name).get(done.label) == done.to:
        library.label(f"{name}@{done.before}", done.label, why=f"undo of action {done.id}", by=by)


def _by(who: str) -> dict[str, object]:
    return {"by": who[:100]} if who else {}


@checked_call
def verdicts(
    ledger: str | Path | NotGiven = NOT_GIVEN, *, clock: Callable[[], float] = time.time
) -> Iterator[Verdict]:
    """Return the verdict that stands for every stream and group in a ledger: a drift until acknowledged, else the newest.

    `ledger` is the directory; as in settings, where it is not given. `clock` gives seconds since the Unix epoch, for
    tests: what has not been measured lately is `unmeasured` (`Drift(stale_after=...)`). Raises
    ConfigurationError when it is no path, or when
    there is no ledger (an InputFileError as well); InputFileError when the ledger cannot be read. As the last
    line of a notebook's cell they show as headline and rows.
    """
    from promptguard.drift import Verdict
    from promptguard.report.documents import standing
    from promptguard.report.read import read_verdicts

    place = _ledger(ledger)
    documents = read_verdicts(place, now=check_clock(clock, "verdicts(clock)")())
    return Verdicts(place, [Verdict.from_dict(document) for document in standing(documents)])


class Verdicts(Iterator["Verdict"]):
    """The verdicts of a ledger, one after the other; as the last line of a notebook's cell, its headline and rows."""

    def __init__(self, ledger: str | Path, found: Sequence[Verdict]) -> None:
        self._ledger = ledger
        self._found = iter(found)

    def __next__(self) -> Verdict:
        """Return the next verdict."""
        return next(self._found)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the parts that the local page and the report are made of."""
        from promptguard.dashboard import render_cell
        from promptguard.report.overview import read_overview

        return render_cell(read_overview(self._ledger))


def _ledger(given: str | Path | NotGiven) -> str | Path:
    return check_ledger(current().ledger if isinstance(given, NotGiven) else given)
