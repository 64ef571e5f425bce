"""Certificates: on which model a version of a prompt is known to work as it did before, who looked, and on what evidence.

`certificates.jsonl` is append-only beside `labels.jsonl`, so that it is versioned with the prompts: a line an examination
or a withdrawal, as `Certificate.to_dict` makes it. The last line of a version and model counts. Only `name`, `version`,
`model` and `status` are needed, so that a line may be written by hand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, get_args

from promptguard.errors import PromptError, PromptSyntaxError
from promptguard.templates.remembered import Remembered
from promptguard.templates.shared_files import MOST_LINE, append_line, one_writer, whole_lines

FILE = "certificates.jsonl"
LASTS: Final = 90 * 86_400.0
"""Seconds after which a certificate is no longer one: models behind one name are moved within months."""
Status = Literal["certified", "drifted", "untested", "withdrawn", "expired"]
STATUSES: tuple[Status, ...] = get_args(Status)
_KEPT: tuple[Status, ...] = ("certified", "drifted", "untested", "withdrawn")
_MOST_WHY = 2_000
_MOST_CHANGES = 8


@dataclass(frozen=True, slots=True)
class Certificate:
    """What is known of one version on one model.

    Attributes:
        name: the prompt
        version: its version
        model: the model as it is asked for
        status: `certified`: no feature shifted by more than `tolerance` at confidence 1 - `alpha`, and the file's cases
            pass; `drifted`: some did, or a case does not pass any more; `untested`: neither is known, `why` says why;
            `withdrawn`: it was certified, `why` says what happened; `expired`: it was, too long ago (never in the file)
        at: when, ISO 8601 in UTC
        by: who
        why: what changed, why it is not known, or why it was withdrawn
        digest: of the version's content
        served: the models that answered, as the provider names them
        against: the reference, such as `triage@3`
        against_model: the model that the reference is known on, as it was asked for
        against_served: the models that answered for the reference
        pairs: pairs of answers compared
        lost: pairs of which one answer was missing
        tolerance: the shift that was to be excluded, a share of answers for flags
        alpha: chance that the status is wrong, at most
        bound: the smallest shift that the pairs exclude at confidence 1 - `alpha`
        log10_evidence: of a shift beyond the tolerance
        cases: how many of the file's cases passed, and how many there are
        changes: what changed, in words
        usd: what the examination cost by list price; None where nothing was asked
        calls: calls made for it
        attempt: how often this version was examined on this model with this reference, this time counted: each time the
            chance of a wrong certificate is `alpha` anew
        source: where the answers came from: `asked`, or names of files
    """

    name: str
    version: str
    model: str
    status: Status
    at: str = ""
    by: str = ""
    why: str = ""
    digest: str = ""
    served: tuple[str, ...] = ()
    against: str = ""
    against_model: str = ""
    against_served: tuple[str, ...] = ()
    pairs: int = 0
    lost: int = 0
    tolerance: float | None = None
    alpha: float | None = None
    bound: float | None = None
    log10_evidence: float | None = None
    cases: tuple[int, int] = (0, 0)
    changes: tuple[str, ...] = ()
    usd: float | None = None
    calls: int = 0
    attempt: int = 1
    source: str = ""

    @property
    def reference(self) -> str:
        """The version, such as `triage@4`."""
        return f"{self.name}@{self.version}"

    def is_of(self, model: str) -> bool:
        """Whether it says something of a model: of the one asked for, or of one that answered."""
        return model == self.model or model in self.served

    def age(self, now: float) -> float:
        """Return its age in seconds; 0 for a moment that cannot be read."""
        try:
            return max(0.0, now - datetime.fromisoformat(self.at).timestamp())
        except ValueError:
            return 0.0

    def at_time(self, now: float, lasts: float = LASTS) -> Certificate:
        """Return it as it stands: `expired` where it was certified more than `lasts` seconds ago."""
        if self.status != "certified" or self.age(now) <= lasts:
            return self
        days = self.age(now) / 86_400
        return replace(self, status="expired", why=f"certified {days:.0f} days ago; certify it again")

    def to_dict(self) -> dict[str, object]:
        """Return it as a line of certificates.jsonl, with all keys."""
        told = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}


Place = tuple[str, str]
"""version and model"""
Standing = dict[str, dict[Place, Certificate]]


class Certificates:
    """The certificates of one folder of prompts; thread-safe, and shared with other processes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / FILE
        self._lines: Remembered[tuple[Certificate, ...]] = Remembered(_read)
        self._standing: tuple[Sequence[Certificate], Standing] = ((), {})

    def history(self) -> Sequence[Certificate]:
        """Return all lines, oldest first; raises PromptSyntaxError with the line that is none."""
        try:
            return self._lines.read(str(self._path))
        except FileNotFoundError:
            return ()
        except (OSError, UnicodeDecodeError) as error:
            raise PromptSyntaxError(f"{self._path}: the certificates cannot be read: {error}") from None

    def standing(self, name: str) -> Mapping[Place, Certificate]:
        """Return (version, model) -> the line that counts, of one prompt."""
        lines = self.history()
        known, found = self._standing
        if known is not lines:
            found = {}
            for line in lines:
                found.setdefault(line.name, {})[line.version, line.model] = line
            self._standing = lines, found
        return found.get(name, {})

    def add(self, certificate: Certificate) -> Certificate:
        """Append one; returns it as it was written, its moment and attempt filled in. Raises PromptError."""
        with self._writing() as known:
            same = (certificate.name, certificate.version, certificate.model, certificate.against)
            before = [
                line for line in known
                if (line.name, line.version, line.model, line.against) == same and line.status != "withdrawn"
            ]  # fmt: skip
            written = _bounded(replace(certificate, at=certificate.at or now_text(), attempt=len(before) + 1))
            append_line(self._path, json.dumps(written.to_dict(), ensure_ascii=False))
        return written

    def withdraw(
        self, name: str, version: str, model: str, *, why: str, by: str = ""
    ) -> tuple[Certificate, ...]:
        """Withdraw the certificates of a version on a model; returns the lines written, none where none stands.

        `model` as it was asked for, or as it answered. Raises PromptError where nothing can be written.
        """
        if not any(_stands(line, name, version, model) for line in self.standing(name).values()):
            return ()
        with self._writing() as known:
            last = {(line.name, line.version, line.model): line for line in known}
            found = [line for line in last.values() if _stands(line, name, version, model)]
            lines = [
                _bounded(replace(line, status="withdrawn", at=now_text(), by=by, why=why)) for line in found
            ]
            for line in lines:
                append_line(self._path, json.dumps(line.to_dict(), ensure_ascii=False))
        return tuple(lines)

    def _writing(self) -> _Writing:
        return _Writing(self._directory, self._path)


class _Writing:
    """The lines there are, while nobody else writes; read anew, since another process may have written a moment ago."""

    def __init__(self, directory: Path, path: Path) -> None:
        self._path = path
        self._held = one_writer(directory)

    def __enter__(self) -> tuple[Certificate, ...]:
        try:
            self._held.__enter__()
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            return _read(str(self._path)) if self._path.exists() else ()
        except BaseException as error:
            self._held.__exit__(None, None, None)
            if isinstance(error, OSError):
                raise self._unwritable(error) from None
            raise

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._held.__exit__(None, None, None)
        if isinstance(error, OSError):
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> PromptError:
        return PromptError(f"{self._path} cannot be written: {error.strerror or error}")


def _stands(line: Certificate, name: str, version: str, model: str) -> bool:
    return (line.name, line.version) == (name, version) and line.status == "certified" and line.is_of(model)


def now_text() -> str:
    """Return this moment as files have it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _bounded(line: Certificate) -> Certificate:
    changes = tuple(each[:_MOST_WHY] for each in line.changes[:_MOST_CHANGES])
    return replace(line, why=line.why[:_MOST_WHY], by=line.by[:_MOST_WHY], changes=changes)


def _read(path: str) -> tuple[Certificate, ...]:
    # The last line without its end is one that a crash left: it was not written.
    lines = whole_lines(Path(path).read_text("utf-8"))
    return tuple(_line(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip())


def _line(line: str, where: str) -> Certificate:
    try:
        if len(line) > MOST_LINE:
            raise ValueError
        told = json.loads(line)
        values = {
            field.name: told[field.name] for field in fields(Certificate) if told.get(field.name) is not None
        }
        if not isinstance(told["status"], str) or told["status"] not in _KEPT:
            raise ValueError
        return Certificate(**{name: _checked(name, value) for name, value in values.items()})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise PromptSyntaxError(
            f'{where}: not a certificate; a line is {{"name": ..., "version": ..., "model": ..., "status": one of'
            f" {', '.join(_KEPT)}}}"
        ) from None


_TEXTS = frozenset(
    ("name", "version", "model", "status", "at", "by", "why", "digest", "against", "against_model", "source")
)
_LISTS = frozenset(("served", "against_served", "changes"))
_COUNTS = frozenset(("pairs", "lost", "calls", "attempt"))


def _checked(name: str, value: Any) -> Any:  # JSON, and what its key makes of it
    if name in _TEXTS:
        if not isinstance(value, str | int):
            raise TypeError
        return str(value)
    if name in _LISTS:
        return tuple(str(each) for each in value)
    if name == "cases":
        passed, of = value
        return int(passed), int(of)
    return int(value) if name in _COUNTS else float(value)


def matrix(
    standing: Mapping[Place, Certificate],
    name: str,
    versions: Sequence[str],
    models: Sequence[str],
    now: float,
    lasts: float = LASTS,
) -> dict[str, dict[str, Certificate]]:
    """Return the matrix of a prompt: every version on every model that some line, or `models`, names."""
    columns = list(dict.fromkeys([*models, *(model for _, model in standing)]))
    return {
        version: {
            model: standing.get((version, model), Certificate(name, version, model, "untested")).at_time(
                now, lasts
            )
            for model in columns
        }
        for version in versions
    }
