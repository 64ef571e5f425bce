"""The few conditions and conversions that rules name: what cannot be said as data. Each takes a request's body."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Body = dict[str, Any]
_EFFORTS = ((4_000, "low"), (16_000, "medium"), (48_000, "high"))
_THINKING = frozenset(("thinking", "redacted_thinking"))


def _messages(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    told = body.get("messages")
    return [each for each in told if isinstance(each, Mapping)] if isinstance(told, list) else []


def _blocks(message: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    content = message.get("content")
    if isinstance(content, list):
        yield from (block for block in content if isinstance(block, Mapping))


def _prefill(body: Mapping[str, Any]) -> bool:
    messages = _messages(body)
    return bool(messages) and messages[-1].get("role") == "assistant"


def _system_message(body: Mapping[str, Any]) -> bool:
    return any(message.get("role") in ("system", "developer") for message in _messages(body))


def _assistant_documents(body: Mapping[str, Any]) -> bool:
    return any(
        block.get("type") == "document"
        for message in _messages(body)
        if message.get("role") == "assistant"
        for block in _blocks(message)
    )


def _temperature_too(body: Mapping[str, Any]) -> bool:
    return body.get("temperature") is not None


def _thinking(body: Mapping[str, Any]) -> Mapping[str, Any]:
    told = body.get("thinking")
    return told if isinstance(told, Mapping) else {}


def _thinking_budget(body: Mapping[str, Any]) -> bool:
    return _thinking(body).get("type") == "enabled" or "budget_tokens" in _thinking(body)


def _thinking_off(body: Mapping[str, Any]) -> bool:
    return _thinking(body).get("type") == "disabled"


def _thinking_off_at_high_effort(body: Mapping[str, Any]) -> bool:
    output = body.get("output_config")
    effort = output.get("effort") if isinstance(output, Mapping) else None
    return _thinking_off(body) and effort in ("xhigh", "max")


def _forced_tool(body: Mapping[str, Any]) -> bool:
    choice = body.get("tool_choice")
    return isinstance(choice, Mapping) and choice.get("type") in ("any", "tool")


def _thinking_in_history(body: Mapping[str, Any]) -> bool:
    return any(block.get("type") in _THINKING for message in _messages(body) for block in _blocks(message))


def _thinking_level_too(body: Mapping[str, Any]) -> bool:
    config = body.get("generationConfig")
    thinking = config.get("thinkingConfig") if isinstance(config, Mapping) else None
    return isinstance(thinking, Mapping) and "thinkingLevel" in thinking


def _call_without_signature(body: Mapping[str, Any]) -> bool:
    contents = body.get("contents")
    turns = [each for each in contents if isinstance(each, Mapping)] if isinstance(contents, list) else []
    several = [turn["parts"] for turn in turns if isinstance(turn.get("parts"), list)]
    parts = [part for each in several for part in each if isinstance(part, Mapping)]
    return any("functionCall" in part and not part.get("thoughtSignature") for part in parts)


CONDITIONS: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "system_message": _system_message,
    "prefill": _prefill,
    "assistant_documents": _assistant_documents,
    "temperature_too": _temperature_too,
    "thinking_budget": _thinking_budget,
    "thinking_off": _thinking_off,
    "thinking_off_at_high_effort": _thinking_off_at_high_effort,
    "forced_tool": _forced_tool,
    "thinking_in_history": _thinking_in_history,
    "thinking_level_too": _thinking_level_too,
    "call_without_signature": _call_without_signature,
}


def _effort_of(budget: object) -> str:
    tokens = budget if isinstance(budget, int) else 0
    return next((effort for most, effort in _EFFORTS if tokens <= most), "xhigh")


def _budget_to_adaptive(body: Body) -> None:
    budget = _thinking(body).get("budget_tokens")
    body["thinking"] = {"type": "adaptive"}
    output = body.get("output_config")
    body["output_config"] = {"effort": _effort_of(budget), **(output if isinstance(output, Mapping) else {})}


def _budget_to_level(body: Body) -> None:
    config = body["generationConfig"]
    thinking = dict(config["thinkingConfig"])
    budget = thinking.pop("thinkingBudget")
    tokens = budget if isinstance(budget, int) else -1
    level = "high" if tokens < 0 or tokens > 8_192 else "low"
    body["generationConfig"] = {**config, "thinkingConfig": {**thinking, "thinkingLevel": level}}


def _without_thinking(body: Body) -> None:
    kept = []
    for message in body["messages"]:
        if not isinstance(message, Mapping) or not isinstance(message.get("content"), list):
            kept.append(message)
            continue
        said = [block for block in message["content"] if _is_said(block)]
        if said or not message["content"]:  # a turn that was nothing but a thought is none without it
            kept.append({**message, "content": said})
    body["messages"] = kept


def _is_said(block: object) -> bool:
    return not (isinstance(block, Mapping) and block.get("type") in _THINKING)


def _system_to_user(body: Body) -> None:
    body["messages"] = [
        {**message, "role": "user"}
        if isinstance(message, Mapping) and message.get("role") in ("system", "developer")
        else message
        for message in body["messages"]
    ]


CONVERTERS: Mapping[str, Callable[[Body], None]] = {
    "budget_to_adaptive": _budget_to_adaptive,
    "budget_to_level": _budget_to_level,
    "without_thinking": _without_thinking,
    "system_to_user": _system_to_user,
}
