"""Every setting as a row: its name, what holds, and where that was written. For `promptguard config show` and the docs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from promptguard.core.options import Channel, Option
from promptguard.core.options.servers import shown_address
from promptguard.settings.loading import current, origins
from promptguard.settings.model import PromptGuardSettings
from promptguard.settings.sources import ONLY_IN_CODE, is_elsewhere, option_of
from promptguard.settings.values import Values

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting; `source` is a variable, a file with table and key, or "default"."""

    name: str
    value: object
    source: str


@dataclass(frozen=True, slots=True)
class Described:
    """One setting as the reference tells it; `field` is None for a whole section."""

    path: tuple[str, ...]
    field: FieldInfo
    option: type[Option] | None


def settings() -> list[Setting]:
    """Return every setting as it is now. Raises ConfigurationError for what is written wrong."""
    values, written = current(), origins()
    return [
        row for name in PromptGuardSettings.model_fields for row in _rows((name,), _of(values, name), written)
    ]


def _of(values: Values, name: str) -> object:
    found: object = getattr(values, name)
    return found


def _rows(path: tuple[str, ...], value: object, written: Mapping[tuple[str, ...], str]) -> Iterator[Setting]:
    if isinstance(value, Option):
        for name in type(value).model_fields:
            if name not in ONLY_IN_CODE and not is_elsewhere((*path, name)):
                yield from _rows((*path, name), getattr(value, name), written)
        return
    yield Setting(".".join(path), plain(value), _source(path, written))


def _source(path: tuple[str, ...], written: Mapping[tuple[str, ...], str]) -> str:
    """Return where a value was written: by its own name, or with the whole section."""
    places = (path[:length] for length in range(len(path), 0, -1))
    return next((written[place] for place in places if place in written), DEFAULT)


def plain(value: object) -> object:
    """Return a value as JSON has it; of a channel its name, of a server's address the part that is no secret."""
    if isinstance(value, (Channel, SecretStr)):
        return value.label if isinstance(value, Channel) else shown_address(value)
    if isinstance(value, Option):
        fields = {name: plain(getattr(value, name)) for name in type(value).model_fields}
        return {"do": type(value).__name__.lower(), **fields}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, Path):
        return str(value)
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def described() -> Iterator[Described]:
    """Yield every setting that can be written outside code, sections before their parts."""
    yield from _described((), PromptGuardSettings.model_fields)


def _described(above: tuple[str, ...], fields: Mapping[str, FieldInfo]) -> Iterator[Described]:
    for name, field in fields.items():
        if name in ONLY_IN_CODE or is_elsewhere((*above, name)):
            continue
        option = option_of(field)
        known = option if option is not None and name not in {"on_drift", "alerts"} else None
        yield Described((*above, name), field, known)
        if known is not None:
            yield from _described((*above, name), known.model_fields)
