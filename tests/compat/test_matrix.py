"""Every cell of the golden matrix: what a model takes, what is written instead, and how grave that is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from promptguard.compat.engine import Applied, fit
from promptguard.compat.ruleset import Endpoint, our_rules

TURN = [{"role": "user", "content": "Hi"}]
THOUGHT = {
    "role": "assistant",
    "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "Hi"}],
}
DOCUMENT = {"role": "assistant", "content": [{"type": "document", "source": {"type": "text", "data": "x"}}]}
PARTS: dict[str, dict[str, Any]] = {
    "max_tokens": {"max_tokens": 100},
    "max_completion_tokens": {"max_completion_tokens": 100},
    "max_output_tokens": {"max_output_tokens": 100},
    "logprobs": {"logprobs": True},
    "stop": {"stop": ["END"]},
    "stop_sequences": {"stop_sequences": ["END"]},
    "top_k": {"top_k": 5},
    "temperature+top_p": {"temperature": 0.5, "top_p": 0.5},
    "prefill": {"messages": [*TURN, {"role": "assistant", "content": "{"}]},
    "thinking_budget": {"thinking": {"type": "enabled", "budget_tokens": 2000}},
    "thinking_off": {"thinking": {"type": "disabled"}},
    "forced_tool": {"tool_choice": {"type": "any"}},
    "thinking_in_history": {"messages": [*TURN, THOUGHT, *TURN]},
    "assistant_documents": {"messages": [*TURN, DOCUMENT, *TURN]},
    "system": {"messages": [{"role": "system", "content": "S"}, *TURN]},
    "thinkingBudget": {"generationConfig": {"thinkingConfig": {"thinkingBudget": 1024}}},
    "both": {"generationConfig": {"thinkingConfig": {"thinkingBudget": 1024, "thinkingLevel": "low"}}},
    "unsigned_call": {"contents": [{"role": "model", "parts": [{"functionCall": {"name": "x"}}]}]},
    "signed_call": {"contents": [{"role": "model", "parts": [{"functionCall": {"name": "x"}, "thoughtSignature": "s"}]}]},
}  # fmt: skip


def cells() -> Iterator[tuple[str, str, str, str]]:
    section, models = "", []
    for line in Path(__file__).with_name("golden.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            section, models = line.strip("[]"), []
        elif line and not line.startswith("#"):
            words = line.split()
            if not models:
                models = words
            else:
                yield from (
                    (section, words[0], model, code) for model, code in zip(models, words[1:], strict=True)
                )


CELLS = list(cells())


def body_of(endpoint: str, parameters: str) -> dict[str, Any]:
    body: dict[str, Any] = {"generate": {"contents": []}}.get(endpoint, {"messages": TURN})
    body = dict(body)
    for part in parameters.split(","):
        name, _, value = part.partition("=")
        if part in PARTS:
            body |= PARTS[part]
        elif name == "effort" and endpoint == "messages":
            body["output_config"] = {"effort": value}
        elif name == "effort":
            body["reasoning_effort"] = value
        elif name == "reasoning":
            body["reasoning"] = {"effort": value}
        elif name == "thinkingLevel":
            body["generationConfig"] = {"thinkingConfig": {"thinkingLevel": value}}
        elif endpoint == "generate":
            body["generationConfig"] = {name: float(value)}
        else:
            body[name] = float(value) if "." in value else int(value)
    return body


def code_of(applied: Applied) -> str:
    same = applied.rule.severity == "lossless"
    return {
        "rename": "r",
        "drop": "D" if same else "d",
        "set": "s",
        "convert": "C" if same else "c",
        "block": "x",
    }[applied.rule.op]


def test_the_matrix_is_large_enough() -> None:
    assert len(CELLS) >= 400


@pytest.mark.parametrize("section", sorted({section for section, *_ in CELLS}))
def test_every_cell(section: str) -> None:
    endpoint, _, version = section.partition(" ")
    wrong = []
    for of, parameters, model, code in CELLS:
        if of != section:
            continue
        fitted = fit(body_of(endpoint, parameters), model, cast("Endpoint", endpoint), our_rules(), version)
        found = "".join(sorted({code_of(each) for each in fitted.applied})) or "."
        if found != "".join(sorted(code)):
            wrong.append((parameters, model, found, code))
    assert not wrong
