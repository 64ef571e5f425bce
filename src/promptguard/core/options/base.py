"""What all options share: frozen, strict, positional as well as by name, and errors that say what to write instead."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self, dataclass_transform, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from promptguard.core.mistakes import listed, nearest, refused, unknown
from promptguard.core.options.accepting import Accepts
from promptguard.errors import ConfigurationError


@dataclass_transform(kw_only_default=False, field_specifiers=(Field,))
class Option(BaseModel):
    """A frozen value of checked fields. Its docstring tells every parameter; made from their descriptions."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", validate_default=False)
    SYNONYMS: ClassVar[dict[str, str]] = {}
    """names that people try → the field they mean"""

    def __init__(self, *args: object, **kwargs: object) -> None:
        """Check and keep the fields. Raises ConfigurationError, which names the one that is wrong."""
        given = self._named(args, kwargs)
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise self._explained(error, given) from None

    @classmethod
    def _named(cls, args: tuple[object, ...], kwargs: dict[str, object]) -> dict[str, object]:
        names = list(cls.model_fields)
        if len(args) > len(names):
            takes = f"at most {len(names)} values: {listed(names, 'and')}" if names else "no values"
            raise ConfigurationError(f"{cls.__name__} was given {len(args)} values; it takes {takes}")
        given: dict[str, object] = dict(zip(names, args, strict=False))
        twice = next((name for name in kwargs if name in given), None)
        if twice is not None:
            raise ConfigurationError(f"{cls.__name__} was given {twice} twice, first without its name")
        return given | kwargs

    @classmethod
    def _explained(cls, error: ValidationError, given: dict[str, object]) -> ConfigurationError:
        """Return the first thing that is wrong, as the user wrote it."""
        first = min(error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden")
        own = first.get("ctx", {}).get("error")
        name = str(first["loc"][0]) if first["loc"] else ""
        if first["type"] == "extra_forbidden" and name not in cls.model_fields:
            return unknown(cls.__name__, name, list(cls.model_fields), cls.SYNONYMS)
        if isinstance(own, ConfigurationError) and str(own).startswith((f"{cls.__name__}(", "{option}")):
            return ConfigurationError(str(own).replace("{option}", cls.__name__))
        accepts = accepted(cls.model_fields[name]) if name in cls.model_fields else Accepts("other values")
        if first["type"] == "missing":
            return ConfigurationError(f"{cls.__name__}({name}=...) is missing: give {accepts.words}")
        if accepts.secret:
            return ConfigurationError(f"{cls.__name__}({name}=...) is not accepted: give {accepts.words}")
        wrong = given.get(name)
        return refused(f"{cls.__name__}({name})", wrong, accepts.words, meant=accepts.meant(wrong))

    @classmethod
    def __pydantic_init_subclass__(cls, **_kwargs: object) -> None:
        """Complete the docstring and the signature, so that `help()` shows every parameter."""
        fields = cls.model_fields
        if fields and cls.__doc__ is not None:
            lines = [_wrapped(f"{name}: {described(field)}") for name, field in fields.items()]
            cls.__doc__ = "\n".join([cls.__doc__.rstrip(), "", "Parameters:", *lines])
        cls.__signature__ = inspect.Signature(
            [
                inspect.Parameter(
                    name,
                    inspect.Parameter.POSITIONAL_OR_KEYWORD,
                    default=inspect.Parameter.empty if field.is_required() else default_of(field),
                    annotation=field.annotation,
                )
                for name, field in fields.items()
            ]
        )

    def __str__(self) -> str:
        """Return it as it would be written."""
        return repr(self)

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse: whoever was given it relies on it. Raises ConfigurationError."""
        self._refuse_change(name)

    def __delattr__(self, name: str) -> None:
        """Refuse, as `__setattr__`."""
        self._refuse_change(name)

    def _refuse_change(self, name: str) -> None:
        known = list(type(self).model_fields)
        if name not in known:
            raise unknown(type(self).__name__, name, known, self.SYNONYMS)
        raise ConfigurationError(
            f"{type(self).__name__}.{name} is frozen: make another, {type(self).__name__}({name}=..., ...)"
        )

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:  # noqa: ARG002
        """Return a copy with other values, checked as all are. Raises ConfigurationError."""
        return type(self)(
            **{name: getattr(self, name) for name in type(self).model_fields} | dict(update or {})
        )

    @classmethod
    def model_construct(cls, _fields_set: set[str] | None = None, **values: Any) -> Self:
        """Return an option of `values`, checked as all are. Raises ConfigurationError."""
        return cls(**values)

    def __copy__(self) -> Self:
        """Return itself: it cannot change."""
        return self


def accepted(field: FieldInfo) -> Accepts:
    """Return what a field accepts: as its type says in words, or one of its literals."""
    known = next((each for each in field.metadata if isinstance(each, Accepts)), None)
    if known is not None:
        return known
    for part in (field.annotation, *get_args(field.annotation)):
        known = next((each for each in getattr(part, "__metadata__", ()) if isinstance(each, Accepts)), None)
        if known is not None:
            return known
    return _literals(field.annotation)


def _literals(annotation: object) -> Accepts:
    if get_origin(annotation) is not Literal:
        return Accepts("another value")
    words = [str(word) for word in get_args(annotation)]

    def meant(value: object) -> str | None:
        found = nearest(value, words)
        return None if found is None else repr(found)

    return Accepts(f"one of {', '.join(map(repr, words))}", meant)


def default_of(field: FieldInfo) -> Any:
    """Return the default of a field that has one.

    `FieldInfo.get_default(call_default_factory=True)` raises in pydantic 2.10.0, whatever the factory takes.
    """
    factory: Any = field.default_factory
    return field.default if factory is None else factory()


def described(field: FieldInfo) -> str:
    """Return what a field is for, and its default."""
    if field.is_required():
        return f"{field.description} (required)"
    default = default_of(field)
    shown = f"{type(default).__name__}()" if isinstance(default, Option) else repr(default)
    return f"{field.description} (default {shown})"


def _wrapped(text: str) -> str:
    return textwrap.fill(
        text, 100, initial_indent="    ", subsequent_indent="        ", break_on_hyphens=False
    )
