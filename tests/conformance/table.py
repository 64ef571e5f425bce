"""Write docs/reference/sdks.md from what the suite found: `python -m tests.conformance.table TODAY.json PREVIOUS.json`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.conformance.adapters import ADAPTERS

WORDS = {
    "sync": "plain call",
    "asynchronous": "asynchronous call",
    "stream": "stream",
    "async_stream": "asynchronous stream",
    "tools": "tool calls",
    "structured": "structured output",
    "raw": "raw response, headers",
    "with_options": "copies with other options",
    "retries": "the SDK's retries after 429 and 503",
    "timeout": "the caller's timeout",
    "error_types": "eight HTTP errors: type, text, cause",
    "broken_answers": "connection cut or refused, garbage",
    "stream_error": "a stream refused with 429",
    "gzip": "gzip, plain and streamed",
    "early_close": "a stream closed early",
    "async_cancel": "cancellation amid a stream",
    "two_loops": "one client on two event loops",
    "close": "calls after close",
    "event_hooks": "HTTP hooks, in the caller's context",
    "cache_hit": "a hit is identical",
    "stream_cache_hit": "a streamed hit is identical",
    "async_cache_hit": "an asynchronous hit is identical",
    "async_stream_cache_hit": "an asynchronous streamed hit is identical",
    "shadow": "the other model gets the exact body and credentials",
    "async_shadow": "the same for asynchronous calls",
    "is_type": "same object, same types",
    "double_wrap": "wrapping twice guards once",
    "unwrap": "unwrap, with a stream open",
    "failing_parts_of_ours": "every step of ours broken: the bare answer",
}

HEAD = """\
# SDKs
Written by `make sdks`: every cell is the same test, run bare and run wrapped (without options, with a cache, with a
shadow), on the real SDK against a real HTTP server. Results, types, errors and the bytes that arrive must be equal.
A number counts the tests behind a cell that passed; `n ✗` tests that failed; a letter says why there is no test.

`promptguard.wrap(client)` takes the clients of these packages. Anything else over httpx or httpx2 takes
`promptguard.guard(http_client)`. Good to know:

- **Azure** goes by a deployment where others go by a model: `Shadow(model=...)`, `Route(to=...)` and
  `Replay(placebo=...)` name deployments of the same resource, which are put into the URL where Azure's paths name them
  there. Who served is told by the model's own name. No call was made to Azure itself.
- **google-genai** makes asynchronous calls through aiohttp where that is installed. A wrapped client uses the SDK's own
  httpx path instead, so that connection errors are httpx's; `unwrap` gives the choice back. The cells below are for that
  path. In major 1 its connections belong to one event loop, where aiohttp's would have had one set a loop.
- **huggingface_hub** shares HTTP clients in the whole process. Guard what its factory makes:
  `set_client_factory(lambda: guarded)` with `guarded = promptguard.guard(httpx2.Client(...))`, made once.
- **Amazon's clients** sign every request over URL and body: `AnthropicBedrock`, `AnthropicBedrockMantle`, `AnthropicAWS`
  and boto3's `bedrock-runtime`. They are cached and paired, and background calls are signed anew; `Route` is refused,
  unless one of anthropic's has a plain token. Answers belong to an access key; with `Cache(tenant=...)` session
  credentials share them. In anthropic's major 0 copies of the first two by `with_options()` have an HTTP client of
  their own, which is not guarded. No call was made to Amazon or Google itself.
- **boto3** is guarded for Converse of every model and for InvokeModel with Anthropic's bodies; others pass untouched.
- **langchain-openai**: `wrap(ChatOpenAI(...))` guards both OpenAI clients that the model holds.
- **Websockets** are not guarded. **together** before its major 2 talked through requests, and is refused.

OpenAI's responses are kept by the provider unless `store=False`; kept ones are neither cached nor paired. Embeddings are
cached, never paired.
"""


def cell(row: dict[str, Any], feature: str, lacks: dict[str, str], notes: dict[str, str]) -> str:
    """Return a cell's text; reasons for an empty one get a letter in `notes`."""
    if feature in lacks:
        return notes.setdefault(lacks[feature], f"({chr(ord('a') + len(notes))})")
    found = row["cells"].get(feature)
    if found is None:
        return "not run"
    return f"{found['failed']} ✗" if found["failed"] else str(found["passed"])


def table(title: str, results: dict[str, Any], notes: dict[str, str]) -> str:
    found, rows = results["found"], [a for a in ADAPTERS if a.name in results["found"]]
    lines = [f"## {title}", "| |" + "".join(f" {a.name} {found[a.name]['version']} |" for a in rows)]
    lines.append("|---|" + "---|" * len(rows))
    for feature, words in WORDS.items():
        cells = [cell(found[a.name], feature, found[a.name]["lacks"], notes) for a in rows]
        lines.append(f"| {words} | " + " | ".join(cells) + " |")
    lines += [f"\nNot here: {name} ({reason})." for name, reason in results["missing"].items()]
    return "\n".join(lines)


def main(today: str, previous: str) -> None:
    notes: dict[str, str] = {}
    parts = [HEAD]
    for title, path in (("Today's majors", today), ("The majors before", previous)):
        parts.append(table(title, json.loads(Path(path).read_text("utf-8")), notes) + "\n")
    parts.append("\n".join(f"{letter} {reason}  " for reason, letter in notes.items()) + "\n")
    Path("docs/reference/sdks.md").write_text("\n".join(parts), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
