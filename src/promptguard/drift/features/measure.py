"""From an answer to numbers in [0, 1]: bounded in time on any text, blind to the side the answer is on.

Plain scans of bytes and strings only; no regular expressions. At most `TEXTUAL_LIMIT` characters are read
closely.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from promptguard.drift.features.answer import Answer
from promptguard.drift.features.catalogue import (
    FEATURES,
    FIRST_LABEL,
    LENGTH_CAP,
    LINES_CAP,
    SCALE,
    TEXTUAL_LIMIT,
)
from promptguard.drift.features.places import NOTHING
from promptguard.drift.features.structured import finish_features, json_features, tool_features

_HEAD = 2048
_OPENING = 480
_PUNCTUATION = b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


# One translation of bytes to classes answers every question about characters: each class is then counted.
_DIGIT, _UPPER, _FOREIGN, _QUESTION, _EXCLAMATION, _STOP, _OTHER_MARK = range(1, 8)


def _class_of(byte: int) -> int:
    special = {ord("?"): _QUESTION, ord("!"): _EXCLAMATION, ord("."): _STOP}
    if byte in special:
        return special[byte]
    if byte in _PUNCTUATION:
        return _OTHER_MARK
    if chr(byte).isdigit() and byte < 128:
        return _DIGIT
    return _UPPER if 65 <= byte <= 90 else _FOREIGN if byte >= 128 else 0


_CLASSES = bytes(map(_class_of, range(256)))

# fmt: off
_REFUSALS = (
    "i'm sorry", "i am sorry", "sorry, but", "i apologize", "i cannot", "i can't", "i can not", "i won't",
    "i will not", "i'm unable", "i am unable", "i'm not able", "i am not able", "unable to assist",
    "cannot assist", "can't assist", "cannot help with", "can't help with", "cannot fulfill", "can't fulfill",
    "cannot comply", "not appropriate", "against my programming", "cannot provide", "can't provide",
    "must decline",
)
# In other languages a refusal is an apology with an inability, or an inability to help. Each list is of one of the two.
_SORRY = (
    "tut mir leid", "entschuldig", "bedaure", "leider",
    "lo siento", "lamento", "disculp", "perdón",
    "désolé", "regrette", "excus", "pardon",
    "抱歉", "对不起", "對不起", "很遗憾", "遺憾",
    "申し訳", "すみません", "恐れ入り", "残念ながら",
    "क्षमा", "माफ़", "माफ", "खेद",
    "آسف", "أعتذر", "عذر", "للأسف",
    "desculp", "sinto muito", "infelizmente",
    "извин", "прост", "к сожалению", "сожалею",
)
_UNABLE = (
    "kann ich", "ich kann", "nicht helfen", "nicht möglich", "darf ich nicht",
    "no puedo", "no me es posible", "no podría", "no estoy autorizad",
    "ne peux pas", "ne suis pas en mesure", "impossible", "ne puis",
    "无法", "不能", "無法", "不可以", "没办法",
    "できません", "できかね", "いたしかね", "お答えでき",
    "नहीं कर सकत", "सहायता नहीं", "मदद नहीं", "असमर्थ",
    "لا أستطيع", "لا يمكنني", "لا أقدر", "لن أتمكن", "غير قادر",
    "não posso", "não consigo", "não me é possível", "não estou autorizad",
    "не могу", "не смогу", "не в состоянии", "невозможно",
)
_NO_HELP = (
    "kann ich nicht helfen", "kann dir dabei nicht helfen", "kann ihnen dabei nicht helfen", "kann das nicht beantworten",
    "no puedo ayudar", "no puedo proporcionar", "no puedo cumplir", "no puedo asist",
    "ne peux pas vous aider", "ne peux pas t'aider", "ne peux pas répondre à cette", "ne peux pas fournir",
    "我无法", "我不能", "無法協助", "无法提供", "无法协助",
    "お手伝いできません", "お答えできません", "お応えできません", "提供できません",
    "सहायता नहीं कर सकत", "मदद नहीं कर सकत",
    "لا أستطيع مساعدتك", "لا يمكنني مساعدتك", "لا يمكنني تقديم",
    "não posso ajudar", "não posso fornecer", "não consigo ajudar",
    "не могу помочь", "не могу предоставить", "не могу выполнить",
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
_LIST_MARKS = {
    "-": ("\n- ", "\n  - ", "\n   - "),
    "*": ("\n* ", "\n  * "),
    "1": ("\n1. ", "\n1) ", "\n 1. "),
    "•": ("\n• ",),
    "+": ("\n+ ",),
}
_HEADERS = ("\n# ", "\n## ", "\n### ", "\n#### ")
_LATEX = ("\\(", "\\[", "$$", "\\frac", "\\boxed", "\\text{", "\\begin{")
_URLS = ("://", "www.")
_REASONING = "because therefore since step steps first then thus hence let's so,"
# Every phrase of refusal holds one of these: a look at twelve short strings spares most answers the rest.
_REFUSING = (
    "sorry", "apolog", "i can", "i won", "will not", "unable", "not able", "cannot", "can't", "not appropriate",
    "against my", "must decline",
)  # fmt: skip
_SELF_NAMING = ("as a", "an ai", "ai language")
_COMMON = (
    "the of and to in is a that for it as was with be by on not he i this are or his from at which but have "
    "an had they you were their one all we can her has there been if more when will would who so no"
)
# One look at each word answers both questions: low bits count common words, high bits reasoning.
_REASONING_UNIT = 1 << 24
_WORD_CLASSES: dict[str, int] = dict.fromkeys(_COMMON.split(), 1)
for _word in _REASONING.split():
    for _ending in ("", ",", ":", "."):
        _WORD_CLASSES[_word + _ending] = _WORD_CLASSES.get(_word + _ending, 0) + _REASONING_UNIT
_TABLES = ("|--", "| --", "|:-")
_PER_LENGTH, _PER_LINE = 1.0 / math.log1p(LENGTH_CAP), 1.0 / math.log1p(LINES_CAP)
_BLANK = dict.fromkeys((feature.name for feature in FEATURES), 0.0)


class Measured(NamedTuple):
    """What is kept of one answer."""

    values: NDArray[np.uint16]
    """shape (COUNT,), features in [0, 1] times 65,535"""
    counts: tuple[int, int, int]
    """characters, lines, words (words of the part that was read)"""
    data: bytes
    """the bytes to hash; never kept"""
    document: object = NOTHING
    """the JSON that the answer is, never kept either"""


def measure(answer: Answer, slot: int | None, schema: Mapping[str, object] | None = None) -> Measured:
    """Return the features of `answer`; `slot` is the one-hot place of its label, if it has one.

    `schema` is what the request asked for (`schema.asked_schema`). Never raises on content.
    """
    text = answer.text
    read = text if len(text) <= TEXTUAL_LIMIT else text[: TEXTUAL_LIMIT // 2] + text[-TEXTUAL_LIMIT // 2 :]
    data = read.encode("utf-8", "surrogatepass")
    trimmed = read.strip()
    values = _BLANK.copy()
    document = NOTHING
    lines = words = 0
    if trimmed:
        lines = text.count("\n", 0, 10_000_000) + 1
        words = _wording(trimmed[:_HEAD], values)
        if len(trimmed) > _HEAD:
            words = len(trimmed.split())
        values["length"] = math.log1p(len(text)) * _PER_LENGTH
        values["lines"] = math.log1p(lines) * _PER_LINE
        values["words_per_line"] = math.log1p(words / lines) * _PER_LINE
        _characters(data, words, values)
        _opening(trimmed, values)
        _format(trimmed, values)
        _white_space(read, trimmed, values)
        document = json_features(trimmed if len(text) <= TEXTUAL_LIMIT else "", values, schema)
    else:
        values["empty"] = 1.0
        values["length"] = math.log1p(len(text)) * _PER_LENGTH
    if answer.refusal:
        values["refusal"] = 1.0
    calls = tool_features(answer, values) if answer.tool_calls else ""
    if answer.finish_reason is not None:
        finish_features(answer.finish_reason, values)
    vector = np.array([*values.values()])
    if slot is not None:
        vector[FIRST_LABEL + slot] = 1.0
    quantised = np.rint(np.minimum(vector, 1.0) * SCALE).astype(np.uint16)
    extra = (answer.refusal or "")[:_HEAD] + calls
    if extra:
        data += b"\0" + extra.encode("utf-8", "surrogatepass")
    return Measured(quantised, (min(len(text), 2**32 - 1), lines, words), data, document)


def _characters(data: bytes, words: int, values: dict[str, float]) -> None:
    classes = data.translate(_CLASSES)
    count = classes.count
    questions, exclamations, stops = count(_QUESTION), count(_EXCLAMATION), count(_STOP)
    ends = questions + exclamations + stops
    size = len(data)
    values["digits"] = count(_DIGIT) / size
    values["punctuation"] = (ends + count(_OTHER_MARK)) / size
    values["upper_case"] = count(_UPPER) / size
    values["non_ascii"] = count(_FOREIGN) / size
    values["questions"] = math.log1p(questions) / math.log1p(32)
    values["exclamations"] = math.log1p(exclamations) / math.log1p(32)
    values["sentence_length"] = math.log1p(words / max(ends, 1)) / math.log1p(100)


def _white_space(read: str, trimmed: str, values: dict[str, float]) -> None:
    values["carriage_returns"] = float("\r\n" in read)
    values["outer_space"] = float(len(read) != len(trimmed))
    values["inner_space"] = float(_holds(trimmed, ("  ", " \n", "\t\n", "\n\n\n")))
    values["curly_quotes"] = float(_holds(trimmed, _CURLY))


_CURLY = ("\u2018", "\u2019", "\u201c", "\u201d", "\u00ab", "\u00bb")


def _holds(text: str, marks: tuple[str, ...]) -> bool:
    return any(map(text.__contains__, marks))


def _opening(trimmed: str, values: dict[str, float]) -> None:
    opening = trimmed[:_OPENING].lower().replace("’", "'")
    first, last = trimmed[0], trimmed[-1]
    if _holds(opening, _REFUSING) and _holds(opening, _REFUSALS):
        values["refusal"] = 1.0
    elif _holds(opening, _UNABLE):
        values["refusal"] = float(_holds(opening, _NO_HELP) or _holds(opening, _SORRY))
    if _holds(opening, _SELF_NAMING):
        values["as_an_ai"] = float(_holds(opening, _AS_AN_AI))
    values["starts_with_fence"] = float(trimmed.startswith("```"))
    values["starts_upper"] = float(first.isupper())
    values["starts_with_bracket"] = float(first in "[{(<")
    values["ends_with_punctuation"] = float(last in ".!?:;")
    if len(trimmed) <= 64:
        values["single_word"] = float(len(trimmed.split()) == 1)
        values["number"] = float(_is_number(trimmed))


def _is_number(text: str) -> bool:
    plain = text.replace(",", "").replace("$", "").replace("%", "").replace(".", "", 1).lstrip("+-").strip()
    return plain.isascii() and plain.isdigit()


def _wording(head: str, values: dict[str, float]) -> int:
    """Set what words tell and return their number."""
    lowered = head.lower()
    words = lowered.split()
    count = len(words)
    values["word_length"] = math.log1p(len(lowered) / count) / math.log1p(64)
    values["type_token"] = len(set(words)) / count
    reasoning, english = divmod(sum(map(_WORD_CLASSES.get, words, repeat(0))), _REASONING_UNIT)
    values["english_words"] = english / count
    values["reasoning"] = math.log1p(reasoning) / math.log1p(32)
    return count


def _format(trimmed: str, values: dict[str, float]) -> None:
    # one character is looked for at the speed of memory, so each family is asked for its own first
    has = trimmed.__contains__
    if has("`"):
        values["code_fence"] = float(has("```"))
    if has("*"):
        values["bold"] = float(has("**"))
    lined = "\n" + trimmed
    values["list"] = float(any(has(mark) and _holds(lined, marks) for mark, marks in _LIST_MARKS.items()))
    if has("#"):
        values["header"] = float(_holds(lined, _HEADERS))
    if has("|"):
        values["table"] = float(_holds(trimmed, _TABLES))
    if has("\\") or has("$"):
        values["latex"] = float(_holds(trimmed, _LATEX))
    values["url"] = float(_holds(trimmed, _URLS))
