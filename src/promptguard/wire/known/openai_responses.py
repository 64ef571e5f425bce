"""OpenAI's responses. Read against openai 3.57 and 2.54 (types/responses/response_create_params.py, tool_param.py).

By default (`store` absent) the provider keeps an answer for some weeks, and neither this call nor another depends on that
unless one names it: such calls are cached and paired, and background copies say `store: false`. Who says `store: true`
wants it kept, perhaps to fetch it by its id: those calls are paired, and never answered from the cache.
"""

from __future__ import annotations

from promptguard.core.fields import Kinds, Known, Members, each, names
from promptguard.wire.known.openai_chat import BETAS, BY_ITSELF, RUNS_THERE, SEARCHES

TOOLS = Kinds(
    names("apply_patch computer computer_use_preview custom function local_shell namespace"),
    Members(
        names("""
            allowed_callers async defer_loading description display_height display_width execution format name
            output_schema parameters strict tools type
        """),
        within={
            "environment": Kinds(
                names("local"),
                Members(names("skills type")),
                stateful=each(RUNS_THERE, "container_auto container_reference"),
            )  # of computer_use_preview it is a text, such as "browser"
        },
    ),
    stateful={
        **each(
            SEARCHES,
            """
                file_search tool_search web_search web_search_2025_08_26 web_search_preview
                web_search_preview_2025_03_11
            """,
        ),
        **each(RUNS_THERE, "code_interpreter image_generation mcp programmatic_tool_calling shell"),
    },
    only_objects=True,
)
"""computer, local_shell and apply_patch are carried out by the caller; `shell` may run in the provider's container."""


def _within_namespaces(depth: int) -> Kinds:
    """Return what is known of tools that may stand in namespaces, these within one another; deeper ones are unknown."""
    if not depth:
        return Kinds(TOOLS.harmless - {"namespace"}, TOOLS.members, TOOLS.stateful, only_objects=True)
    inner = {**TOOLS.members.within, "tools": _within_namespaces(depth - 1)}
    return Kinds(
        TOOLS.harmless, Members(TOOLS.members.harmless, within=inner), TOOLS.stateful, only_objects=True
    )


_ALL_TOOLS = _within_namespaces(3)
_PARTS = Kinds(
    names(
        "input_audio input_file input_image input_text output_text reasoning_text refusal summary_text text"
    ),
    Members(
        names("""
            annotations cache_control detail file_data file_id file_url filename image_url input_audio logprobs
            prompt_cache_breakpoint refusal text type
        """)
    ),
)
_ITEMS = Kinds(
    names("""
        additional_tools apply_patch_call apply_patch_call_output code_interpreter_call compaction compaction_trigger
        computer_call computer_call_output configuration_update custom_tool_call custom_tool_call_output file_search_call
        function_call function_call_output image_generation_call local_shell_call local_shell_call_output
        mcp_approval_request mcp_approval_response mcp_call mcp_list_tools message program program_output reasoning
        shell_call shell_call_output tool_search_call tool_search_output web_search_call
    """),
    Members(
        names("""
            acknowledged_safety_checks action actions approval_request_id approve arguments async background call_id caller
            code container_id content created_by encrypted_content environment error execution fingerprint id input
            max_output_length name namespace operation output output_format outputs pending_safety_checks phase quality
            queries reason reasoning result results revised_prompt role server_label size status summary svg_usage text
            tools type
        """),
        within={
            "content": _PARTS,
            "tools": _ALL_TOOLS,
        },
    ),
    stateful={"item_reference": "names an item that is kept at the provider"},
    # A message says no more than this; an object with an id alone is a reference.
    untyped=Members(names("content phase role status"), within={"content": _PARTS}),
    referring=names("id role status type"),
)

KNOWN = Known(
    Members(
        names("""
            access_programs background_options context_management image include input instructions max_output_tokens
            max_tool_calls metadata model moderation parallel_tool_calls prompt_cache_key prompt_cache_options
            prompt_cache_retention reasoning safety_identifier service_tier stream stream_options temperature text
            tool_choice tools top_logprobs top_p truncation user
        """),
        stateful={
            "background": "the answer is fetched later, by its id",
            "conversation": "adds to a conversation that is kept at the provider",
            "previous_response_id": "continues a conversation that is kept at the provider",
            "prompt": "a prompt that is kept at the provider",
        },
        kept={"store": "the answer is kept at the provider"},
        within={
            "input": _ITEMS,
            "model": BY_ITSELF,
            "tools": _ALL_TOOLS,
            "prompt_cache_options": Members(
                names("comparison_response_id mode ttl"),
                stateful={"prewarm": "fills the provider's prompt cache and says nothing"},
            ),
        },
    ),
    query=names("api-version"),
    headers=BETAS,
    source="https://platform.openai.com/docs/api-reference/responses/create",
)
