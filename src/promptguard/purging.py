"""`purge`: delete what ledger and cache keep of one subject, named by `with promptguard.subject(...)`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from promptguard.core.mistakes import checked_call, is_text, refused
from promptguard.directories import Database, Place, ledger_place
from promptguard.errors import InputFileError
from promptguard.settings import NOT_GIVEN, NotGiven, current

LOOK_AGAIN_S = 3.0
"""Seconds until a process that judges has seen that it is to begin anew."""
MOST_LOOKS = 10
EXPUNGE_S = 10.0


@dataclass(frozen=True, slots=True)
class Purged:
    """What was removed."""

    pairs: int
    """pairs whose answers had left something: features and labels; they stay counted"""
    texts: int
    """recorded questions and answers"""
    stored: int
    """requests stored to be asked again, each with its answer"""
    told: int
    """alarms and alerts in which words of these answers were replaced"""
    cached: int
    """answers in the cache"""
    waiting: int
    """pairs that waited on this machine for a database that was away"""
    judged_anew: bool
    """the detector's memory held words of these answers: it begins anew, from the pairs that the ledger still has"""
    expunged: bool
    """no byte is left in the files; False where a process used them for too long (run it again), or where the tables of a
    database are another role's"""
    unseen: tuple[str, ...] = ()
    """servers on which processes of this ledger cached answers, other than the one that was looked at"""


@checked_call
def purge(ledger: str | Path | NotGiven = NOT_GIVEN, *, subject: str, by: str = "") -> Purged:
    """Delete what a ledger and its cache keep of a subject; processes that run go on, and begin anew where they must.

    Parameters: `ledger` is the directory or address (as in settings, where it is not given); `subject` as it was given to
    `with promptguard.subject(...)`; `by` says who does it, and is kept. That it was done is noted in the ledger, with
    counts and without the subject. Calls that are under way may still be kept: purge once the subject makes no more.

    Raises ConfigurationError for a wrong argument or where there is no ledger, InputFileError where ledger or cache cannot
    be read, or their secret is missing.
    """
    from promptguard.core.key import subject_digest
    from promptguard.keeping import secret_of

    if not is_text(subject) or not subject:
        raise refused("purge(subject)", subject, "a non-empty text, as given to promptguard.subject(...)")
    place = ledger_place(current().ledger if isinstance(ledger, NotGiven) else ledger)
    digest = subject_digest(subject, secret_of(place))
    waiting, delivered = _purge_spool(place, digest)
    cached, clean = _purge_cache(place, digest)
    done = _purge_ledger(place, digest, (cached, waiting), by)
    return replace(done, expunged=done.expunged and clean and delivered, unseen=_unseen(place))


def _unseen(place: Place) -> tuple[str, ...]:
    """Return servers that this ledger's processes cached on, but for the one that settings name."""
    from promptguard.ledger.store import CACHE_PLACE, Ledger

    option = current().cache
    seen = option.shown if option is not None else ""
    opened = Ledger(place)
    try:
        return tuple(sorted(set(opened.counted(CACHE_PLACE)) - {seen}))
    finally:
        opened.close()


def _purge_spool(place: Place, digest: str) -> tuple[int, bool]:
    if not isinstance(place, Database):
        return 0, True
    from promptguard.ledger.spool import forget_subject, spool_directory

    try:
        return forget_subject(spool_directory(place), digest)
    except OSError as error:
        raise InputFileError(f"{spool_directory(place)}: {error.strerror or error}") from error


def _purge_cache(place: Place, digest: str) -> tuple[int, bool]:
    from promptguard.cache import upkeep
    from promptguard.core.key import subject_tag
    from promptguard.keeping import cache_of, secret_of

    where = cache_of(place)
    if isinstance(where, Path) and not where.exists():
        return 0, True
    return upkeep.purge(where, secret_of(place), subject_tag(digest))


def _purge_ledger(place: Place, digest: str, elsewhere: tuple[int, int], by: str) -> Purged:
    from promptguard.background.snapshots import readable
    from promptguard.ledger import purging
    from promptguard.ledger.store import Ledger
    from promptguard.ledger.trouble import LedgerUnavailable

    opened = Ledger(place)
    who, (cached, waiting) = ({"by": by[:100]} if by else {}), elsewhere
    try:
        with opened.transaction(alone="occurrence") as connection:
            found = purging.delete_rows(connection, digest, words_of)
            # one that judges has in memory what it has not saved yet
            judges = bool(found.words) and purging.evaluators(connection, time.time()) > 0
            anew = judges or purging.mentions(connection, found.words, readable)
            told = purging.replace_words(connection, found.words)
            counts = {
                "pairs": found.pairs,
                "texts": found.contents,
                "stored": found.stored,
                "cached": cached,
                "waiting": waiting,
            }
            if anew:
                purging.forget_judgements(connection)
            purging.note(connection, time.time(), {**counts, **who, "anew": anew})
        for _ in range(MOST_LOOKS if judges else 0):
            time.sleep(LOOK_AGAIN_S)
            with opened.transaction(alone="occurrence") as connection:
                if not purging.mentions(connection, found.words, readable):
                    break
                purging.forget_judgements(connection)
                purging.note(connection, time.time(), {**who, "anew": True})
        expunged = _until(opened.engine.expunge, EXPUNGE_S)
    except LedgerUnavailable as error:
        raise InputFileError(str(error)) from error
    finally:
        opened.close()
    return Purged(found.pairs, found.contents, found.stored, told, cached, waiting, anew, expunged)


def words_of(vector: bytes) -> Iterable[str]:
    """Return what a pair's vector holds in words: labels, reference, values by place. Raises ValueError."""
    from promptguard.drift import PairVector

    read = PairVector.from_bytes(vector)
    return filter(None, (*read.labels, read.reference, *read.facts.texts.values()))


def _until(done: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True
