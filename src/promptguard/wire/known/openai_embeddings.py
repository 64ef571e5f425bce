"""Embeddings. Read against openai 3.57, mistralai 3.7, groq 1.7, together 3.1, and the documentation of vLLM and Jina."""

from __future__ import annotations

from promptguard.core.fields import Known, Members, names
from promptguard.wire.known.openai_chat import BETAS

KNOWN = Known(
    Members(
        names("""
            add_special_tokens dimensions embedding_type encoding_format input input_type late_chunking metadata model
            normalize normalized output_dimension output_dtype priority prompt_name task truncate truncate_prompt_tokens
            truncation_direction user
        """)
    ),
    query=names("api-version"),
    headers=BETAS,
    source="https://platform.openai.com/docs/api-reference/embeddings/create",
)
