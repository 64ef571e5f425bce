"""`promptguard.prompts`: prompts of a folder or from elsewhere, with what settings and rollouts say of them."""

from __future__ import annotations

from pathlib import Path

from promptguard.core.mistakes import checked_call
from promptguard.core.options.durations import seconds
from promptguard.directories import check_ledger, ledger_place
from promptguard.following import Following
from promptguard.settings import NOT_GIVEN, NotGiven, current
from promptguard.sources.library import open_prompts
from promptguard.templates.library import PromptLibrary


@checked_call
def prompts(
    source: str | Path,
    *,
    refresh: float | str | None = None,
    ledger: str | Path | NotGiven = NOT_GIVEN,
) -> PromptLibrary:
    """Open prompts: a folder, files of a package, a git reference, or what was pushed into a ledger.

    Parameters: `source`, a path, `package:shop.support/prompts`, `git:/srv/prompts.git@main#prompts` or
    `ledger:.promptguard`; `refresh`, after how long a repository or ledger is looked at again, in seconds or as text
    ("30s"): by default 1 s, and 60 s for a repository elsewhere. A folder is read anew whenever it changes. `ledger`, the
    directory of the ledger whose rollouts `render()` and `get(unit=...)` follow: by default that of the settings, as for
    `wrap`. It is never made; what begins there later is followed within two seconds, but a process that was idle when the
    ledger came begins to follow with its next rendering, which still has the version in use.

    What comes from a repository or ledger is copied below the user's cache directory and read from there: the source is
    waited for at the first opening alone, and while it is away the last good copy is used, with a warning.

    Raises ConfigurationError where there is no such place, or for a setting that is wrong; PromptError where a source
    cannot be read and never was.
    """
    settings = current()
    every = None if refresh is None else seconds(refresh, "refresh")
    place = check_ledger(settings.ledger if isinstance(ledger, NotGiven) else ledger)
    following = Following(ledger_place(place))
    library = open_prompts(
        source, every, seconds(settings.certificates_last, "certificates_last"), following.table
    )
    following.begin()
    return library
