"""The formats: each reader takes a document and returns its prompts, or raises what it cannot read, by name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from promptguard.errors import PromptSyntaxError
from promptguard.templates import safeyaml
from promptguard.templates.formats.converted import (
    Converted,
    from_f_string,
    from_mustache,
    literal,
    variables_of,
)
from promptguard.templates.formats.dotprompt import read_dotprompt
from promptguard.templates.inputs import by_name
from promptguard.templates.languages import language_of, to_jinja2

_ROLES = {"human": "user", "ai": "assistant", "model": "assistant", "bot": "assistant", "generic": "user"}
_SAME = ("system", "developer", "user", "assistant", "tool", "function")
Document = Any
"""What JSON or YAML holds."""


def role_of(stated: object, where: str) -> str:
    """Return a role by the name that it has here; raises PromptSyntaxError for an unknown one."""
    role = _ROLES.get(str(stated).lower(), str(stated).lower())
    if role not in _SAME:
        raise PromptSyntaxError(f"{where}: {stated!r} is no role; known are {', '.join(_SAME)}")
    return role


def _made(name: str, messages: Sequence[tuple[str, str]], **more: Any) -> Converted:
    inputs = {each: {"kind": "any"} for each in variables_of(messages)} | dict(more.pop("inputs", {}))
    return Converted(name, tuple(messages), inputs, **more)


_ROLE_LINE = re.compile(
    r"^[ \t]*+#?[ \t]*+(system|user|assistant)[ \t]*+:[ \t]*+$", re.IGNORECASE | re.MULTILINE
)


def _read_text(text: str, name: str, where: str) -> Iterator[Converted]:
    if _ROLE_LINE.search(text):
        yield _with_history(text, name, where)
    else:
        yield _made(name, [("user", text)])


_LOOP_TAG = re.compile(
    r"\{%-?\s*+(?:for\s++(?P<each>\w++)\s++in\s++(?P<of>\w++)\s*+|(?P<other>for)\b[^%]*+|(?P<end>endfor)\s*+)-?%\}"
)


def _outer_loops(text: str) -> Iterator[tuple[re.Match[str], re.Match[str]]]:
    """Yield the first and the last tag of each loop that is in no other one, in one pass over the text."""
    opened: list[re.Match[str]] = []
    for tag in _LOOP_TAG.finditer(text):
        if tag["end"] is None:
            opened.append(tag)
        elif opened:
            first = opened.pop()
            if not opened:
                yield first, tag


def _with_history(text: str, name: str, where: str) -> Converted:
    """Read role lines; a loop that repeats a history becomes a place for it (promptflow, older Prompty)."""
    told, inputs, notes = _placed_history(text)
    return _made(name, _by_role_lines(told, where), inputs=inputs, notes=notes)


def _placed_history(text: str) -> tuple[str, dict[str, dict[str, Any]], tuple[str, ...]]:
    """Return the text with a place for each history in place of its loop, the histories as inputs, and what to say of it.

    A loop that writes role and content on one line writes text for the tools it comes from, and stays.
    """
    threads: list[str] = []

    parts: list[str] = []
    at = 0
    for first, last in _outer_loops(text):
        each, body = first["each"], text[first.end() : last.start()]
        of_roles = re.search(rf"\{{\{{-?\s*+{each}\.role\s*+-?\}}\}}[ \t]*+:[ \t]*+$", body, re.MULTILINE)
        if each is not None and (of_roles or re.search(rf"\b{each}\.(inputs|outputs)\b", body)):
            threads.append(first["of"])
            parts += text[at : first.start()], f"\n{{{{ {first['of']} }}}}\n"
            at = last.end()
    told = "".join([*parts, text[at:]])
    notes: tuple[str, ...] = ()
    if threads:
        notes = (f"{threads[0]} is a history now: give it as messages with role and content",)
    for of in threads:
        after = re.search(rf"\{{\{{ {of} \}}\}}\s*\n[ \t]*(?P<line>\S.*)", told)
        if after is not None and not (_ROLE_LINE.fullmatch(after["line"]) or after["line"].startswith("{%")):
            notes += (f"the text after {of} was part of its last message, and is a message now: say whose",)
    return told, {each: {"kind": "thread"} for each in threads}, notes


def _by_role_lines(text: str, where: str) -> list[tuple[str, str]]:
    from promptguard.templates.roles import split

    return [(one.role, one.text) for one in split(text.split("\n"), 0, where).sections]


def _read_promptfoo(told: Document, name: str, where: str) -> Iterator[Converted]:
    stated = told.get("prompts") if isinstance(told, Mapping) else told
    is_one = isinstance(stated, list) and all(isinstance(each, Mapping) and "role" in each for each in stated)
    listed = [stated] if is_one or not isinstance(stated, list) else stated
    for number, one in enumerate(listed, 1):
        label, raw = name, one
        if isinstance(one, Mapping) and not {"role", "content"} <= one.keys():
            label, raw = str(one.get("label") or one.get("id") or name), one.get("raw", one.get("content"))
        if isinstance(raw, str) and raw.startswith("file://"):
            raise PromptSyntaxError(f"{where}: {raw} stands in another file; import that one")
        yield from _promptfoo_prompt(raw, label if len(listed) == 1 else f"{label}-{number}", where)


def _promptfoo_prompt(raw: Document, name: str, where: str) -> Iterator[Converted]:
    if isinstance(raw, str):
        try:
            messages = json.loads(raw) if raw.lstrip().startswith("[") else None
        except ValueError:
            messages = None
        if not isinstance(messages, list):
            yield _made(name, [("user", raw)])
            return
        raw = messages
    if not isinstance(raw, list):
        raise PromptSyntaxError(f"{where}: a prompt of promptfoo is text, or a list of messages")
    yield _made(name, [_message(each, where) for each in raw])


def _message(told: Document, where: str) -> tuple[str, str]:
    if not isinstance(told, Mapping) or "role" not in told:
        raise PromptSyntaxError(f"{where}: a message has a role and a content")
    content = told.get("content", "")
    if isinstance(content, list):
        content = "\n".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    return role_of(told["role"], where), str(content)


def _read_semantic_kernel(told: Document, name: str, where: str) -> Iterator[Converted]:
    language = told.get("template_format", "semantic-kernel")
    template = str(told.get("template", ""))
    if language == "semantic-kernel":
        template = re.sub(r"\{\{\s*\$(\w+)\s*\}\}", r"{{ \1 }}", template)
        other = re.search(r"\{\{\s*[^}\s$\w]?[\w.]*[.\s][^}]*\}\}", re.sub(r"\{\{ \w+ \}\}", "", template))
        if other is not None:
            raise PromptSyntaxError(f"{where}: {other[0]} calls a function, which a prompt file cannot")
    elif language in ("handlebars", "mustache"):
        template = from_mustache(template, where)
    elif language not in ("jinja2", "liquid"):
        raise PromptSyntaxError(f"{where}: template_format {language!r} is not read here")
    found = re.findall(r"<message\s+role=[\"'](\w+)[\"']\s*>(.*?)</message>", template, re.DOTALL)
    messages = [(role_of(role, where), text.strip()) for role, text in found] or [("user", template)]
    inputs = {
        str(each["name"]): {
            "kind": "any", "description": str(each.get("description", "")),
            **({"default": each["default"]} if "default" in each else {"required": each.get("is_required", True)}),
        }
        for each in told.get("input_variables") or ()
    }  # fmt: skip
    settings = told.get("execution_settings") or {}
    first: Mapping[str, Any] = next(iter(settings.values()), {}) if isinstance(settings, Mapping) else {}
    options = {
        key: value
        for key, value in first.items()
        if key in ("temperature", "max_tokens", "top_p", "stop_sequences")
    }
    model = first.get("model_id")
    yield _made(
        str(told.get("name") or name), messages, inputs=inputs, description=str(told.get("description", "")),
        model=model, options=options if model else {},
    )  # fmt: skip


def _read_langchain(told: Document, name: str, where: str) -> Iterator[Converted]:
    kind = str((told.get("id") or ["?"])[-1])
    arguments = told.get("kwargs") or {}
    if kind == "PromptTemplate":
        yield _made(name, [("user", _langchain_text(arguments, where))])
    elif kind == "ChatPromptTemplate":
        yield _made(name, list(_langchain_messages(arguments, where)), inputs=_placeholders(arguments))
    else:
        raise PromptSyntaxError(f"{where}: a LangChain {kind} is no prompt that is read here")


def _langchain_text(arguments: Mapping[str, Any], where: str) -> str:
    language, template = arguments.get("template_format", "f-string"), str(arguments.get("template", ""))
    if language == "f-string":
        return from_f_string(template, where)
    if language == "mustache":
        return from_mustache(template, where)
    return literal(template) if language == "literal" else template


def _langchain_messages(arguments: Mapping[str, Any], where: str) -> Iterator[tuple[str, str]]:
    for message in arguments.get("messages") or ():
        kind = str((message.get("id") or ["?"])[-1])
        inner = message.get("kwargs") or {}
        if kind == "MessagesPlaceholder":
            yield "user", f"{{{{ {inner.get('variable_name', 'history')} }}}}"
            continue
        role = role_of(kind.removesuffix("Template").removesuffix("Prompt").removesuffix("Message"), where)
        prompt = inner.get("prompt") or {
            "kwargs": {"template": inner.get("content", ""), "template_format": "literal"}
        }
        if isinstance(prompt, list):
            raise PromptSyntaxError(f"{where}: a message of several parts is not read here")
        yield role, _langchain_text(prompt.get("kwargs") or {}, where)


def _placeholders(arguments: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    kinds = ((message.get("id") or ["?"])[-1] for message in arguments.get("messages") or ())
    inner = (message.get("kwargs") or {} for message in arguments.get("messages") or ())
    return {
        str(one.get("variable_name", "history")): {"kind": "thread"}
        for kind, one in zip(kinds, inner, strict=True)
        if kind == "MessagesPlaceholder"
    }


def _read_langfuse(told: Document, name: str, where: str) -> Iterator[Converted]:
    prompt = told["prompt"]
    config = told.get("config") or {}
    messages = (
        [("user", from_mustache(prompt, where))]
        if isinstance(prompt, str)
        else [
            ("user", f"{{{{ {each.get('name', 'history')} }}}}")
            if isinstance(each, Mapping) and each.get("type") == "placeholder"
            else (_message(each, where)[0], from_mustache(_message(each, where)[1], where))
            for each in prompt
        ]
    )
    placed = [each for each in prompt if isinstance(each, Mapping) and each.get("type") == "placeholder"]
    inputs = {str(each.get("name", "history")): {"kind": "thread"} for each in placed}
    options = {key: config[key] for key in ("temperature", "max_tokens", "top_p") if key in config}
    model = config.get("model")
    yield _made(
        str(told.get("name") or name), messages, inputs=inputs, model=model, options=options if model else {}
    )


def _read_mlflow(told: Document, name: str, where: str) -> Iterator[Converted]:
    template = told["template"]
    messages = (
        [("user", template)] if isinstance(template, str) else [_message(each, where) for each in template]
    )
    yield _made(str(told.get("name") or name), messages)


Reader = Callable[[Document, str, str], Iterator[Converted]]


def _is_langfuse(told: Mapping[str, Any]) -> bool:
    return "prompt" in told and ("labels" in told or told.get("type") in ("text", "chat"))


def _is_semantic_kernel(told: Mapping[str, Any]) -> bool:
    return "template" in told and ("template_format" in told or "input_variables" in told)


def _read_langsmith(told: Document, name: str, where: str) -> Iterator[Converted]:
    yield from _read_langchain(told["manifest"], name, where)


_OF_JSON: tuple[tuple[str, Callable[[Mapping[str, Any]], bool], Reader], ...] = (
    ("langchain", lambda told: told.get("lc") is not None and "kwargs" in told, _read_langchain),
    ("langsmith", lambda told: isinstance(told.get("manifest"), Mapping), _read_langsmith),
    ("langfuse", _is_langfuse, _read_langfuse),
    ("semantic-kernel", _is_semantic_kernel, _read_semantic_kernel),
    ("mlflow", lambda told: "template" in told, _read_mlflow),
    ("promptfoo", lambda told: "prompts" in told, _read_promptfoo),
)
FORMATS = ("prompty", "promptflow", "dotprompt", "text", *(name for name, _, _ in _OF_JSON))


def read(text: str, path: str, wanted: str | None = None) -> list[Converted]:
    """Return the prompts of a file of another tool; `wanted` is the name of its format, where that is not plain.

    Raises PromptSyntaxError that names the file and what in it is not read here.
    """
    where, suffix = path, PurePath(path).suffix.lower()
    name = PurePath(path).name.partition(".")[0] or "prompt"
    if wanted == "dotprompt" or suffix == ".prompt":
        return [read_dotprompt(text, name, where)]
    if wanted in ("text", "promptflow") or (
        wanted is None and suffix in (".txt", ".md", ".j2", ".jinja", ".jinja2")
    ):
        return list(_read_text(text, name, where))
    if wanted == "prompty" or suffix == ".prompty":
        return [_read_prompty(text, name, where)]
    told = _document(text, suffix, where)
    if isinstance(told, list):
        return list(_read_promptfoo(told, name, where))
    for known, fits, reader in _OF_JSON:
        if wanted == known or (wanted is None and fits(told)):
            return list(reader(told, name, where))
    raise PromptSyntaxError(f"{where}: no format that is read here: {', '.join(FORMATS)}")


def _document(text: str, suffix: str, where: str) -> Document:
    try:
        told = json.loads(text) if suffix == ".json" else safeyaml.load(text, where, first_line=1)
    except (ValueError, RecursionError) as error:
        if isinstance(error, PromptSyntaxError):
            raise
        raise PromptSyntaxError(f"{where}: no JSON: {error}") from None
    if not isinstance(told, (dict, list)):
        raise PromptSyntaxError(f"{where}: it holds no prompts")
    return told


def _mapping(stated: object) -> Mapping[str, Any]:
    return stated if isinstance(stated, Mapping) else {}


def _read_prompty(text: str, name: str, where: str) -> Converted:
    """Read an older Prompty file whose loop over a history computes roles; others need no conversion."""
    lines = text.replace("\r\n", "\n").split("\n")
    fences = [at for at, line in enumerate(lines) if re.fullmatch(r"\s*(---|\+\+\+)\s*", line)][:2]
    front: Mapping[str, Any] = {}
    start = 0
    if len(fences) == 2 and not any(line.strip() for line in lines[: fences[0]]):
        start = fences[1] + 1
        stated = "\n".join(lines[fences[0] + 1 : fences[1]])
        front = safeyaml.load(stated, where, first_line=fences[0] + 2) if stated.strip() else {}
    to_jinja2(lines, start, language_of(front.get("template")), where)
    body, threads, notes = _placed_history("\n".join(lines[start:]).strip("\n"))
    messages = _by_role_lines(body, where)
    kept = {key: value for key, value in front.items() if key not in _WRITTEN_ANEW}
    if isinstance(front.get("metadata"), Mapping):
        kept["metadata"] = {key: value for key, value in front["metadata"].items() if key != "version"}
    inputs = {each: {"kind": "any"} for each in variables_of(messages)}
    inputs |= _stated_inputs(front, inputs)
    for each in threads:
        if _mapping(inputs[each]).get("default"):
            notes += (f"the messages that {each} had by default are not kept: give them",)
        inputs[each] = {"kind": "thread"}
    return Converted(
        str(front.get("name") or name).lower().replace(" ", "-"), tuple(messages), inputs,
        notes=notes, front=kept, body=body,
    )  # fmt: skip


_WRITTEN_ANEW = frozenset(("name", "inputs", "inputSchema", "template"))


def _stated_inputs(front: Mapping[str, Any], used: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return inputs as the file has them; one that has a sample alone renders with its plain values, as it did there."""
    stated = front.get("inputs") or _mapping(front.get("inputSchema")).get("properties")
    if stated is not None:
        return dict(_mapping(by_name(stated)))
    return {
        key: {"kind": "any", "default": value}
        for key, value in _mapping(front.get("sample")).items()
        if key in used and not isinstance(value, (Mapping, list))
    }
