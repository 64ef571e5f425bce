"""docs/reference/fields.md, made from the tables; `python -m tests.wire.fields_page` writes it, and a test compares it."""

from __future__ import annotations

import importlib
from pathlib import Path

from promptguard.core.fields import Kinds, Known, Members, Texts, Words

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "fields.md"
TABLES = {
    "openai_chat": "OpenAI chat completions (also Groq, Together, Mistral, Hugging Face, Azure, OpenRouter, vLLM, ...)",
    "openai_responses": "OpenAI responses",
    "openai_embeddings": "OpenAI embeddings",
    "anthropic_messages": "Anthropic messages (also on Bedrock and Vertex AI)",
    "bedrock_converse": "Bedrock Converse",
    "gemini": "Gemini generateContent",
    "ollama": "Ollama chat and generate",
    "cohere": "Cohere chat, version 2",
}
HEAD = """# Fields of requests, and what they do
Made from the tables in `promptguard/wire/known` by `python -m tests.wire.fields_page`.

A call is answered from the cache, or asked again in the background, only where **every** field of it is in these tables as
one that leaves nothing at the provider and depends on nothing kept there. Any other call passes through untouched, and
its reason is counted with the field's name (`promptguard status`) and logged once a process:

| class | from the cache | paired and replayed | reason |
|---|---|---|---|
| harmless | yes | yes | |
| kept | no | yes: the background copy leaves it out | ``field `store`: the answer is kept at the provider`` |
| stateful | no | no | ``field `previous_response_id`: continues a conversation ...`` |
| not in the table | no | no | ``field `my_field` not known`` |

A field that is null counts as absent; one that is known to do something when set also when it is false or empty.
Headers with "beta" in their names are unknown as well, but for those below.
Members of harmless fields that are not listed on their own (a JSON schema, `metadata`, ...) may have any value.

## Saying it yourself
```python
client = promptguard.wrap(client, cache="memory", fields={"my_field": "none", "metadata": "stateful"})
```
`"none"`: without side effect and without state. `"stateful"`: neither cached nor asked again. The names are those that a
reason has between back quotes: `my_field`, `messages.my_field`,
`tools.type=my_tool`, `anthropic-beta=my-beta`, `?my_parameter`.
What you say goes before the tables: `{"store": "none"}` answers such calls from the cache. Anything else is a
`ConfigurationError`.

The cache *key* is the opposite, a deny-list ([cache](cache.md#the-key)): every field and header is part of it.
"""


def _wrapped(names: set[str] | frozenset[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names)) or "none"


def _rows(known: Members | Kinds | Words | Texts, place: str, seen: list[object]) -> list[str]:
    if any(known is each for each in seen):
        return []
    seen.append(known)
    if isinstance(known, Texts):
        return [
            f"| {place} | stateful | `{known.stateful.pattern.replace('|', chr(92) + '|')}` | {known.why} |"
        ]
    rows: list[str] = []
    label = {Members: "", Kinds: "`type=` ", Words: "names: "}[type(known)]
    rows.append(f"| {place} | {label}harmless | {_wrapped(known.harmless)} | |")
    for effect in ("stateful", "kept"):
        by_reason: dict[str, set[str]] = {}
        for name, why in getattr(known, effect, {}).items():
            by_reason.setdefault(why, set()).add(name)
        rows += [
            f"| {place} | {label}{effect} | {_wrapped(names)} | {why} |" for why, names in by_reason.items()
        ]
    if isinstance(known, Kinds):
        rows += _rows(known.members, place, seen)
    for name, inner in getattr(known, "within", {}).items():
        rows += _rows(inner, f"{place} `{name}`" if place else f"`{name}`", seen)
    return rows


def render() -> str:
    parts = [HEAD]
    for name, title in TABLES.items():
        module = importlib.import_module(f"promptguard.wire.known.{name}")
        table: Known = module.KNOWN
        parts.append(f"\n## {title}\n{' '.join((module.__doc__ or '').split())} <{table.source}>\n")
        parts.append("| where | class | fields | reason |\n|---|---|---|---|")
        parts += _rows(table.body, "", [])
        if table.query:
            parts.append(f"| query | harmless | {_wrapped(table.query)} | |")
        for header, words in table.headers.items():
            parts += _rows(words, f"header `{header.decode()}`", [])
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(render(), "utf-8")
