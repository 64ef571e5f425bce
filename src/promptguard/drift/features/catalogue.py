"""The features by name: what each says, how telling it is, and how people read it.

The order is part of the format of `PairVector`: append at the end and raise `SCHEMA` when it changes. Tiers
follow how directly a feature names a cause: by-products such as length share the sign record of the true
cause, so evidence alone ranks badly (the true cause came first in 14-55 % of planted changes).
"""

from __future__ import annotations

from dataclasses import dataclass

SCHEMA = 3
"""Version of the stored vectors; those of an older one are read, those of a newer one refused."""

LABEL_SLOTS = 8
"""One-hot places for labels; a ninth label shares the last place."""

SCALE = 65535
"""A feature in [0, 1] is kept as an unsigned 16-bit integer, so that small fractions keep their sign."""

TEXTUAL_LIMIT = 32_768
"""Characters of an answer that are read in full; of a longer one the first and last halves of this many."""

LENGTH_CAP = 16_384
"""Characters at which the feature `length` reaches 1."""

LINES_CAP = 400
"""Lines, and words a line, at which their features reach 1."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One entry of the catalogue."""

    name: str
    kind: str
    tier: int
    binary: bool
    phrase: str
    """completes "answers with ..."; for graded features the noun itself"""


FEATURES: tuple[Feature, ...] = (
    Feature("length", "verbosity", 2, False, "length"),
    Feature("lines", "verbosity", 1, False, "lines"),
    Feature("words_per_line", "style", 1, False, "words a line"),
    Feature("refusal", "refusal", 4, True, "a refusal"),
    Feature("as_an_ai", "refusal", 1, True, '"as an AI"'),
    Feature("code_fence", "format", 3, True, "a code fence"),
    Feature("starts_with_fence", "format", 3, True, "a code fence at the start"),
    Feature("json_valid", "json", 4, True, "valid JSON"),
    Feature("json_like", "json", 4, True, "something like JSON"),
    Feature("json_keys", "json", 4, False, "number of JSON keys"),
    Feature("json_schema", "json", 4, False, "set of JSON keys"),
    Feature("list", "format", 3, True, "a list"),
    Feature("bold", "format", 3, True, "bold text"),
    Feature("header", "format", 3, True, "headers"),
    Feature("table", "format", 3, True, "a table"),
    Feature("latex", "format", 1, True, "LaTeX"),
    Feature("url", "content", 1, True, "a URL"),
    Feature("questions", "style", 1, False, "question marks"),
    Feature("exclamations", "style", 1, False, "exclamation marks"),
    Feature("digits", "content", 1, False, "share of digits"),
    Feature("punctuation", "style", 1, False, "share of punctuation"),
    Feature("upper_case", "style", 1, False, "share of capitals"),
    Feature("non_ascii", "language", 3, False, "share of non-ASCII text"),
    Feature("english_words", "language", 3, False, "share of common English words"),
    Feature("word_length", "style", 1, False, "mean word length"),
    Feature("sentence_length", "style", 1, False, "words a sentence"),
    Feature("type_token", "style", 1, False, "share of distinct words"),
    Feature("ends_with_punctuation", "style", 1, True, "punctuation at the end"),
    Feature("starts_upper", "style", 1, True, "a capital at the start"),
    Feature("starts_with_bracket", "style", 1, True, "a bracket at the start"),
    Feature("single_word", "verbosity", 1, True, "a single word"),
    Feature("number", "content", 1, True, "a bare number"),
    Feature("reasoning", "reasoning", 1, False, "reasoning words"),
    Feature("empty", "verbosity", 1, True, "no text"),
    Feature("tool_call", "tool", 4, True, "a tool call"),
    Feature("tool_name", "tool", 4, False, "name of the tool called"),
    Feature("tool_arguments_valid", "tool", 4, True, "valid tool arguments"),
    Feature("finish_length", "finish", 3, True, "a cut at the token limit"),
    Feature("finish_filter", "finish", 4, True, "a content filter stop"),
    Feature("finish_tool", "finish", 1, True, "a stop for a tool call"),
    Feature("finish_other", "finish", 1, True, "an unusual finish reason"),
    Feature("json_as_asked", "json", 4, True, "JSON as the request asked for it"),
    *(Feature(f"label:{slot}", "label", 3, True, f"label {slot}") for slot in range(LABEL_SLOTS)),
    Feature("carriage_returns", "white space", 3, True, "Windows line ends"),
    Feature("outer_space", "white space", 3, True, "white space around the text"),
    Feature("inner_space", "white space", 2, True, "doubled or trailing spaces"),
    Feature("curly_quotes", "format", 3, True, "typographic quotes"),
)

COUNT = len(FEATURES)
INDEX = {feature.name: place for place, feature in enumerate(FEATURES)}
FIRST_LABEL = INDEX["label:0"]
NAMED = tuple(place for place, feature in enumerate(FEATURES) if feature.kind != "label")
"""places of what is told by its own name: labels are told by theirs"""
BINARY = tuple(place for place, feature in enumerate(FEATURES) if feature.binary)
KINDS = {
    kind: tuple(place for place, feature in enumerate(FEATURES) if feature.kind == kind)
    for kind in dict.fromkeys(feature.kind for feature in FEATURES)
}
"""places of the features by kind"""
