"""Cohere's chat, version 2. Read against cohere 7.3 and 5.21 (v2/client.py, types/*message_v2.py)."""

from __future__ import annotations

from promptguard.core.fields import Kinds, Known, Members, names

_PARTS = Kinds(
    names("document image_url text thinking"), Members(names("document image_url text thinking type"))
)
KNOWN = Known(
    Members(
        names("""
            citation_options documents frequency_penalty k logprobs max_tokens messages model p presence_penalty priority
            response_format safety_mode seed stop_sequences stream strict_tools temperature thinking tool_choice tools
        """),
        within={
            "messages": Members(
                names("citations content role tool_call_id tool_calls tool_plan"), within={"content": _PARTS}
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
    source="https://docs.cohere.com/reference/chat",
)
