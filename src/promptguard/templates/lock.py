"""lock.json: the digest of every version that was used, so that a version never changes under its users."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from pathlib import Path

from promptguard.errors import PromptChanged, PromptSyntaxError

FORMAT = 1


class Lock:
    """The lock file of one library. A directory that cannot be written is used without recording."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._guard = threading.Lock()
        self._settled: set[str] = set()

    def verify(self, key: str, digest: str, file: Path) -> None:
        """Raise PromptChanged when `key` was used before with other content."""
        known = self._read().get(key)
        if known is not None and known != digest:
            raise PromptChanged(
                f"{file} has changed since {key} was first used ({known[:19]}... in {self._path}); "
                f"put it back as it was and save the new text as a new version beside it"
            )
        if known is not None:
            self._settled.add(key)

    def record(self, key: str, digest: str, file: Path) -> None:
        """Remember the content of `key` at its first use; later calls cost one look into a set."""
        if key in self._settled:
            return
        with self._guard:
            self.verify(key, digest, file)
            if key not in self._settled:
                self._settled.add(key)
                self._write({**self._read(), key: digest})

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

    def _write(self, prompts: dict[str, str]) -> None:
        """Replace the file as a whole, so that no reader ever sees half of it."""
        text = json.dumps({"format": FORMAT, "prompts": dict(sorted(prompts.items()))}, indent=1) + "\n"
        try:
            handle, name = tempfile.mkstemp(prefix=".lock-", dir=self._path.parent)
        except OSError:
            return  # a read-only library (an image, an installed package) is used without recording
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
            Path(name).chmod(0o644)  # names and digests only; meant to be committed
            Path(name).replace(self._path)
        except OSError:
            Path(name).unlink(missing_ok=True)
