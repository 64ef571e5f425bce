"""Google's dotprompt: front matter and Handlebars, of which a subset has a counterpart; the rest is refused by name.

https://google.github.io/dotprompt/reference/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from promptguard.errors import PromptSyntaxError
from promptguard.templates import safeyaml
from promptguard.templates.formats.converted import Converted, variables_of

_FRONT = re.compile(r"\A\s*---[ \t]*\n(.*?)\n---[ \t]*\n(.*)\Z", re.DOTALL)
_TAG = re.compile(r"\{\{\{?\s*(.*?)\s*\}?\}\}", re.DOTALL)
_PATH = re.compile(r"(?:this|@\w+|[A-Za-z_]\w*)(?:\.\w+)*")
_OPTIONS = {
    "temperature": "temperature", "maxOutputTokens": "maxOutputTokens", "topP": "topP", "topK": "topK",
    "stopSequences": "stopSequences",
}  # fmt: skip
_SCALARS = {"string": "string", "number": "number", "integer": "integer", "boolean": "boolean", "any": "any"}


def read_dotprompt(text: str, name: str, where: str) -> Converted:
    """Return a `.prompt` file; raises PromptSyntaxError for a helper that has no counterpart."""
    found = _FRONT.match(text.replace("\r\n", "\n"))
    front: Mapping[str, Any] = (
        safeyaml.load(found[1], where, first_line=2) if found and found[1].strip() else {}
    )
    body = found[2] if found else text
    messages = _messages(body, where)
    config = front.get("config") or {}
    if not isinstance(config, Mapping):
        raise PromptSyntaxError(f"{where}: config must be a mapping")
    model = front.get("model")
    stated = (front.get("input") or {}) if isinstance(front.get("input"), Mapping) else {}
    inputs: dict[str, Mapping[str, Any]] = {each: {"kind": "any"} for each in variables_of(messages)}
    inputs |= _picoschema(stated.get("schema"), stated.get("default") or {}, where)
    if any("{{ history }}" in content for _, content in messages):
        inputs["history"] = {"kind": "thread"}
    output = front.get("output") if isinstance(front.get("output"), Mapping) else {}
    return Converted(
        str(front.get("name") or name), tuple(messages), inputs, str(front.get("description") or ""),
        str(model).rpartition("/")[2] if model else None,
        {_OPTIONS[key]: value for key, value in config.items() if key in _OPTIONS} if model else {},
        _picoschema((output or {}).get("schema"), {}, where),
        notes=("tools are named, not described: they are left out",) if front.get("tools") else (),
    )  # fmt: skip


def _picoschema(stated: object, defaults: Mapping[str, Any], where: str) -> dict[str, Mapping[str, Any]]:
    """Return the fields of a Picoschema: `name?: type, description`, `name(array): type`, `name(enum): [...]`."""
    if not isinstance(stated, Mapping):
        return {}
    found: dict[str, Mapping[str, Any]] = {}
    for key, value in stated.items():
        field = re.fullmatch(r"(\w+)(\?)?(?:\((\w+)(?:,\s*(.*))?\))?", str(key))
        if field is None:
            raise PromptSyntaxError(f"{where}: {key!r} is no field of a Picoschema")
        name, optional, form = field[1], field[2], field[3]
        entry = _field(form, value, str(field[4] or ""))
        if optional:
            entry["required"] = False
        if name in defaults:
            entry["default"] = defaults[name]
        found[name] = entry
    return found


def _field(form: str | None, value: object, description: str) -> dict[str, Any]:
    kind, _, more = str(value).partition(",") if isinstance(value, str) else ("object", "", "")
    entry: dict[str, Any] = {"kind": _SCALARS.get(kind.strip(), "any")}
    if form == "array":
        entry = {"kind": "array"}
    elif form == "enum" and isinstance(value, list):
        entry = {"kind": "string", "enumValues": value}
    elif form == "object" or not isinstance(value, str):
        entry = {"kind": "object"}
    told = (description or more).strip()
    return {**entry, "description": told} if told else entry


def _messages(body: str, where: str) -> list[tuple[str, str]]:
    messages: list[tuple[str, str]] = [("user", "")]
    at = 0
    blocks: list[str] = []
    for tag in _TAG.finditer(body):
        role, text = messages[-1]
        messages[-1] = role, text + body[at : tag.start()]
        at = tag.end()
        named = re.fullmatch(r"role\s+[\"'](\w+)[\"']", tag[1])
        if named:
            messages.append(({"model": "assistant"}.get(named[1], named[1]), ""))
            continue
        role, text = messages[-1]
        messages[-1] = role, text + _tag(tag[1], blocks, where)
    role, text = messages[-1]
    messages[-1] = role, text + body[at:]
    if blocks:
        raise PromptSyntaxError(f"{where}: {{{{#{blocks[-1]}}}}} is not closed")
    return [(role, text.strip()) for role, text in messages if text.strip()]


def _tag(tag: str, blocks: list[str], where: str) -> str:
    """Return the counterpart of one Handlebars tag."""
    word, _, rest = tag.partition(" ")
    if tag.startswith("!"):
        return ""
    if tag == "else":
        return "{% else %}"
    if word in ("#if", "#unless", "#each"):
        path = _path(rest.strip(), where)
        blocks.append(word[1:])
        return {
            "#if": f"{{% if {path} %}}", "#unless": f"{{% if not {path} %}}", "#each": f"{{% for this in {path} %}}",
        }[word]  # fmt: skip
    if word in ("/if", "/unless", "/each"):
        if not blocks or blocks.pop() != word[1:]:
            raise PromptSyntaxError(f"{where}: {{{{{tag}}}}} closes nothing")
        return "{% endfor %}" if word == "/each" else "{% endif %}"
    if tag in ("history", "history "):
        return "{{ history }}"
    if " " in tag or not _PATH.fullmatch(tag):
        raise PromptSyntaxError(f"{where}: {{{{{tag}}}}} has no counterpart in a prompt file")
    return f"{{{{ {_path(tag, where)} }}}}"


def _path(path: str, where: str) -> str:
    if not _PATH.fullmatch(path):
        raise PromptSyntaxError(f"{where}: {path!r} has no counterpart in a prompt file")
    known = {"@index": "loop.index0", "@first": "loop.first", "@last": "loop.last"}
    if path.startswith("@") and path not in known:
        raise PromptSyntaxError(f"{where}: {path} has no counterpart in a prompt file")
    return known.get(path, path)
