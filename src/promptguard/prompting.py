"""`promptguard.prompts`: prompts of a folder or from elsewhere, with what settings say of them."""

from __future__ import annotations

from pathlib import Path

from promptguard.core.mistakes import checked_call
from promptguard.core.options.durations import seconds
from promptguard.settings import current
from promptguard.sources.library import open_prompts
from promptguard.templates.library import PromptLibrary


@checked_call
def prompts(source: str | Path, *, refresh: float | str | None = None) -> PromptLibrary:
    """Open prompts: a folder, files of a package, a git reference, or what was pushed into a ledger.

    Parameters: `source`, a path, `package:shop.support/prompts`, `git:/srv/prompts.git@main#prompts` or
    `ledger:.promptguard`; `refresh`, after how long a repository or ledger is looked at again, in seconds or as text
    ("30s"): by default 1 s, and 60 s for a repository elsewhere. A folder is read anew whenever it changes.

    What comes from a repository or ledger is copied below the user's cache directory and read from there: the source is
    waited for at the first opening alone, and while it is away the last good copy is used, with a warning.

    Raises ConfigurationError where there is no such place, or for a setting that is wrong; PromptError where a source
    cannot be read and never was.
    """
    every = None if refresh is None else seconds(refresh, "refresh")
    return open_prompts(source, every, seconds(current().certificates_last, "certificates_last"))
