"""A copy of prompts that come from elsewhere: looked after in the background, and good for as long as the source is away.

The copy is an ordinary folder of prompts below the user's cache directory, one an address, shared by all processes. A
library reads it as any folder; only a thread of its own ever waits for the source, but for the first time.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from promptguard.errors import PromptError
from promptguard.templates.near import NAME, SUFFIX, VERSION
from promptguard.templates.shared_files import one_writer, replace_file

log = logging.getLogger("promptguard")

LABELS, LOCK, KEPT, CERTIFICATES = "labels.jsonl", "lock.json", ".locked", "certificates.jsonl"
_LAST = (LOCK, LABELS)
"""Written after the prompts that they speak of."""
MOST_FILES, MOST_BYTES = 100_000, 100_000_000


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a source holds at one moment; `state` is another one whenever anything is."""

    state: str
    files: Mapping[str, bytes]
    """relative path → content"""


Fetch = Callable[[str | None], Snapshot | None]
"""From the state that is known to what there is now; None where nothing has changed. Raises PromptError."""


class Mirror:
    """The copy of one source. `look` costs less than a microsecond while the copy is young enough."""

    def __init__(self, told: str, fetch: Fetch, refresh: float | None, home: Path | None = None) -> None:
        """Prepare the copy of the source that is called `told`, looked at again after `refresh` seconds; None for never."""
        self.told = told
        self._fetch = fetch
        self._refresh = refresh
        base = home_of(told) if home is None else home
        self.directory = base / "copy"
        self._state = base / "state"
        self.directory.mkdir(parents=True, exist_ok=True)
        self._next = 0.0
        self._at_work: tuple[int, threading.Thread] | None = None
        self.trouble: str | None = None
        """why the source could not be read when it was last looked at; None where it could"""

    def open(self) -> None:
        """Look at the source and wait for it. Raises PromptError where it is away and there is no copy from before."""
        try:
            self.bring()
        except PromptError as error:
            if self._known() is None:
                raise
            self._note(str(error))

    def look(self) -> None:
        """Have the copy brought up to date in the background, where it is due. Never waits, never raises."""
        if self._refresh is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._refresh
        own = self._at_work
        if own is not None and own[0] == os.getpid() and own[1].is_alive():
            return
        thread = threading.Thread(target=self._bring_quietly, name="promptguard-prompts", daemon=True)
        self._at_work = os.getpid(), thread
        try:
            thread.start()
        except RuntimeError:  # no more threads, or the interpreter is ending
            self._at_work = None

    def bring(self) -> None:
        """Bring the copy up to date and wait for it. Raises PromptError where the source, or the copy, cannot be had."""
        known = self._known()
        found = self._fetch(known)
        if found is not None and found.state != known:
            try:
                with one_writer(self.directory):
                    self._write(found)
            except OSError as error:
                raise PromptError(
                    f"{self.told}: the copy in {self.directory} cannot be written: {error}"
                ) from None
        if self._refresh is not None:
            self._next = time.monotonic() + self._refresh
        self._note(None)

    def _bring_quietly(self) -> None:
        try:
            self.bring()
        except Exception as error:  # noqa: BLE001 - the copy stays good, whatever happens to the source
            self._note(str(error))

    def _note(self, trouble: str | None) -> None:
        before, self.trouble = self.trouble, trouble
        if trouble is not None and before is None:
            log.warning("%s; prompts go on as they were last read (said once until it is back)", trouble)
        elif trouble is None and before is not None:
            log.info("%s: prompts are read again", self.told)

    def _known(self) -> str | None:
        try:
            return self._state.read_text("utf-8")
        except (OSError, ValueError):
            return None

    def _write(self, found: Snapshot) -> None:
        self._state.unlink(missing_ok=True)  # until all is written the copy is of no known state
        wanted = _ordered(found.files)
        for path, content in wanted.items():
            place = self.directory / path
            if not place.is_file() or place.read_bytes() != content:
                place.parent.mkdir(parents=True, exist_ok=True)
                replace_file(place, content)
        for directory, _, files in os.walk(self.directory):
            for file in files:
                path = Path(directory, file).relative_to(self.directory).as_posix()
                # What was locked here stays: a version that was used must not change, whatever the source says now.
                if path not in wanted and path != LOCK and not path.startswith((KEPT, ".new-")):
                    Path(directory, file).unlink(missing_ok=True)
        replace_file(self._state, found.state.encode())


def _ordered(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return what belongs to a folder of prompts, prompts before what speaks of them. Raises PromptError for too much."""
    kept = {path: content for path, content in files.items() if belongs(path)}
    if len(kept) > MOST_FILES or sum(map(len, kept.values())) > MOST_BYTES:
        raise PromptError(f"more than {MOST_FILES} files or {MOST_BYTES // 10**6} MB of prompts")
    return dict(sorted(kept.items(), key=lambda item: (item[0] in _LAST, item[0])))


def belongs(path: str) -> bool:
    """Whether a relative path is a prompt's, or one of the folder's own files."""
    parts = PurePosixPath(path).parts
    if path in (LABELS, LOCK, CERTIFICATES):
        return True
    if len(parts) == 2 and parts[0] == KEPT:
        return all(letter.isalnum() or letter == "-" for letter in parts[1])
    if len(parts) < 2 or not path.endswith(SUFFIX):
        return False
    stem = parts[-1].removesuffix(SUFFIX)
    return bool(VERSION.fullmatch(stem) and NAME.fullmatch("/".join(parts[:-1])))


def home_of(told: str) -> Path:
    """Return where the copy of a source lies: below the user's cache directory, else in one that ends with the process."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")  # noqa: PTH111, PTH118 - may be no path
    place = Path(
        base, "promptguard", "prompts", hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:24]
    )
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        facts = place.lstat()
        # Prompts decide what a model is told: a directory that others could write to is not trusted.
        if hasattr(os, "getuid") and (facts.st_uid != os.getuid() or facts.st_mode & 0o022):
            raise PermissionError
        if not os.access(place, os.W_OK):
            raise PermissionError
    except OSError:
        return Path(tempfile.mkdtemp(prefix="promptguard-prompts-"))
    return place
