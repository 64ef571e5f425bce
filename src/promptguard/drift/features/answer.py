"""One answer as the detector sees it.

Any text is welcome; a wrong type is a ValueError that names the argument.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """One side of a pair.

    `latency_s` is seconds, `output_tokens` the provider's own count: both are carried for readers and never
    bet on (foreground and background latencies are not exchangeable). `logprobs` are the log-probabilities of the answer's
    own tokens, where the API gives them. `label` overrides a `LabelRule`. With
    `error` the answer is missing: its pair is skipped and counted. Everything else (refusal, cut, empty text)
    is an outcome.

    >>> Answer("[Yes]", finish_reason="stop").text
    '[Yes]'
    """

    text: str = ""
    finish_reason: str | None = None
    tool_calls: Sequence[Mapping[str, object]] = ()
    refusal: str | None = None
    output_tokens: int | None = None
    latency_s: float | None = None
    label: str | None = None
    error: str | None = None
    logprobs: Sequence[float] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise ValueError(f"text must be a string, not {type(self.text).__name__}")
        for name in ("finish_reason", "refusal", "label", "error"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise ValueError(f"{name} must be a string or None, not {type(value).__name__}")
        calls: object = self.tool_calls
        if isinstance(calls, (str, bytes)) or not isinstance(calls, Sequence):
            raise ValueError(f"tool_calls must be a list of objects, not {type(calls).__name__}")
        if not all(isinstance(call, Mapping) for call in calls):
            raise ValueError("tool_calls must hold objects (name and arguments)")
        if not isinstance(self.logprobs, Sequence) or not all(map(_is_logprob, self.logprobs)):
            raise ValueError("logprobs must be a list of numbers of at most 0")
        _check_number("output_tokens", self.output_tokens)
        _check_number("latency_s", self.latency_s)


def _is_logprob(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value <= 0.0


def _check_number(name: str, value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} must be a number or None, not {type(value).__name__}")
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{name} must be finite and not negative, not {value!r}")
