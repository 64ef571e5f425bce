"""What was written, checked value by value against the fields that it is for, and put into nested tables."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Annotated, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from promptguard.core.fields import check_fields
from promptguard.core.mistakes import listed, nearest, refused
from promptguard.core.options import (
    BypassCache,
    Channel,
    Drift,
    Option,
    Raise,
    Replay,
    Route,
    Warn,
    cache_option,
    check_channels,
    compat_option,
    written_channel,
)
from promptguard.core.options.base import accepted
from promptguard.core.options.servers import is_address
from promptguard.directories import Database, check_ledger, expanded
from promptguard.errors import ConfigurationError
from promptguard.settings.reading import NESTED, Entry

ACTIONS = (
    'warn, raise, route:MODEL, such as "route:gpt-4-0314", or bypass; several are a list. bypass tells what it would do, '
    "bypass:live does it; dry:route:MODEL tells what a route would do"
)
ALERTS = (
    "webhook, alertmanager, slack or apprise with its address, such as slack:https://... , or a table such as "
    '{slack = "https://...", name = "oncall"}; several are a list, or words with spaces or commas between'
)
_WORDS: Mapping[str, object] = {
    "true": True, "yes": True, "on": True, "false": False, "no": False, "off": False, "none": None, "null": None,
}  # fmt: skip
ONLY_IN_CODE = ("client",)
"""Fields of options that no text can say."""


def is_elsewhere(path: tuple[str, ...]) -> bool:
    """Whether a field of an option is said by another setting outside code: channels hold secrets of a place."""
    return path == ("drift", "alerts")


class Written(PydanticBaseSettingsSource):
    """A source of pydantic-settings: the entries that `read` returns for the names of all settings."""

    def __init__(
        self, settings_cls: type[BaseSettings], read: Callable[[tuple[str, ...]], list[Entry]]
    ) -> None:
        super().__init__(settings_cls)
        self._read = read

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[object, str, bool]:  # noqa: ARG002
        """Return nothing: all values are read at once."""
        return None, field_name, False

    def __call__(self) -> dict[str, object]:
        """Return the values as nested tables. Raises ConfigurationError, naming where a wrong one is written."""
        fields = self.settings_cls.model_fields
        found: dict[str, object] = {}
        for entry in sorted(self._read(tuple(fields)), key=lambda each: len(each.path)):
            value = _value(fields, entry)
            table = _table_for(found, entry.path[:-1])
            if table is not None:
                table[entry.path[-1]] = value
        return found


def _table_for(found: dict[str, object], path: tuple[str, ...]) -> dict[str, object] | None:
    """Return the table of a section, made where there is none; None where the same source has switched it off.

    Who sets `PROMPTGUARD_SHADOW=off` beside its parts wants it off.
    """
    table = found
    for part in path:
        inner = table.setdefault(part, {})
        if not isinstance(inner, dict):
            return None
        table = inner
    return table


def _value(fields: Mapping[str, FieldInfo], entry: Entry) -> object:
    """Return what an entry means: of the field at the end of its path."""
    for depth, part in enumerate(entry.path):
        field = fields.get(part)
        if field is None:
            raise _unknown(entry, depth, tuple(fields))
        option = option_of(field)
        if depth == len(entry.path) - 1:
            return _whole(entry, field, option)
        if option is None:
            raise ConfigurationError(f"{entry.where}: {part} has no parts: give {accepted(field).words}")
        fields = option.model_fields
    raise ConfigurationError(f"{entry.where}: a name is missing")


def _unknown(entry: Entry, depth: int, known: tuple[str, ...]) -> ConfigurationError:
    wrong = entry.path[depth]
    meant = nearest(wrong, known)
    hint = ""
    if meant is not None and entry.is_text:
        right = NESTED.join((*entry.path[:depth], meant, *entry.path[depth + 1 :])).upper()
        hint = f" (did you mean PROMPTGUARD_{right}?)"
    elif meant is not None:
        hint = f" (did you mean {meant}?)"
    return ConfigurationError(
        f"{entry.where}: {wrong!r} is not known{hint}: there are {listed(known, 'and')}"
    )


def option_of(field: FieldInfo) -> type[Option] | None:
    """Return the option that a field takes, None where it takes plain values."""
    parts = (field.annotation, *get_args(field.annotation))
    kinds = [get_args(part)[0] if get_origin(part) is Annotated else part for part in parts]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Option)), None)


def _whole(entry: Entry, field: FieldInfo, option: type[Option] | None) -> object:
    name, value = entry.path[-1], entry.value
    if name in ONLY_IN_CODE:
        raise ConfigurationError(f"{entry.where}: {name}= can only be given in code")
    if is_elsewhere(entry.path):
        raise ConfigurationError(
            f"{entry.where}: channels have a setting of their own: PROMPTGUARD_ALERTS, or alerts"
        )
    if name == "on_drift" and len(entry.path) == 1:
        return tuple(_actions(entry, value))
    if name == "alerts":
        return _alerts(entry)
    if name == "fields" and len(entry.path) == 1:
        return _fields(entry)
    if option is not None:
        return _section(entry, option)
    if name == "ledger":
        return _ledger(entry)
    return _plain(entry, field)


def _ledger(entry: Entry) -> object:
    """Return a directory, or an address. It says itself what is wrong with one: a refused value may hold a password."""
    decoded = _decoded(entry.value)
    # a directory may be named like a number, but not like a word for nothing
    given = check_ledger(decoded if decoded is None or isinstance(decoded, str) else entry.value, entry.where)
    if entry.directory is None or isinstance(given, Database):
        return given
    return str(entry.directory / expanded(given, entry.where))


def _section(entry: Entry, option: type[Option]) -> object:
    """Return a whole section that was written as one value: a table, a word for all defaults, or None."""
    value = _decoded(entry.value) if entry.is_text else entry.value
    if value is None or value is False:
        return None
    name = entry.path[-1]
    if name == "cache" and isinstance(value, str):
        try:
            known = cache_option(value)
        except ConfigurationError as error:
            if is_address(value):  # it may hold a password
                raise ConfigurationError(f"{entry.where}: {error}") from None
            meant = nearest(value, ("memory", "disk"))
            raise refused(
                entry.where, value, '"memory", "disk", "redis://..." or "none"', meant=meant
            ) from None
        return None if known is None else {name: getattr(known, name) for name in known.model_fields_set}
    if name == "compat" and isinstance(value, str):
        known_compat = compat_option(value, entry.where)
        return None if known_compat is None else {"mode": known_compat.mode}
    if value is True and option in {Replay, Drift}:
        return {}
    if isinstance(value, Mapping):
        fields = option.model_fields
        return {
            key: _value(fields, Entry((key,), part, f"{entry.where}: {key}", is_text=False))
            for key, part in value.items()
        }
    first = next(iter(option.model_fields))
    right = f"{entry.where}{NESTED}{first.upper()}" if entry.is_text else f"[tool.promptguard.{name}] {first}"
    raise refused(entry.where, value, f"its parts one by one, such as {right}, or none")


def _plain(entry: Entry, field: FieldInfo) -> object:
    adapter = _adapter(field)
    value = entry.value
    candidates: list[object] = [value]
    if entry.is_text and isinstance(value, str):
        decoded = _decoded(value)
        candidates = [decoded, value] if decoded is not value else [value]
        if decoded is None:  # a word for nothing is no name of a model
            candidates = [None]
        if get_origin(field.annotation) is tuple and decoded is value:
            candidates.append([part.strip() for part in value.split(",")])
    own: ConfigurationError | None = None
    for candidate in candidates:
        try:
            return adapter.validate_python(tuple(candidate) if isinstance(candidate, list) else candidate)
        except ValidationError as error:
            said = error.errors(include_url=False)[0].get("ctx", {}).get("error")
            own = own or (said if isinstance(said, ConfigurationError) else None)
    accepts = accepted(field)
    if accepts.secret:
        return _raise(ConfigurationError(f"{entry.where} is not accepted: give {accepts.words}"))
    if own is not None and "split" in entry.path:
        return _raise(ConfigurationError(f"{entry.where}: {own}"))
    return _raise(refused(entry.where, value, accepts.words, meant=accepts.meant(value)))


def _raise(error: ConfigurationError) -> object:
    raise error


_adapters: dict[int, tuple[FieldInfo, TypeAdapter[object]]] = {}


def _adapter(field: FieldInfo) -> TypeAdapter[object]:
    known = _adapters.get(id(field))
    if known is None:
        made: TypeAdapter[object] = TypeAdapter(field.rebuild_annotation(), config=ConfigDict(strict=True))
        known = _adapters[id(field)] = (field, made)
    return known[1]


def _decoded(value: object) -> object:
    """Return what a text means: a word for true, false or nothing, JSON, or the text itself."""
    if not isinstance(value, str):
        return value
    word = value.strip().lower()
    if word in _WORDS:
        return _WORDS[word]
    try:
        return json.loads(value, parse_constant=lambda _name: value)
    except (ValueError, RecursionError):
        return value


_BY_WORD: Mapping[tuple[str, str], Warn | Raise | BypassCache] = {
    ("warn", ""): Warn(),
    ("raise", ""): Raise(),
    ("bypass", ""): BypassCache(),
    ("bypass", "live"): BypassCache(dry_run=False),
}


def _actions(entry: Entry, value: object) -> list[Warn | Raise | Route | BypassCache]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list):
        raise refused(entry.where, value, ACTIONS)
    return [_action(entry, part) for part in value]


def _action(entry: Entry, part: object) -> Warn | Raise | Route | BypassCache:
    if isinstance(part, Mapping) and set(part) <= {"route", "to"} and len(part) == 1:
        part = f"route:{next(iter(part.values()))}"
    word, _, model = part.partition(":") if isinstance(part, str) else ("", "", "")
    word, model = word.strip().lower(), model.strip()
    dry, _, dry_model = model.partition(":")
    if word == "dry" and dry.strip().lower() == "route" and dry_model.strip():
        return Route(dry_model.strip(), dry_run=True)
    if word == "route" and model:
        return Route(model)
    known = _BY_WORD.get((word, model.lower()))
    if known is None:
        raise refused(entry.where, part, ACTIONS, meant=nearest(word, ("warn", "raise", "route", "bypass")))
    return known


_SEPARATED = re.compile(r"\s*,\s*(?=(?:webhook|alertmanager|slack|apprise):)|,?\s+", re.IGNORECASE)
"""Between channels; a comma alone may belong to an address."""


def _alerts(entry: Entry) -> tuple[Channel, ...]:
    value = _decoded(entry.value) if entry.is_text else entry.value
    if value is None or value is False:
        return ()
    if isinstance(value, str):
        several: list[object] = [each for each in _SEPARATED.split(value.strip(" ,")) if each]
    else:
        several = value if isinstance(value, list) else [value]
    channels = tuple(written_channel(entry.where, each) for each in several)
    try:
        return check_channels(channels)
    except ConfigurationError as error:
        raise ConfigurationError(f"{entry.where}: {str(error).partition(': ')[2]}") from None


def _fields(entry: Entry) -> object:
    value = _decoded(entry.value) if entry.is_text else entry.value
    if value is None:
        return None
    try:
        return check_fields(value)
    except ConfigurationError as error:
        raise ConfigurationError(f"{entry.where}: {error}") from None
