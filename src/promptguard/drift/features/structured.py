"""What an answer is besides prose: JSON, tool calls, the reason it ended. Bounded in time, never raises."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping

from promptguard.drift.features.answer import Answer
from promptguard.drift.features.catalogue import TEXTUAL_LIMIT
from promptguard.drift.features.places import NOTHING, document_of, parsed
from promptguard.drift.features.schema import fits

_STOPPED = frozenset(("stop", "end_turn", "stop_sequence", "eos", "complete", "completed"))
_CUT = frozenset(("length", "max_tokens", "max_output_tokens", "model_length", "incomplete"))
_FILTERED = frozenset(
    ("content_filter", "safety", "refusal", "recitation", "blocklist", "prohibited_content", "spii")
)
_TOOLS = frozenset(("tool_calls", "tool_use", "function_call"))


def json_features(trimmed: str, values: dict[str, float], schema: Mapping[str, object] | None) -> object:
    """Set the features of JSON and return the document, or `NOTHING`.

    `trimmed` is the whole answer, or empty when it is too long to be parsed. JSON in a code fence is returned too, and
    is not valid JSON.
    """
    if schema is not None:
        values["json_as_asked"] = float(fits(trimmed, schema))
    if "{" not in trimmed and not trimmed.startswith("["):
        return NOTHING
    values["json_like"] = float('":' in trimmed or '" :' in trimmed)
    found = document_of(trimmed)
    if found is NOTHING or trimmed.startswith("`"):
        return found
    values["json_valid"] = 1.0
    top = found[0] if isinstance(found, list) and found else found
    if isinstance(top, dict):
        names = "\0".join(sorted(map(str, top)))
        values["json_keys"] = math.log1p(len(top)) / math.log1p(64)
        values["json_schema"] = _digest(names)
    return found


def _digest(text: str) -> float:
    """Return a number in (0, 1] that names `text`: two names that differ, differ with a constant sign."""
    return (zlib.crc32(text.encode("utf-8", "surrogatepass")) % 997 + 1) / 998


def tool_features(answer: Answer, values: dict[str, float]) -> str:
    """Set the tool features and return name and arguments of the first calls as text to hash."""
    names, parts, valid = [], [], True
    for call in list(answer.tool_calls)[:16]:
        inner = call.get("function")
        body: Mapping[str, object] = inner if isinstance(inner, Mapping) else call
        name = str(body.get("name", ""))[:128]
        arguments = body.get("arguments", body.get("input"))
        if isinstance(arguments, str):
            shown = arguments[:TEXTUAL_LIMIT]
            valid = valid and len(arguments) <= TEXTUAL_LIMIT and isinstance(parsed(shown), dict)
        else:
            shown = _shown(arguments)
            valid = valid and isinstance(arguments, Mapping)
        names.append(name)
        parts.append(f"{name}({shown})")
    values["tool_call"] = 1.0
    values["tool_name"] = _digest("\0".join(names))
    values["tool_arguments_valid"] = float(valid)
    return "\n".join(parts)[:TEXTUAL_LIMIT]


def _shown(arguments: object) -> str:
    try:
        return json.dumps(arguments, sort_keys=True, ensure_ascii=False)[:TEXTUAL_LIMIT]
    except (TypeError, ValueError, RecursionError):
        return ""


def finish_features(reason: str, values: dict[str, float]) -> None:
    """Set the features of the reason why the answer ended."""
    plain = reason.lower()
    values["finish_length"] = float(plain in _CUT)
    values["finish_filter"] = float(plain in _FILTERED)
    values["finish_tool"] = float(plain in _TOOLS)
    values["finish_other"] = float(plain not in _STOPPED | _CUT | _FILTERED | _TOOLS)
