"""Ollama's chat and generate. Read against ollama 0.6.3 (_types.py) and https://docs.ollama.com/api."""

from __future__ import annotations

import re

from promptguard.core.fields import Kinds, Known, Members, Texts, names

KNOWN = Known(
    Members(
        # `context` is the conversation so far as the caller has it; `options` are parameters of the runner.
        names("""
            context format height images keep_alive logprobs messages model options prompt raw shift steps stream suffix
            system template think tools top_logprobs truncate width
        """),
        within={
            "keep_alive": Texts(re.compile(r"-?0+(\.0+)?\s*(ns|us|µs|ms|s|m|h)?"), "unloads the model"),
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
