"""Blocks that say something of the calls within them: not from the cache, these tags, this group, this cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from promptguard.core.mistakes import checked_call, is_text, refused
from promptguard.core.options import check_tags
from promptguard.core.rollouts import unit_of
from promptguard.guarding import BYPASS, CLUSTER, GROUP, SUBJECT, TAGS

_GROUP = re.compile(r"[^\W_][\w .:/@+-]{0,99}")


@contextmanager
@checked_call
def bypass() -> Iterator[None]:
    """Within this block, calls of this thread or task are neither answered from the cache nor saved to it."""
    token = BYPASS.set(True)
    try:
        yield
    finally:
        BYPASS.reset(token)


@contextmanager
@checked_call
def cache_tags(*tags: str) -> Iterator[None]:
    """Within this block, answers of this thread or task are kept in the cache with these tags, for clearing them later.

    Blocks add up. Tags are kept beside the answers, as they are. Raises ConfigurationError for what is no short text.

    >>> with cache_tags("customer-42"):
    ...     pass  # calls
    """
    check_tags(tags, "cache_tags(...)")
    both = tuple(dict.fromkeys((*TAGS.get(), *tags)))
    check_tags(both, "cache_tags(...)")
    token = TAGS.set(both)
    try:
        yield
    finally:
        TAGS.reset(token)


@contextmanager
@checked_call
def group(name: str) -> Iterator[None]:
    """Within this block, calls of this thread or task that no prompt was rendered for are counted under `name`.

    Without it, such calls are grouped by their system prompt and tools, with numbers, dates, ids and names masked. `name`
    stands in the ledger and in reports as it is: use one for each task of the application, not for each customer; of more
    than `Drift(max_groups)` the rest is counted under `(other)`. The innermost block counts.

    Raises ConfigurationError unless `name` has 1 to 100 letters, digits, spaces or `_ . : / @ + -`, beginning with a
    letter or digit.

    >>> with group("summaries"):
    ...     pass  # calls
    """
    if not isinstance(name, str) or not _GROUP.fullmatch(name) or name.startswith("system:"):
        raise refused(
            "group(name)", name, "1 to 100 letters, digits, spaces or _ . : / @ + -, a letter or digit first"
        )
    token = GROUP.set(name)
    try:
        yield
    finally:
        GROUP.reset(token)


@contextmanager
@checked_call
def unit(name: str | int) -> Iterator[None]:
    """Say whose calls and renderings these are while something is rolled out: a user, a conversation, a document.

    A unit keeps the version that it got first. Without one, each question is a unit of its own. `name` is not kept; the
    ledger has a digest of it that is keyed with a secret of the rollout. A whole number is its digits; "" is nobody's.

    Raises ConfigurationError when `name` is neither text nor a whole number.

    >>> with unit("user-17"):
    ...     pass  # library.render(...), and the call
    """
    from promptguard.templates.rendered import UNIT

    token = UNIT.set(unit_of(name))
    try:
        yield
    finally:
        UNIT.reset(token)


@contextmanager
@checked_call
def cluster(name: str) -> Iterator[None]:
    """Say that calls within this block depend on each other: a conversation, one user's session, one document.

    Of the calls of one cluster at most one pair enters a stream's evidence (an epoch), because the bound on false
    alarms needs pairs that do not repeat each other's accidents. The ledger keeps a keyed digest of `name` only.

    Raises ConfigurationError when `name` is not a non-empty string.
    """
    if not is_text(name) or not name:
        raise refused("cluster(name)", name, "a non-empty text, such as a conversation's id")
    token = CLUSTER.set(name)
    try:
        yield
    finally:
        CLUSTER.reset(token)


@contextmanager
@checked_call
def subject(name: str) -> Iterator[None]:
    """Say whom calls within this block are about, so that what is kept of them can be purged: a user, a customer.

    What ledger and cache keep of these calls is found again by `promptguard purge --subject NAME`. They hold a keyed digest
    of `name`, never the name. The innermost block counts. An answer that two subjects share in the cache is kept for the
    one who asked first.

    Raises ConfigurationError when `name` is not a non-empty string.

    >>> with subject("user-17"):
    ...     pass  # calls
    """
    if not is_text(name) or not name:
        raise refused("subject(name)", name, "a non-empty text, such as a user's id")
    token = SUBJECT.set(name)
    try:
        yield
    finally:
        SUBJECT.reset(token)
