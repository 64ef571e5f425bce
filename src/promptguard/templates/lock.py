"""lock.json: the digest of every version that was used, so that a version never changes under its users.

Beside it `.locked/` keeps each version's text as it was used: an edited one is told with the words that changed.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path

from promptguard.core.word_diff import changed_words
from promptguard.errors import PromptChanged, PromptError, PromptSyntaxError
from promptguard.templates.shared_files import one_writer, replace_file

FORMAT = 1
KEPT = ".locked"
_MOST_SHOWN = 600
_PATIENCE = 0.5
"""Seconds that the first rendering of a version may wait for another writer; beyond them it goes unrecorded."""


class Lock:
    """The lock file of one library. A directory that cannot be written is used without recording."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._guard = threading.Lock()
        self._settled: set[str] = set()

    @property
    def known(self) -> dict[str, str]:
        """Version -> digest of all that were used; raises PromptSyntaxError where the file cannot be read."""
        return self._read()

    def verify(self, key: str, digest: str, file: Path, text: str) -> None:
        """Raise PromptChanged when `key` was used before with other content than `text`, whose digest is `digest`."""
        known = self._read().get(key)
        if known is not None and known != digest:
            raise PromptChanged(
                f"{file} has changed since {key} was first used ({known[:19]}... in {self._path}); "
                f"put it back as it was and save the new text as a new version beside it{self._difference(known, text)}"
            )
        if known is not None:
            self._settled.add(key)

    def kept(self, digest: str) -> str | None:
        """Return the text that a digest stands for, as it was when it was first used; None where it was not kept."""
        try:
            return self._kept_at(digest).read_text("utf-8")
        except (OSError, ValueError):
            return None

    def record(self, key: str, digest: str, file: Path, text: str) -> None:
        """Remember the content of `key` at its first use; later calls cost one look into a set."""
        if key in self._settled:
            return
        with self._guard:
            self.verify(key, digest, file, text)
            if key not in self._settled:
                self._settled.add(key)
                self._write(key, digest, text)

    def _difference(self, known: str, text: str) -> str:
        before = self.kept(known)
        if before is None:
            return ""
        shown = changed_words(before, text)
        return f". What changed: {shown[:_MOST_SHOWN]}{'...' if len(shown) > _MOST_SHOWN else ''}"

    def _kept_at(self, digest: str) -> Path:
        return self._path.parent / KEPT / digest.replace(":", "-")

    def _read(self) -> dict[str, str]:
        try:
            stored = json.loads(self._path.read_bytes())
            if stored["format"] != FORMAT:
                raise PromptSyntaxError(f"{self._path} has format {stored['format']}; known here is {FORMAT}")
            return {str(key): str(value) for key, value in stored["prompts"].items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            if isinstance(error, PromptSyntaxError):
                raise
            raise PromptSyntaxError(f"{self._path} cannot be read; restore it: {error}") from None

    def _write(self, key: str, digest: str, text: str) -> None:
        try:
            with one_writer(self._path.parent, wait=_PATIENCE):
                # what another process has recorded meanwhile stays
                known = self._read()
                kept = self._kept_at(digest)
                kept.parent.mkdir(exist_ok=True)
                if not kept.exists():
                    replace_file(kept, text.encode("utf-8", "surrogatepass"))
                content = {"format": FORMAT, "prompts": dict(sorted({**known, key: digest}.items()))}
                replace_file(self._path, (json.dumps(content, indent=1) + "\n").encode())
        except (OSError, PromptError):
            return  # a read-only library (an image, an installed package) is used without recording
