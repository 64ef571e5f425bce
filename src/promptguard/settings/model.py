"""`PromptGuardSettings`: every setting that can be written outside code, by pydantic-settings.

Each value is checked where it was written (`sources`), so that a message names the variable, or the file and key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from promptguard.core.fields import FieldEffect
from promptguard.core.options import (
    Budget,
    BypassCache,
    Cache,
    Channel,
    Compat,
    Drift,
    Option,
    Price,
    Raise,
    Replay,
    Route,
    Shadow,
    Warn,
)
from promptguard.core.options.accepting import Accepts
from promptguard.core.options.durations import Duration
from promptguard.core.telemetry_for import BACKENDS, Backend
from promptguard.directories import Database, check_database
from promptguard.errors import ConfigurationError
from promptguard.settings import reading
from promptguard.settings.sources import ACTIONS, ALERTS, Written
from promptguard.settings.values import DEFAULT_LEDGER, Values

StandardAction = Warn | Raise | Route | BypassCache
_PARTS: Mapping[str, type[Option]] = {"budget": Budget, "price": Price}


def _built(option: type[Option]) -> Callable[[object], object]:
    """Return what makes an option, and those within it, of a table's values."""

    def build(value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        parts = {name: _built(_PARTS[name])(part) if name in _PARTS else part for name, part in value.items()}
        return option(**parts)

    return build


def _place(value: object, check: ValidatorFunctionWrapHandler) -> object:
    """Return a ledger's address as one that does not show its password, and anything else as it is."""
    return value if isinstance(value, Database) else check_database(check(value))


class PromptGuardSettings(BaseSettings):
    """Settings of wrap() and guard() that can be written outside code; what is given in code counts more.

    Read from the environment (`PROMPTGUARD_SHADOW__MODEL`), then from `[tool.promptguard]` of the nearest pyproject.toml.
    Raises ConfigurationError for a wrong value, naming the variable, or the file and key, and what is accepted.
    """

    model_config = SettingsConfigDict(
        env_prefix=reading.PREFIX,
        env_nested_delimiter=reading.NESTED,
        frozen=True,
        strict=True,
        extra="forbid",
        validate_default=False,
    )

    ledger: Annotated[
        str, Field(min_length=1), WrapValidator(_place), Accepts("the path of a directory, or an address")
    ] = Field(
        default=DEFAULT_LEDGER,
        description="where all is kept: a directory (in pyproject.toml relative to that file, else to the working "
        "directory), or the address of a database",
    )
    cache: Annotated[Cache | None, BeforeValidator(_built(Cache))] = Field(
        default=None,
        description='where equal requests are answered from: "memory", "disk", a server of Redis or Valkey, or its fields',
    )
    shadow: Annotated[Shadow | None, BeforeValidator(_built(Shadow))] = Field(
        default=None, description="a second model version that is asked the same questions"
    )
    replay: Annotated[Replay | None, BeforeValidator(_built(Replay))] = Field(
        default=None,
        description="stored questions that are asked again after a while; `true` for the defaults",
    )
    drift: Annotated[Drift | None, BeforeValidator(_built(Drift))] = Field(
        default=None, description="how sure an alarm must be; None: the defaults"
    )
    on_drift: tuple[StandardAction, ...] = Field(
        default=(Warn(),), description=f"what is done about an alarm: {ACTIONS}. Functions are given in code"
    )
    alerts: Annotated[tuple[Channel, ...], Accepts(ALERTS)] = Field(
        default=(), description="where alerts are sent, unless Drift(alerts=...) in code says so"
    )
    record_content: Annotated[bool | None, Accepts("True or False, or None for only what replay needs")] = (
        Field(default=None, description="whether questions and answers of pairs are kept in the ledger")
    )
    fields: Mapping[str, FieldEffect] | None = Field(
        default=None,
        description='what fields of requests do that PromptGuard does not know: name → "none" or "stateful" (JSON)',
    )
    compat: Annotated[Compat | None, BeforeValidator(_built(Compat))] = Field(
        default=None,
        description='the application\'s own requests are written as their model takes them: "apply", "lossless", or its '
        "fields",
    )
    telemetry_for: Annotated[
        tuple[Backend, ...], Accepts(f"one or several of {', '.join(BACKENDS)}, with commas between")
    ] = Field(
        default=(),
        description="backends for which spans have further attributes, so that their prompt views show name and version",
    )
    certificates_last: Duration = Field(
        default="90d",
        description="how long a certificate of a prompt on a model counts: seconds, or text such as 30d",
    )
    seed: Annotated[int | None, Accepts("a whole number")] = Field(
        default=None, description="of the sampling; for tests"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - ours names what is wrong
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources, the strongest first: arguments, environment, pyproject.toml."""
        return init_settings, Written(settings_cls, reading.environment), Written(settings_cls, _from_file)

    def __init__(self, **values: Any) -> None:
        """Read all sources. Raises ConfigurationError."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _explained(error) from None

    def values(self) -> Values:
        """Return them as plain values."""
        return Values(**{name: getattr(self, name) for name in type(self).model_fields})


def _from_file(_known: tuple[str, ...]) -> list[reading.Entry]:
    return reading.table(reading.project_file())


def _explained(error: ValidationError) -> ConfigurationError:
    """Return what is wrong with a whole section: its values were right one by one."""
    first = error.errors(include_url=False)[0]
    own = first.get("ctx", {}).get("error")
    section = str(first["loc"][0]) if first["loc"] else ""
    known = tuple(PromptGuardSettings.model_fields)
    entries = [*reading.environment(known), *_from_file(known)]
    places = [entry.where for entry in entries if entry.path[0] == section]
    where = places[0] if places else f"PromptGuardSettings({section})"
    return ConfigurationError(f"{where}: {own if own is not None else first['msg']}")
