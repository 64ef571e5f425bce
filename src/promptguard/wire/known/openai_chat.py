"""Chat completions, as OpenAI and those who speak its protocol have them.

Read against openai 3.57 and 2.54 (types/chat/completion_create_params.py), groq 1.7, together 3.1, mistralai 3.7,
huggingface_hub 2.4; the documentation of Azure OpenAI, OpenRouter, vLLM, llama.cpp, DeepSeek and xAI for what is theirs.
"""

from __future__ import annotations

import re

from promptguard.core.fields import Kinds, Known, Members, Texts, Words, each, names

SEARCHES = "the provider searches, and finds other things tomorrow"
RUNS_THERE = "runs at the provider"
BY_ITSELF = Texts(
    re.compile(
        r"(?:.*[/:])?(?:gpt-[\w.-]*-search-(?:preview|api)[\w.-]*|sonar(?:-[\w.-]+)?|pplx-[\w.-]*online[\w.-]*"
        r"|compound(?:-[\w.-]+)?|[\w.-]*deep-research[\w.-]*)(?::[\w.-]+)*|.*:online(?::[\w.-]+)*",
        re.IGNORECASE,
    ),
    SEARCHES,
)
"""Models that search without being asked to: OpenAI's, Perplexity's, Groq's, and OpenRouter's suffix, among others."""
BETAS = {b"openai-beta": Words(names("assistants=v1 assistants=v2 agents=v1 chatkit_beta=v1 realtime=v1"))}
"""OpenAI's beta header, the same for all its endpoints."""

_OPENAI = names("""
    audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens messages metadata
    modalities model moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key prompt_cache_options
    prompt_cache_retention reasoning_effort response_format safety_identifier seed service_tier stop stream stream_options
    temperature tool_choice tools top_logprobs top_p user verbosity
""")
_PROVIDERS = names("""
    chat_template_kwargs citation_options compliance context_length_exceeded_behavior disable_tool_validation documents echo
    guardrails include_reasoning min_p min_tokens prompt_logprobs prompt_mode random_seed reasoning reasoning_format
    repetition_penalty safe_prompt safety_model thinking tool_prompt top_k top_prompt_logprobs
""")
"""Groq's, Together's, Mistral's, DeepSeek's and Hugging Face's."""
_ROUTERS = names("models provider route transforms usage")
"""OpenRouter's: who may answer, and what the answer tells."""
_SERVERS = names("""
    add_generation_prompt add_special_tokens allowed_token_ids bad_words best_of cache_prompt cache_salt chat_template
    continue_final_message dry_allowed_length dry_base dry_multiplier dry_penalty_last_n dynatemp_exponent dynatemp_range
    enable_thinking grammar guided_choice guided_decoding_backend guided_grammar guided_json guided_regex
    guided_whitespace_pattern ignore_eos include_stop_str_in_output json_schema length_penalty mirostat mirostat_eta
    mirostat_tau mm_processor_kwargs n_keep n_predict priority repeat_last_n repeat_penalty request_id return_token_ids
    return_tokens_as_token_ids samplers skip_special_tokens spaces_between_special_tokens stop_token_ids structured_outputs
    thinking_budget timings_per_token top_n_sigma truncate_prompt_tokens typical_p use_beam_search xtc_probability
    xtc_threshold
""")
"""Of servers of open models: vLLM's, llama.cpp's, SGLang's."""

_PARTS = Kinds(
    names(
        "audio_url document document_url file image_url input_audio reference refusal text thinking video_url"
    ),
    Members(
        names("""
            audio_url cache_control closed document document_name document_url file file_id image_url input_audio
            prompt_cache_breakpoint reference_ids refusal signature text thinking type video_url
        """)
    ),
)
_MESSAGES = Members(
    names("""
        annotations cache_control channel content executed_tools function_call images name parsed prefix
        provider_specific_fields reasoning reasoning_content reasoning_details refusal role thinking_blocks tool_call_id
        tool_calls weight
    """),
    stateful={"audio": "names an answer that is kept at the provider"},
    within={"content": _PARTS},
)
_TOOLS = Kinds(
    names("custom function"),
    Members(
        names("cache_control custom function type"),
        within={
            "function": Members(names("cache_control description name parameters strict")),
            "custom": Members(names("description format name")),
        },
    ),
    stateful={
        **each(
            SEARCHES,
            """
                browser_search file_search web_search web_search_preview openrouter:web_search
            """,
        ),
        **each(RUNS_THERE, "code_interpreter computer_use_preview mcp"),
    },
    only_objects=True,
)

KNOWN = Known(
    Members(
        _OPENAI | _PROVIDERS | _ROUTERS | _SERVERS,
        stateful={
            **each(
                SEARCHES,
                """
                compound_custom enable_search exclude_domains include_domains plugins search_parameters
                search_settings web_search_options
            """,
            ),
            "agent_id": "an agent that is kept at the provider",
            "data_sources": "an index that changes, and often the key to it",
            "deferred": "the answer is fetched later, by its id",
        },
        kept={"store": "the answer is kept at the provider"},
        within={"messages": _MESSAGES, "model": BY_ITSELF, "models": BY_ITSELF, "tools": _TOOLS},
    ),
    query=names("api-version"),
    headers=BETAS,
    source="https://platform.openai.com/docs/api-reference/chat/create",
)
