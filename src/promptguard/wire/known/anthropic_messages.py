"""Anthropic's messages, also where Amazon Bedrock and Vertex AI serve them.

Read against anthropic 2.14 and 0.125 (types/beta/message_create_params.py, beta_tool_union_param.py,
beta_content_block_param.py, anthropic_beta_param.py).
"""

from __future__ import annotations

from promptguard.core.fields import Kinds, Known, Members, Words, each, names

RUNS_THERE = "runs at the provider"
SEARCHES = "the provider searches, and finds other things tomorrow"

BETAS = Words(
    names("""
        advanced-tool-use-2025-11-20 advisor-tool-2026-03-01 cache-diagnosis-2026-04-07 claude-code-20250219
        code-execution-2025-05-22 code-execution-2025-08-25 compact-2026-01-12 compact-2026-09-04
        computer-use-2024-10-22 computer-use-2025-01-24 computer-use-2025-11-24 context-1m-2025-08-07
        context-management-2025-06-27 dev-full-thinking-2025-05-14 effort-2025-11-24 extended-cache-ttl-2025-04-11
        fallback-credit-2026-06-01 fallback-credit-2026-07-01 fast-mode-2026-02-01 files-api-2025-04-14
        fine-grained-tool-streaming-2025-05-14 inline-tools-2026-09-15 interleaved-thinking-2025-05-14
        max-tokens-3-5-sonnet-2024-07-15 mcp-client-2025-04-04 mcp-client-2025-11-20 mcp-client-2026-09-15
        message-batches-2024-09-24 mid-conversation-output-config-2026-07-01
        mid-conversation-system-clear-at-2026-08-21 mid-conversation-tool-changes-2026-07-01
        model-context-window-exceeded-2025-08-26 oauth-2025-04-20 output-128k-2025-02-19 output-300k-2026-03-24
        pdfs-2024-09-25 prompt-caching-2024-07-31 prompt-caching-scope-2026-01-05 server-side-fallback-2026-06-01
        server-side-fallback-2026-07-01 skills-2025-10-02 structured-outputs-2025-09-17 structured-outputs-2025-11-13
        task-budgets-2026-03-13 thinking-binding-controls-2026-08-01 thinking-display-updates-2026-08-18
        thinking-token-count-2026-05-13 token-counting-2024-11-01 token-efficient-tools-2025-02-19
        tool-examples-2025-10-29 tool-search-tool-2025-10-19 user-profiles-2026-03-24 user-profiles-2026-08-18
        user-profiles-2026-09-04 web-fetch-2025-09-10
    """),
    stateful={
        "agent-memory-2026-07-22": "a memory that is kept at the provider",
        "dreaming-2026-04-21": "a memory that is kept at the provider",
        "managed-agents-2026-04-01": "an agent that is kept at the provider",
        "mcp-tunnels-2026-06-22": RUNS_THERE,
        "message-threads-2026-08-12": "conversations that are kept at the provider",
        "user-profiles-billing-2026-10-01": "bills another organization",
    },
)
"""A beta that turns a tool or a field on is harmless in itself: the tool and the field are looked at."""

_TOOLS = Kinds(
    names("""
        bash_20241022 bash_20250124 browser_toolset_20260801 computer_20241022 computer_20250124 computer_20251124
        computer_toolset_20260801 custom memory_20250818 text_editor_20241022 text_editor_20250124 text_editor_20250429
        text_editor_20250728
    """),
    Members(
        names("""
            allowed_callers cache_control caching citations configs default_config defer_loading description
            display_height_px display_number display_width_px eager_input_streaming enable_zoom input_examples input_schema
            max_characters name strict type
        """)
    ),
    stateful={
        **each(
            SEARCHES,
            """
                web_fetch_20250910 web_fetch_20260209 web_fetch_20260309 web_fetch_20260318
                web_search_20250305 web_search_20260209 web_search_20260318
            """,
        ),
        **each(
            RUNS_THERE,
            """
                advisor_20260301 code_execution_20250522 code_execution_20250825 code_execution_20260120
                code_execution_20260521 mcp_toolset tool_search_tool_bm25 tool_search_tool_bm25_20251119
                tool_search_tool_regex tool_search_tool_regex_20251119
            """,
        ),
    },
    only_objects=True,
)
"""bash, text editor, memory, computer and browser are carried out by the caller."""

_PARTS_WITHIN: dict[str, Members | Kinds | Words] = {}
PARTS = Kinds(
    names("""
        advisor_tool_result bash_code_execution_tool_result code_execution_tool_result compaction document fallback image
        mcp_tool_listing mcp_tool_result mcp_tool_use redacted_thinking search_result server_tool_use text
        text_editor_code_execution_tool_result thinking tool_reference tool_removal tool_result tool_search_tool_result
        tool_use web_fetch_tool_result web_search_tool_result browser_state
    """),
    Members(
        names("""
            cache_control caller changes citations content context data encrypted_content from id input is_error
            mcp_server_name name server_name signature source tabs text thinking title to tool tool_changes tool_name
            tool_use_id tools toolset_name transformations trigger type
        """),
        within=_PARTS_WITHIN,
    ),
    stateful={
        "container_upload": "a file in a container that is kept at the provider",
        "tool_addition": "may add a tool that runs at the provider",
    },
)
# What a caller's tool brought is made of the same parts.
_PARTS_WITHIN["content"] = Kinds(
    PARTS.harmless
    | names("""
        advisor_redacted_result advisor_result advisor_tool_result_error bash_code_execution_output
        bash_code_execution_result bash_code_execution_tool_result_error code_execution_output code_execution_result
        code_execution_tool_result_error encrypted_code_execution_result text_editor_code_execution_create_result
        text_editor_code_execution_str_replace_result text_editor_code_execution_tool_result_error
        text_editor_code_execution_view_result tool_search_tool_result_error tool_search_tool_search_result
        web_fetch_result web_fetch_tool_result_error web_search_result web_search_tool_result_error
    """),
    Members(
        PARTS.members.harmless
        | names("""
            encrypted_stdout error_code error_message file_id file_type lines new_lines new_start num_lines old_lines
            old_start page_age retrieved_at return_code start_line stderr stdout stop_reason tool_references total_lines url
        """)
    ),
)
_MESSAGES = Members(
    names("cache_control clear_at content output_config role"),
    within={"content": PARTS},
)

BODY = Members(
    names("""
        anthropic_beta anthropic_version cache_control compaction context_management diagnostics fallbacks inference_geo
        max_tokens messages metadata model output_config output_format service_tier speed stop_sequences stream system
        temperature thinking tool_choice tools top_k top_p user_profile_id workspace_id
    """),
    stateful={
        "billing_policy": "bills another organization",
        "container": "files and processes that are kept at the provider",
        "fallback_credit_token": "a credit that is redeemed once",
        "mcp_servers": "tools that run elsewhere",
        "thread": "a conversation that is kept at the provider",
    },
    within={"anthropic_beta": BETAS, "messages": _MESSAGES, "system": PARTS, "tools": _TOOLS},
)
KNOWN = Known(
    BODY,
    query=names("beta api-version"),
    headers={b"anthropic-beta": BETAS},
    source="https://platform.claude.com/docs/en/api/messages",
)
