"""Rules as data: read from TOML, checked when read, the user's own after ours."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from promptguard.compat.parts import CONDITIONS, CONVERTERS
from promptguard.core.mistakes import nearest
from promptguard.errors import ConfigurationError

Endpoint = Literal["chat", "responses", "messages", "generate"]
Severity = Literal["lossless", "lossy", "blocking"]
Op = Literal["drop", "rename", "set", "clamp", "move", "convert", "block"]
MOST_BYTES = 1_000_000
_OURS = ("openai", "anthropic", "gemini")
_NOT_OF_RULES = ("model", "stream")
_STRICT = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class ExpectedError(BaseModel):
    """What the provider answers where the rule is not applied."""

    model_config = _STRICT
    status: int = 400
    param: str | None = None
    code: str | None = None


class _Matching(BaseModel):
    """Which models something holds for: globs of names, and exceptions."""

    model_config = _STRICT
    models: tuple[str, ...] = Field(min_length=1)
    except_: tuple[str, ...] = Field(default=(), alias="except")

    def fits(self, model: str) -> bool:
        """Whether it holds for a model, by its own name or the one behind a router's prefix."""
        names = {model.lower(), model.lower().rpartition("/")[2]}
        return any(
            any(fnmatchcase(name, glob) for glob in self.models)
            and not any(fnmatchcase(name, glob) for glob in self.except_)
            for name in names
        )


class Effort(_Matching):
    """The reasoning effort of models when a request says none."""

    default: str


class Note(_Matching):
    """Something to know that changes nothing."""

    id: str
    endpoint: Endpoint
    fields: tuple[str, ...]
    unless: dict[str, tuple[object, ...]] = Field(default_factory=dict)
    why: str
    sources: tuple[str, ...] = Field(min_length=1)
    checked: date


class Rule(Note):
    """One break. A rule is applied to each of `fields` that a request has, where all conditions hold.

    `values`: only these values; `unless`: by field, values that are taken as they are. `effort_not`: only where the
    reasoning effort is none of these. `api_from`, `api_before`: by the version of the provider's API, a date. `if`: a
    condition by name (`parts.CONDITIONS`). `of_another`: only where the request was made for another model.
    `to`: the new name, value or limit, or the converter (`parts.CONVERTERS`).
    """

    op: Op
    to: str | int | float | bool | None = None
    severity: Severity
    error: ExpectedError = ExpectedError()
    values: tuple[object, ...] | None = None
    effort_not: tuple[str, ...] = ()
    api_from: str = ""
    api_before: str = ""
    if_: str | None = Field(default=None, alias="if")
    of_another: bool = False

    @model_validator(mode="after")
    def _makes_sense(self) -> Rule:
        named = [field for field in (*self.fields, self.to) if field in _NOT_OF_RULES]
        if named:
            raise ValueError(
                f"rule {self.id}: {named[0]} says which question is asked and how, and no rule changes it"
            )
        if self.if_ is not None and self.if_ not in CONDITIONS:
            raise ValueError(
                f"rule {self.id}: there is no condition {self.if_!r}; known are {', '.join(CONDITIONS)}"
            )
        if self.op == "convert" and self.to not in CONVERTERS:
            raise ValueError(
                f"rule {self.id}: there is no converter {self.to!r}; known are {', '.join(CONVERTERS)}"
            )
        if self.op in ("rename", "move") and not isinstance(self.to, str):
            raise ValueError(f"rule {self.id}: {self.op} needs the new name in `to`")
        if self.op == "clamp" and not isinstance(self.to, int | float):
            raise ValueError(f"rule {self.id}: clamp needs the largest value in `to`")
        if (self.op == "block") != (self.severity == "blocking"):
            raise ValueError(f"rule {self.id}: what blocks has the severity `blocking`, and nothing else has")
        return self


class Retirement(_Matching):
    """When a model ends."""

    ends: date
    successor: str | None = None
    sources: tuple[str, ...] = ()


class RuleSet(BaseModel):
    """All rules, efforts, notes and retirements of one file, or of several."""

    model_config = _STRICT
    rule: tuple[Rule, ...] = ()
    note: tuple[Note, ...] = ()
    effort: tuple[Effort, ...] = ()
    model: tuple[Retirement, ...] = ()

    def joined(self, other: RuleSet) -> RuleSet:
        """Return both; a rule of `other` takes the place of one with the same id."""
        newer = {rule.id for rule in other.rule}
        return RuleSet(
            rule=(*(rule for rule in self.rule if rule.id not in newer), *other.rule),
            note=(*self.note, *other.note),
            effort=(*other.effort, *self.effort),
            model=(*other.model, *self.model),
        )

    def knows(self, model: str) -> bool:
        """Whether anything here is about a model."""
        return any(
            each.fits(model) for part in (self.rule, self.note, self.effort, self.model) for each in part
        )

    def nearest(self, model: str) -> str | None:
        """Return the beginning of a name that is known and that `model` may have been meant for, if one is near."""
        parts = (self.rule, self.note, self.effort, self.model)
        stems = {glob.partition("*")[0] for part in parts for each in part for glob in each.models}
        return nearest(model, sorted(stem for stem in stems if stem))

    def retirement(self, model: str) -> Retirement | None:
        """Return when a model ends, if that is known."""
        return next((each for each in self.model if each.fits(model)), None)


@cache
def our_rules() -> RuleSet:
    """Return the rules that come with the library."""
    found = RuleSet()
    for name in (*_OURS, "retirement"):
        place = files("promptguard.compat").joinpath("rules", f"{name}.toml")
        found = found.joined(read_rules(place.read_text("utf-8"), f"{name}.toml"))
    return found


def rules_with(overlay: str | Path | None) -> RuleSet:
    """Return our rules with those of the user's file after them. ConfigurationError for a file that cannot be read."""
    if overlay is None:
        return our_rules()
    path = Path(overlay)
    try:
        with path.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"compat rules {path}: {error.strerror or error}") from None
    if len(data) > MOST_BYTES:
        raise ConfigurationError(f"compat rules {path}: a file of rules has at most {MOST_BYTES} bytes")
    return our_rules().joined(read_rules(data.decode("utf-8", "replace"), str(path)))


def read_rules(text: str, name: str) -> RuleSet:
    """Return the rules of a TOML document; raises ConfigurationError that names the rule and what is wrong with it."""
    try:
        return RuleSet.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"compat rules {name}: {error}") from None
    except ValidationError as error:
        first: Sequence[object] = error.errors(include_url=False)[0]["loc"]
        message = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise ConfigurationError(f"compat rules {name}: {'.'.join(map(str, first))}: {message}") from None
