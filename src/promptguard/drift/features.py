"""From an answer to numbers in [0, 1]: bounded in time on any text, blind to the side the answer is on.

Plain scans of bytes and strings only; no regular expressions. At most `TEXTUAL_LIMIT` characters are read
closely.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from promptguard.drift.answer import Answer
from promptguard.drift.catalogue import COUNT, FIRST_LABEL, INDEX, LENGTH_CAP, LINES_CAP, SCALE, TEXTUAL_LIMIT

_HEAD = 2048
_OPENING = 480
_PUNCTUATION = b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


def _mask(members: bytes | range) -> NDArray[np.int64]:
    mask = np.zeros(256, dtype=np.int64)
    mask[list(members)] = 1
    return mask


# One histogram of bytes answers every question about characters: columns are classes.
_CLASSES = np.stack(
    [
        _mask(b"0123456789"),
        _mask(_PUNCTUATION),
        _mask(range(65, 91)),
        _mask(range(128, 256)),
        _mask(b"?"),
        _mask(b"!"),
        _mask(b".!?"),
    ],
    axis=1,
).astype(np.float64)

# fmt: off
_REFUSALS = (
    "i'm sorry", "i am sorry", "sorry, but", "i apologize", "i cannot", "i can't", "i can not", "i won't",
    "i will not", "i'm unable", "i am unable", "i'm not able", "i am not able", "unable to assist",
    "cannot assist", "can't assist", "cannot help with", "can't help with", "cannot fulfill", "can't fulfill",
    "cannot comply", "not appropriate", "against my programming", "cannot provide", "can't provide",
    "must decline",
)
# fmt: on
_AS_AN_AI = (
    "as an ai",
    "as a language model",
    "as an artificial intelligence",
    "i'm an ai",
    "i am an ai",
    "ai language model",
)
_LIST_MARKS = ("\n- ", "\n* ", "\n+ ", "\n• ", "\n1. ", "\n1) ", "\n  - ", "\n  * ", "\n   - ", "\n 1. ")
_HEADERS = ("\n# ", "\n## ", "\n### ", "\n#### ")
_LATEX = ("\\(", "\\[", "$$", "\\frac", "\\boxed", "\\text{", "\\begin{")
_URLS = ("http://", "https://", "www.")
_REASONING = (
    "because",
    "therefore",
    "since ",
    "step",
    "first",
    "then ",
    "thus",
    "hence",
    "let's",
    "we need",
    "we can",
    "so, ",
)
_COMMON = (
    "the of and to in is a that for it as was with be by on not he i this are or his from at which but have "
    "an had they you were their one all we can her has there been if more when will would who so no"
)
_ENGLISH = frozenset(_COMMON.split())
_STOPPED = frozenset(("stop", "end_turn", "stop_sequence", "eos", "complete", "completed"))
_CUT = frozenset(("length", "max_tokens", "max_output_tokens", "model_length", "incomplete"))
_FILTERED = frozenset(
    ("content_filter", "safety", "refusal", "recitation", "blocklist", "prohibited_content", "spii")
)
_TOOLS = frozenset(("tool_calls", "tool_use", "function_call"))


class Measured(NamedTuple):
    """What is kept of one answer."""

    values: NDArray[np.uint16]
    """shape (COUNT,), features in [0, 1] times 65,535"""
    counts: tuple[int, int, int]
    """characters, lines, words (words of the part that was read)"""
    data: bytes
    """the bytes to hash; never kept"""


def measure(answer: Answer, slot: int | None) -> Measured:
    """Return the features of `answer`; `slot` is the one-hot place of its label, if it has one.

    Never raises on content.
    """
    text = answer.text
    read = text if len(text) <= TEXTUAL_LIMIT else text[: TEXTUAL_LIMIT // 2] + text[-TEXTUAL_LIMIT // 2 :]
    data = read.encode("utf-8", "surrogatepass")
    trimmed = read.strip()
    words = len(read.split())
    lines = text.count("\n", 0, 10_000_000) + 1 if trimmed else 0
    values: dict[str, float] = {
        "length": math.log1p(len(text)) / math.log1p(LENGTH_CAP),
        "lines": math.log1p(lines) / math.log1p(LINES_CAP),
        "words_per_line": math.log1p(words / lines) / math.log1p(LINES_CAP) if lines else 0.0,
        "empty": float(not trimmed),
    }
    if trimmed:
        _characters(data, words, values)
        _opening(trimmed, values)
        _wording(trimmed[:_HEAD], values)
        _format(trimmed, values)
        _json(trimmed if len(text) <= TEXTUAL_LIMIT else "", values)
    if answer.refusal:
        values["refusal"] = 1.0
    calls = _tool_calls(answer, values)
    _finish(answer.finish_reason, values)
    vector = np.zeros(COUNT)
    for name, value in values.items():
        vector[INDEX[name]] = value
    if slot is not None:
        vector[FIRST_LABEL + slot] = 1.0
    quantised = np.rint(np.clip(vector, 0.0, 1.0) * SCALE).astype(np.uint16)
    extra = (answer.refusal or "")[:_HEAD] + calls
    if extra:
        data += b"\0" + extra.encode("utf-8", "surrogatepass")
    return Measured(quantised, (min(len(text), 2**32 - 1), lines, words), data)


def _characters(data: bytes, words: int, values: dict[str, float]) -> None:
    histogram = np.bincount(np.frombuffer(data, dtype=np.uint8), minlength=256)
    digits, punctuation, upper, foreign, questions, exclamations, stops = (histogram @ _CLASSES).tolist()
    size = len(data)
    values["digits"] = digits / size
    values["punctuation"] = punctuation / size
    values["upper_case"] = upper / size
    values["non_ascii"] = foreign / size
    values["questions"] = math.log1p(questions) / math.log1p(32)
    values["exclamations"] = math.log1p(exclamations) / math.log1p(32)
    values["sentence_length"] = math.log1p(words / max(stops, 1.0)) / math.log1p(100)


def _opening(trimmed: str, values: dict[str, float]) -> None:
    opening = trimmed[:_OPENING].lower().replace("’", "'")
    first, last = trimmed[0], trimmed[-1]
    values["refusal"] = float(any(phrase in opening for phrase in _REFUSALS))
    values["as_an_ai"] = float(any(phrase in opening for phrase in _AS_AN_AI))
    values["starts_with_fence"] = float(trimmed.startswith("```"))
    values["starts_upper"] = float(first.isupper())
    values["starts_with_bracket"] = float(first in "[{(<")
    values["ends_with_punctuation"] = float(last in ".!?:;")
    short = trimmed if len(trimmed) <= 64 else ""
    values["single_word"] = float(bool(short) and len(short.split()) == 1)
    values["number"] = float(bool(short) and _is_number(short))


def _is_number(text: str) -> bool:
    plain = text.replace(",", "").replace("$", "").replace("%", "").replace(".", "", 1).lstrip("+-").strip()
    return plain.isascii() and plain.isdigit()


def _wording(head: str, values: dict[str, float]) -> None:
    lowered = head.lower()
    words = lowered.split()
    count = len(words)
    values["word_length"] = math.log1p(len(lowered) / count) / math.log1p(64)
    values["type_token"] = len(set(words)) / count
    values["english_words"] = sum(map(_ENGLISH.__contains__, words)) / count
    reasoning = sum(map(lowered.count, _REASONING))
    values["reasoning"] = math.log1p(reasoning) / math.log1p(32)


def _format(trimmed: str, values: dict[str, float]) -> None:
    lined = "\n" + trimmed
    values["code_fence"] = float("```" in trimmed)
    values["bold"] = float("**" in trimmed)
    values["list"] = float(any(mark in lined for mark in _LIST_MARKS))
    values["header"] = float(any(mark in lined for mark in _HEADERS))
    values["table"] = float("|--" in trimmed or "| --" in trimmed or "|:-" in trimmed)
    values["latex"] = float(any(mark in trimmed for mark in _LATEX))
    values["url"] = float(any(mark in trimmed for mark in _URLS))


def _json(trimmed: str, values: dict[str, float]) -> None:
    if "{" not in trimmed and not trimmed.startswith("["):
        return
    values["json_like"] = float('":' in trimmed or '" :' in trimmed)
    if trimmed[:1] + trimmed[-1:] not in ("{}", "[]"):
        return
    found = _parsed(trimmed)
    if found is None:
        return
    values["json_valid"] = 1.0
    top = found[0] if isinstance(found, list) and found else found
    if isinstance(top, dict):
        names = "\0".join(sorted(map(str, top)))
        values["json_keys"] = math.log1p(len(top)) / math.log1p(64)
        values["json_schema"] = _digest(names)


def _parsed(text: str) -> Any:
    try:
        # numbers stay strings: parsing thousands of digits is quadratic, and their value is of no interest
        return json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return None


def _digest(text: str) -> float:
    """Return a number in (0, 1] that names `text`: two names that differ, differ with a constant sign."""
    return (zlib.crc32(text.encode("utf-8", "surrogatepass")) % 997 + 1) / 998


def _tool_calls(answer: Answer, values: dict[str, float]) -> str:
    """Set the tool features and return name and arguments of the first calls as text to hash."""
    if not answer.tool_calls:
        return ""
    names, parts, valid = [], [], True
    for call in list(answer.tool_calls)[:16]:
        inner = call.get("function")
        body: Mapping[str, Any] = inner if isinstance(inner, Mapping) else call
        name = str(body.get("name", ""))[:128]
        arguments = body.get("arguments", body.get("input"))
        if isinstance(arguments, str):
            shown = arguments[:TEXTUAL_LIMIT]
            valid = valid and len(arguments) <= TEXTUAL_LIMIT and isinstance(_parsed(shown), dict)
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


def _finish(reason: str | None, values: dict[str, float]) -> None:
    if reason is None:
        return
    plain = reason.lower()
    values["finish_length"] = float(plain in _CUT)
    values["finish_filter"] = float(plain in _FILTERED)
    values["finish_tool"] = float(plain in _TOOLS)
    values["finish_other"] = float(plain not in _STOPPED | _CUT | _FILTERED | _TOOLS)
