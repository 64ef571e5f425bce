"""The body of a prompt file, cut into messages at its role lines, before anything is rendered.

A role line stands alone: `user:`, also indented, after one `#`, in capitals, or with attributes, `assistant[name="bot"]:`
(Prompty v2, section 6). Text before the first one is a system message. What looks like a role line and is none is refused:
it would silently become text of the message before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from promptguard.errors import PromptSyntaxError

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_OTHER_NAMES = {
    "human": "user",
    "ai": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "gpt": "assistant",
}
_WORDS = frozenset((
    *(f"{role}s" for role in ROLES), "use", "used", "uses", "too", "took", "toll", "functional", "developed", "develops",
    "systemic", "assistance",
))  # fmt: skip
"""Spelled nearly as a role is, and often headings of their own: "Tools:"."""
MOST_LINES, MOST_MESSAGES, MOST_TAGS = 20_000, 1_000, 10_000
"""Of a file. Somebody else's may be made so that reading it takes long."""
_MOST_WORDS = 300
"""Words before a colon that are compared with the names of roles: who writes so many has none of them in mind."""
_MOST_OF_A_LINE = 200
"""Characters of a line that may be a role line; no longer one is looked at."""
# Possessive, for a line is somebody else's text: what has been passed is never tried again.
_LINE = re.compile(
    r"[ \t]*+#?[ \t]*+(?P<role>[A-Za-z]++)[ \t]*+(?:\[(?P<attributes>[^\]]*+)\])?[ \t]*+:[ \t]*+"
)
_NEAR = re.compile(
    r"[ \t]*+[#>*_\-<(\[]{0,7}+[ \t]*+(?P<word>[A-Za-z]{2,12}+)[ \t]*+[*_>)\]]{0,3}+[ \t]*+[:\uff1a]"
    r"[ \t]*+[*_]{0,3}+[ \t]*+"
)
_SAME_LINE = re.compile(r"[ \t]*+#?[ \t]*+(?P<role>[A-Za-z]++)[ \t]*+:[ \t]*+\S")
_COMPUTED = re.compile(r"[ \t]*+#?[ \t]*+\{\{-?(?P<expression>[^{}]*+)\}\}[ \t]*+:[ \t]*+")
_CALLS = re.compile(r"[ \t]*+##[ \t]*+tool_call(?:s|_id)[ \t]*+:[ \t]*+")
"""Promptflow's headings within a message of an assistant or a tool."""
_ATTRIBUTE = re.compile(
    r'[ \t]*+(?P<name>\w++)[ \t]*+=[ \t]*+(?:"(?P<quoted>[^"]*+)"[ \t]*+|(?P<plain>[^,"]*+))(?:,|$)'
)
_TAG = re.compile(
    r"""\{\#.*?(?:\#\}|\Z)|\{%[-+]?\s*+raw\s*+[-+]?%\}.*?(?:\{%[-+]?\s*+endraw\s*+[-+]?%\}|\Z)"""
    r"""|\{%(?:[^'"%]|'[^']*+'|"[^"]*+"|%(?!\}))*+(?:%\}|\Z|(?P<open>))|\{\{(?:[^'"}]|'[^']*+'|"[^"]*+"|\}(?!\}))*+(?:\}\}|\Z|(?P<left>))""",
    re.DOTALL,
)
_BLOCK = re.compile(r"\{%[-+]?\s*(?P<word>\w+)(?P<rest>.*)%\}", re.DOTALL)
_OPENING = frozenset(("for", "if", "with", "filter", "call", "block", "macro", "autoescape"))
_SET = re.compile(r"\{%[-+]?\s*+set\b")
_FOR = re.compile(r"\{%[-+]?\s*for\s+(?P<each>\w+)\s+in\s+(?P<of>\w+)")


@dataclass(frozen=True, slots=True)
class Section:
    """One message: its role, its template, the line of the file it begins at, and what the role line says in brackets."""

    role: str
    text: str
    line: int
    attributes: Mapping[str, str] = field(default_factory=dict)


class Body(NamedTuple):
    """The messages; `joint` where a loop or a condition holds role lines, so that they can only be rendered as one."""

    sections: tuple[Section, ...]
    joint: bool


class _Mark(NamedTuple):
    at: int
    role: str
    attributes: Mapping[str, str]
    depth: int


class _Words:
    """Which role a word was probably meant to be, for the first words of one file."""

    def __init__(self) -> None:
        self._known: dict[str, str | None] = {}

    def meant(self, word: str) -> str | None:
        """Return the nearest role's name, or None."""
        if word not in self._known:
            if len(self._known) >= _MOST_WORDS:
                return None
            self._known[word] = _misspelled(word)
        return self._known[word]


def split(lines: list[str], start: int, filename: str) -> Body:
    """Cut `lines` from `start` on into messages; raises PromptSyntaxError for a line that only looks like a role line."""
    if len(lines) > MOST_LINES:
        raise PromptSyntaxError(f"{filename}: a prompt has at most {MOST_LINES} lines")
    marks = list(_marks(lines, start, filename))
    sections = []
    first = marks[0].at if marks else len(lines)
    if any(line.strip() for line in lines[start:first]):
        sections.append(_section("system", {}, lines, start, first))
    ends = [mark.at for mark in marks[1:]] + [len(lines)] * bool(marks)
    for mark, following in zip(marks, ends, strict=True):
        if following == mark.at + 1:
            continue  # a role line right before another one opens no message, in the reference implementation as well
        sections.append(_section(mark.role, mark.attributes, lines, mark.at + 1, following))
    if not sections:
        raise PromptSyntaxError(
            f"{filename}:{len(lines)}: the file has no text; write `user:` and a message below it"
        )
    # what one message sets, the next one may print
    sets = len(sections) > 1 and any(_SET.search(one.text) for one in sections)
    return Body(tuple(sections), sets or any(mark.depth for mark in marks))


def _section(role: str, attributes: Mapping[str, str], lines: list[str], first: int, last: int) -> Section:
    """Return a message without the empty lines around its text, which belong to the file."""
    while first < last and not lines[first]:
        first += 1
    while last > first and not lines[last - 1]:
        last -= 1
    return Section(role, "\n".join(lines[first:last]), first + 1, attributes)


def _marks(lines: list[str], start: int, filename: str) -> Iterator[_Mark]:
    inside, depths = _tags(lines, start, filename)
    count, words, role = 0, _Words(), ""
    for at in range(start, len(lines)):
        line = lines[at]
        if ":" not in line and "\uff1a" not in line:
            continue
        if at in inside or len(line) > _MOST_OF_A_LINE:
            continue
        found = _LINE.fullmatch(line)
        if found and found["role"].lower() in ROLES:
            count, role = count + 1, found["role"].lower()
            if count > MOST_MESSAGES:
                raise PromptSyntaxError(f"{filename}:{at + 1}: a prompt has at most {MOST_MESSAGES} messages")
            yield _Mark(at, role, _attributes(found["attributes"], f"{filename}:{at + 1}"), depths.get(at, 0))
            continue
        if role in ("assistant", "tool") and _CALLS.fullmatch(line):
            problem: str | None = _AS_HISTORY
        else:
            problem = _problem(lines, start, at, words, seen=count > 0)
        if problem:
            raise PromptSyntaxError(f"{filename}:{at + 1}: {line.strip()!r} {problem}")


_AS_HISTORY = (
    "is how promptflow writes calls of tools, and would be text here: write {{ history }} in place of these turns, with"
    " `inputs: {history: {kind: thread}}`, and give render(history=[...]) the messages"
)


def looks_like_a_role(line: str) -> bool:
    """Whether a line of a message would be read as a role line, or refused for looking like one."""
    if len(line) > _MOST_OF_A_LINE:
        return False
    return bool(_LINE.fullmatch(line) or _NEAR.fullmatch(line) or _COMPUTED.fullmatch(line))


def _problem(lines: list[str], start: int, at: int, words: _Words, *, seen: bool) -> str | None:
    line = lines[at]
    computed = _COMPUTED.fullmatch(line)
    if computed:
        each = computed["expression"].strip(" -\t").partition(".")[0].partition("[")[0].strip()
        loops = {found["each"]: found["of"] for found in _FOR.finditer("\n".join(lines[start:at]))}
        of = loops.get(each, "history")
        return (
            f"computes a role, which a template cannot: write {{{{ {of} }}}} in place of the loop, with"
            f" `inputs: {{{of}: {{kind: thread}}}}`, and give render({of}=[...]) the messages"
        )
    near = _NEAR.fullmatch(line)
    word = near["word"].lower() if near else ""
    meant = word if word in ROLES else _OTHER_NAMES.get(word) or (words.meant(word) if word else None)
    if meant is not None:
        return (
            f"looks like a role line and is none: write `{meant}:`, or, as text, {{{{ {line.strip()!r} }}}}"
        )
    same = _SAME_LINE.match(line)
    if same and not seen and same["role"].lower() in ROLES:
        role = same["role"].lower()
        return f"begins no message: write `{role}:` alone, and its text on the next line"
    return None


def _misspelled(word: str) -> str | None:
    """Return the role that a word is spelled nearly as: one letter off, two in a long word."""
    if word in _WORDS:
        return None
    allowed = 1 if len(word) < 6 else 2
    return next((role for role in ROLES if role[0] == word[:1] and _edits(word, role) <= allowed), None)


def _edits(one: str, other: str) -> int:
    """Return how many letters must be left out, added, exchanged or swapped with their neighbour."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, 1):
        earlier, before, row = before, row, [at]
        for place, wanted in enumerate(other, 1):
            cost = min(row[-1] + 1, before[place] + 1, before[place - 1] + (letter != wanted))
            if at > 1 < place and one[at - 2] == wanted and letter == other[place - 2]:
                cost = min(cost, earlier[place - 2] + 1)
            row.append(cost)
    return row[-1]


def _attributes(stated: str | None, where: str) -> dict[str, str]:
    if not stated or not stated.strip():
        return {}
    found: dict[str, str] = {}
    at = 0
    while at < len(stated):
        one = _ATTRIBUTE.match(stated, at)
        if one is None or one["name"] in ("role", "content") or one["name"] in found:
            raise PromptSyntaxError(
                f'{where}: [{stated}] is not understood; write [name="value", other="value"]'
            )
        found[one["name"]] = (one["quoted"] if one["quoted"] is not None else one["plain"]).strip()
        at = one.end()
    return found


def _tags(lines: list[str], start: int, filename: str) -> tuple[set[int], dict[int, int]]:
    """Return the lines that begin within a tag or a comment, and for each line how many blocks are open at its start."""
    text = "\n".join(lines[start:])
    if "{%" not in text and "{#" not in text:
        return set(), {}
    if text.count("{%") > MOST_TAGS or text.count("{#") > MOST_TAGS:
        raise PromptSyntaxError(f"{filename}: a prompt has at most {MOST_TAGS} tags")
    inside: set[int] = set()
    changes: dict[int, int] = {}
    begins, looked = start, 0
    for tag in _TAG.finditer(text):
        if tag["open"] is not None or tag["left"] is not None:
            break  # it never closes: jinja2 says so, with the line
        begins, looked = begins + text.count("\n", looked, tag.start()), tag.start()
        ends = begins + tag[0].count("\n")
        if tag[0].startswith("{%") and "raw" in tag[0][:12]:
            changes[begins + 1], changes[ends + 1] = (
                changes.get(begins + 1, 0) + 1,
                changes.get(ends + 1, 0) - 1,
            )
            continue
        inside.update(range(begins + 1, ends + 1))
        block = _BLOCK.fullmatch(tag[0])
        if block:
            step = _step(block["word"], block["rest"])
            changes[ends + 1] = changes.get(ends + 1, 0) + step
    depths, depth = {}, 0
    for at in range(start, len(lines)):
        depth += changes.get(at, 0)
        depths[at] = depth
    return inside, depths


def _step(word: str, rest: str) -> int:
    if word.startswith("end"):
        return -1
    opens = word in _OPENING or (word == "set" and "=" not in rest)
    return 1 if opens else 0
