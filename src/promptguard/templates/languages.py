"""Template languages other than jinja2, as far as they only substitute; the rest is refused by name."""

from __future__ import annotations

import re

from promptguard.errors import PromptSyntaxError
from promptguard.templates.roles import looks_like_a_role

_JINJA = ("jinja2", "jinja", "nunjucks")
_MUSTACHE = ("mustache", "handlebars")
_COMMENT = re.compile(r"\{\{![^{}]*+\}\}")
_OTHER = re.compile(r"\{\{\s*[#^/>!=]")
_RAW = re.compile(r"\{\{\{\s*([\w.]+)\s*\}\}\}|\{\{\s*&\s*([\w.]+)\s*\}\}")


def language_of(template: object) -> str:
    """Return the template language that front matter states under `template`: jinja2 unless it names another one."""
    stated = template
    if isinstance(stated, dict):
        stated = stated.get("format") or stated.get("type") or stated.get("kind")
    if isinstance(stated, dict):
        stated = stated.get("kind")
    return str(stated or "jinja2")


def to_jinja2(lines: list[str], start: int, language: str, filename: str) -> None:
    """Turn simple substitution of another language into jinja2, in place from `start` on, every line staying its own.

    Raises PromptSyntaxError for a language that is not read, and for what is more than substitution.
    """
    if language in _JINJA:
        return
    if language not in _MUSTACHE:
        raise PromptSyntaxError(f"{filename}:1: template format {language!r} is not available; write jinja2")
    following = ""  # the next line below that says anything
    for at in reversed(range(start, len(lines))):
        if _COMMENT.fullmatch(lines[at].strip()):
            _leave_out(lines, at, following)
        else:
            line = _COMMENT.sub("", lines[at])
            if _OTHER.search(line):
                raise PromptSyntaxError(
                    f"{filename}:{at + 1}: {language} beyond {{{{ name }}}} is not read here; write the template as jinja2"
                )
            lines[at] = _RAW.sub(lambda found: "{{ " + (found[1] or found[2]) + " }}", line)
        following = lines[at] if lines[at].strip() else following


def _leave_out(lines: list[str], at: int, following: str) -> None:
    """Take a line out of the text that is rendered, while the lines after it keep their numbers."""
    if not following or looks_like_a_role(following):
        lines[at] = ""  # empty lines at the end of a message are no part of it
    else:
        lines[at], lines[at + 1] = "{#", f"#}}{lines[at + 1]}"
