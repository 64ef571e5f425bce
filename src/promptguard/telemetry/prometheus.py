"""The state gauges as Prometheus reads them, for a process that has no exporter: `promptguard watch`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from opentelemetry.metrics import CallbackOptions, NoOpMeter, Observation

from promptguard.telemetry.state import StateGauges, StateSource

Callback = Callable[[CallbackOptions], "Sequence[Observation]"]
_UNITS = {"s": "_seconds", "1": "_ratio"}
"""What OpenTelemetry's exporter for Prometheus makes of units; those in braces are left out."""


def gauges_of(source: StateSource) -> list[str]:
    """Return the lines of Prometheus' text format that tell a ledger's state, by the names that the exporter gives them."""
    meter = _Collecting()
    gauges = StateGauges(meter)
    gauges.watch(source)
    return list(meter.lines())


class _Collecting(NoOpMeter):
    """A meter whose observable instruments are read at once."""

    def __init__(self) -> None:
        super().__init__("promptguard")
        self._made: list[tuple[str, str, str, Sequence[Callback]]] = []

    def create_observable_gauge(  # type: ignore[override]
        self, name: str, callbacks: Sequence[Callback] = (), unit: str = "", description: str = ""
    ) -> None:
        """Keep a gauge."""
        self._made.append((_name(name, unit, ""), "gauge", description, callbacks))

    def create_observable_counter(  # type: ignore[override]
        self, name: str, callbacks: Sequence[Callback] = (), unit: str = "", description: str = ""
    ) -> None:
        """Keep a counter."""
        self._made.append((_name(name, unit, "_total"), "counter", description, callbacks))

    def lines(self) -> Iterator[str]:
        """Yield the lines of all instruments that have something to tell."""
        for name, kind, description, callbacks in self._made:
            found = [each for callback in callbacks for each in callback(CallbackOptions())]
            if found:
                yield f"# HELP {name} {_escaped(description)}"
                yield f"# TYPE {name} {kind}"
            for each in found:
                labels = ",".join(
                    f'{label.replace(".", "_")}="{_escaped(str(value), quotes=True)}"'
                    for label, value in sorted((each.attributes or {}).items())
                )
                yield f"{name}{{{labels}}} {float(each.value)!r}"


def _name(name: str, unit: str, end: str) -> str:
    plain = name.replace(".", "_")
    word = _UNITS.get(unit, "")
    if unit == "1" and end:
        word = ""
    return plain + (word if not plain.endswith(word) or not word else "") + end


def _escaped(text: str, *, quotes: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text
