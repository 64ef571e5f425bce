"""Where an HTTP client lives inside an SDK client."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter


@dataclass(frozen=True, slots=True)
class Slot:
    """An attribute of some object inside an SDK client that holds an httpx or httpx2 client."""

    owner: object
    name: str
    inner: str | None = None
    """method of the HTTP client that returns another one, through which it really sends; most have none"""

    @property
    def http(self) -> object:
        """The HTTP client that is there now."""
        return within(self.owner, self.name)

    def put(self, http: object) -> None:
        """Put a guarded one there."""
        setattr(self.owner, self.name, http)

    def restore(self, http: object) -> None:
        """Put the SDK's own one back."""
        self.put(http)


def within(client: object, path: str) -> object:
    """Return what an SDK's client holds at a dotted path of attributes. Raises AttributeError where there is none."""
    held: object = attrgetter(path)(client)
    return held


def is_kind(client: object, names: frozenset[str], package: str) -> bool:
    """Whether a class of `package` with one of these names is among the classes of `client`."""
    return any(
        base.__name__ in names and base.__module__.partition(".")[0] == package
        for base in type(client).__mro__
    )


def over_http(client: object, http: object, response_class: type) -> None:  # noqa: ARG001 - the interface of families
    """Return None: the same HTTP request with another body is all it takes to ask again."""
    return
