"""Ollama's chat and generate. Read against ollama 0.6.3 (_types.py) and https://docs.ollama.com/api."""

from __future__ import annotations

import re

from promptguard.core.fields import Kinds, Known, Members, Texts, names

_KEEP_ALIVE = Texts(
    # as Go reads a duration, https://pkg.go.dev/time#ParseDuration: nothing, or less than the answer takes
    re.compile(r"(?=.*\d)[-+]?(?:[0.]+\s?(?:ms|s|m|h)|[\d.]+\s?(?:ns|us|µs|μs))*[0.]*"),
    "unloads the model",
)

KNOWN = Known(
    Members(
        # `context` is the conversation so far as the caller has it; `options` are parameters of the runner.
        names("""
            context format height images keep_alive logprobs messages model options prompt raw shift steps stream suffix
            system template think tools top_logprobs truncate width
        """),
        within={
            "keep_alive": _KEEP_ALIVE,
            "messages": Members(
                names("content images name role thinking tool_call_id tool_calls tool_name"),
            ),
            "tools": Kinds(
                names("function"),
                Members(
                    names("function type"),
                    within={"function": Members(names("description name parameters strict"))},
                ),
                only_objects=True,
            ),
        },
    ),
    source="https://docs.ollama.com/api",
)
