"""`promptguard.prompts`: a folder of prompts, with what settings say of it."""

from __future__ import annotations

from pathlib import Path

from promptguard.core.mistakes import checked_call
from promptguard.core.options.durations import seconds
from promptguard.settings import current
from promptguard.templates.library import PromptLibrary, open_library


@checked_call
def prompts(directory: str | Path) -> PromptLibrary:
    """Open the folder of prompts at `directory`.

    Raises ConfigurationError when there is none, when it is no path, or for a setting that is wrong.
    """
    return open_library(directory, seconds(current().certificates_last, "certificates_last"))
