"""What is pinned as a canary: the cases of a prompt's file, or questions that the ledger has stored for replay."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from promptguard.certifying.expectations import cases_of
from promptguard.core.key import MEANINGFUL_HEADERS
from promptguard.errors import ConfigurationError
from promptguard.ledger.canaries import Pin
from promptguard.report.stored_questions import stored_requests
from promptguard.sdks.servers import Server
from promptguard.templates.prompt import Prompt

_SHAPES = {"openai_chat": "openai", "anthropic_messages": "anthropic"}
TIMEOUT_S = 120.0


def from_cases(prompt: Prompt, model: str, server: Server) -> Iterator[Mapping[str, Any]]:
    """Yield the questions of a prompt's `cases:` as `server` is asked them; ConfigurationError where they cannot be."""
    shape = _SHAPES.get(server.protocol)
    if shape is None:
        raise ConfigurationError(
            f"cases cannot be asked of a server that speaks {server.protocol}: pin stored questions (--stored)"
        )
    for case in cases_of(prompt, lambda _variables: None):
        if case.variables is None:
            continue
        body = prompt.render(model, **dict(case.variables)).request(shape)
        yield {
            "method": "POST",
            "origin": server.origin,
            "path": urlsplit(server.base).path + server.path(model),
            "headers": [
                ["content-type", "application/json"],
                *(
                    [k, v]
                    for k, v in server.headers.items()
                    if k in MEANINGFUL_HEADERS and k != "content-type"
                ),
            ],
            "timeout": {"read": TIMEOUT_S, "connect": 10.0},
            "body": json.dumps(body),
            "protocol": server.protocol,
            "prompt": {"name": prompt.name, "version": str(prompt.version), "digest": prompt.digest},
            "label_rule": dict(prompt.classes),
            "reference": None,
        }


def from_stored(ledger: str, group: str, most: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (model, question) of the newest questions that a ledger has stored for replay, each once."""
    for model, question in stored_requests(ledger, group, most):
        yield model, {name: value for name, value in question.items() if name != "link"}


def pin_of(
    group: str, model: str, question: Mapping[str, Any], *, every: float, answers: int, after: float
) -> Pin:
    """Return a pin, named by its question."""
    said = json.dumps([group, model, question["origin"], question["path"], question["body"]])
    name = hashlib.sha256(said.encode()).hexdigest()[:12]
    return Pin(name, group, model, question, every=every, answers=answers, after=after)
